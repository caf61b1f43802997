# SPDX-License-Identifier: Apache-2.0
"""Bring a plane to another grid: one set of weights an axis, applied in small matrix products.

A picture that is made 8 times smaller has 64 pixels for each of the result; filtering them all and
then keeping one is most of the work of a plain script. Here the filter and the sampling are one
banded matrix an axis, and only its band is multiplied. A `View` says where the picture that a
network sees lies in the raw picture, and leads back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

# Results that are computed by one matrix product: more waste work outside the band, fewer waste
# calls. Measured at 2048² to 256² and to 384².
_BLOCK = 16

_KEPT = 64

# Rounding must not decide whether a pixel that is covered by half belongs.
_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class InterpolationMatrix:
    """How each result along one axis is a weighted sum of neighbouring pixels.

    first  (results,): the first pixel that each result is made of.
    taps   (results, width), float32: the weights of that pixel and the ones after it.
    """

    first: NDArray[np.intp]
    taps: Plane

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def blocks(self) -> list[tuple[slice, slice, Plane]]:
        """Results, the pixels that they are made of, and the matrix (results, pixels) between."""
        found = []
        for at in range(0, len(self), _BLOCK):
            first, taps = self.first[at : at + _BLOCK], self.taps[at : at + _BLOCK]
            start = int(first.min())
            matrix = np.zeros((len(first), int(first.max()) + taps.shape[1] - start), np.float32)
            places = (first - start)[:, None] + np.arange(taps.shape[1])
            np.put_along_axis(matrix, places, taps, axis=1)
            pixels = slice(start, start + matrix.shape[1])
            found.append((slice(at, at + len(first)), pixels, matrix))
        return found


def resample(
    plane: NDArray[Any],
    rows: InterpolationMatrix,
    columns: InterpolationMatrix,
    prepare: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> Plane:
    """`plane` (rows, columns), any numbers, on the grid of the weights: float32.

    `prepare` changes grey levels, pixel by pixel, before they are averaged; it is given some rows
    at a time, as float32.
    """
    strips = _along_first(plane, rows, prepare)
    result = np.empty((len(rows), len(columns)), np.float32)
    for results, pixels, matrix in columns.blocks:
        result[:, results] = strips[:, pixels] @ matrix.T
    return result


def _along_first(
    plane: NDArray[Any],
    weights: InterpolationMatrix,
    prepare: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> Plane:
    """`plane` (pixels, others), prepared, with the results of the weights: (results, others)."""
    strips = np.empty((len(weights), plane.shape[1]), np.float32)
    for results, pixels, matrix in weights.blocks:
        part = plane[pixels].astype(np.float32)
        np.matmul(matrix, part if prepare is None else prepare(part), out=strips[results])
    return strips


def _resample_axes(values: NDArray[Any], weights: Sequence[InterpolationMatrix]) -> Plane:
    """As `resample`, of two axes or more."""
    if values.ndim == 2:
        return resample(values, weights[0], weights[1])
    planes = np.stack([_resample_axes(each, weights[1:]) for each in values])
    found = _along_first(planes.reshape(len(planes), -1), weights[0])
    return found.reshape(-1, *planes.shape[1:])


@lru_cache(_KEPT)
def area_weights(pixels: int, results: int, start: float, scale: float) -> InterpolationMatrix:
    """Each result is the mean over the area that it covers, `scale` pixels long.

    The first begins at `start`, counted from the outer edge of the first of `pixels`; what lies
    beyond the pixels does not count, and a result that lies there wholly is the outermost pixel.
    Where a result is shorter than a pixel, it is interpolated linearly at its centre.
    """
    begins = start + scale * np.arange(results)
    if scale < 1:
        return linear_weights(pixels, tuple(begins + (scale - 1) / 2))
    width = min(int(np.ceil(scale)) + 1, pixels)
    begins = np.clip(begins, 1 - scale, pixels - 1)  # alone or shared, one pixel is the mean
    first = np.clip(np.floor(begins), 0, pixels - width)
    edges = first[:, None] + np.arange(width + 1)
    inside = np.clip(edges, begins[:, None], (begins + scale)[:, None])
    return _weights(first, np.diff(inside, axis=1))


def linear_weights(
    pixels: int, positions: tuple[float, ...] | NDArray[np.float64]
) -> InterpolationMatrix:
    """Linear interpolation at `positions`, in pixels from the centre of the first.

    Beyond the first and last centre their values are continued.
    """
    at = np.clip(np.asarray(positions, np.float64), 0, pixels - 1)
    first = np.clip(np.floor(at), 0, max(pixels - 2, 0))
    taps = np.stack([1 - (at - first), at - first], axis=1)
    return _weights(first, taps[:, : min(pixels, 2)])


@lru_cache(_KEPT)
def triangle_weights(
    pixels: int, results: int, skip: int = 0, kept: int | None = None
) -> InterpolationMatrix:
    """Antialiased bilinear resizing of `pixels` to `results`, as Pillow and torch do it.

    A triangle as wide as the step between results, cut at the edges and normalised. Of the
    results, the first `skip` are left out and `kept` remain: a crop that costs nothing.
    """
    scale = pixels / results
    reach = max(scale, 1.0)
    centres = (np.arange(results)[skip : None if kept is None else skip + kept] + 0.5) * scale
    width = min(int(np.ceil(2 * reach)) + 1, pixels)
    first = np.clip(np.floor(centres - reach + 0.5), 0, pixels - width)
    away = (first[:, None] + np.arange(width) + 0.5 - centres[:, None]) / reach
    return _weights(first, np.clip(1 - np.abs(away), 0, None))


@lru_cache(_KEPT)
def gaussian_weights(pixels: int, results: int, truncate: float = 4.0) -> InterpolationMatrix:
    """Gaussian filter against aliasing, then linear interpolation: scikit-image's `resize`.

    The standard deviation is (step - 1) / 2 pixels, the filter ends `truncate` of them away, and
    beyond the edge the picture is mirrored about the centre of its outermost pixels.
    """
    step = pixels / results
    sigma = max(0.0, (step - 1) / 2)
    reach = int(truncate * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-12)) ** 2)
    kernel /= kernel.sum()
    at = (np.arange(results) + 0.5) * step - 0.5
    left = np.floor(at)
    share = (at - left)[:, None]
    # The two neighbours of a position, each filtered: the kernel twice, one pixel apart.
    taps = np.pad(kernel, (0, 1)) * (1 - share) + np.pad(kernel, (1, 0)) * share
    places = ((left - reach)[:, None] + np.arange(taps.shape[1])).astype(np.intp)
    period = max(2 * (pixels - 1), 1)
    places = np.minimum(places % period, period - places % period)
    width = min(taps.shape[1], pixels)
    first = np.clip(left - reach, 0, pixels - width)
    folded = np.zeros((results, width))
    np.add.at(folded, (np.arange(results)[:, None], places - first.astype(np.intp)[:, None]), taps)
    return _weights(first, folded)


def _weights(first: NDArray[np.float64], taps: NDArray[np.float64]) -> InterpolationMatrix:
    normalised = taps / taps.sum(axis=1, keepdims=True)
    return InterpolationMatrix(first.astype(np.intp), normalised.astype(np.float32))


@dataclass(frozen=True)
class View:
    """A straight map between two grids; pairs are (row, column), pixel centres lie at integers.

    Of volumes they are (z, y, x).

    raw_shape  Of the raw picture, pixels.
    shape      Of the network's picture, pixels.
    scale      Raw pixels per pixel of the network.
    offset     Raw coordinates of the centre of the network's pixel (0, 0).
    seen       First and past-last raw row, first and past-last raw column that the network saw.
    even       Whether each cell of a map is drawn as an even share of the picture, as published. A
               padded convolution of stride n centres its cell i at pixel n * i, half a cell further
               up and left.
    """

    raw_shape: tuple[int, ...]
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    seen: tuple[int, ...]
    even: bool = True

    @classmethod
    def whole(cls, shape: tuple[int, ...], even: bool = True) -> View:
        """Of a picture or volume that a network sees as it is."""
        seen = tuple(edge for size in shape for edge in (0, size))
        return cls(shape, shape, (1.0,) * len(shape), (0.0,) * len(shape), seen, even)

    def to_raw(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """A map (h, w) or (d, h, w) of the network's whole picture, on the raw grid.

        Finite values only; they are interpolated linearly. What the network did not see is NaN.
        """
        spans = list(zip(self.seen[::2], self.seen[1::2], strict=True))
        weights = [
            self._weights(axis, cells, *span)
            for axis, (cells, span) in enumerate(zip(values.shape, spans, strict=True))
        ]
        raw = np.full(self.raw_shape, np.nan, np.float32)
        raw[tuple(slice(*span) for span in spans)] = _resample_axes(values, weights)
        return raw

    def to_view(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw coordinates (..., 2) as coordinates of the network's picture (..., 2), pixels."""
        return np.asarray((points - np.asarray(self.offset)) / np.asarray(self.scale))

    def _weights(self, axis: int, cells: int, first: int, last: int) -> InterpolationMatrix:
        """Interpolation at the raw pixels `first` to `last` among `cells` of a map."""
        places = (np.arange(first, last) - self.offset[axis]) / self.scale[axis]
        if self.even:
            return linear_weights(cells, (places + 0.5) * cells / self.shape[axis] - 0.5)
        return linear_weights(cells, places / stride_of(self.shape[axis], cells))


def stride_of(size: int, cells: int) -> int:
    """The stride, a power of two if possible, of convolutions that make `cells` of `size` pixels.

    They are padded, so that the cells are `size` / stride, rounded up.
    """
    near = range(math.floor(math.log2(max(1, size / cells))), math.ceil(math.log2(size)) + 1)
    powers = (2**power for power in near if -(-size // 2**power) == cells)
    return next(powers, max(1, round(size / cells)))


@dataclass(frozen=True)
class AxisResize:
    """One axis of a square that is laid over a picture.

    edge    Where the square begins, raw pixels from the outer edge of the first raw pixel.
    scale   Raw pixels per pixel of the square.
    size    Pixels of the square.
    inside  First and past-last pixel of the square that lie on the picture by half or more.
    seen    First and past-last raw pixel that those show.
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


def centred_resize(low: int, high: int, scale: float, size: int) -> AxisResize:
    """`size` pixels, each `scale` raw ones, centred on the raw pixels from `low` to before `high`.

    What does not fit is cut off on both sides alike; what is too much lies outside.
    """
    edge = (low + high) / 2 - scale * size / 2
    first = max(math.ceil((low - edge) / scale - 0.5 - _SLACK), 0)
    last = min(math.floor((high - edge) / scale + 0.5 + _SLACK), size)
    if last <= first:  # less than half a pixel of the square
        first, last = size // 2, size // 2 + 1
    seen = seen_pixels((edge + first * scale, edge + last * scale), (low, high))
    return AxisResize(edge, scale, size, (first, last), seen)


def seen_pixels(edges: tuple[float, float], limits: tuple[int, int]) -> tuple[int, int]:
    """First and past-last pixel between two edges, by halves or more, one at least.

    Edges are counted from the outer edge of the first pixel; `limits` are pixels that exist.
    """
    low, high = (math.floor(edge + 0.5) for edge in edges)
    first = min(max(low, limits[0]), limits[1] - 1)
    return first, max(min(high, limits[1]), first + 1)
