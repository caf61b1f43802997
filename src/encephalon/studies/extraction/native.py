# SPDX-License-Identifier: Apache-2.0
"""From the working grid back to the scan's own grid, a slab at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine, Grid, bounding_box, resample
from encephalon.studies.extraction.pieces import fill_holes, largest_piece

Float = NDArray[np.float32]

#: Voxels of the scan that are handled at once: 64 MiB of float32.
SLAB_VOXELS = 2**24
#: Distance (mm) written where the working grid does not reach.
BEYOND = -100.0


def slabs_on(distance: Float, source: Grid, target: Grid) -> Iterator[tuple[slice, Float]]:
    """`distance` (I, J, K, mm) on the grid `target`, in slabs along its first axis.

    Slabs that the source does not reach are left out.
    """
    reach = _reach(source, target)
    depth = max(1, SLAB_VOXELS // (target.shape[1] * target.shape[2]))
    for start in range(reach.start, reach.stop, depth):
        stop = min(start + depth, reach.stop)
        part = Grid((stop - start, *target.shape[1:]), _shifted(target.affine, start))
        yield slice(start, stop), resample(distance, source.affine, part, outside=BEYOND)


def mask_on(distance: Float, source: Grid, target: Grid, border: float) -> NDArray[np.uint8]:
    """The mask (I, J, K) of voxels of `target` whose distance is above `-border` mm: one piece."""
    mask = np.zeros(target.shape, np.uint8)
    for part, values in slabs_on(distance, source, target):
        mask[part] = values > -border
    box = bounding_box(mask)
    if mask[box].size:
        mask[box] = fill_holes(largest_piece(mask[box].astype(bool)))
    return mask


def map_on(distance: Float, source: Grid, target: Grid) -> Float:
    """`distance` on `target` as a whole; far outside it is `BEYOND`."""
    result = np.full(target.shape, BEYOND, np.float32)
    for part, values in slabs_on(distance, source, target):
        result[part] = values
    return result


def _reach(source: Grid, target: Grid) -> slice:
    """Planes of `target` along its first axis that the box of `source` touches."""
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in source.shape], indexing="ij"), -1)
    planes = target.affine.inverse.apply(source.affine.apply(corners.reshape(-1, 3)))[:, 0]
    first = int(np.clip(np.floor(planes.min()), 0, target.shape[0]))
    return slice(first, int(np.clip(np.ceil(planes.max()) + 1, first, target.shape[0])))


def _shifted(affine: Affine, planes: int) -> Affine:
    step = np.eye(4)
    step[0, 3] = planes
    return Affine(affine.matrix @ step)
