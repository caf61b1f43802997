# SPDX-License-Identifier: Apache-2.0
"""What of a folder is an image to work on: its kind, DICOM series, BIDS, and what is left out."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from encephalon.errors import InputError, UsageError, quoted
from encephalon.io.files import is_folder
from encephalon.io.text import read_json
from encephalon.tables.naming import file_stem

if TYPE_CHECKING:
    from encephalon.io.bids import BidsFile
    from encephalon.io.bids_filters import Filters


_log = logging.getLogger(__name__)
Kind = Literal["volume", "picture", "microscopy"]

KINDS: dict[Kind, str] = {
    "volume": "volumes: NIfTI, MGZ, NRRD, MHA or DICOM",
    "picture": "pictures: TIFF, PNG, JPEG and others",
    "microscopy": "pictures or volumes of microscopy: TIFF, PNG, JPEG, Zarr, HDF5 or NumPy",
}
# Of volumes of microscopy that are no pictures; those of Zarr are folders.
_MICROSCOPY = (".zarr", ".h5", ".hdf5", ".npy")

# Results of other programs beside the scans that they were made from: scan_mask.nii.gz.
_MASK = re.compile(r"(?:^|[_.-])(?:brain)?_?mask$", re.IGNORECASE)
_OTHER: dict[Kind, Kind] = {"volume": "picture", "picture": "volume", "microscopy": "volume"}
# Names of images that other programs read; of those in two files, the one with the voxels.
_UNREAD: dict[str, tuple[str, ...]] = {
    "volume": (
        *(".img", ".img.gz", ".nhdr", ".mhd", ".mnc", ".brik", ".brik.gz"),
        *(".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip", ".mif", ".mif.gz"),
    ),
    "picture": (".lsm", ".svs", ".ndpi", ".emd", ".ser", ".heic", ".tga", ".oib", ".oif", ".vsi"),
}
_UNREAD["microscopy"] = _UNREAD["picture"]
# Files of a folder that are opened to see whether it holds a DICOM series.
_PEEKED = 16


def inside(folder: Path, pattern: str) -> list[Path]:
    """What lies in a folder, or below it, and fits `pattern`, but hidden files; in order.

    Raises UsageError for a pattern that is none.
    """
    try:
        found = sorted(folder.glob(pattern))
    except (ValueError, NotImplementedError, IndexError):
        raise UsageError(
            f"The pattern {pattern!r} is none of files below a folder: write it as '*T1w.nii.gz', "
            "or '**/*.nii.gz' for sub-folders too."
        ) from None
    below = len(folder.parts)
    return [item for item in found if not any(p.startswith(".") for p in item.parts[below:])]


def no_images(path: Path, kind: Kind, visible: Sequence[Path]) -> str:
    """Why a folder has nothing for a model of that kind."""
    wanted, other = KINDS[kind], _OTHER[kind]
    strange = next((item.name for item in visible if is_kind(item, other)), None)
    if strange is not None:
        return (
            f"The folder {path} holds {other}s such as {strange}, but this model takes {wanted}: "
            "choose another model or folder."
        )
    if kind != "volume":
        return (
            f"The folder {path} holds no pictures ({wanted}): give the folder that holds them "
            "directly, or make a table of all below it with  encephalon table images."
        )
    return (
        f"The folder {path} holds no images, no DICOM series and no BIDS dataset: give the folder "
        "that holds them directly, or a pattern such as '**/*' for its sub-folders."
    )


def made_from(image: Path) -> set[str]:
    """The names of the files that a result of this program was made from, by its sidecar.

    Masks that were written beside their scans are no scans when the folder is given again.
    """
    try:
        record = read_json(image.with_name(f"{file_stem(image)}.json"))
        makers = {maker["Name"] for maker in record["GeneratedBy"]}
        return {Path(path).name for path in record["Sources"]} if "Encephalon" in makers else set()
    except (InputError, LookupError, TypeError):
        return set()


def without_masks(folder: Path, images: Sequence[Path]) -> list[Path]:
    """The images but those that call themselves masks, as long as others do not; says so."""
    scans = [item for item in images if not _MASK.search(file_stem(item))]
    masks = [item.name for item in images if item not in scans]
    if not scans or not masks:
        return list(images)
    _log.warning(
        "%s: left out %d of the images, which their names call masks: %s; give them by name if "
        "they are meant.",
        *(folder, len(masks), quoted(masks)),
    )
    return scans


def is_image(path: Path) -> bool:
    """Whether the name of that file is that of a picture or of a whole volume."""
    return is_kind(path, "picture") or is_kind(path, "volume")


def is_kind(path: Path, kind: Kind) -> bool:
    from encephalon.io.image import SLICE_SUFFIXES, image_suffix
    from encephalon.io.micrograph import is_picture

    if kind == "microscopy" and path.name.lower().endswith(_MICROSCOPY):
        return True
    # Not is_file: a link to nothing, as in a dataset not fetched yet, must fail aloud.
    if is_folder(path):
        return False
    if kind != "volume":
        return is_picture(path)
    return image_suffix(path) not in (None, *SLICE_SUFFIXES)


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


def bids_query(
    suffixes: Sequence[str] | None,
    participants: Sequence[str] | None,
    sessions: Sequence[str] | None,
    filters: Filters | None = None,
) -> dict[str, Any]:
    """The arguments of `index_bids` for these wishes; the kinds of image it takes by default."""
    query: dict[str, Any] = {"subjects": participants, "sessions": sessions, "filters": filters}
    return query if suffixes is None else {**query, "suffixes": tuple(suffixes)}


def find_images(
    folder: Path,
    query: Mapping[str, Any],
    kinds: Sequence[str] | None = None,
    datatype: Literal["anat", "micr"] = "anat",
) -> list[BidsFile]:
    """The images that `query` asks for, those of `kinds` where it names none; says what is left.

    Raises the errors of `index_bids`.
    """
    from encephalon.io.bids import index_bids, left_out

    default = {} if kinds is None else {"suffixes": tuple(kinds)}
    found = index_bids(folder, datatype=datatype, **{**default, **query})
    for sentence in left_out(folder, query.get("suffixes", () if default else None), datatype):
        _log.warning("%s", sentence)
    return found


def series_as_folders(paths: Sequence[Path]) -> Iterator[Path]:
    """The paths, with several DICOM files of one series as one: the folder that is all theirs.

    Where it holds more than those that were named, the first of each series stands for its series.
    """
    from encephalon.io.dicom_series import is_dicom, series_key

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
        inside = folder.iterdir() if folder.is_dir() else ()
        if len(series) == 1 and set(filter(is_dicom, inside)) <= set(slices):
            first.update(dict.fromkeys(slices, folder))
    for path in paths:
        yield first.get(path, path)


def is_dicom_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a DICOM file is among the first files of a folder; of one that cannot be read, no."""
    from encephalon.io.dicom_series import is_dicom

    try:
        inside = sorted(Path(path).iterdir())
    except OSError:
        return False
    visible = (item for item in inside if not item.name.startswith("."))
    files = (item for item in visible if item.is_file())
    return any(is_dicom(item) for item, _ in zip(files, range(_PEEKED), strict=False))


def _is_slice(path: Path) -> bool:
    from encephalon.io.dicom_series import is_dicom
    from encephalon.io.image import SLICE_SUFFIXES, image_suffix
    from encephalon.io.micrograph import is_picture

    if path.suffix.lower() in SLICE_SUFFIXES:
        return True
    return image_suffix(path) is None and not is_picture(path) and is_dicom(path)
