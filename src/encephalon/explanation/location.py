# SPDX-License-Identifier: Apache-2.0
"""Whether a map lies where the answer is known to lie, against what blind guessing would reach.

A map (rows, columns) is 0 or more, and NaN where the network did not look. What is known is a
cover (rows, columns): how much of each pixel lies inside, from 0 to 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "box_cover", "centre_prior", "points_inside", "share_inside"]

Box = tuple[float, float, float, float]
"""Centre x, centre y, width and height, as shares of the image: x along columns, y along rows."""


def box_cover(shape: tuple[int, int], box: Box) -> NDArray[np.float32]:
    """Return how much of each pixel of an image of `shape` (rows, columns) lies in the box."""
    x, y, width, height = box
    down, across = (
        _covered(size, centre - extent / 2, centre + extent / 2)
        for size, centre, extent in zip(shape, (y, x), (height, width), strict=True)
    )
    return np.outer(down.astype(np.float32), across.astype(np.float32))


def centre_prior(shape: tuple[int, int], sigma: float = 0.25) -> NDArray[np.float32]:
    """Return a Gaussian (rows, columns) around the middle, 1 at its top.

    `sigma` is a share of each side. It is what a map is worth that always says "the middle": the
    thing of interest is seldom at the edge of an image.
    """
    down, across = (
        np.exp(-0.5 * (((np.arange(size) + 0.5) / size - 0.5) / sigma) ** 2) for size in shape
    )
    return np.outer(down.astype(np.float32), across.astype(np.float32))


def share_inside(values: NDArray[Any], cover: NDArray[Any]) -> float:
    """Return the share of a map that lies inside, 0 to 1; 0 for a map that is empty."""
    known = np.where(np.isnan(values), 0, values)
    total = float(known.sum(dtype=np.float64))
    return float((known * cover).sum(dtype=np.float64)) / total if total > 0 else 0.0


def points_inside(values: NDArray[Any], cover: NDArray[Any]) -> bool:
    """Return whether the highest point of a map lies inside: the pointing game, without tolerance.

    Zhang et al. 2018, doi:10.1007/s11263-017-1059-x. An empty map points nowhere.
    """
    known = np.where(np.isnan(values), 0, values)
    return bool(known.max() > 0 and cover.flat[int(known.argmax())] >= 0.5)


def _covered(size: int, low: float, high: float) -> NDArray[np.float64]:
    """(size) the covered part of each pixel of an axis, from `low` to `high` as shares of it."""
    start = np.arange(size)
    covered = np.minimum(high * size, start + 1) - np.maximum(low * size, start)
    return np.asarray(np.clip(covered, 0.0, 1.0))
