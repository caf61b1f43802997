# SPDX-License-Identifier: Apache-2.0
"""Scans whose skull was taken away before: tell them, and outline what is left.

A network that knows heads looks for the brain some millimetres below the surface. Where the surface
is the brain's own, that shaves it; but there the border needs no network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Grid, resample_aligned
from encephalon.io import Image
from encephalon.studies.extraction.pieces import fill_holes, largest_piece
from encephalon.transforms.normalise import NORMALISING_PERCENTILES

Float = NDArray[np.float32]

#: Share of empty voxels in the shell outside the border, where every head has bone or scalp, above
#: which a brain is bare. Of 13 development scans, 7 whole heads reach 0.71 at the most and 6
#: stripped ones 0.99 at the least.
BARE = 0.95
#: Distances (mm) outside the border between which the shell lies.
SHELL_MM = (8.0, 14.0)

#: Share of the intensity range up to which a voxel is empty: resampling leaves ripples.
EMPTY = 0.02


def bare_share(image: Float, distance: Float) -> float:
    """Share of voxels of value 0 in `image` where `distance` (mm) lies in the shell."""
    near, far = SHELL_MM
    shell = (distance < -near) & (distance > -far)
    return float((image[shell] == 0).mean()) if shell.any() else 0.0


def outline(image: Image, grid: Grid) -> Float:
    """Signed distance (I, J, K), voxels of `grid`, to the border of all that is not empty."""
    from scipy import ndimage

    low, high = np.percentile(image.data[::2, ::2, ::2], NORMALISING_PERCENTILES)
    full = image.data > low + EMPTY * (high - low)
    share = resample_aligned(full, image.affine, grid)
    matter = fill_holes(largest_piece(share > 0.5))
    inside = ndimage.distance_transform_edt(matter)
    outside = ndimage.distance_transform_edt(~matter)
    return np.where(matter, inside - 0.5, 0.5 - outside).astype(np.float32)
