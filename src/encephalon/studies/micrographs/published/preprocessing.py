# SPDX-License-Identifier: Apache-2.0
"""What the published network sees: a black and white silhouette at an eighth of the size.

3BTRON spec, section 3: equalise, binarise at Li's threshold, rescale by 1/8 (steps 2 to 4), then
the evaluation transform of ImageNet networks (steps 6 to 8).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.transforms.grey_levels import count_levels, li_level
from encephalon.transforms.resize import (
    View,
    gaussian_weights,
    resample,
    seen_pixels,
    triangle_weights,
)

__all__ = ["as_levels", "network_input", "silhouette"]

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


def silhouette(
    levels: NDArray[np.uint8 | np.uint16], counts: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """The share of white around each eighth pixel: (rows / 8, columns / 8), float32 in [0, 1].

    `levels` (rows, columns) with at least two different values, and how many have each where that
    is known. Sizes are rounded to even at halves, as scikit-image's `rescale` does.
    """
    white = levels > li_level(count_levels(levels) if counts is None else counts)
    rows, columns = (gaussian_weights(size, _reduced(size)) for size in levels.shape)
    return np.clip(resample(white, rows, columns), 0, 1)


def network_input(
    plane: NDArray[np.float32], raw_shape: tuple[int, int] | None = None
) -> tuple[NDArray[np.float32], View]:
    """(3, 224, 224), float32, of a silhouette (h, w), and its view of the raw picture.

    The raw shape is 8 times the silhouette's where none is given, as of the published arrays.
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
    return (grey - mean) / deviation, _view(raw, sizes, skips)


def _view(raw: tuple[int, int], sizes: tuple[int, ...], skips: tuple[int, ...]) -> View:
    scale = raw[0] / sizes[0], raw[1] / sizes[1]
    edges = [(step * skip, step * (skip + SQUARE)) for step, skip in zip(scale, skips, strict=True)]
    seen = [seen_pixels(pair, (0, size)) for pair, size in zip(edges, raw, strict=True)]
    offset = tuple(low + (step - 1) / 2 for (low, _), step in zip(edges, scale, strict=True))
    return View(raw, (SQUARE, SQUARE), scale, (offset[0], offset[1]), (*seen[0], *seen[1]))


def _reduced(size: int) -> int:
    return max(round(size / REDUCTION), 1)
