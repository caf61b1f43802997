# SPDX-License-Identifier: Apache-2.0
"""Layers for pictures: the outline of a mask, and a map of values such as an attribution."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.pictures import Bytes, Layer

__all__ = ["AMBER", "SKY", "Colour", "Layer", "heat", "outline", "resize_mask"]

Colour = tuple[int, int, int]

# Told apart by every kind of colour vision (after Okabe and Ito) and on any grey.
AMBER: Colour = (255, 159, 28)
SKY: Colour = (86, 190, 255)

# Black, purple, red, orange, pale yellow: grows in lightness, so it also prints in grey.
_HEAT = np.array(
    [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float32
)


def outline(
    mask: NDArray[Any], size: tuple[int, int], name: str, colour: Colour, width: float = 1.6
) -> Layer:
    """Draw the border of a mask (rows, columns) at `size` (width, height) pixels.

    The line follows the middle between inside and outside elements and is `width` pixels wide.
    """
    level = resize_mask(mask, size)
    # Across a single row or column nothing changes.
    slopes = (
        np.gradient(level, axis=axis) if count > 1 else np.zeros_like(level)
        for axis, count in enumerate(level.shape)
    )
    slope = np.hypot(*slopes)
    distance = np.full_like(level, np.inf)
    np.divide(np.abs(level - 0.5), slope, out=distance, where=slope > 1e-3)
    alpha = np.clip(width / 2 + 0.5 - distance, 0.0, 1.0)
    rgba = np.empty((*level.shape, 4), dtype=np.uint8)
    rgba[..., :3] = colour
    rgba[..., 3] = np.rint(255.0 * alpha)
    rgba[alpha == 0.0] = 0
    return Layer(name, rgba)


def heat(values: NDArray[Any], size: tuple[int, int], name: str, opacity: float = 0.6) -> Layer:
    """Draw values (rows, columns) in [0, 1] at `size` (width, height); zero is transparent."""
    from PIL import Image

    shape = np.asarray(values, dtype=np.float32)
    grown = Image.fromarray(shape).resize(size, Image.Resampling.BILINEAR)
    level = np.clip(np.asarray(grown), 0.0, 1.0)
    rgba = np.empty((*level.shape, 4), dtype=np.uint8)
    stops = np.linspace(0.0, 1.0, len(_HEAT))
    for channel in range(3):
        rgba[..., channel] = np.interp(level, stops, _HEAT[:, channel])
    rgba[..., 3] = np.rint(255.0 * opacity * np.sqrt(level))
    return Layer(name, rgba)


def resize_mask(mask: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a mask (rows, columns) as smooth levels in [0, 1], (height, width) pixels.

    A rim of outside is added first, so that a mask cut by the image's edge still has a border.
    """
    from PIL import Image, ImageFilter

    rows, columns = mask.shape
    width, height = size
    padded: Bytes = np.pad(np.asarray(mask != 0), 1).astype(np.uint8) * np.uint8(255)
    step = (width / columns, height / rows)
    outer = (round(width + 2 * step[0]), round(height + 2 * step[1]))
    grown = Image.fromarray(padded).resize(outer, Image.Resampling.BILINEAR)
    # Stairs of large elements are rounded off by a third of an element.
    smooth = grown.filter(ImageFilter.GaussianBlur((step[0] / 3, step[1] / 3)))
    left, top = round(step[0]), round(step[1])
    level = np.asarray(smooth, dtype=np.float32) / 255.0
    return level[top : top + height, left : left + width]
