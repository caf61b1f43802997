# SPDX-License-Identifier: Apache-2.0
"""Swap and flip voxel axes: always views, never copies or interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, nearest_axes

_AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}

Data = NDArray[Any]


def orient(data: Data, affine: Affine, codes: str = "RAS") -> tuple[Data, Affine]:
    """A view of `data` (I, J, K, ...) whose voxel axes follow `codes`, and its affine.

    Each voxel keeps its place in the world; oblique axes stay oblique. Raises GeometryError
    when `codes` does not name each of R/L, A/P and S/I once.
    """
    return follow(data, affine, _frame(codes))


def _frame(codes: str) -> NDArray[np.float64]:
    axes = [_AXES.get(letter, (-1, 0)) for letter in codes.upper()]
    if sorted(axis for axis, _ in axes) != [0, 1, 2]:
        raise GeometryError(
            f"orientation codes must name each of R/L, A/P and S/I once, for example 'RAS', "
            f"but they are {codes!r}."
        )
    frame = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(axes):
        frame[axis, column] = sign
    return frame


def follow(data: Data, affine: Affine, frame: NDArray[np.float64]) -> tuple[Data, Affine]:
    """A view of `data` (I, J, K, ...) whose axes run as near as possible along `frame` (3, 3)."""
    if data.ndim < 3:
        raise GeometryError(
            f"an array to orient needs 3 voxel axes, but its shape is {data.shape}."
        )
    rows, signs = nearest_axes(frame.T @ affine.direction)
    # rows[c] is the output axis that input axis c becomes; the transpose wants the inverse.
    order = [rows.index(axis) for axis in range(3)]
    matrix, offset = np.zeros((4, 4)), np.zeros(3)
    matrix[3, 3] = 1.0
    flips = []
    for axis, old in enumerate(order):
        matrix[old, axis] = signs[old]
        offset[old] = 0 if signs[old] > 0 else data.shape[old] - 1
        flips.append(slice(None, None, signs[old]))
    matrix[:3, 3] = offset
    view = data.transpose(*order, *range(3, data.ndim))[tuple(flips)]
    return view, affine @ Affine(matrix)
