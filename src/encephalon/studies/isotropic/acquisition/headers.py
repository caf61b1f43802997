# SPDX-License-Identifier: Apache-2.0
"""What is written about a scan beside its voxels, in the BIDS sidecar or the DICOM header.

What there is to warn of is gathered in `Diagnostics` while one image is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from encephalon.io.dicom_header import DicomHeader
from encephalon.io.text import read_json
from encephalon.tables.naming import file_stem

__all__ = ["Diagnostics", "acquisition_metadata", "sidecars", "subject_and_session"]

# What the DICOM header and BIDS call the same, mm.
_NAMES = {"thickness": "SliceThickness", "spacing_between": "SpacingBetweenSlices"}
# Folders above a file that may hold a sidecar for it: data type, session, subject, dataset.
_LEVELS = 4


def acquisition_metadata(path: Path | None, header: Any = None) -> dict[str, Any]:
    """What the JSON beside a NIfTI file, or the `header` of a DICOM series, says; {} for nothing.

    In a BIDS dataset the sidecars of the folders above hold too, the nearest one first (BIDS 1.10,
    "The Inheritance Principle"). Raises UnreadableFileError or MissingFileError for a sidecar that
    is there and cannot be read, since what it would say of the slices drives the result.
    """
    if isinstance(header, DicomHeader):
        return {word: header.text(name) for name, word in _NAMES.items() if header.text(name)}
    if path is None or not path.is_file():
        return {}
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
    content = read_json(path) if os.path.lexists(path) else {}
    return content if isinstance(content, dict) else {}


class Diagnostics:
    """Sentences about the image `name`.

    Attributes
    ----------
    notes
        What is worth knowing.
    warnings
        What deserves a look before the result is used.
    """

    def __init__(self, name: str) -> None:
        """Begin with nothing said."""
        self.name = name
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Add what is worth knowing; the name and the full stop come by themselves."""
        self.notes.append(f"{self.name}: {text}.")

    def warn(self, text: str) -> None:
        """Add what deserves a look."""
        self.warnings.append(f"{self.name}: {text}.")
