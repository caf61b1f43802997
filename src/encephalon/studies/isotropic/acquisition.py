# SPDX-License-Identifier: Apache-2.0
"""How a scan was cut into slices: across which axis, how far apart, how thick, and which are there.

Voxels of a file tell how far apart the middles of the slices lie, and not how thick they are; that
is asked of the user, then of the BIDS sidecar or the DICOM header, and else taken as the distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from encephalon.errors import GeometryError
from encephalon.io import Image
from encephalon.studies.isotropic.axes import VOXEL_AXES, slice_axis
from encephalon.studies.isotropic.missing import measured_slices
from encephalon.studies.isotropic.remarks import Remarks
from encephalon.studies.isotropic.settings import PredictOptions
from encephalon.studies.isotropic.thickness import TOLERANCE, slice_thickness

__all__ = ["Acquisition", "find_acquisition", "output_spacing"]

#: Slices that lie less than this many voxels apart leave nothing to reconstruct.
SMALLEST_RATIO = 1.2
#: Spacing of the result where nothing is asked, mm: finer than the one no whole-head scan of thick
#: slices is, and coarser than the other no result should be called isotropic.
FINEST, COARSEST = 0.7, 1.5


@dataclass(frozen=True)
class Acquisition:
    """How a scan was cut.

    Attributes
    ----------
    axis
        The voxel axis across the slices.
    distance
        Between the middles of neighbouring slices, mm.
    thickness
        Of a slice, mm.
    in_plane
        Voxel edges along the other two axes, in their order, mm.
    slices
        How many the file holds.
    measured
        Which of them, from 0, hold a measurement and not the zeros of one that is missing.
    notes, warnings
        What is worth knowing, and what deserves a look: a sentence each.
    """

    axis: int
    distance: float
    thickness: float
    in_plane: tuple[float, float]
    slices: int
    measured: tuple[int, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """Between the faces of neighbouring slices, mm; below 0 where they overlap."""
        return self.distance - self.thickness

    def ratio(self, spacing: float) -> float:
        """Voxels of `spacing` mm from one slice to the next."""
        return self.distance / spacing


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
    remarks = Remarks(image.source.name if image.source else image.name)
    thickness = slice_thickness(distance, options, header or {}, remarks)
    measured = measured_slices(image.data, axis, remarks)
    if max(in_plane) > (1 + TOLERANCE) * min(in_plane):
        remarks.note(f"the pixels of its slices are {in_plane[0]:.3g} x {in_plane[1]:.3g} mm")
    warnings = (*image.warnings, *remarks.warnings)
    return Acquisition(
        axis,
        distance,
        thickness,
        in_plane,
        image.shape[axis],
        measured,
        tuple(remarks.notes),
        warnings,
    )


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
            "that the slices cannot be told; name their plane with --axis."
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
            f"another --axis than {options.axis}, or none, as the slices seem to lie across axis "
            f"{VOXEL_AXES[coarsest]}"
        )
    raise GeometryError(
        f"{image.name}: its voxels are {_sizes(image)} mm and those of the result would be "
        f"{spacing:.3g} mm, so across axis {VOXEL_AXES[axis]} there is nothing to reconstruct: "
        f"give {better}."
    )


def _sizes(image: Image) -> str:
    return " x ".join(f"{size:.3g}" for size in image.spacing)
