# SPDX-License-Identifier: Apache-2.0
"""Grey levels of pictures and scans: their distribution, and how they become [0, 1].

A picture of 8 or 16 bits has at most 65,536 different levels, so whatever treats equal levels
equally is computed on the counts, and the millions of pixels are only touched twice. Of others a
sample is looked at. NumPy alone, shared by training and prediction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

# Float levels that percentiles are estimated from, and rows that sharpness is: more of them do not
# change either visibly.
_SAMPLE, _LINES = 1 << 18, 128
# Pixels that are counted at once.
_CHUNK = 1 << 19

#: Percentiles of the voxels inside the field of view that become 0 and 1. The upper one is
#: below 100 so that a vessel or an artefact does not darken the rest.
NORMALISING_PERCENTILES = (1.0, 99.0)
#: Voxels that the percentiles are estimated from; more do not change them visibly.
SAMPLE = 100_000


class IntensityHistogram:
    """Figures of the grey levels of one plane (rows, columns), of any numbers.

    counts              Pixels of each level, of 8- and 16-bit planes; None of others.
    darkest, brightest  The extreme levels.
    """

    def __init__(self, data: NDArray[Any]) -> None:
        self.counts = count_levels(data) if data.dtype in (np.uint8, np.uint16) else None
        self._data = data
        if self.counts is None:
            self.darkest, self.brightest = float(data.min()), float(data.max())
        else:
            present = np.flatnonzero(self.counts)
            self.darkest, self.brightest = float(present[0]), float(present[-1])

    def percentiles(self, *percents: float) -> tuple[float, ...]:
        """The percentiles of the levels, exact where they are counted."""
        if self.counts is not None:
            return tuple(level_percentile(self.counts, percent) for percent in percents)
        line = self._data.reshape(-1)
        return tuple(np.percentile(line[:: max(1, line.size // _SAMPLE)], percents).tolist())

    def contrast(self) -> float:
        """Span of the 0.5th to 99.5th percentile, as a share of what the type can hold.

        Floats can hold anything: of theirs, the share of the span of the plane.
        """
        low, high = self.percentiles(0.5, 99.5)
        full = self.brightest - self.darkest if self.counts is None else len(self.counts) - 1
        return (high - low) / full

    def saturated(self) -> float:
        """The share of pixels at the darkest or the brightest level."""
        if self.counts is not None:
            ends = self.counts[int(self.darkest)] + self.counts[int(self.brightest)]
        else:
            ends = np.count_nonzero((self._data == self.darkest) | (self._data == self.brightest))
        return float(ends / self._data.size)


def sharpness(data: NDArray[Any]) -> float:
    """How little neighbouring pixels of `data` (rows, columns) agree, whatever the contrast.

    Half their mean squared difference over the variance, which is 1 - their correlation: near 0
    for a blurred picture, 1 for white noise. NaN for a constant one.
    """
    if min(data.shape) < 2:
        return float("nan")
    step = max(1, (data.shape[0] - 1) // _LINES)
    # In double precision: squares of very large or small levels leave the range of single.
    lines = data[:-1:step].astype(np.float64)
    below = data[1::step][: len(lines)].astype(np.float64)
    variance = float(np.var(lines))
    if variance == 0:
        return float("nan")
    across = float(np.mean(np.diff(lines, axis=1) ** 2))
    down = float(np.mean((below - lines) ** 2))
    return (across + down) / 4 / variance


def count_levels(levels: NDArray[Any]) -> Counts:
    """How many pixels of `levels`, uint8 or uint16 of any shape, have each value: 256 or 65,536."""
    if levels.dtype == np.uint8 and levels.size:
        from PIL import Image  # its C loop is ten times faster than NumPy's

        line = np.ascontiguousarray(levels).reshape(-1)
        size = (levels.shape[-1], line.size // levels.shape[-1])
        return np.array(Image.frombuffer("L", size, line, "raw", "L", 0, 1).histogram(), np.int64)
    counts = np.zeros(1 << 8 * levels.dtype.itemsize, np.int64)
    flat = levels.reshape(-1)
    for start in range(0, flat.size, _CHUNK):  # bincount makes 8 bytes of each
        counts += np.bincount(flat[start : start + _CHUNK], minlength=counts.size)
    return counts


def level_percentile(counts: Counts, percent: float) -> float:
    """The percentile of pixels with these `counts`, as `numpy.percentile` computes it."""
    cumulated = np.cumsum(counts)
    place = percent / 100 * (cumulated[-1] - 1)
    low, high = np.searchsorted(cumulated, [np.floor(place), np.ceil(place)], side="right")
    return float(low + (place - np.floor(place)) * (int(high) - int(low)))


def percentile_range(
    values: NDArray[Any], percentiles: tuple[float, float] = NORMALISING_PERCENTILES
) -> tuple[float, float]:
    """Both `percentiles` of those `values` that are above 0, or of all where none is."""
    bright = values[values > 0]
    low, high = np.percentile(bright if bright.size else values, percentiles)
    return float(low), float(high)


def normalise_percentiles(
    image: NDArray[np.float32], inside: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Map the 1st and 99th percentile of the voxels `inside` the field of view to 0 and 1.

    `image` has any shape; values beyond are clipped and voxels not `inside` become 0, so the
    result is in [0, 1]. A constant image becomes 0.
    """
    values = image[inside] if inside is not None and bool(inside.any()) else image.ravel()
    step = max(1, values.size // SAMPLE)
    low, high = np.percentile(values[::step], NORMALISING_PERCENTILES)
    # Relative to the values themselves: some maps are in tiny units (diffusivity in m²/s).
    span = np.float32(high - low) if high > low else np.float32(1)
    with np.errstate(over="ignore"):  # of a span near 0, infinity is clipped to 1
        scaled = np.clip((image - np.float32(low)) / span, 0, 1)
    return scaled if inside is None else scaled * inside
