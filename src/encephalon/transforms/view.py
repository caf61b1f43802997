# SPDX-License-Identifier: Apache-2.0
"""Where the picture that a network sees lies in the raw picture, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.transforms.plane import Weights, linear_weights, resample

__all__ = ["Stretch", "View", "centred_stretch", "seen_pixels", "stride_of"]

# Rounding must not decide whether a pixel that is covered by half belongs.
_SLACK = 1e-9


@dataclass(frozen=True)
class View:
    """A straight map between two grids; pairs are (row, column), pixel centres lie at integers.

    Attributes
    ----------
    raw_shape
        Of the raw picture, pixels.
    shape
        Of the network's picture, pixels.
    scale
        Raw pixels per pixel of the network.
    offset
        Raw coordinates of the centre of the network's pixel (0, 0).
    seen
        First and past-last raw row, first and past-last raw column that the network saw.
    even
        Whether each cell of a map is drawn as an even share of the picture, as published. A padded
        convolution of stride n centres its cell i at pixel n * i, half a cell further up and left.
    """

    raw_shape: tuple[int, int]
    shape: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]
    seen: tuple[int, int, int, int]
    even: bool = True

    def to_raw(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """A map (h, w) of the network's whole picture, on the raw grid.

        Finite values only; they are interpolated linearly. What the network did not see is NaN.
        """
        top, bottom, left, right = self.seen
        raw = np.full(self.raw_shape, np.nan, np.float32)
        rows = self._weights(0, values.shape[0], top, bottom)
        columns = self._weights(1, values.shape[1], left, right)
        raw[top:bottom, left:right] = resample(values, rows, columns)
        return raw

    def to_view(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw coordinates (..., 2) as coordinates of the network's picture (..., 2), pixels."""
        return np.asarray((points - np.asarray(self.offset)) / np.asarray(self.scale))

    def _weights(self, axis: int, cells: int, first: int, last: int) -> Weights:
        """Interpolation at the raw pixels `first` to `last` among `cells` of a map."""
        places = (np.arange(first, last) - self.offset[axis]) / self.scale[axis]
        if self.even:
            return linear_weights(cells, (places + 0.5) * cells / self.shape[axis] - 0.5)
        return linear_weights(cells, places / stride_of(self.shape[axis], cells))


def stride_of(size: int, cells: int) -> int:
    """The stride, a power of two, of convolutions that make `cells` of `size` pixels."""
    return int(2 ** round(math.log2(size / cells)))


@dataclass(frozen=True)
class Stretch:
    """One axis of a square that is laid over a picture.

    Attributes
    ----------
    edge
        Where the square begins, raw pixels from the outer edge of the first raw pixel.
    scale
        Raw pixels per pixel of the square.
    size
        Pixels of the square.
    inside
        First and past-last pixel of the square that lie on the picture by half or more.
    seen
        First and past-last raw pixel that those show.
    """

    edge: float
    scale: float
    size: int
    inside: tuple[int, int]
    seen: tuple[int, int]

    @property
    def offset(self) -> float:
        """Raw coordinate of the centre of the square's first pixel."""
        return self.edge + (self.scale - 1) / 2


def centred_stretch(low: int, high: int, scale: float, size: int) -> Stretch:
    """`size` pixels, each `scale` raw ones, centred on the raw pixels from `low` to before `high`.

    What does not fit is cut off on both sides alike; what is too much lies outside.
    """
    edge = (low + high) / 2 - scale * size / 2
    first = max(math.ceil((low - edge) / scale - 0.5 - _SLACK), 0)
    last = min(math.floor((high - edge) / scale + 0.5 + _SLACK), size)
    if last <= first:  # less than half a pixel of the square
        first, last = size // 2, size // 2 + 1
    seen = seen_pixels((edge + first * scale, edge + last * scale), (low, high))
    return Stretch(edge, scale, size, (first, last), seen)


def seen_pixels(edges: tuple[float, float], limits: tuple[int, int]) -> tuple[int, int]:
    """First and past-last pixel between two edges, by halves or more, one at least.

    Edges are counted from the outer edge of the first pixel; `limits` are pixels that exist.
    """
    low, high = (math.floor(edge + 0.5) for edge in edges)
    first = min(max(low, limits[0]), limits[1] - 1)
    return first, max(min(high, limits[1]), first + 1)
