# SPDX-License-Identifier: Apache-2.0
"""Separable linear resampling: one banded weight matrix an axis, multiplied slab by slab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Data = NDArray[Any]
Float = NDArray[np.float32]

# Bytes of working memory for one slab; large enough for BLAS, small enough for any machine.
SLAB_BYTES = 32 * 2**20
# Voxels by which a position may lie outside and count as inside.
SLACK = 1e-3
# Output voxels that share one dense block of a banded weight matrix.
BLOCK = 32


@dataclass(frozen=True)
class AxisWeights:
    """Linear weights (O, I) of one axis: O output voxels from I input voxels, banded.

    `inside` (O,) tells which output voxels lie in the volume; the rows of the others are zero.
    """

    matrix: Float
    inside: NDArray[np.bool_]

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[slice, slice, Float]]:
        """Runs of `size` outputs: their slice, the slice of inputs they need, the weights."""
        for start in range(0, len(self.matrix), size):
            rows = self.matrix[start : start + size]
            used = np.flatnonzero(rows.any(axis=0))
            first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
            outputs = slice(start, start + len(rows))
            yield outputs, slice(first, last), np.ascontiguousarray(rows[:, first:last])


def beyond(positions: NDArray[Any], size: int) -> NDArray[np.bool_]:
    """Which positions (voxels) lie further than half a voxel from an axis of `size` voxels.

    Rounding of an affine must not push a border voxel out of the volume, hence the slack.
    """
    outside: NDArray[np.bool_] = (positions < -0.5 - SLACK) | (positions > size - 0.5 + SLACK)
    return outside


def linear_weights(
    inputs: int, outputs: int, scale: float, offset: float, *, antialias: bool
) -> AxisWeights:
    """Weights that read input position `scale * o + offset` (voxels) for output o = 0, 1, ...

    `scale` > 1 shrinks: with `antialias` the triangle is then `scale` voxels wide to each side.
    At the border the weights of the voxels that exist are brought to sum 1.
    """
    positions = scale * np.arange(outputs) + offset
    inside = ~beyond(positions, inputs)
    centres = np.clip(positions, 0, inputs - 1)
    distance = np.abs(np.arange(inputs)[None] - centres[:, None])
    reach = max(1.0, abs(scale)) if antialias else 1.0
    weights = np.clip(1 - distance / reach, 0, None) * inside[:, None]
    weights[weights < 1e-6] = 0.0
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    return AxisWeights(weights.astype(np.float32), inside)


def resample_axes(data: Data, axes: list[AxisWeights], *, outside: float = 0.0) -> Float:
    """Apply the weights of each axis to `data` (I, J, K); the result is float32 (O, P, Q).

    Works through the axis of the largest stride in slabs, in the memory order of `data`.
    """
    order = sorted(range(3), key=lambda a: -abs(data.strides[a]))
    back = np.argsort(order)
    view = data.transpose(order)
    first, second, third = (axes[a] for a in order)
    result = np.empty([len(w.matrix) for w in (first, second, third)], np.float32)
    for outputs, inputs, weights in first.blocks(_slab_depth(view, first)):
        if inputs.start == inputs.stop:  # all of these lie outside
            result[outputs] = 0.0
            continue
        slab = np.ascontiguousarray(view[inputs], dtype=np.float32)
        if len(weights) < weights.shape[1]:
            slab = _along_first(weights, slab)
            result[outputs] = _along_third(third, _along_second(second, slab))
        else:
            slab = _along_third(third, _along_second(second, slab))
            _along_first(weights, slab, out=result[outputs])
    if outside != 0.0:
        _fill_outside(result, (first, second, third), outside)
    return result.transpose(back)


def _slab_depth(view: Data, first: AxisWeights) -> int:
    inputs, outputs = view.shape[0], len(first.matrix)
    rows = max(1, SLAB_BYTES // (4 * max(1, view.shape[1] * view.shape[2])))
    return int(np.clip(rows * outputs / inputs, 1, BLOCK))


def _along_first(weights: Float, slab: Float, out: Float | None = None) -> Float:
    flat = slab.reshape(len(slab), -1)
    if out is None:
        out = np.empty((len(weights), *slab.shape[1:]), np.float32)
    np.matmul(weights, flat, out=out.reshape(len(weights), -1))
    return out


def _along_second(axis: AxisWeights, slab: Float) -> Float:
    result = np.empty((slab.shape[0], len(axis.matrix), slab.shape[2]), np.float32)
    for outputs, inputs, weights in axis.blocks():
        np.matmul(weights, slab[:, inputs], out=result[:, outputs])
    return result


def _along_third(axis: AxisWeights, slab: Float) -> Float:
    rows = slab.reshape(-1, slab.shape[2])
    result = np.empty((len(rows), len(axis.matrix)), np.float32)
    for outputs, inputs, weights in axis.blocks():
        np.matmul(rows[:, inputs], weights.T, out=result[:, outputs])
    return result.reshape(*slab.shape[:2], len(axis.matrix))


def _fill_outside(result: Float, axes: tuple[AxisWeights, ...], outside: float) -> None:
    for a, axis in enumerate(axes):
        result[(slice(None),) * a + (~axis.inside,)] = outside
