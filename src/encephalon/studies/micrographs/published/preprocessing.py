# SPDX-License-Identifier: Apache-2.0
"""What the published network sees: a binary image of the foreground at an eighth of the size.

As published by 3BTRON: equalise, binarise at Li's threshold, rescale by 1/8, then the evaluation
transform of ImageNet networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.transforms.grey_levels import count_levels
from encephalon.transforms.resize import (
    View,
    gaussian_weights,
    resample,
    seen_pixels,
    triangle_weights,
)

__all__ = ["as_levels", "foreground", "network_input"]

Counts = NDArray[np.int64]

#: Step 2: bins of the equalisation, scikit-image's default.
BINS = 256
#: Li's iteration falls monotonically and ends after a handful of rounds; rounding alone could make
#: it swing between two neighbours.
_ROUNDS = 1000

#: Step 4: the picture is made this many times smaller.
REDUCTION = 8
#: Step 7: the shorter side, then the square cut out of its middle.
SHORTER, SQUARE = 256, 224
#: Step 8: mean and standard deviation of ImageNet's red, green and blue.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def as_levels(data: NDArray[Any], *, clip: bool = False) -> NDArray[np.uint8 | np.uint16]:
    """`data` (rows, columns) as 8- or 16-bit levels; floats fill 16 bits from end to end.

    `clip` cuts all at 0 and 255 and drops fractions, as Pillow's conversion to 8 bits does: the
    published step 1, which turns most 16-bit pictures white. `data` must not be constant.
    """
    if clip and data.dtype != np.uint8:
        return np.clip(data, 0, 255).astype(np.uint8)
    if data.dtype in (np.uint8, np.uint16):
        return data
    low, high = float(data.min()), float(data.max())
    return np.rint((data - low) * (65535 / (high - low))).astype(np.uint16)


def foreground(
    levels: NDArray[np.uint8 | np.uint16], counts: Counts | None = None
) -> NDArray[np.float32]:
    """The share of white around each eighth pixel: (rows / 8, columns / 8), float32 in [0, 1].

    `levels` (rows, columns) with at least two different values, and how many have each where that
    is known. Sizes are rounded to even at halves, as scikit-image's `rescale` does.
    """
    white = levels > li_level(count_levels(levels) if counts is None else counts)
    rows, columns = (
        gaussian_weights(size, max(round(size / REDUCTION), 1)) for size in levels.shape
    )
    return np.clip(resample(white, rows, columns), 0, 1)


def network_input(
    plane: NDArray[np.float32], raw_shape: tuple[int, int] | None = None
) -> tuple[NDArray[np.float32], View]:
    """(3, 224, 224), float32, of a binary image (h, w), and its view of the raw picture.

    The raw shape is 8 times the binary image's where none is given, as of the published arrays.
    """
    height, width = plane.shape
    raw = raw_shape or (REDUCTION * height, REDUCTION * width)
    shorter = min(height, width)
    # The longer side is cut to a whole number, and the square's place rounded to even at halves,
    # as torchvision does.
    sizes = tuple(int(SHORTER * side / shorter) for side in (height, width))
    skips = tuple(round((size - SQUARE) / 2) for size in sizes)
    rows, columns = (
        triangle_weights(*axis, SQUARE) for axis in zip(plane.shape, sizes, skips, strict=True)
    )
    grey = resample(plane, rows, columns)
    mean, deviation = (np.asarray(part, np.float32)[:, None, None] for part in (MEAN, DEVIATION))
    scale = raw[0] / sizes[0], raw[1] / sizes[1]
    edges = [(step * skip, step * (skip + SQUARE)) for step, skip in zip(scale, skips, strict=True)]
    seen = [seen_pixels(pair, (0, size)) for pair, size in zip(edges, raw, strict=True)]
    offset = edges[0][0] + (scale[0] - 1) / 2, edges[1][0] + (scale[1] - 1) / 2
    view = View(raw, (SQUARE, SQUARE), scale, offset, (*seen[0], *seen[1]))
    return (grey - mean) / deviation, view


def equalised_levels(counts: Counts) -> NDArray[np.float32]:
    """What histogram equalisation makes of each level: (levels,), in [0, 1], never falling.

    The levels are scaled to [0, 1] and counted in 256 bins from the darkest to the brightest; each
    becomes the share of pixels up to it, interpolated between the centres of the bins
    (scikit-image's `equalize_hist` of a float image, as 3BTRON uses it).
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
