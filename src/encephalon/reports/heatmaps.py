# SPDX-License-Identifier: Apache-2.0
"""Maps to look at: image, heat map and overlay side by side, or as layers on a page.

Colours grow in lightness from black to pale yellow, so that a map can be read without colour
vision and on paper; the published figures used a rainbow. What the network did not see is dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.images import heat
from encephalon.reports.pictures import Bytes, Picture

__all__ = ["LAYER", "PANEL", "Look", "heat_image", "look_at", "overlay", "panel"]

#: Longest side of one part of a panel, pixels.
PANEL = 512
#: Name of the map among the layers of a picture.
LAYER = "map"
_GAP, _CAPTION, _LETTERS, _MARGIN = 8, 30, 15, 8
_PERCENTILES = (0.5, 99.5)
_UNSEEN = 0.4  # brightness of what the network did not see

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Look:
    """An image and its map at the size of a screen.

    grey   (H, W) uint8
    level  (H, W) the map in [0, 1], 0 where the network did not look; None for no map
    seen   (H, W) 1 where it looked, 0 where it did not
    """

    grey: Bytes
    level: Float | None = None
    seen: Float | None = None

    def at(self, side: int) -> Look:
        """The same, its longest side `side` pixels."""
        size = _size(self.grey.shape, side)
        grey = np.rint(_resized(self.grey, size)).astype(np.uint8)
        if self.level is None or self.seen is None:
            return Look(grey)
        return Look(grey, _resized(self.level, size), _resized(self.seen, size))


def look_at(data: NDArray[Any], values: Float | None = None, side: int = PANEL) -> Look:
    """Return an image and its map with the longest side `side` pixels.

    data    (rows, columns) the raw image, of any type; its grey levels are stretched
    values  (rows, columns) the map in [0, 1] on the same grid, NaN where the network did not look
    """
    size = _size(data.shape, side)
    levels = _resized(data, size)
    low, high = np.percentile(levels, _PERCENTILES)
    scaled = (levels - low) * (255.0 / max(float(high - low), 1e-6))
    grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    if values is None:
        return Look(grey)
    seen = np.isfinite(values)
    return Look(grey, _resized(np.where(seen, values, 0), size), _resized(seen, size))


def heat_image(look: Look) -> Bytes:
    """Return the map in colours (H, W, 3); black where it is 0, and everywhere without one."""
    level = np.zeros(look.grey.shape, dtype=np.float32) if look.level is None else look.level
    colours: Bytes = heat(level, _size(level.shape, max(level.shape)), LAYER).rgba[..., :3]
    return colours


def overlay(look: Look, alt: str) -> Picture:
    """Return the image with its map as a layer that a reader can switch off."""
    if look.level is None or look.seen is None:
        return Picture(look.grey, alt)
    light = _UNSEEN + (1 - _UNSEEN) * look.seen
    layer = heat(look.level, _size(look.level.shape, max(look.level.shape)), LAYER, 0.7)
    return Picture(np.rint(look.grey * light).astype(np.uint8), alt, (layer,))


def panel(look: Look, caption: str) -> Bytes:
    """Return image, heat map and overlay side by side (H, W, 3), with the caption below."""
    image = np.repeat(look.grey[..., None], 3, axis=2)
    parts = [image, heat_image(look), overlay(look, caption).flat()]
    rows, columns = look.grey.shape
    sheet = np.full((rows + _CAPTION, 3 * columns + 2 * _GAP, 3), 255, dtype=np.uint8)
    for place, part in enumerate(parts):
        left = place * (columns + _GAP)
        sheet[:rows, left : left + columns] = part
    return _written(sheet, caption, rows)


def _written(sheet: Bytes, caption: str, top: int) -> Bytes:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(sheet)
    font = ImageFont.load_default(_LETTERS)
    ImageDraw.Draw(image).text((_MARGIN, top + _MARGIN), caption, fill=(0, 0, 0), font=font)
    return np.asarray(image)


def _resized(values: NDArray[Any], size: tuple[int, int]) -> Float:
    """A plane (rows, columns) at `size` (width, height), linearly, averaged where it shrinks."""
    from PIL import Image

    plane = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(plane.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def _size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Width and height of a plane (rows, columns) whose longest side becomes `side`."""
    rows, columns = shape
    scale = side / max(rows, columns)
    return max(1, round(columns * scale)), max(1, round(rows * scale))
