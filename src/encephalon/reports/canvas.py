# SPDX-License-Identifier: Apache-2.0
"""Panels side by side on a black canvas: the drawing under every picture of slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.layers import Colour, outline
from encephalon.reports.pictures import Bytes, Layer, Picture

__all__ = ["GAP", "Panel", "draw", "mosaic"]

# Black between panels, pixels.
GAP = 10
_LETTER_SIZE = 12
_LETTER_GREY = 150


@dataclass(frozen=True, eq=False)
class Panel:
    """One image (rows, columns) in [0, 255] with masks of the same shape.

    `size` is the width and height to draw it at, in pixels; `sides` are the letters for its left
    and right edge.
    """

    pixels: NDArray[np.float32]
    masks: tuple[NDArray[Any], ...]
    size: tuple[int, int]
    sides: tuple[str, ...] = ()


def mosaic(panels: Sequence[Panel], columns: int) -> list[list[Panel]]:
    """Arrange panels in rows of at most `columns`."""
    return [list(panels[start : start + columns]) for start in range(0, len(panels), columns)]


def draw(
    rows: Sequence[Sequence[Panel]], alt: str, colours: Sequence[tuple[str, Colour]] = ()
) -> Picture:
    """Draw rows of panels, each centred in its row, with one layer per name and colour."""
    width = max(sum(panel.size[0] for panel in row) + GAP * (len(row) - 1) for row in rows)
    heights = [max(panel.size[1] for panel in row) for row in rows]
    shape = (sum(heights) + GAP * (len(rows) - 1), width)
    base = np.zeros(shape, dtype=np.uint8)
    layers = [np.zeros((*shape, 4), dtype=np.uint8) for _ in colours]
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for panel in row:
            across, down = panel.size
            lowered = top + (height - down) // 2
            place = (slice(lowered, lowered + down), slice(left, left + across))
            base[place] = _drawn(panel)
            _draw_masks(panel, place, layers, colours)
            left += across + GAP
        top += height + GAP
    named = zip(colours, layers, strict=True)
    return Picture(base, alt, tuple(Layer(name, rgba) for (name, _), rgba in named))


def _drawn(panel: Panel) -> Bytes:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(panel.pixels, dtype=np.float32))
    grown = np.asarray(image.resize(panel.size, Image.Resampling.BICUBIC))
    pixels = np.clip(np.rint(grown), 0, 255).astype(np.uint8)
    return _lettered(pixels, panel.sides) if panel.sides else pixels


def _lettered(pixels: Bytes, sides: Sequence[str]) -> Bytes:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(_LETTER_SIZE)
    width, height = image.size
    for letter, place, anchor in zip(sides, (3, width - 3), ("ls", "rs"), strict=True):
        pen.text((place, height - 4), letter, fill=_LETTER_GREY, font=font, anchor=anchor)
    return np.asarray(image)


def _draw_masks(
    panel: Panel,
    place: tuple[slice, slice],
    layers: Sequence[Bytes],
    colours: Sequence[tuple[str, Colour]],
) -> None:
    for mask, layer, (name, colour) in zip(panel.masks, layers, colours, strict=True):
        layer[place] = outline(mask, panel.size, name, colour).rgba
