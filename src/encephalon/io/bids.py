# SPDX-License-Identifier: Apache-2.0
"""BIDS datasets in, and derivatives out: names, and what a dataset must say.

Brain Imaging Data Structure 1.10.
"""

from __future__ import annotations

import logging
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from encephalon.errors import InputError, MissingFileError, OutputError, UnreadableFileError, listed
from encephalon.io.atomic import write_json, write_text
from encephalon.io.bids_filters import Filters, fits
from encephalon.io.files import is_folder
from encephalon.io.micrograph import PICTURE_SUFFIXES
from encephalon.io.text import read_json

_log = logging.getLogger(__name__)

DESCRIPTION = "dataset_description.json"
BIDS_VERSION = "1.10.0"
# Anatomical images that show a whole head.
ANATOMICAL = (
    *("T1w", "T2w", "FLAIR", "PDw", "T2starw", "PDT2"),
    *("inplaneT1", "inplaneT2", "UNIT1"),
)
# Microscopes (BIDS 1.10, "Microscopy").
MICROSCOPY = (
    *("TEM", "SEM", "uCT", "BF", "DF", "PC", "DIC", "FLUO", "CONF", "PLI", "CARS", "2PE", "MPE"),
    *("SR", "NLO", "OCT", "SPIM", "XPCT"),
)
# Kinds of image in anat/ that are taken when they are asked for (BIDS 1.10, "Anatomy imaging").
_OTHER_SCANS = (
    *("T1rho", "T2star", "FLASH", "PD", "angio", "MEGRE", "MESE", "VFA", "IRT1", "MP2RAGE", "MPM"),
    *("MTS", "MTR", "T1map", "T2map", "T2starmap", "R1map", "R2map", "R2starmap", "PDmap"),
    *("MTRmap", "MTsat", "MTVmap", "MWFmap", "M0map", "S0map", "T1rhomap", "Chimap"),
)
# What lies there beside the scans, and is none.
_LABELS = ("mask", "defacemask", "dseg", "probseg")
# Folders of a dataset in which no raw images of its own lie.
_ELSEWHERE = ("derivatives", "sourcedata", "code", "stimuli", "phenotype")
# Order of the entities in a file name (BIDS 1.10, appendix "Entity table").
_ORDER = (
    *("sub", "ses", "sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc", "stain"),
    *("rec", "dir", "run", "mod", "echo", "flip", "inv", "mt", "part", "proc", "hemi", "space"),
    *("split", "recording", "chunk", "seg", "res", "den", "label", "desc"),
)
_SUFFIXES = {"anat": ANATOMICAL, "micr": MICROSCOPY}
_EXTENSIONS = {"anat": (".nii.gz", ".nii"), "micr": (".png", *PICTURE_SUFFIXES)}
# What looks like an image to whoever opens the folder.
_IMAGES = {
    "anat": (".nii", ".nii.gz", ".mgz", ".mgh", ".img", ".img.gz", ".hdr", ".nrrd", ".mha"),
    "micr": (".png", *PICTURE_SUFFIXES),
}
_ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)\Z")
# Entities that raw images have and no derivative of them may have (BIDS 1.10, schema of names).
_FOLDED = ("dir", "mod", "flip", "inv", "mt", "proc", "hemi", "nuc", "voi", "trc", "split")
# What is written and has no name in BIDS: reports, tables, distances, standard deviations.
_OWN = ("/report*", "/predictions.csv", "/group_*", "/table.csv")
_IGNORED = (*_OWN, "*_dist.*", "*_T2wstd.*", "*_xfm.*")
MAKER = "Encephalon"
_README = """# {name}

{makers} wrote the images of this dataset and dataset_description.json, which says what they were
made from. The JSON file beside each image names its sources, the model, its settings and how far it
can be trusted. Where a batch was predicted, predictions.csv has a row for each image and
report.html shows them; these two, and what else BIDS has no name for, are listed in .bidsignore.

Replace this text by your own; name the authors in dataset_description.json before you share it.
"""


@dataclass(frozen=True)
class BidsFile:
    """One image of a dataset: its path, its entities in file-name order, and its suffix."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def id(self) -> str:
        """The file name without its extension, such as 'sub-01_ses-1_T1w'."""
        return f"{join_entities(self.entities)}_{self.suffix}"

    @property
    def folder(self) -> Path:
        """Subject, session and data type, such as sub-01/ses-1/anat."""
        parts = [f"{key}-{self.entities[key]}" for key in ("sub", "ses") if key in self.entities]
        return Path(*parts, self.path.parent.name)

    @property
    def root(self) -> Path:
        """The folder of the dataset: what holds the subject's own."""
        parts, subject = self.path.parts, f"sub-{self.entities['sub']}"
        last = max((n for n, part in enumerate(parts) if part == subject), default=0)
        return Path(*parts[:last])


def is_bids(folder: str | Path) -> bool:
    """Whether `folder` is a BIDS dataset: it says so, or has images of heads or microscopes.

    These lie in sub-*/[ses-*/]anat and micr. A description that cannot be read is said so, and the
    folders alone decide.
    """
    folder = Path(folder)
    if not is_folder(folder):
        return False
    try:
        description = read_description(folder)
    except InputError as error:
        _log.warning("%s", error)
        description = None
    if description is not None and "BIDSVersion" in description:
        return True
    return any(True for datatype in _SUFFIXES for _ in _candidates(folder, datatype))


def index_bids(
    folder: str | Path,
    suffixes: Sequence[str] | None = None,
    subjects: Iterable[str] | None = None,
    sessions: Iterable[str] | None = None,
    datatype: Literal["anat", "micr"] = "anat",
    filters: Filters | None = None,
) -> list[BidsFile]:
    """The images of a dataset with one of `suffixes`, sorted by path.

    Volumes in "anat" or pictures in "micr"; all kinds of that `datatype` by default. `subjects` and
    `sessions` are labels with or without "sub-" and "ses-"; `filters` as in `io.bids_filters`. See
    `left_out` for what is not among them. Raises MissingFileError when a label is not in the
    dataset or when nothing is found.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise MissingFileError(
            f"{folder}: there is no such folder; check the path of the BIDS dataset."
        )
    suffixes = suffixes or _SUFFIXES[datatype]
    found = [file for file in _named(folder, datatype) if file.suffix in suffixes]
    asked = [file for file in found if fits(file, filters or {})]
    if found and not asked:
        raise MissingFileError(
            f"{folder}: none of its {len(found)} images, such as {found[0].path.name}, fits the "
            "filters; mend the file of filters, or leave it out."
        )
    found = asked
    for key, labels in (("sub", subjects), ("ses", sessions)):
        if labels is None:
            continue
        wanted = [label.removeprefix(f"{key}-") for label in labels]
        known = {file.entities.get(key) for file in found}
        if missing := [label for label in wanted if label not in known]:
            raise MissingFileError(
                f"{folder}: {key}-{missing[0]} was asked for, but the dataset has no image of it; "
                f"{_misnamed_words(folder, datatype)}it has "
                f"{', '.join(sorted(f'{key}-{label}' for label in known if label)) or 'none'}."
            )
        found = [file for file in found if file.entities.get(key) in wanted]
    if not found:
        kinds = suffixes[0] if len(suffixes) == 1 else f"{{{','.join(suffixes)}}}"
        name = f"sub-*_{kinds}{_EXTENSIONS[datatype][0]}"
        raise MissingFileError(
            f"{folder}: no image named {name} was found in sub-*/{datatype}; "
            f"{_misnamed_words(folder, datatype)}check the dataset or ask for other suffixes."
        )
    return sorted(found, key=lambda file: file.path)


def left_out(
    folder: str | Path,
    suffixes: Sequence[str] | None = None,
    datatype: Literal["anat", "micr"] = "anat",
) -> list[str]:
    """Sentences on the images that `index_bids` passes over although somebody may miss them.

    Those whose names are no BIDS names, or lie in another's folder; without `suffixes`, scans of
    kinds that are only taken when they are asked for; with them, kinds of which there is none.
    """
    folder = Path(folder)
    kinds = {file.suffix: file.path for file in _named(folder, datatype)}
    sentences = []
    if strays := _misnamed(folder, datatype):
        sentences.append(
            f"{folder}: left out {len(strays)} of the images, whose names or places are not those "
            f"of BIDS: {listed(path.name for path in strays)}; rename them, such as "
            "sub-01/anat/sub-01_T1w.nii.gz."
        )
    if suffixes is None:
        if rest := [kind for kind in kinds if kind in _OTHER_SCANS]:
            sentences.append(
                f"{folder}: left out the kinds {', '.join(rest)}; --suffix takes them."
            )
    elif absent := [kind for kind in suffixes if kind not in kinds]:
        sentences.append(
            f"{folder}: no image of the kind {' or '.join(absent)} was found in sub-*/{datatype}; "
            f"it has {', '.join(kinds)}."
        )
    return sentences


def parse_name(path: str | Path) -> BidsFile | None:
    """The entities and suffix of a BIDS file name, or None when it is not one."""
    path = Path(path)
    known = (extension for extensions in _EXTENSIONS.values() for extension in extensions)
    extension = next((one for one in known if path.name.endswith(one)), None)
    if extension is None:
        return None
    *pairs, suffix = path.name[: -len(extension)].split("_")
    matches = [_ENTITY.match(pair) for pair in pairs]
    entities = {m.group(1): m.group(2) for m in matches if m is not None}
    if len(entities) != len(pairs) or "sub" not in entities or not suffix.isalnum():
        return None
    return BidsFile(path, entities, suffix)


def _candidates(folder: Path, datatype: str) -> Iterator[Path]:
    for pattern in (f"sub-*/{datatype}/sub-*", f"sub-*/ses-*/{datatype}/sub-*"):
        yield from (p for p in folder.glob(pattern) if p.name.endswith(_EXTENSIONS[datatype]))


def _named(folder: Path, datatype: str) -> list[BidsFile]:
    """The images with a BIDS name, in the folder that it belongs into."""
    known = {*_SUFFIXES[datatype], *_OTHER_SCANS, *_LABELS}
    files = filter(None, map(parse_name, _candidates(folder, datatype)))
    return [one for one in files if one.suffix in known and folder / one.folder == one.path.parent]


def _misnamed(folder: Path, datatype: str) -> list[Path]:
    """What looks like an image of that kind and has no such name, sorted by path."""
    named = {file.path for file in _named(folder, datatype)}
    return sorted(
        path
        for place in _places(folder, datatype)
        for path in place.iterdir()
        if path.name.lower().endswith(_IMAGES[datatype])
        and not path.name.startswith(".")
        and path not in named
    )


def _places(folder: Path, datatype: str) -> Iterator[Path]:
    """Folders in which images lie, should lie or were put by mistake."""
    for subject in _folders(folder):
        if subject.name in _ELSEWHERE:
            continue
        for place in (subject, *_folders(subject)):
            if place.name.lower() == datatype or place.name.lower().startswith(("sub-", "ses-")):
                yield place
            within = () if place == subject else _folders(place)
            yield from (one for one in within if one.name.lower() == datatype)


def _folders(folder: Path) -> list[Path]:
    return [one for one in folder.iterdir() if not one.name.startswith(".") and one.is_dir()]


def _misnamed_words(folder: Path, datatype: str) -> str:
    strays = _misnamed(folder, datatype)
    return f"{listed(path.name for path in strays)} are named otherwise; " if strays else ""


def read_description(folder: Path) -> dict[str, Any] | None:
    """The content of dataset_description.json, or None where there is no such file.

    Raises InputError, naming the file, for one that is there and cannot be read: a damaged
    description is not an absent one.
    """
    path = folder / DESCRIPTION
    if not os.path.lexists(path):
        return None
    content = read_json(path)
    if not isinstance(content, dict):
        raise UnreadableFileError(f"{path}: expected a JSON object with Name and BIDSVersion.")
    return content


def join_entities(entities: Mapping[str, str]) -> str:
    """The entities as a file name has them: in the order of BIDS, unknown ones last."""
    ordered = sorted(entities, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
    return "_".join(f"{key}-{entities[key]}" for key in ordered)


def derivative_path(
    out: str | Path,
    file: BidsFile,
    desc: str = "brain",
    suffix: str = "mask",
    ext: str = ".nii.gz",
) -> Path:
    """Where a derivative of `file` goes: out/sub-01/anat/sub-01_desc-brain_mask.nii.gz.

    No two images of a dataset share a name: where the suffix changes, that of a source other than
    T1w joins the label (desc-brainFLAIR), and so do a label that the source has already
    (desc-preprocBrain) and entities that BIDS allows for raw images alone (desc-brainInv1).
    """
    kept = {key: label for key, label in file.entities.items() if key not in (*_FOLDED, "desc")}
    words = [file.entities.get("desc", ""), desc]
    words += [key + file.entities[key] for key in _FOLDED if key in file.entities]
    if file.suffix != "T1w" and not suffix.startswith(file.suffix):
        words.append(file.suffix)
    first, *others = [word for word in words if word] or [""]
    label = first + "".join(word[0].upper() + word[1:] for word in others)  # camelCase
    entities = {**kept, "desc": label} if label else kept
    return Path(out) / file.folder / f"{join_entities(entities)}_{suffix}{ext}"


def write_dataset_description(
    out: str | Path,
    name: str,
    generated_by: Sequence[Mapping[str, Any]],
    links: Mapping[str, str] | None = None,
) -> Path:
    """Write dataset_description.json, README.md and .bidsignore of a derivative dataset.

    What is there is kept. `links` says where the datasets lie that BIDS addresses such as
    bids:raw:sub-01/... name. Raises OutputError when `out` is a raw dataset or a subject's folder
    in one, which derivatives must not be mixed into, and when its description cannot be read.
    """
    out = Path(out)
    path = out / DESCRIPTION
    present = _present(out)
    _refuse_raw(out, present)
    write_ignored(out)
    if present is not None:
        return path
    content: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [dict(item) for item in generated_by],
    }
    if links:
        content["DatasetLinks"] = dict(links)
    if not any(out.glob("README*")):
        makers = " and ".join(str(item["Name"]) for item in generated_by) or "Encephalon"
        write_text(out / "README.md", _README.format(name=name, makers=makers))
    return write_json(path, content)


def generated_by() -> list[dict[str, Any]]:
    """The entry of GeneratedBy that names this program."""
    from encephalon import __version__

    return [
        {
            "Name": MAKER,
            "Version": __version__,
            "Description": f"Python {platform.python_version()}",
            "CodeURL": f"pkg:generic/encephalon@{__version__}",
        }
    ]


def write_ignored(dataset: Path) -> None:
    """Write .bidsignore, with all that this program writes beside BIDS; one that is there stays."""
    if not os.path.lexists(dataset / ".bidsignore"):
        write_text(dataset / ".bidsignore", "".join(f"{pattern}\n" for pattern in _IGNORED))


def _refuse_raw(out: Path, present: Mapping[str, Any] | None) -> None:
    raw = None if present is None or present.get("DatasetType") == "derivative" else out
    above = next((one for one in out.absolute().parents if os.path.lexists(one / DESCRIPTION)), out)
    if above != out and out.absolute().relative_to(above).parts[0].startswith("sub-"):
        raw = None if (_present(above) or {}).get("DatasetType") == "derivative" else above
    if raw is not None:
        raise OutputError(
            f"{out} is {'' if raw == out else 'a part of '}a raw BIDS dataset, and derivatives "
            "would be mixed into it; choose another folder, such as "
            f"{raw / 'derivatives' / 'encephalon'}."
        )


def _present(folder: Path) -> dict[str, Any] | None:
    """The description of a dataset that is there, which is never replaced; None if there is none.

    Raises OutputError for one that cannot be read.
    """
    try:
        return read_description(folder)
    except InputError as error:
        raise OutputError(
            f"{error} It was left as it is, and nothing was written beside it: mend it, or choose "
            "another folder."
        ) from error
