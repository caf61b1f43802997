# SPDX-License-Identifier: Apache-2.0
"""BIDS datasets in, BIDS derivatives out (Brain Imaging Data Structure 1.10)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from encephalon.errors import MissingFileError, OutputError
from encephalon.io.atomic import write_json
from encephalon.io.micrograph import PICTURE_SUFFIXES

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
# Order of the entities in a file name (BIDS 1.10, appendix "Entity table").
_ORDER = (
    *("sub", "ses", "sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc", "stain"),
    *("rec", "dir", "run", "mod", "echo", "flip", "inv", "mt", "part", "proc", "hemi", "space"),
    *("split", "recording", "chunk", "seg", "res", "den", "label", "desc"),
)
_SUFFIXES = {"anat": ANATOMICAL, "micr": MICROSCOPY}
_EXTENSIONS = {"anat": (".nii.gz", ".nii"), "micr": (".png", *PICTURE_SUFFIXES)}
_ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)\Z")


@dataclass(frozen=True)
class BidsFile:
    """One image of a dataset: its path, its entities in file-name order, and its suffix."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def id(self) -> str:
        """The file name without its extension, such as 'sub-01_ses-1_T1w'."""
        return f"{_join(self.entities)}_{self.suffix}"

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

    These lie in sub-*/[ses-*/]anat and micr.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return False
    description = _description(folder)
    if isinstance(description, dict) and "BIDSVersion" in description:
        return True
    return any(True for datatype in _SUFFIXES for _ in _candidates(folder, datatype))


def index_bids(
    folder: str | Path,
    suffixes: Sequence[str] | None = None,
    subjects: Iterable[str] | None = None,
    sessions: Iterable[str] | None = None,
    datatype: Literal["anat", "micr"] = "anat",
) -> list[BidsFile]:
    """The images of a dataset with one of `suffixes`, sorted by path.

    Volumes in "anat" or pictures in "micr"; all kinds of that `datatype` by default. `subjects` and
    `sessions` are labels with or without "sub-" and "ses-". Raises MissingFileError when a label is
    not in the dataset or when nothing is found.
    """
    folder = Path(folder)
    if not folder.is_dir():
        message = f"{folder}: there is no such folder; check the path of the BIDS dataset."
        raise MissingFileError(message)
    suffixes = suffixes or _SUFFIXES[datatype]
    found = [file for file in map(parse_name, _candidates(folder, datatype)) if file is not None]
    found = [file for file in found if file.suffix in suffixes]
    found = _only(found, "sub", subjects, folder)
    found = _only(found, "ses", sessions, folder)
    if not found:
        name = f"sub-*_{{{','.join(suffixes)}}}{_EXTENSIONS[datatype][0]}"
        message = (
            f"{folder}: no image named {name} was found in sub-*/{datatype}; check the dataset or "
            "ask for other suffixes."
        )
        raise MissingFileError(message)
    return sorted(found, key=lambda file: file.path)


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


def derivative_path(
    out: str | Path,
    file: BidsFile,
    desc: str = "brain",
    suffix: str = "mask",
    ext: str = ".nii.gz",
) -> Path:
    """Where a derivative of `file` goes: out/sub-01/anat/sub-01_desc-brain_mask.nii.gz.

    When the suffix changes, a source other than T1w is kept as mod-<suffix> (mod-T2w), so that
    the masks of two contrasts never share a name.
    """
    entities = {**file.entities, "desc": desc} if desc else dict(file.entities)
    if file.suffix not in (suffix, "T1w"):
        entities["mod"] = file.suffix
    return Path(out) / file.folder / f"{_join(entities)}_{suffix}{ext}"


def write_dataset_description(
    out: str | Path,
    name: str,
    generated_by: Sequence[Mapping[str, Any]],
    links: Mapping[str, str] | None = None,
) -> Path:
    """Write dataset_description.json of a derivative dataset; one that is there is kept.

    `links` says where the datasets lie that BIDS addresses such as bids:raw:sub-01/... name.
    Raises OutputError when `out` is a raw dataset, which derivatives must not be mixed into.
    """
    out = Path(out)
    path = out / "dataset_description.json"
    present = _description(out)
    if isinstance(present, dict):
        if present.get("DatasetType", "raw") != "derivative":
            message = (
                f"{out} is a raw BIDS dataset, and derivatives would be mixed into it; choose "
                f"another folder, such as {out / 'derivatives' / 'encephalon'}."
            )
            raise OutputError(message)
        return path
    content: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [dict(item) for item in generated_by],
    }
    if links:
        content["DatasetLinks"] = dict(links)
    return write_json(path, content)


def _candidates(folder: Path, datatype: str) -> Iterator[Path]:
    for pattern in (f"sub-*/{datatype}/sub-*", f"sub-*/ses-*/{datatype}/sub-*"):
        yield from (p for p in folder.glob(pattern) if p.name.endswith(_EXTENSIONS[datatype]))


def _only(
    files: list[BidsFile], key: str, labels: Iterable[str] | None, folder: Path
) -> list[BidsFile]:
    if labels is None:
        return files
    wanted = [label.removeprefix(f"{key}-") for label in labels]
    known = {file.entities.get(key) for file in files}
    missing = [label for label in wanted if label not in known]
    if missing:
        message = (
            f"{folder}: {key}-{missing[0]} was asked for, but the dataset has no image of it; it "
            f"has {', '.join(sorted(f'{key}-{label}' for label in known if label)) or 'none'}."
        )
        raise MissingFileError(message)
    return [file for file in files if file.entities.get(key) in wanted]


def _description(folder: Path) -> Any:
    try:
        return json.loads((folder / "dataset_description.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _join(entities: Mapping[str, str]) -> str:
    last = len(_ORDER)
    rank = {key: _ORDER.index(key) if key in _ORDER else last for key in entities}
    return "_".join(f"{key}-{entities[key]}" for key in sorted(entities, key=lambda k: rank[k]))
