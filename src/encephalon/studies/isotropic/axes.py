# SPDX-License-Identifier: Apache-2.0
"""Names of slice axes: the anatomical planes that slices lie in, and the voxel axes across them."""

from __future__ import annotations

from typing import Literal

from encephalon.errors import UsageError, did_you_mean
from encephalon.geometry import Affine
from encephalon.geometry.affine import nearest_axes

__all__ = ["AXES", "VOXEL_AXES", "Plane", "plane_across", "slice_axis"]

Plane = Literal["axial", "coronal", "sagittal"]
#: Names of the anatomical planes that slices lie in, and the world axis (R, A, S) across them.
AXES: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
VOXEL_AXES = ("i", "j", "k")


def slice_axis(affine: Affine, axis: str | int) -> int:
    """The voxel axis across slices that lie in the plane `axis`.

    "axial", "coronal" and "sagittal" mean the voxel axis nearest to that of the head, "i", "j",
    "k" and 0, 1, 2 the axis itself. Raises UsageError for anything else.
    """
    if axis in (0, 1, 2):
        return int(axis)
    if axis in VOXEL_AXES:
        return VOXEL_AXES.index(str(axis))
    for plane, world in AXES.items():
        if axis == plane:
            return nearest_axes(affine.direction)[0].index(world)
    known = [*AXES, *VOXEL_AXES]
    raise UsageError(
        f"There is no slice axis {axis!r}: {did_you_mean(str(axis), known, 'choose one of')}"
    )


def plane_across(affine: Affine, axis: int) -> Plane:
    """The anatomical plane of slices that lie across voxel axis `axis`."""
    world = nearest_axes(affine.direction)[0][axis]
    return next(plane for plane, across in AXES.items() if across == world)
