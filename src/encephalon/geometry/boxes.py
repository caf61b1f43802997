# SPDX-License-Identifier: Apache-2.0
"""The box of voxels around what is true in a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bounding_box"]


def bounding_box(inside: NDArray[Any], margin: int = 0) -> tuple[slice, ...]:
    """The smallest box around what is true in `inside` (I, J, ...): a slice an axis.

    It has `margin` voxels more on every side, as far as there are any. Where nothing is true all
    slices are empty.
    """
    box = []
    for axis, size in enumerate(inside.shape):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        hit = np.flatnonzero(inside.any(axis=others))
        if not hit.size:
            return (slice(0, 0),) * inside.ndim
        box.append(slice(max(0, int(hit[0]) - margin), min(size, int(hit[-1]) + 1 + margin)))
    return tuple(box)
