# SPDX-License-Identifier: Apache-2.0
"""Make a volume agree with the slices that were measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encephalon.transforms.slices import SliceOperator, along

__all__ = ["enforce_consistency"]

Float = NDArray[np.float32]

#: How often slices are restored after a cut: once is exact where slices do not overlap.
ROUNDS = 3
#: What a voxel keeps at least, as a share of its slice: from nothing, nothing could be restored.
GLOW = 1e-4
#: Largest factor of one round.
LARGEST_RATIO = 10.0


def enforce_consistency(image: Float, slices: Float, operator: SliceOperator) -> Float:
    """`image` (I, J, K) made to have these `slices`, and nothing darker than the scan ever is.

    First moved smoothly, as far as it takes; then, where that rings below the darkest value, cut
    off there, and what the cut added to a slice is taken from its bright voxels by the
    multiplicative correction of Richardson and Lucy, which never changes a sign. Voxels that no
    slice sees, in gaps, have no part in that.
    """
    floor = np.float32(min(0.0, float(slices.min())))
    wanted = np.maximum(slices - floor, 0)
    weights, unseen = back_projection_weights(operator), operator.matrix.sum(axis=0) <= 0
    lit = along(weights, wanted)
    above = np.maximum(operator.consistent(image, slices) - floor, np.float32(GLOW) * lit)
    for _ in range(ROUNDS):
        found = operator.slice(above)
        ratio = np.divide(wanted, found, out=np.ones_like(wanted), where=found > 0)
        factor = along(weights, np.clip(ratio, 0, LARGEST_RATIO))
        factor[..., unseen] = 1  # the ratio of two specks in the dark would say what lies there
        above *= factor
    return np.asarray(above + floor, np.float32)


def back_projection_weights(operator: SliceOperator) -> NDArray[np.float64]:
    """The share of each slice in each voxel (voxels, slices), of sum 1; the nearest in a gap."""
    weights = operator.matrix.T.copy()
    seen = weights.sum(axis=1)
    weights[seen <= 0] = np.eye(weights.shape[1])[operator.nearest[seen <= 0]]
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
