# SPDX-License-Identifier: Apache-2.0
"""BIDS derivatives out (Brain Imaging Data Structure 1.10): names, and what a dataset must say."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from encephalon.errors import InputError, OutputError
from encephalon.io.atomic import write_json, write_text
from encephalon.io.bids import BIDS_VERSION, DESCRIPTION, BidsFile, join_entities, read_description

# Entities that raw images have and no derivative of them may have (BIDS 1.10, schema of names).
_FOLDED = ("dir", "mod", "flip", "inv", "mt", "proc", "hemi", "nuc", "voi", "trc", "split")
# What is written and has no name in BIDS: reports, tables, distances, standard deviations.
_IGNORED = ("/report*", "/predictions.csv", "/table.csv", "*_dist.*", "*_T2wstd.*")
MAKER = "Encephalon"
_README = """# {name}

{makers} wrote the images of this dataset and dataset_description.json, which says what they were
made from. The JSON file beside each image names its sources, the model, its settings and how far it
can be trusted. Where a batch was predicted, predictions.csv has a row for each image and
report.html shows them; these two, and what else BIDS has no name for, are listed in .bidsignore.

Replace this text by your own; name the authors in dataset_description.json before you share it.
"""


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
    label = _camel_case(words)
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
    raw = out if present is not None and not _is_derivative(present) else None
    above = next((one for one in out.absolute().parents if os.path.lexists(one / DESCRIPTION)), out)
    if above != out and out.absolute().relative_to(above).parts[0].startswith("sub-"):
        raw = None if _is_derivative(_present(above) or {}) else above
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


def _is_derivative(description: Mapping[str, Any]) -> bool:
    return bool(description.get("DatasetType", "raw") == "derivative")


def _camel_case(words: Iterable[str]) -> str:
    first, *others = [word for word in words if word] or [""]
    return first + "".join(word[0].upper() + word[1:] for word in others)
