# SPDX-License-Identifier: Apache-2.0
"""A picture in layers: a grey or coloured base, and outlines or maps that a reader can hide."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.markup import Html, tag

__all__ = ["Bytes", "Layer", "Picture"]

Bytes = NDArray[np.uint8]

# Grey levels kept in the base: 64 cannot be told from 256 on a noisy scan and halve the file.
_GREY_STEP = 4
# Above 4 the file hardly shrinks and takes ten times as long.
_COMPRESSION = 4
# Colours of a palette picture with transparency; an outline needs about 20.
_LAYER_COLOURS = 64


@dataclass(frozen=True, eq=False)
class Layer:
    """Something drawn over a picture: `rgba` (H, W, 4) uint8, under a name to hide it by."""

    name: str
    rgba: Bytes


@dataclass(frozen=True, eq=False)
class Picture:
    """A base (H, W) or (H, W, 3) uint8 with layers of the same size on top.

    `alt` says in words what is to be seen. Pictures are made of numbers only and can be kept,
    pickled or written as PNG; compression happens once, when first asked for.
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

    def png(self) -> bytes:
        """Return the flat picture as a PNG file."""
        return _png(self.flat())

    @cached_property
    def html(self) -> Html:
        """The picture for a page: one embedded PNG per layer, stacked."""
        width, height = self.size
        base = self.base - self.base % _GREY_STEP
        images = [tag("img", src=_data_uri(_png(base)), alt=self.alt, width=width, height=height)]
        for layer in self.layers:
            source = _data_uri(_palette_png(layer.rgba))
            images.append(tag("img", src=source, alt="", class_=f"layer layer-{layer.name}"))
        return tag("div", *images, class_="picture", style=f"max-width:{width}px")


def _png(pixels: Bytes) -> bytes:
    from PIL import Image

    return _encoded(Image.fromarray(np.ascontiguousarray(pixels)))


def _palette_png(rgba: Bytes) -> bytes:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(rgba), "RGBA")
    return _encoded(image.quantize(_LAYER_COLOURS, method=Image.Quantize.FASTOCTREE))


def _encoded(image: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format="PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode("ascii")
