# SPDX-License-Identifier: Apache-2.0
"""DICOM among the inputs: several files that are one series, and folders that hold one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["is_dicom_folder", "series_as_folders"]

# Files of a folder that are opened to see whether it holds a DICOM series.
_PEEKED = 16


def series_as_folders(paths: Sequence[Path]) -> Iterator[Path]:
    """The paths, with several DICOM files of one series as one: the folder that is all theirs.

    Where it holds more than those that were named, the first of each series stands for its series.
    """
    from encephalon.io.dicom import series_key

    named: dict[Path, list[Path]] = {}
    for path in paths:
        if _is_slice(path):
            named.setdefault(path.parent, []).append(path)
    first: dict[Path, Path] = {}
    for folder, slices in named.items():
        if len(set(slices)) < 2:
            continue
        series: dict[str, Path] = {}
        for path in slices:
            first[path] = series.setdefault(series_key(path), path)
        if len(series) == 1 and _dicom_files(folder) <= set(slices):
            first.update(dict.fromkeys(slices, folder))
    for path in paths:
        yield first.get(path, path)


def _dicom_files(folder: Path) -> set[Path]:
    from encephalon.io.dicom import is_dicom

    return set(filter(is_dicom, folder.iterdir())) if folder.is_dir() else set()


def is_dicom_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a DICOM file is among the first files of a folder; of one that cannot be read, no."""
    from encephalon.io.dicom import is_dicom

    try:
        inside = sorted(Path(path).iterdir())
    except OSError:
        return False
    visible = (item for item in inside if not item.name.startswith("."))
    files = (item for item in visible if item.is_file())
    return any(is_dicom(item) for item, _ in zip(files, range(_PEEKED), strict=False))


def _is_slice(path: Path) -> bool:
    from encephalon.io.dicom import is_dicom
    from encephalon.io.image import SLICE_SUFFIXES, image_suffix
    from encephalon.io.micrograph import is_picture

    if path.suffix.lower() in SLICE_SUFFIXES:
        return True
    return image_suffix(path) is None and not is_picture(path) and is_dicom(path)
