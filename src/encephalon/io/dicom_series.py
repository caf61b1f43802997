# SPDX-License-Identifier: Apache-2.0
"""Which DICOM files make up one volume: found in a folder, chosen, and sorted by place."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import (
    ContentError,
    GeometryError,
    InputError,
    MissingFileError,
    UnreadableFileError,
    listed,
)
from encephalon.io.dicom_header import DicomHeader, begins_like_dicom, read_header
from encephalon.io.files import exists, is_file, need_file, opened
from encephalon.io.image import SLICE_SUFFIXES

_log = logging.getLogger(__name__)

# Bytes that tell whether a file is DICOM: the preamble, its mark, and a first element or two.
_PEEKED = 256
# Positions (mm) and direction cosines that differ by less are the same.
_SAME_PLACE, _SAME_DIRECTION = 1e-2, 1e-3
# What the products of two directions, each rounded to two decimals by its writer, may be wrong by.
_NOT_DIRECTIONS = 0.03
# Sizes of pixels that differ by a smaller share are the same.
_SAME_SIZE = 1e-3


@dataclass(frozen=True)
class Slice:
    """One image of a series.

    header      of its file
    frame       which image of the file it is
    position    of its first pixel, (3,) LPS mm; None where nothing says it
    directions  of its rows and columns, (6,); None where nothing says them
    """

    header: DicomHeader
    frame: int
    position: NDArray[np.float64] | None
    directions: NDArray[np.float64] | None

    @property
    def normal(self) -> NDArray[np.float64]:
        """Across the slice, (3,); of an axial one where nothing says its directions."""
        if self.directions is None:
            return np.array([0.0, 0.0, 1.0])
        return np.asarray(np.cross(self.directions[:3], self.directions[3:]), np.float64)

    @property
    def height(self) -> float:
        """Along the normal, mm; NaN without a position."""
        return np.nan if self.position is None else float(self.position @ self.normal)


def is_dicom(file: Path) -> bool:
    """Whether a file is, or is named as, DICOM; hidden files, pipes and devices are not."""
    if file.name.startswith(".") or not is_file(file):
        return False
    if file.suffix.lower() in SLICE_SUFFIXES:
        return True
    try:
        with opened(file) as stream:
            return begins_like_dicom(stream.read(_PEEKED))
    except InputError:
        return False


def series_key(file: Path) -> str:
    """What the files of one series have in common; "" where it cannot be told."""
    try:
        return read_header(file).text("series_uid")
    except InputError:
        return ""


def one_volume(path: Path, wanted: str | None = None) -> list[Slice]:
    """The slices of the one volume in a folder, or of the series that a file belongs to, in order.

    `wanted` chooses where there are several: a series by its UID, its number or its description,
    and, after a colon, one of its volumes by number ("5", "t2 tse", "5:2", ":2").

    Raises MissingFileError where there is no series, InputError where there are several and none
    is chosen, ContentError where a series holds several volumes, and UnreadableFileError for a
    damaged file that may belong to it; GeometryError for directions that are none.
    """
    folder = path if path.is_dir() else path.parent
    headers = _images_in(folder, None if path.is_dir() else path)
    found = re.fullmatch(r"(.*?)(?::(\d{1,6}))?", (wanted or "").strip(), re.DOTALL)
    assert found is not None  # every text matches
    name, number = found[1].strip(), int(found[2] or 0)
    if path.is_dir():
        chosen = _chosen_series(path, headers, name)
    else:
        mine = next(one for one in headers if one.path == path)
        if not mine.is_image and not mine.fault:
            raise ContentError(
                f"{path}: this DICOM file holds no image, but an index or a report; give the "
                "folder of a series, or one file of it."
            )
        chosen = [one for one in headers if _uid(one) == _uid(mine)] if _uid(mine) else [mine]
    _refuse_damaged(path, chosen, headers)
    volumes = _volumes([one for header in chosen for one in _slices(header)])
    if len(volumes) == 1 and number in (0, 1):
        return volumes[0]
    if 1 <= number <= len(volumes):
        return volumes[number - 1]
    raise _several_volumes(path, volumes, number)


def _images_in(folder: Path, file: Path | None) -> list[DicomHeader]:
    """The headers of all images in a folder, damaged ones too; what holds none is said."""
    found = sorted(folder.iterdir())
    named = [item for item in found if item.suffix.lower() in SLICE_SUFFIXES]
    for item in named:
        if item.is_symlink() and not exists(item):
            need_file(item)  # a slice that was not fetched: said as what it is
    headers = [read_header(item) for item in found if is_dicom(item) or item == file]
    images = [one for one in headers if one.is_image or one.path == file]
    strange = [one.path for one in headers if not (one.is_image or one.path == file)]
    strange += [item for item in named if not (item.is_file() or item.is_dir())]
    if strange:
        _log.warning(
            "%s: left out, as no image is in it: %s.",
            *(folder, listed(item.name for item in strange)),
        )
    if not images:
        inner = next((file.parent for file in sorted(folder.rglob("*")) if is_dicom(file)), None)
        hint = f"give the folder {inner}" if inner not in (None, folder) else "check the path"
        raise MissingFileError(f"{folder}: there is no DICOM series in this folder; {hint}.")
    return images


def _uid(header: DicomHeader) -> str:
    return header.text("series_uid")


def _chosen_series(folder: Path, headers: Sequence[DicomHeader], wanted: str) -> list[DicomHeader]:
    series = defaultdict(list)
    for header in headers:
        if header.has_pixels and not header.fault:
            series[_uid(header)].append(header)
    if not series:
        return list(headers)
    keys = ("series_uid", "series_number", "description")
    found = [
        files
        for files in series.values()
        if not wanted or wanted.casefold() in {files[0].text(key).casefold() for key in keys}
    ]
    if len(found) == 1:
        return found[0]
    several = found or list(series.values())
    numbers = Counter(files[0].text("series_number") for files in several)
    summaries = []
    for first, *others in several:
        about = first.text("description") or "without a description"
        number = first.text("series_number")
        known = f"number {number}" if number and numbers[number] == 1 else f"UID {_uid(first)}"
        summaries.append(f"{about} ({1 + len(others)} files, {known}, such as {first.path.name})")
    names = listed(summaries, between="; ")
    if wanted and not found:
        raise InputError(
            f"{folder}: no DICOM series in it is called {wanted!r}, by UID, number or "
            f"description; there are {names}."
        )
    raise InputError(
        f"{folder}: expected the slices of one DICOM series, but there are "
        f"{len(several)}: {names}; choose one by --series and its number, description or UID, or "
        "give one file of it."
    )


def _refuse_damaged(
    path: Path, chosen: Sequence[DicomHeader], headers: Iterable[DicomHeader]
) -> None:
    """A damaged slice must not drop silently out of its series."""
    mine = {_uid(one) for one in chosen}
    lost = [
        one
        for one in headers
        if (one.fault or not one.has_pixels) and (one in chosen or _uid(one) in {"", *mine})
    ]
    if lost:
        count = f"{len(lost)} DICOM files" if len(lost) > 1 else "a DICOM file"
        why = lost[0].fault or "it ends before its pixels"
        raise UnreadableFileError(
            f"{path}: {count} could not be read as part of the series, such as "
            f"{lost[0].path.name} ({why}); export the series again or take them out of the folder."
        )


def _slices(header: DicomHeader) -> list[Slice]:
    """The images of a file; raises for frames or directions that cannot be what they are."""
    count = header.frames
    positions: list[NDArray[np.float64] | None] = [
        place if place.size == 3 else None for place in header.positions
    ]
    ways: list[NDArray[np.float64] | None] = [
        way if way.size == 6 else None for way in header.orientations
    ]
    for name, found in (("position", positions), ("orientation", ways)):
        if len(found) > 1 and len(found) != count:
            raise UnreadableFileError(
                f"{header.path}: it says that it has {count} frames, but gives the {name} of "
                f"{len(found)}; export it again."
            )
    if len(positions) != count:  # one for several frames says nothing of the others
        positions = [None] * count
    if len(ways) != count:
        ways = [ways[0] if ways else None] * count
    for way in ways:
        if way is None:
            continue
        across, down = way[:3], way[3:]
        with np.errstate(over="ignore", invalid="ignore"):  # of 1e200 the squares are infinite
            products = np.array([across @ across, down @ down, across @ down])
            wrong = np.abs(products - (1, 1, 0)).max()
        if not wrong <= _NOT_DIRECTIONS:
            raise GeometryError(
                f"{header.path}: the directions of its rows and columns (Image Orientation) are "
                f"{', '.join(f'{part:g}' for part in way)}, which are no directions at right "
                "angles; export it again."
            )
    return [Slice(header, n, positions[n], ways[n]) for n in range(count)]


def _volumes(slices: Sequence[Slice]) -> list[list[Slice]]:
    """The slices as volumes, each in the order of their places.

    Slices of another direction or size, of the image or its pixels, are another volume; of several
    slices at one place each goes into a volume of its own, in the order of echo, time and number.
    """
    groups: list[list[Slice]] = []
    for one in slices:
        alike = next((group for group in groups if _are_alike(group[0], one)), None)
        if alike is None:
            groups.append([one])
        else:
            alike.append(one)
    volumes = []
    for group in groups:
        places: list[list[Slice]] = []
        for one in sorted(group, key=_sorting):
            if places and abs(places[-1][0].height - one.height) < 2 * _SAME_PLACE:
                places[-1].append(one)
            else:
                places.append([one])
        kept = [_without_copies(place) for place in places]
        if copies := len(group) - sum(map(len, kept)):
            folder = group[0].header.path.parent
            _log.warning("%s: copies of slices were left out: %d.", folder, copies)
        for number in range(max(map(len, kept))):
            volumes.append([place[number] for place in kept if number < len(place)])
    return volumes


def _are_alike(first: Slice, second: Slice) -> bool:
    """Whether both have the same size, pixels and directions."""
    size, other = (one.header.numbers("pixel_spacing") for one in (first, second))
    if size.size != other.size or not np.allclose(size, other, rtol=_SAME_SIZE, atol=0):
        return False
    sizes = [(one.header.text("rows"), one.header.text("columns")) for one in (first, second)]
    if sizes[0] != sizes[1] or first.directions is None or second.directions is None:
        return sizes[0] == sizes[1] and first.directions is second.directions
    return bool(np.allclose(first.directions, second.directions, atol=_SAME_DIRECTION))


def _sorting(one: Slice) -> tuple[float, ...]:
    height = round(one.height / _SAME_PLACE) if one.position is not None else 0
    names = ("echo_time", "temporal_position", "acquisition", "instance")
    return (height, *map(one.header.number, names), one.frame)


def _without_copies(place: list[Slice]) -> list[Slice]:
    """The slices at one place without files whose bytes are those of another of them."""
    if len(place) < 2:
        return place
    kept: dict[tuple[str, int, bytes], Slice] = {}
    uids = Counter(one.header.text("sop_uid") for one in place)
    for one in place:
        uid, digest = one.header.text("sop_uid"), b""
        if uids[uid] > 1:
            with opened(one.header.path) as stream:
                digest = file_digest(stream, "sha256").digest()
        kept.setdefault((uid, one.frame, digest), one)
    return list(kept.values())


def _several_volumes(path: Path, volumes: Sequence[list[Slice]], number: int) -> InputError:
    count = len(volumes)
    if number > count or count == 1:
        return InputError(f"{path}: volume {number} of the series was asked for, of {count}.")
    choose = f"choose one with --series :1 to :{count}, or put the files of one into a folder"
    first = volumes[0]
    if not all(len(one) == len(first) and _are_alike(one[0], first[0]) for one in volumes):
        return ContentError(
            f"{path}: the series holds {count} volumes, of "
            f"{listed(map(len, volumes))} slices, as several slices lie at the same place, in "
            "other directions or have other pixels (echoes, a time series, a localiser); "
            f"{choose}."
        )
    times = [volume[0].header.text("echo_time") for volume in volumes]
    what = "several echoes, repetitions or copies, so this is not one volume"
    if len(set(times)) == count:
        what = f"echo times of {', '.join(times)} ms"
    return ContentError(f"{path}: every slice is there {count} times ({what}); {choose}.")
