# SPDX-License-Identifier: Apache-2.0
"""Connected pieces of a mask, and what must hold of a mask that is one solid organ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def piece_sizes(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Labels (I, J, K), 0 outside, and the voxels of each 26-connected piece, in label order."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    return labels, np.bincount(labels.ravel())[1:]


def largest_piece(mask: Mask) -> Mask:
    """The largest 26-connected piece of `mask` (I, J, K)."""
    labels, sizes = piece_sizes(mask)
    return mask if len(sizes) < 2 else labels == 1 + int(sizes.argmax())


def second_share(mask: Mask) -> float:
    """Size of the second largest piece as a share of the largest; 0 for one piece or none."""
    sizes = np.sort(piece_sizes(mask)[1])
    return float(sizes[-2] / sizes[-1]) if len(sizes) > 1 else 0.0


def fill_holes(mask: Mask) -> Mask:
    """`mask` with every enclosed cavity filled."""
    from scipy import ndimage

    filled: Mask = ndimage.binary_fill_holes(mask)
    return filled


def solidify(distance: NDArray[np.float32], border: float = 0.0) -> NDArray[np.float32]:
    """A signed distance (I, J, K) whose inside, beyond `-border`, is one piece without holes.

    Voxels of other pieces are put just outside, enclosed cavities just inside, by half a voxel, so
    that the map can still be interpolated.
    """
    inside = distance > -border
    solid = fill_holes(largest_piece(inside))
    result = np.where(inside & ~solid, -border - 0.5, distance)
    return np.where(solid & ~inside, 0.5 - border, result).astype(np.float32)
