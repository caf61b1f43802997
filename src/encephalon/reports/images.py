# SPDX-License-Identifier: Apache-2.0
"""Pictures for pages: panels on a black canvas, and layers that a reader can hide.

A picture has a grey or coloured base; its layers are outlines of masks and maps of values, such as
an attribution. Colours of maps grow in lightness from black to pale yellow, so that a map can be
read without colour vision and on paper; the published figures used a rainbow.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UnreadableFileError
from encephalon.io.files import opened
from encephalon.reports.format import Html, tag

__all__ = [
    "AMBER",
    "GAP",
    "HEAT",
    "MAP",
    "SKY",
    "WINDOW",
    "Bytes",
    "Colour",
    "Heatmap",
    "Layer",
    "Panel",
    "Picture",
    "draw",
    "embedded",
    "enlarged",
    "fitted_size",
    "grey_levels",
    "heat",
    "jpeg_image",
    "outline",
    "png_bytes",
    "resize",
    "resize_mask",
    "signed",
]

# Black between panels, pixels.
GAP = 10
#: Percentiles that are black and white, unless noise or bright scalp ask for others.
WINDOW = (0.5, 99.5)
_LETTER_SIZE, _LETTER_GREY = 12, 150
# Width of an outline, pixels.
_LINE = 1.6
#: Name of a heat map among the layers of a picture.
MAP = "map"
# Of an image with its heat map: the longest side, pixels, and the brightness of what the network
# did not see. Of their panel: black between, and below the height, size and margin of the caption.
_SIDE, _UNSEEN = 512, 0.4
_PANEL_GAP, _CAPTION, _LETTERS, _MARGIN = 8, 30, 15, 8

Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int]
# Told apart by every kind of colour vision (after Okabe and Ito) and on any grey.
AMBER: Colour = (255, 159, 28)
SKY: Colour = (86, 190, 255)
#: Colours of a map from nothing to its most: black, purple, red, orange, pale yellow.
HEAT: tuple[Colour, ...] = (
    (0, 0, 4),
    (87, 16, 110),
    (188, 55, 84),
    (249, 142, 9),
    (252, 255, 164),
)
# Grey levels kept in the base: 64 cannot be told from 256 on a noisy scan and halve the file.
_GREY_STEP = 4
# Above 4 the file hardly shrinks and takes ten times as long.
_COMPRESSION = 4
# Bytes of a picture that is taken as it is.
_LARGEST = 1 << 24
# Colours of a palette picture with transparency; an outline needs about 20.
_LAYER_COLOURS = 64


@dataclass(frozen=True, eq=False)
class Panel:
    """One image (rows, columns) in [0, 255] with masks of the same shape.

    `size` is the width and height to draw it at, in pixels; `sides` are the letters for its left
    and right edge.
    """

    pixels: NDArray[Any]
    masks: tuple[NDArray[Any], ...]
    size: tuple[int, int]
    sides: tuple[str, ...] = ()


def grey_levels(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """`values` as grey levels in [0, 255]: `low` and below is black, `high` and above white."""
    return np.clip((values - low) * (255.0 / max(float(high - low), 1e-6)), 0, 255)


def fitted_size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Width and height of a plane (rows, columns) whose longest side becomes `side`."""
    rows, columns = shape
    scale = side / max(rows, columns)
    return max(1, round(columns * scale)), max(1, round(rows * scale))


def resize(values: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """A plane (rows, columns) at `size` (width, height), linearly, averaged where it shrinks."""
    from PIL import Image

    plane = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(plane.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def enlarged(values: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """A plane (rows, columns) at `size` (width, height), cubically."""
    from PIL import Image

    plane = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(plane.resize(size, Image.Resampling.BICUBIC))


def draw(
    rows: Sequence[Sequence[Panel]], alt: str, colours: Sequence[tuple[str, Colour]] = ()
) -> Picture:
    """Draw rows of panels, each centred in its row, with one layer per name and colour."""
    width = max(sum(panel.size[0] for panel in row) + GAP * (len(row) - 1) for row in rows)
    heights = [max(panel.size[1] for panel in row) for row in rows]
    shape = (sum(heights) + GAP * (len(rows) - 1), width)
    base = np.zeros(shape, dtype=np.uint8)
    layers = [Layer(name, np.zeros((*shape, 4), dtype=np.uint8)) for name, _ in colours]
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for panel in row:
            across, down = panel.size
            lowered = top + (height - down) // 2
            place = (slice(lowered, lowered + down), slice(left, left + across))
            base[place] = _drawn(panel)
            for mask, layer, (name, colour) in zip(panel.masks, layers, colours, strict=True):
                layer.rgba[place] = outline(mask, panel.size, name, colour).rgba
            left += across + GAP
        top += height + GAP
    return Picture(base, alt, tuple(layers))


def _drawn(panel: Panel) -> Bytes:
    """The pixels of a panel at its size, with the letters of its sides."""
    from PIL import Image, ImageDraw, ImageFont

    pixels = np.clip(np.rint(enlarged(panel.pixels, panel.size)), 0, 255).astype(np.uint8)
    if not panel.sides:
        return pixels
    image = Image.fromarray(pixels)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(_LETTER_SIZE)
    width, height = image.size
    for letter, place, anchor in zip(panel.sides, (3, width - 3), ("ls", "rs"), strict=True):
        pen.text(
            (place, height - 4), letter, fill=_LETTER_GREY, font=font, anchor=anchor,
            stroke_width=2, stroke_fill=0,
        )  # fmt: skip
    return np.asarray(image)


def outline(mask: NDArray[Any], size: tuple[int, int], name: str, colour: Colour) -> Layer:
    """Draw the border of a mask (rows, columns) at `size` (width, height) pixels.

    The line follows the middle between inside and outside elements and is 1.6 pixels wide.
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
    alpha = np.clip(_LINE / 2 + 0.5 - distance, 0.0, 1.0)
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
    stops = np.linspace(0.0, 1.0, len(HEAT))
    for channel, colours in enumerate(zip(*HEAT, strict=True)):
        rgba[..., channel] = np.interp(level, stops, colours)
    rgba[..., 3] = np.rint(255.0 * opacity * np.sqrt(level))
    return Layer(name, rgba)


def signed(values: NDArray[Any], size: tuple[int, int], name: str, opacity: float = 0.7) -> Layer:
    """Draw values (rows, columns) in [-1, 1] at `size` (width, height); zero is transparent.

    What is above 0 is amber, what is below 0 blue.
    """
    level = np.clip(resize(values, size), -1.0, 1.0)
    rgba = np.empty((*level.shape, 4), dtype=np.uint8)
    rgba[..., :3] = np.where(level[..., None] > 0, AMBER, SKY)
    rgba[..., 3] = np.rint(255.0 * opacity * np.sqrt(np.abs(level)))
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


@dataclass(frozen=True, eq=False)
class Layer:
    """Something drawn over a picture: `rgba` (H, W, 4) uint8, under a name to hide it by."""

    name: str
    rgba: Bytes


@dataclass(frozen=True, eq=False)
class Picture:
    """A base (H, W) or (H, W, 3) uint8 with layers of the same size on top.

    `alt` says in words what is to be seen. Pictures are made of numbers only and can be kept or
    pickled; compression happens once, when first asked for.
    """

    base: Bytes
    alt: str
    layers: tuple[Layer, ...] = field(default=())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.base.shape[1], self.base.shape[0]

    def flat(self) -> Bytes:
        """Return the picture with its layers drawn in, (H, W, 3) uint8."""
        base = self.base if self.base.ndim == 3 else np.repeat(self.base[..., None], 3, axis=2)
        colours = base.astype(np.float32)
        for layer in self.layers:
            alpha = layer.rgba[..., 3:].astype(np.float32) / 255.0
            colours += alpha * (layer.rgba[..., :3] - colours)
        return np.rint(colours).astype(np.uint8)

    @cached_property
    def html(self) -> Html:
        """The picture for a page: one embedded PNG per layer, stacked."""
        width, height = self.size
        base = _address(png_bytes(self.base - self.base % _GREY_STEP))
        images = [tag("img", src=base, alt=self.alt, width=width, height=height)]
        for layer in self.layers:
            source = _address(png_bytes(layer.rgba))
            images.append(tag("img", src=source, alt="", class_=f"layer layer-{layer.name}"))
        return tag("div", *images, class_="picture", style=f"max-width:{width}px")


@dataclass(frozen=True, eq=False)
class Heatmap:
    """An image and its map at the size of a screen; what the network did not see is dark.

    grey   (H, W) uint8
    level  (H, W) the map in [0, 1], 0 where the network did not look; None for no map
    seen   (H, W) 1 where it looked, 0 where it did not
    """

    grey: Bytes
    level: NDArray[np.float32] | None = None
    seen: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls, data: NDArray[Any], values: NDArray[np.float32] | None = None, side: int = _SIDE
    ) -> Heatmap:
        """An image and its map with the longest side `side` pixels.

        data    (rows, columns) the raw image, of any type; its grey levels are stretched
        values  (rows, columns) the map in [0, 1] on the same grid, NaN where the network did not
                look
        """
        size = fitted_size(data.shape, side)
        levels = resize(data, size)
        grey = np.rint(grey_levels(levels, *np.percentile(levels, WINDOW))).astype(np.uint8)
        if values is None:
            return cls(grey)
        seen = np.isfinite(values)
        return cls(grey, resize(np.where(seen, values, 0), size), resize(seen, size))

    def resized(self, side: int) -> Heatmap:
        """The same, its longest side `side` pixels."""
        size = fitted_size(self.grey.shape, side)
        grey = np.rint(resize(self.grey, size)).astype(np.uint8)
        if self.level is None or self.seen is None:
            return Heatmap(grey)
        return Heatmap(grey, resize(self.level, size), resize(self.seen, size))

    def colours(self) -> Bytes:
        """The map in colours (H, W, 3); black where it is 0, and everywhere without one."""
        level = np.zeros_like(self.grey) if self.level is None else self.level
        colours: Bytes = heat(level, level.shape[::-1], MAP).rgba[..., :3]
        return colours

    def overlay(self, alt: str) -> Picture:
        """The image with its map as a layer that a reader can switch off."""
        if self.level is None or self.seen is None:
            return Picture(self.grey, alt)
        light = _UNSEEN + (1 - _UNSEEN) * self.seen
        layer = heat(self.level, self.level.shape[::-1], MAP, 0.7)
        return Picture(np.rint(self.grey * light).astype(np.uint8), alt, (layer,))

    def panel(self, caption: str) -> Bytes:
        """Image, heat map and overlay side by side (H, W, 3), with the caption below."""
        from PIL import Image, ImageDraw, ImageFont

        image = np.repeat(self.grey[..., None], 3, axis=2)
        rows, columns = self.grey.shape
        sheet = np.full((rows + _CAPTION, 3 * columns + 2 * _PANEL_GAP, 3), 255, dtype=np.uint8)
        for place, part in enumerate((image, self.colours(), self.overlay(caption).flat())):
            left = place * (columns + _PANEL_GAP)
            sheet[:rows, left : left + columns] = part
        written, font = Image.fromarray(sheet), ImageFont.load_default(_LETTERS)
        ImageDraw.Draw(written).text((_MARGIN, rows + _MARGIN), caption, fill=(0, 0, 0), font=font)
        return np.asarray(written)


def embedded(path: Path, alt: str) -> Html:
    """A PNG file for a page, as it is; raises UnreadableFileError for another file."""
    with opened(path, _LARGEST, "a picture") as stream:
        content = stream.read()
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        raise UnreadableFileError(f"{path}: expected a PNG file; make it again.")
    width = int.from_bytes(content[16:20])
    image = tag("img", src=_address(content), alt=alt)
    return tag("div", image, class_="picture", style=f"max-width:{width}px")


def png_bytes(pixels: Bytes) -> bytes:
    """A PNG file of (H, W), (H, W, 3) or (H, W, 4); one with transparency gets a palette."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    if image.mode == "RGBA":
        image = image.quantize(_LAYER_COLOURS, method=Image.Quantize.FASTOCTREE)
    buffer = BytesIO()
    image.save(buffer, format="PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()


def jpeg_image(pixels: Bytes, alt: str, quality: int = 70) -> Html:
    """(H, W) or (H, W, 3) for a page as a JPEG, a quarter of the size of a PNG."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    height, width = pixels.shape[:2]
    source = _address(buffer.getvalue(), "jpeg")
    return tag("img", src=source, alt=alt, width=width, height=height, loading="lazy")


def _address(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"
