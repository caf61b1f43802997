# SPDX-License-Identifier: Apache-2.0
"""What a folder holds beside the images that are taken: said, since nobody would miss it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from encephalon.errors import quoted

__all__ = ["say_series", "say_unread"]

_log = logging.getLogger(__name__)

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
