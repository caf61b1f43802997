# SPDX-License-Identifier: Apache-2.0
"""Leave the fluid around the brain out of its mask, voxel by voxel of the scan.

A border on the working grid cannot follow a sulcus of a millimetre, whatever was learnt. The scan
can: between the two borders that the network draws, around the brain and around its tissue, lies
fluid, and within the second lies tissue. The level half way between cortex and fluid tells the
voxels apart, compared with the tissue in the neighbourhood, as coils do not receive every place
alike. Only fluid that reaches the surface of the mask is left out; that in the ventricles stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import bounding_box
from encephalon.geometry.resample import resample_aligned
from encephalon.io.image import Image
from encephalon.studies.extraction.segmentation.boundary import (
    Boundary,
    resampled_map,
    resampled_mask,
)
from encephalon.transforms.masks import fill_holes, largest_piece, signed_distance

__all__ = ["without_fluid"]

Mask = NDArray[np.uint8]
Float = NDArray[np.float32]

#: Where surely tissue lies, by the distance to the inner border, and how far from both borders
#: surely fluid does, mm.
TISSUE, FLUID = (1.0, 6.0), 0.5
#: Voxels of the working grid below which there is too little of either to know its level.
FEWEST = 200
#: Standard deviation of the neighbourhood, mm.
NEIGHBOURHOOD = 15.0
#: Deepest fluid (mm) that is left out: the bottom of deep sulci, but not the ventricles, which a
#: narrow passage joins to the surface.
DEEPEST = 15.0
#: Percentiles, towards the fluid: of what lies between the borders, where voxels that are fluid
#: alone begin, and of the tissue, where the cortex lies whose level is next to the fluid's.
PURE, CORTEX = 95, 75
#: Least difference between the two, in units of the tissue's own level.
APART = 0.2


def without_fluid(scan: Image, straight: Image, mask: Mask, borders: Boundary) -> tuple[Mask, bool]:
    """`mask` (I, J, K) without the fluid that reaches its surface, and whether that could be told.

    `straight` is the scan with axes along those of the working grid; mostly the same. Where fluid
    is as bright as tissue, or hardly any is there, the mask is that of the border around the
    tissue.
    """
    levels = _levels(straight, borders)
    if levels is None:
        inner = borders.distances[-1]
        return resampled_mask(inner, borders.view.grid, scan.grid, 0.0), False
    level, between, bright = levels
    grid = borders.view.grid
    depth = signed_distance(borders.distances[0] > 0).astype(np.float32) * borders.view.spacing
    limit = resampled_map(level * np.float32(between), grid, scan.grid)
    fluid = scan.data > limit if bright else scan.data < limit
    fluid &= resampled_map(depth, grid, scan.grid) < DEEPEST
    return _without(mask.astype(bool), fluid), True


def _levels(straight: Image, borders: Boundary) -> tuple[Float, float, bool] | None:
    """What tells fluid: three values, or None.

    Intensity (I, J, K) of the tissue around each voxel of the working grid; the limit to the fluid
    over it; and whether fluid is brighter. None where the two cannot be told apart.
    """
    from scipy import ndimage

    view, outer, inner = borders.view, borders.distances[0], borders.distances[-1]
    values = resample_aligned(straight.data, straight.affine, view.grid)
    tissue = view.inside & (inner > TISSUE[0]) & (inner < TISSUE[1])
    fluid = view.inside & (outer > FLUID) & (inner < -FLUID)
    if min(np.count_nonzero(tissue), np.count_nonzero(fluid)) < FEWEST:
        return None
    width = NEIGHBOURHOOD / view.spacing
    weight = ndimage.gaussian_filter(tissue.astype(np.float32), width)
    blurred = ndimage.gaussian_filter(np.where(tissue, values, 0).astype(np.float32), width)
    level = np.where(weight > 1e-3, blurred / np.maximum(weight, 1e-3), np.median(values[tissue]))
    if not (level[fluid] > 0).all():
        return None
    wet, solid = (values[part] / level[part] for part in (fluid, tissue))
    bright = bool(np.median(wet) > np.median(solid))
    pure = float(np.percentile(wet, PURE if bright else 100 - PURE))
    cortex = float(np.percentile(solid, CORTEX if bright else 100 - CORTEX))
    apart = pure - cortex if bright else cortex - pure
    return (level.astype(np.float32), (pure + cortex) / 2, bright) if apart > APART else None


def _without(mask: NDArray[np.bool_], fluid: NDArray[np.bool_]) -> Mask:
    """`mask` without the `fluid` that touches what is outside of it, in one piece without holes."""
    from scipy import ndimage

    box = bounding_box(mask, 1)
    whole, wet = mask[box], mask[box] & fluid[box]
    outside = ~whole
    reached = ndimage.binary_propagation(outside, mask=outside | wet)
    result = np.zeros(mask.shape, np.uint8)
    result[box] = fill_holes(largest_piece(whole & ~reached))
    return result
