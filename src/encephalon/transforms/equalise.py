# SPDX-License-Identifier: Apache-2.0
"""Grey levels by their counts: percentiles, equalisation and Li's threshold of whole pictures.

A picture of 8 or 16 bits has at most 65,536 different levels, so whatever treats equal levels
equally is computed on the counts, and the millions of pixels are only touched twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["count_levels", "equalised_levels", "level_percentile", "li_level", "li_threshold"]

Counts = NDArray[np.int64]

# Bins of the equalisation (3BTRON spec, section 3, step 2; scikit-image's default).
BINS = 256
# Li's iteration falls monotonically and ends after a handful of rounds; rounding alone could make
# it swing between two neighbours.
_ROUNDS = 1000
_CHUNK = 1 << 19


def count_levels(levels: NDArray[Any]) -> Counts:
    """How many pixels of `levels`, uint8 or uint16 of any shape, have each value: 256 or 65,536."""
    if levels.dtype == np.uint8:
        return _count_bytes(np.ascontiguousarray(levels))
    counts = np.zeros(1 << 16, np.int64)
    flat = levels.reshape(-1)
    for start in range(0, flat.size, _CHUNK):  # bincount makes 8 bytes of each
        counts += np.bincount(flat[start : start + _CHUNK], minlength=counts.size)
    return counts


def _count_bytes(levels: NDArray[np.uint8]) -> Counts:
    from PIL import Image  # its C loop is ten times faster than NumPy's

    if levels.size == 0:
        return np.zeros(256, np.int64)
    line = levels.reshape(-1)
    size = (levels.shape[-1], line.size // levels.shape[-1])
    return np.array(Image.frombuffer("L", size, line, "raw", "L", 0, 1).histogram(), np.int64)


def level_percentile(counts: Counts, percent: float) -> float:
    """The percentile of pixels with these `counts`, as `numpy.percentile` computes it."""
    cumulated = np.cumsum(counts)
    place = percent / 100 * (cumulated[-1] - 1)
    low, high = np.searchsorted(cumulated, [np.floor(place), np.ceil(place)], side="right")
    return float(low + (place - np.floor(place)) * (int(high) - int(low)))


def equalised_levels(counts: Counts) -> NDArray[np.float32]:
    """What histogram equalisation makes of each level: (levels,), in [0, 1], never falling.

    The levels are scaled to [0, 1] and counted in 256 bins from the darkest to the brightest; each
    becomes the share of pixels up to it, interpolated between the centres of the bins
    (scikit-image's `equalize_hist` of a float image; 3BTRON spec, section 3, step 2).
    """
    present = np.flatnonzero(counts)
    # A product, not a division: values at the edge of a bin must fall as in scikit-image.
    values = np.arange(counts.size) * (1.0 / (counts.size - 1))
    limits = values[present[0]], values[present[-1]]
    shares, edges = np.histogram(values[present], BINS, limits, weights=counts[present])
    cumulated = np.cumsum(shares)
    centres = (edges[:-1] + edges[1:]) / 2
    equalised = np.interp(values, centres, cumulated / cumulated[-1])
    return np.asarray(equalised, np.float32)


def li_threshold(values: NDArray[np.float32], counts: Counts) -> float:
    """Li's minimum cross-entropy threshold of `counts` pixels with each of the `values`.

    Li and Tam 1998, doi:10.1016/S0167-8655(98)00057-9, iterated from the mean to the same end as
    scikit-image's `threshold_li`. The values have at least two different ones.
    """
    present = np.flatnonzero(counts)
    lowest = float(values[present[0]])
    levels = values[present].astype(np.float64) - lowest
    pixels, mass = np.cumsum(counts[present]), np.cumsum(counts[present] * levels)
    steps = np.diff(levels)
    tolerance = steps[steps > 0].min() / 2
    threshold, before = mass[-1] / pixels[-1], -2 * tolerance
    for _ in range(_ROUNDS):
        if abs(threshold - before) <= tolerance:
            break
        before = threshold
        last = np.searchsorted(levels, threshold, side="right") - 1
        dark = mass[last] / pixels[last]
        if dark == 0:  # its logarithm is not defined
            break
        bright = (mass[-1] - mass[last]) / (pixels[-1] - pixels[last])
        threshold = (dark - bright) / (np.log(dark) - np.log(bright))
    return float(threshold + lowest)


def li_level(counts: Counts) -> int:
    """The last level that Li's threshold of the equalised picture leaves black.

    Pixels above it are white. Both steps keep the order of the levels, so that a comparison of the
    raw ones gives the same picture.
    """
    equalised = equalised_levels(counts)
    threshold = np.float32(li_threshold(equalised, counts))
    return int(np.searchsorted(equalised, threshold, side="right")) - 1
