# SPDX-License-Identifier: Apache-2.0
"""Bring a plane to another grid: one set of weights an axis, applied in small matrix products.

A picture that is made 8 times smaller has 64 pixels for each of the result; filtering them all and
then keeping one is most of the work of a plain script. Here the filter and the sampling are one
banded matrix an axis, and only its band is multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Weights",
    "area_weights",
    "gaussian_weights",
    "linear_weights",
    "resample",
    "triangle_weights",
]

Plane = NDArray[np.float32]

# Results that are computed by one matrix product: more waste work outside the band, fewer waste
# calls. Measured at 2048² to 256² and to 384².
_BLOCK = 16
_KEPT = 64


@dataclass(frozen=True, eq=False)
class Weights:
    """How each result along one axis is a weighted sum of neighbouring pixels.

    Attributes
    ----------
    first
        (results,): the first pixel that each result is made of.
    taps
        (results, width), float32: the weights of that pixel and the ones after it.
    """

    first: NDArray[np.intp]
    taps: Plane

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def blocks(self) -> tuple[tuple[slice, slice, Plane], ...]:
        """Results, the pixels that they are made of, and the matrix (results, pixels) between."""
        return tuple(self._block(slice(at, at + _BLOCK)) for at in range(0, len(self), _BLOCK))

    def _block(self, results: slice) -> tuple[slice, slice, Plane]:
        first, taps = self.first[results], self.taps[results]
        start = int(first.min())
        matrix = np.zeros((len(first), int(first.max()) + taps.shape[1] - start), np.float32)
        places = (first - start)[:, None] + np.arange(taps.shape[1])
        np.put_along_axis(matrix, places, taps, axis=1)
        return slice(results.start, results.start + len(first)), _span(start, matrix), matrix


def _span(start: int, matrix: Plane) -> slice:
    return slice(start, start + matrix.shape[1])


def resample(
    plane: NDArray[Any],
    rows: Weights,
    columns: Weights,
    prepare: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> Plane:
    """`plane` (rows, columns), any numbers, on the grid of the weights: float32.

    `prepare` changes grey levels, pixel by pixel, before they are averaged; it is given some rows
    at a time, as float32.
    """
    strips = np.empty((len(rows), plane.shape[1]), np.float32)
    for results, pixels, matrix in rows.blocks:
        part = plane[pixels].astype(np.float32)
        np.matmul(matrix, part if prepare is None else prepare(part), out=strips[results])
    result = np.empty((len(rows), len(columns)), np.float32)
    for results, pixels, matrix in columns.blocks:
        result[:, results] = strips[:, pixels] @ matrix.T
    return result


@lru_cache(_KEPT)
def area_weights(pixels: int, results: int, start: float, scale: float) -> Weights:
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


def linear_weights(pixels: int, positions: tuple[float, ...] | NDArray[np.float64]) -> Weights:
    """Linear interpolation at `positions`, in pixels from the centre of the first.

    Beyond the first and last centre their values are continued.
    """
    at = np.clip(np.asarray(positions, np.float64), 0, pixels - 1)
    first = np.clip(np.floor(at), 0, max(pixels - 2, 0))
    taps = np.stack([1 - (at - first), at - first], axis=1)
    return _weights(first, taps[:, : min(pixels, 2)])


@lru_cache(_KEPT)
def triangle_weights(pixels: int, results: int, skip: int = 0, kept: int | None = None) -> Weights:
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
def gaussian_weights(pixels: int, results: int, truncate: float = 4.0) -> Weights:
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
    places = _mirrored((left - reach)[:, None] + np.arange(taps.shape[1]), pixels)
    width = min(taps.shape[1], pixels)
    first = np.clip(left - reach, 0, pixels - width)
    folded = np.zeros((results, width))
    np.add.at(folded, (np.arange(results)[:, None], places - first.astype(np.intp)[:, None]), taps)
    return _weights(first, folded)


def _mirrored(places: NDArray[np.float64], pixels: int) -> NDArray[np.intp]:
    period = max(2 * (pixels - 1), 1)
    around = np.mod(places.astype(np.intp), period)
    return np.asarray(np.minimum(around, period - around) if pixels > 1 else 0 * around)


def _weights(first: NDArray[np.float64], taps: NDArray[np.float64]) -> Weights:
    normalised = taps / taps.sum(axis=1, keepdims=True)
    return Weights(first.astype(np.intp), normalised.astype(np.float32))
