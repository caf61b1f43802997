# SPDX-License-Identifier: Apache-2.0
"""Grids that work needs: FreeSurfer's conform without FreeSurfer, and straight axes.

Conforming gives a cube of 1 mm along the world's axes. The affine of a scan whose voxel axes are
not at right angles, as those of a tilted gantry, is true and stays as it is: what needs right
angles (a network, distances in mm, a registration) works on a straight grid, and its result goes
back onto the scan's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import GeometryError
from encephalon.geometry.affine import ROUNDING, Affine, Grid, corners, is_sheared, orient
from encephalon.geometry.resample import resample
from encephalon.io.image import Image

# mri_convert --conform: COR geometry, https://surfer.nmr.mgh.harvard.edu/fswiki/mri_convert
CONFORMED_SHAPE = (256, 256, 256)
CONFORMED_SPACING = 1.0
CONFORMED_CODES = "LIA"
#: Times the voxels of the scan that the straight grid around it may have. A gantry tilts by 30° at
#: the most, which makes it 1.6 times as large where the slices reach as far up as they are wide.
MOST_LARGER = 8.0


def conform_grid(
    grid: Grid,
    shape: Sequence[int] = CONFORMED_SHAPE,
    spacing: ArrayLike = CONFORMED_SPACING,
) -> Grid:
    """The grid of `shape` voxels of `spacing` mm, axes exactly along LIA, around `grid`.

    As in FreeSurfer, voxel shape / 2 of both grids is the same point of the world (FreeSurfer's
    c_ras), which lies half a voxel beyond the middle of the volume.
    """
    i, j, k = shape
    # Orienting one voxel of the identity gives the axes that the codes stand for.
    _, axes = orient(np.empty((1, 1, 1)), Affine.from_spacing(1.0), CONFORMED_CODES)
    turned = Affine.from_parts(axes.direction, spacing, (0.0, 0.0, 0.0))
    anchor = grid.affine.apply(np.asarray(grid.shape) / 2)
    origin = anchor - turned.apply(np.asarray(shape) / 2)
    return Grid((i, j, k), Affine.from_parts(axes.direction, spacing, origin))


def conform(image: Image, target: Grid | None = None) -> Image:
    """`image` on its conformed grid, or `target`, 0 outside, float32.

    Trilinear point sampling as mri_convert does it, with no filter against aliasing.
    """
    target = target or conform_grid(image.grid)
    data = resample(image.data, image.affine, target)
    return replace(image, data=data, affine=target.affine)


def straight_grid(grid: Grid, source: object = "array") -> Grid:
    """A grid with axes at right angles that covers `grid`, its axes in the same order.

    The two axes nearest to a right angle keep their plane, so that the slices of a tilted gantry
    stay whole slices and only slide; and a voxel keeps its volume (QR decomposition). A grid that
    is straight comes back as it is. Raises GeometryError, naming `source`, where that grid would be
    huge.
    """
    if not is_sheared(grid.affine):
        return grid
    order = _plane_first(grid.affine)
    turned, triangle = np.linalg.qr(grid.affine.matrix[:3, :3][:, order])
    signs = np.sign(np.diag(triangle))
    turned, triangle = turned * signs, triangle * signs[:, None]
    spacing = np.diag(triangle)
    ends = [(0, grid.shape[axis] - 1) for axis in order]
    places = corners(ends) @ (triangle / spacing[:, None]).T
    low, high = np.floor(places.min(0) + 1e-6), np.ceil(places.max(0) - 1e-6)
    back = np.argsort(order)
    shape = (high - low + 1)[back].astype(int)
    if np.prod(shape, dtype=float) > MOST_LARGER * np.prod(grid.shape, dtype=float):
        raise GeometryError(
            f"{source}: the voxel axes lean further than those of any scanner; fix the sform in "
            "its header."
        )
    straight = Affine.from_parts(turned[:, back], spacing[back], grid.affine.origin)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), straight.shifted(low[back]))


def straightened(image: Image, order: int = 1) -> Image:
    """`image` on its straight grid; as it is if that is its.

    Linear (or of the `order` that `resample` knows); what the scan does not reach gets its lowest
    value, which is air in any contrast.
    """
    if not is_sheared(image.affine):
        return image
    target = straight_grid(image.grid, image.name)
    data = resample(image.data, image.affine, target, order, outside=float(image.data.min()))
    return replace(image, data=data, affine=target.affine)


def _plane_first(affine: Affine) -> NDArray[np.intp]:
    """The voxel axes, the one across the slices last.

    That is the one which leaves two at right angles; of several such the longest, which slices are
    thick along and which leaning makes longer.
    """
    cosines = np.abs(affine.direction.T @ affine.direction)
    planes = {last: [axis for axis in range(3) if axis != last] for last in range(3)}
    lean = {last: cosines[plane[0], plane[1]] for last, plane in planes.items()}
    level = [last for last in planes if lean[last] <= min(lean.values()) + ROUNDING]
    across = max(level, key=lambda last: affine.spacing[last])
    return np.asarray([*planes[across], across], dtype=np.intp)
