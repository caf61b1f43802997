# SPDX-License-Identifier: Apache-2.0
"""Scans whose voxel axes are not at right angles, as those of a tilted gantry: straight grids.

The affine of such a scan is true and stays as it is. What needs right angles (a network, distances
in mm, a registration) works on a straight grid, and its result goes back onto the scan's own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError
from encephalon.geometry.affine import ROUNDING, Affine, Grid, is_sheared
from encephalon.geometry.conform import Placed
from encephalon.geometry.resample import resample

__all__ = ["straight_grid", "straightened"]

#: Times the voxels of the scan that the straight grid around it may have. A gantry tilts by 30° at
#: the most, which makes it 1.6 times as large where the slices reach as far up as they are wide.
MOST_LARGER = 8.0


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
    corners = np.stack(np.meshgrid(*[(0, grid.shape[a] - 1) for a in order], indexing="ij"), -1)
    places = corners.reshape(-1, 3) @ (triangle / spacing[:, None]).T
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


def straightened(image: Placed, order: int = 1) -> Placed:
    """`image` (with `data` (I, J, K) and `affine`) on its straight grid; as it is if that is its.

    Linear (or of the `order` that `resample` knows); what the scan does not reach gets its lowest
    value, which is air in any contrast.
    """
    i, j, k = image.data.shape
    grid = Grid((i, j, k), image.affine)
    target = straight_grid(grid, getattr(image, "name", "array"))
    if target is grid:
        return image
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
