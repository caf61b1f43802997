# SPDX-License-Identifier: Apache-2.0
"""Image files among others: by kind, as DICOM series, and what is left out with a warning."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from encephalon.errors import quoted
from encephalon.io.files import is_folder

_log = logging.getLogger(__name__)

Kind = Literal["volume", "picture"]

KINDS: dict[Kind, str] = {
    "volume": "volumes: NIfTI, MGZ or DICOM",
    "picture": "pictures: TIFF, PNG or JPEG",
}


# Names of images that other programs read; of those in two files, the one with the voxels.
_UNREAD: dict[str, tuple[str, ...]] = {
    "volume": (
        *(".img", ".img.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc", ".brik", ".brik.gz"),
        *(".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip", ".mif", ".mif.gz"),
    ),
    "picture": (
        *(".bmp", ".gif", ".webp", ".jp2", ".czi", ".lsm", ".lif", ".nd2", ".svs", ".ndpi"),
        *(".dm3", ".dm4", ".mrc", ".emd", ".ser", ".heic"),
    ),
}
# Files of a folder that are opened to see whether it holds a DICOM series.
_PEEKED = 16


def is_image(path: Path) -> bool:
    """Whether the name of that file is that of a picture or of a whole volume."""
    return any(is_kind(path, kind) for kind in KINDS)


def is_kind(path: Path, kind: Kind) -> bool:
    """Whether that file is named like a picture, or like a whole volume."""
    from encephalon.io.image import SLICE_SUFFIXES, image_suffix
    from encephalon.io.micrograph import is_picture

    # Not is_file: a link to nothing, as in a dataset not fetched yet, must fail aloud.
    if is_folder(path):
        return False
    if kind == "picture":
        return is_picture(path)
    return image_suffix(path) not in (None, *SLICE_SUFFIXES)


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


def say_unread(folder: Path, files: Sequence[Path], kind: str) -> None:
    """Warn of images, volumes or pictures by `kind`, whose formats are not read."""
    unread = [file.name for file in files if file.name.lower().endswith(_UNREAD[kind])]
    if unread:
        _log.warning(
            "%s: left out %d images whose formats are not read: %s; convert them.",
            folder,
            len(unread),
            quoted(unread),
        )


def say_series(folder: Path, series: Sequence[Path]) -> None:
    """Warn of the folders `series` of DICOM beside images that are files of their own."""
    if series:
        names = quoted("the folder itself" if one == folder else one.name for one in series)
        _log.warning(
            "%s: left out the DICOM series in %s, as there are images beside them; give each by "
            "itself if it is meant.",
            folder,
            names,
        )
