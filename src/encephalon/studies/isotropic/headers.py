# SPDX-License-Identifier: Apache-2.0
"""What is written about a scan beside its voxels: the BIDS sidecar, or the DICOM header."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from encephalon.errors import InputError
from encephalon.io.text import read_json
from encephalon.tables.naming import file_stem

__all__ = ["header_facts", "sidecars", "subject_and_session"]

# DICOM tags, and what BIDS calls them; both are in mm.
_TAGS = {"0018|0050": "SliceThickness", "0018|0088": "SpacingBetweenSlices"}
# Folders above a file that may hold a sidecar for it: data type, session, subject, dataset.
_LEVELS = 4


def header_facts(path: Path | None) -> dict[str, Any]:
    """What the JSON beside a NIfTI file, or the header of a DICOM series, says; {} where nothing.

    In a BIDS dataset the sidecars of the folders above hold too, the nearest one first (BIDS 1.10,
    "The Inheritance Principle"). A sidecar that cannot be read says nothing.
    """
    if path is None or not path.exists():
        return {}
    if _is_dicom(path):
        return _dicom(path)
    facts: dict[str, Any] = {}
    for sidecar in sidecars(path):
        facts = {**_json(sidecar), **facts}
    return facts


def subject_and_session(path: Path | None) -> tuple[str, str]:
    """The labels "sub-01" and "ses-1" of a BIDS name; "" where the name has none."""
    parts = file_stem(path).split("_") if path is not None else []
    found = {part.partition("-")[0]: part for part in parts if "-" in part}
    return found.get("sub", ""), found.get("ses", "")


def sidecars(path: Path) -> Iterator[Path]:
    """Files that may tell of `path`, the nearest one first."""
    yield path.with_name(f"{file_stem(path)}.json")
    words = file_stem(path).split("_")
    root = next((one for one in list(path.parents)[:_LEVELS] if _is_root(one)), None)
    for folder in list(path.parents)[:_LEVELS] if root else []:
        near = [one for one in folder.glob(f"*{words[-1]}.json") if one.stem != file_stem(path)]
        for file in sorted(near, key=lambda one: -len(one.stem.split("_"))):
            if set(file.stem.split("_")) <= set(words):
                yield file
        if folder == root:
            return


def _is_root(folder: Path) -> bool:
    return (folder / "dataset_description.json").is_file()


def _json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except InputError:
        return {}
    return content if isinstance(content, dict) else {}


def _is_dicom(path: Path) -> bool:
    from encephalon.io.dicom import is_dicom

    return path.is_dir() or is_dicom(path)


def _dicom(path: Path) -> dict[str, Any]:
    """The sizes in the first readable slice of a series that was read already."""
    from encephalon.io.dicom import is_dicom

    files = [path] if path.is_file() else sorted(filter(is_dicom, path.iterdir()))
    if not files:
        return {}
    reader: Any = import_module("SimpleITK").ImageFileReader()
    reader.SetFileName(str(files[0]))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # all that SimpleITK raises
        return {}
    return {
        name: reader.GetMetaData(tag) for tag, name in _TAGS.items() if reader.HasMetaDataKey(tag)
    }
