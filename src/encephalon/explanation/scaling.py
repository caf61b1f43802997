# SPDX-License-Identifier: Apache-2.0
"""Maps on a common scale, to be looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["scale_map"]


def scale_map(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return one map on a scale from 0, its minimum, to 1, its maximum; a constant one is all 0.

    NaN, where a network did not look, stays NaN and nothing else becomes it.
    """
    low = float(np.fmin.reduce(values, axis=None))
    span = float(np.fmax.reduce(values, axis=None)) - low
    shifted = values - low
    return np.asarray(shifted / span if span > 0 else shifted, dtype=np.float32)
