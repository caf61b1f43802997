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

from encephalon.reports.images import WINDOW, Bytes, Picture, fitted_size, grey_levels, heat, resize

__all__ = ["LAYER", "PANEL", "Heatmap", "heat_image", "make_heatmap", "overlay", "panel"]

#: Longest side of one part of a panel, pixels.
PANEL = 512
#: Name of the map among the layers of a picture.
LAYER = "map"
_GAP, _CAPTION, _LETTERS, _MARGIN = 8, 30, 15, 8
_UNSEEN = 0.4  # brightness of what the network did not see

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Heatmap:
    """An image and its map at the size of a screen.

    grey   (H, W) uint8
    level  (H, W) the map in [0, 1], 0 where the network did not look; None for no map
    seen   (H, W) 1 where it looked, 0 where it did not
    """

    grey: Bytes
    level: Float | None = None
    seen: Float | None = None

    def resized(self, side: int) -> Heatmap:
        """The same, its longest side `side` pixels."""
        size = fitted_size(self.grey.shape, side)
        grey = np.rint(resize(self.grey, size)).astype(np.uint8)
        if self.level is None or self.seen is None:
            return Heatmap(grey)
        return Heatmap(grey, resize(self.level, size), resize(self.seen, size))


def make_heatmap(data: NDArray[Any], values: Float | None = None, side: int = PANEL) -> Heatmap:
    """Return an image and its map with the longest side `side` pixels.

    data    (rows, columns) the raw image, of any type; its grey levels are stretched
    values  (rows, columns) the map in [0, 1] on the same grid, NaN where the network did not look
    """
    size = fitted_size(data.shape, side)
    levels = resize(data, size)
    grey = np.rint(grey_levels(levels, *np.percentile(levels, WINDOW))).astype(np.uint8)
    if values is None:
        return Heatmap(grey)
    seen = np.isfinite(values)
    return Heatmap(grey, resize(np.where(seen, values, 0), size), resize(seen, size))


def heat_image(heatmap: Heatmap) -> Bytes:
    """Return the map in colours (H, W, 3); black where it is 0, and everywhere without one."""
    level = np.zeros_like(heatmap.grey) if heatmap.level is None else heatmap.level
    colours: Bytes = heat(level, level.shape[::-1], LAYER).rgba[..., :3]
    return colours


def overlay(heatmap: Heatmap, alt: str) -> Picture:
    """Return the image with its map as a layer that a reader can switch off."""
    if heatmap.level is None or heatmap.seen is None:
        return Picture(heatmap.grey, alt)
    light = _UNSEEN + (1 - _UNSEEN) * heatmap.seen
    layer = heat(heatmap.level, heatmap.level.shape[::-1], LAYER, 0.7)
    return Picture(np.rint(heatmap.grey * light).astype(np.uint8), alt, (layer,))


def panel(heatmap: Heatmap, caption: str) -> Bytes:
    """Return image, heat map and overlay side by side (H, W, 3), with the caption below."""
    from PIL import Image, ImageDraw, ImageFont

    image = np.repeat(heatmap.grey[..., None], 3, axis=2)
    parts = [image, heat_image(heatmap), overlay(heatmap, caption).flat()]
    rows, columns = heatmap.grey.shape
    sheet = np.full((rows + _CAPTION, 3 * columns + 2 * _GAP, 3), 255, dtype=np.uint8)
    for place, part in enumerate(parts):
        left = place * (columns + _GAP)
        sheet[:rows, left : left + columns] = part
    written, font = Image.fromarray(sheet), ImageFont.load_default(_LETTERS)
    ImageDraw.Draw(written).text((_MARGIN, rows + _MARGIN), caption, fill=(0, 0, 0), font=font)
    return np.asarray(written)
