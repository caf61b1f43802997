# SPDX-License-Identifier: Apache-2.0
"""How a scan was cut into slices: across which axis, how far apart, how thick, and which are there.

The voxels of a file tell how far apart the middles of the slices lie, and not how thick they are:
that is asked of the user, then of the BIDS sidecar or the DICOM header, and else taken as the
distance, without gaps. Slices that were only filled up with zeros are told from acquired ones. What
there is to warn of is gathered in `Diagnostics` while one image is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, GeometryError, InputError, listed
from encephalon.io.dicom_header import DicomHeader
from encephalon.io.image import Image
from encephalon.io.text import read_json
from encephalon.studies.isotropic.reconstruction.problem import VOXEL_AXES, slice_axis
from encephalon.studies.isotropic.settings import PredictOptions
from encephalon.tables.naming import file_stem

#: Slices that lie less than this many voxels apart leave nothing to reconstruct.
SMALLEST_RATIO = 1.2
#: Spacing of the result where nothing is asked, mm: finer than the one no whole-head scan of thick
#: slices is, and coarser than the other no result should be called isotropic.
FINEST, COARSEST = 0.7, 1.5

#: A head ends before a slice of zeros if the slice beside it is filled by less than this share of
#: the fullest one; otherwise the slice was never measured.
ENDING = 0.25
#: Sizes that differ by less than this share are the same, in headers and in what users say.
TOLERANCE = 0.05
#: A thickness of more distances between slices than this is a slip: scanners overlap by half.
THICKEST = 4.0
#: And at least this share: a header in metres must not turn slices into points.
THINNEST = 0.05

# What the DICOM header and BIDS call the same, mm.
_NAMES = {"thickness": "SliceThickness", "spacing_between": "SpacingBetweenSlices"}
# Folders above a file that may hold a sidecar for it: data type, session, subject, dataset.
_LEVELS = 4


@dataclass(frozen=True)
class Acquisition:
    """How a scan was cut.

    axis             The voxel axis across the slices.
    distance         Between the middles of neighbouring slices, mm.
    thickness        Of a slice, mm.
    in_plane         Voxel edges along the other two axes, in their order, mm.
    slices           How many the file holds.
    measured         Which of them, from 0, hold a measurement and not the zeros of one that is
                     missing.
    notes, warnings  What is worth knowing, and what deserves a look: a sentence each.
    """

    axis: int
    distance: float
    thickness: float
    in_plane: tuple[float, float]
    slices: int
    measured: tuple[int, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def find_acquisition(
    image: Image, options: PredictOptions, header: Mapping[str, Any] | None = None
) -> Acquisition:
    """How `image` (finite voxels) was cut; `header` has the words of a BIDS sidecar, in mm.

    Raises GeometryError for a scan that is isotropic already, has a single slice or no coarsest
    axis, InputError for sizes asked for that contradict the file, ContentError where fewer than
    two slices hold anything.
    """
    axis = _axis(image, options)
    sizes = list(image.spacing)
    distance = sizes.pop(axis)
    in_plane = (sizes[0], sizes[1])
    _require_thick(image, axis, distance, in_plane, options)
    diagnostics = Diagnostics(image.source.name if image.source else image.name)
    thickness = slice_thickness(distance, options, header or {}, diagnostics)
    measured = acquired_slices(image.data, axis, diagnostics)
    if max(in_plane) > (1 + TOLERANCE) * min(in_plane):
        diagnostics.note(f"the pixels of its slices are {in_plane[0]:.3g} x {in_plane[1]:.3g} mm")
    notes, warnings = tuple(diagnostics.notes), (*image.warnings, *diagnostics.warnings)
    slices = image.shape[axis]
    return Acquisition(axis, distance, thickness, in_plane, slices, measured, notes, warnings)


def output_spacing(in_plane: tuple[float, float], options: PredictOptions) -> float:
    """Voxel edge of the result, mm: the one asked for, or the finer one in the plane.

    Without a wish it is kept between `FINEST` and `COARSEST`, unless it is as good as there: a
    plane is not interpolated for a few per cent.
    """
    if options.spacing is not None:
        return options.spacing
    finer = min(in_plane)
    nearest = float(np.clip(finer, FINEST, COARSEST))
    return finer if abs(finer - nearest) <= TOLERANCE * nearest else nearest


def _axis(image: Image, options: PredictOptions) -> int:
    """The voxel axis across the slices: the coarsest, or the one that is asked for.

    Raises GeometryError where two axes are equally coarse and none is asked for.
    """
    if options.axis is not None:
        return slice_axis(image.affine, options.axis)
    order = np.argsort(image.spacing)
    fine, second, coarsest = (image.spacing[axis] for axis in order)
    # A scan with two coarse axes has no plane; an isotropic one is refused further on.
    if second > (1 - TOLERANCE) * coarsest and coarsest >= SMALLEST_RATIO * fine:
        raise GeometryError(
            f"{image.name}: its voxels are {_sizes(image)} mm, equally coarse along two axes, so "
            "that the slices cannot be told; name their plane with --slice-plane."
        )
    return int(order[-1])


def _require_thick(
    image: Image,
    axis: int,
    distance: float,
    in_plane: tuple[float, float],
    options: PredictOptions,
) -> None:
    if image.shape[axis] < 2:
        raise GeometryError(
            f"{image.name}: a single slice cannot be made a volume; give the whole scan."
        )
    spacing = max(output_spacing(in_plane, options), min(in_plane))
    if distance >= SMALLEST_RATIO * spacing:
        return
    better = "a scan of thick slices"
    if distance >= SMALLEST_RATIO * min(in_plane):
        better += f", or ask for finer voxels with --spacing {min(in_plane):.2g}"
    coarsest = int(np.argmax(image.spacing))
    if options.axis is not None and image.spacing[coarsest] >= SMALLEST_RATIO * distance:
        better = (
            f"another --slice-plane than {options.axis}, or none, as the slices seem to lie across "
            f"axis {VOXEL_AXES[coarsest]}"
        )
    raise GeometryError(
        f"{image.name}: its voxels are {_sizes(image)} mm and those of the result would be "
        f"{spacing:.3g} mm, so across axis {VOXEL_AXES[axis]} there is nothing to reconstruct: "
        f"give {better}."
    )


def _sizes(image: Image) -> str:
    return " x ".join(f"{size:.3g}" for size in image.spacing)


def acquired_slices(data: NDArray[Any], axis: int, diagnostics: Diagnostics) -> tuple[int, ...]:
    """Which slices across `axis` of `data` (I, J, K) were measured: all but the missing ones.

    Missing are slices of nothing but zeros between others, and those at an end that cut a head off;
    above and below a head that ends before them zeros are its air. Raises ContentError when fewer
    than two slices hold anything.
    """
    others = tuple(other for other in range(3) if other != axis)
    filled = np.count_nonzero(data, axis=others)
    full = np.flatnonzero(filled)
    if len(full) < 2:
        raise ContentError(
            f"{diagnostics.name}: only {len(full)} of its {len(filled)} slices holds anything but "
            "zeros, and two are needed; check the file."
        )
    first, last = int(full[0]), int(full[-1])
    missing = filled == 0
    holes = [place for place in range(first, last) if missing[place]]
    for end, place in ((slice(0, first), first), (slice(last + 1, None), last)):
        missing[end] &= filled[place] > ENDING * filled.max()
    ends = [int(place) for place in np.flatnonzero(missing) if place not in holes]
    if holes:
        diagnostics.warn(f"{_slices(holes, len(filled))} nothing but zeros and interpolated")
    if ends:
        diagnostics.note(f"{_slices(ends, len(filled))} nothing but zeros and left out")
    return tuple(int(place) for place in np.flatnonzero(~missing))


def _slices(places: list[int], count: int) -> str:
    """Slices as people count them, from 1: "slices 3, 4 of 30 are"."""
    shown = listed((place + 1 for place in places), 8)
    one = len(places) == 1
    return f"{'slice' if one else 'slices'} {shown} of {count} {'is' if one else 'are'}"


def slice_thickness(
    distance: float, options: PredictOptions, header: Mapping[str, Any], diagnostics: Diagnostics
) -> float:
    """The thickness of a slice, mm, where their middles lie `distance` mm apart.

    What is asked for goes before the `header`, in the words of BIDS, and that before the distance.
    Raises InputError for sizes asked for that do not fit the distance.
    """
    told = _number(header.get("SliceThickness"))
    if told is not None and not THINNEST * distance <= told <= THICKEST * distance:
        diagnostics.warn(f"its SliceThickness of {told:g} mm cannot be true and is not used")
        told = None
    thickness = _asked_thickness(distance, options, diagnostics.name)
    if thickness is None:
        thickness = told
    elif told is not None and not _same(told, thickness):
        diagnostics.note(
            f"its header says {told:.3g} mm thick, but {thickness:.3g} mm was asked for"
        )
    if thickness is None:
        thickness = distance
        diagnostics.warn(
            "there is no SliceThickness in its header or sidecar, so its slices were taken as "
            f"{distance:.3g} mm thick, without a gap, and all of the result rests on that: give "
            "--slice-thickness or --slice-gap"
        )
    between = _number(header.get("SpacingBetweenSlices"))
    if between is not None and not _same(between, distance):
        diagnostics.warn(
            f"its header says that slices lie {between:.3g} mm apart, but the voxels are "
            f"{distance:.3g} mm, which is used"
        )
    gap = distance - thickness
    if gap > thickness:
        diagnostics.warn(
            f"the gaps of {gap:.3g} mm are wider than the slices of {thickness:.3g} mm, so most of "
            "the head was never measured"
        )
    elif -gap > TOLERANCE * distance:
        diagnostics.note(f"its slices of {thickness:.3g} mm overlap, {distance:.3g} mm apart")
    elif gap > TOLERANCE * distance:
        diagnostics.note(f"its slices of {thickness:.3g} mm have gaps of {gap:.3g} mm between them")
    return thickness


def _asked_thickness(distance: float, options: PredictOptions, name: str) -> float | None:
    thickness, gap = options.thickness, options.gap
    apart = f"but in the file the middles of the slices are {distance:.3g} mm apart"
    if thickness is not None and gap is not None and not _same(thickness + gap, distance):
        raise InputError(
            f"{name}: slices of {thickness:g} mm with gaps of {gap:g} mm would lie "
            f"{thickness + gap:g} mm apart, {apart}: give --slice-thickness or --slice-gap "
            "alone, or correct the voxel size of the file."
        )
    if thickness is not None:
        if thickness > THICKEST * distance:
            raise InputError(
                f"{name}: slices of {thickness:g} mm were asked for, {apart}: correct one."
            )
        return thickness
    if gap is None:
        return None
    if gap > (1 - TOLERANCE) * distance:
        raise InputError(
            f"{name}: gaps of {gap:g} mm were asked for, {apart}: give a smaller --slice-gap."
        )
    return distance - gap


def _number(value: Any) -> float | None:
    """A positive number, or None for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * other


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
        content = read_json(sidecar) if os.path.lexists(sidecar) else {}
        facts = {**(content if isinstance(content, dict) else {}), **facts}
    return facts


def subject_and_session(path: Path | None) -> tuple[str, str]:
    """The labels "sub-01" and "ses-1" of a BIDS name; "" where the name has none."""
    parts = file_stem(path).split("_") if path is not None else []
    found = {part.partition("-")[0]: part for part in parts if "-" in part}
    return found.get("sub", ""), found.get("ses", "")


def sidecars(path: Path) -> Iterator[Path]:
    """Files that may tell of `path`, the nearest one first."""
    stem, folders = file_stem(path), list(path.parents)[:_LEVELS]
    yield path.with_name(f"{stem}.json")
    words = stem.split("_")
    roots = [(folder / "dataset_description.json").is_file() for folder in folders]
    for folder in folders[: roots.index(True) + 1] if any(roots) else []:
        near = [one for one in folder.glob(f"*{words[-1]}.json") if one.stem != stem]
        for file in sorted(near, key=lambda one: -len(one.stem.split("_"))):
            if set(file.stem.split("_")) <= set(words):
                yield file


@dataclass
class Diagnostics:
    """Sentences about the image `name`: what is worth knowing, and what deserves a look first."""

    name: str
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add what is worth knowing; the name and the full stop come by themselves."""
        self.notes.append(f"{self.name}: {text}.")

    def warn(self, text: str) -> None:
        """Add what deserves a look before the result is used."""
        self.warnings.append(f"{self.name}: {text}.")
