# SPDX-License-Identifier: Apache-2.0
"""Put an image on another grid: a general path for any affine, a fast one for parallel axes.

The fast one is separable: one banded matrix of linear weights an axis, multiplied slab by slab.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, Grid, corners, follow

# Axes count as parallel when no cosine between them is further than this from 0 or 1: a drift
# of 0.05 mm over a head of 250 mm, far below a voxel.
PARALLEL = 2e-4
# Voxels after which the cubic B-spline prefilter has forgotten the border (0.268^12 < 1e-6).
SPLINE_MARGIN = 12

Data = NDArray[Any]
Float = NDArray[np.float32]
# Bytes of working memory for one slab; large enough for BLAS, small enough for any machine.
SLAB_BYTES = 32 * 2**20
# Voxels by which a position may lie outside and count as inside.
SLACK = 1e-3
# Output voxels that share one dense block of a banded weight matrix.
BLOCK = 32


def is_aligned(source: Affine, target: Affine) -> bool:
    """Whether the voxel axes of both run parallel, up to swaps and flips.

    They need not be at right angles: what counts is that one step along an axis of `target` is
    some steps along one axis of `source`.
    """
    cosines = np.abs(np.linalg.solve(target.direction, source.direction))
    return bool(np.minimum(cosines, np.abs(1 - cosines)).max() <= PARALLEL)


def resample(
    data: Data, source: Affine, target: Grid, order: int = 1, outside: float = 0.0
) -> Data:
    """`data` (I, J, K) on the grid `target`, by point sampling at its voxel centres.

    Order 0 takes the nearest voxel and keeps the type (labels, masks); 1 is trilinear and 3 a
    cubic B-spline, both float32. A point further than half a voxel from the volume becomes
    `outside`. Works slab by slab: beside the result it needs only the part of `data` that a slab
    of the result touches. Shrinking does not blur first; `resample_aligned` does.
    """
    if order not in (0, 1, 3):
        raise GeometryError(f"the order of interpolation must be 0, 1 or 3, but it is {order}.")
    _need_volume(data)
    if order < 3 and is_aligned(source, target.affine):
        if order == 0:
            return _nearest_aligned(data, source, target, outside)
        return resample_aligned(data, source, target, outside, antialias=False)
    kind = data.dtype if order == 0 else np.dtype(np.float32)
    # What scipy cannot work in: truth values become bytes, half precision single.
    if data.dtype == np.bool_:
        data = data.view(np.uint8)
    elif data.dtype == np.float16:
        data = data.astype(np.float32)
    result = np.empty(target.shape, data.dtype if order == 0 else kind)
    mapping = source.inverse @ target.affine
    depth = max(1, SLAB_BYTES // (8 * target.shape[1] * target.shape[2]))
    for start in range(0, target.shape[0], depth):
        slab = result[start : start + depth]
        _sample_slab(data, mapping.shifted((start, 0, 0)), slab, order, outside)
    return result.astype(kind, copy=False)


def resample_aligned(
    data: Data,
    source: Affine,
    target: Grid,
    outside: float = 0.0,
    *,
    antialias: bool = True,
) -> Float:
    """`data` (I, J, K) of any real type on the parallel grid `target`, as float32.

    Separable linear interpolation; along an axis that shrinks, the triangle is widened by the
    shrink factor, so that nothing aliases (unless `antialias` is off). Axes may be swapped or
    flipped. Voxels of `target` whose centre lies outside the volume become `outside`. The input is
    never converted as a whole, and the result has the memory order of the input.

    Raises GeometryError when the axes are not parallel: use `resample`.
    """
    _need_volume(data)
    view, maps = _parallel_view(data, source, target)
    axes = [
        linear_weights(size, count, scale, offset, antialias=antialias)
        for size, count, (scale, offset) in zip(view.shape, target.shape, maps, strict=True)
    ]
    return resample_axes(view, axes, outside=outside)


def resample_averaged(
    data: Data, source: Affine, target: Grid, step: float, outside: float = 0.0
) -> Float:
    """`data` (I, J, K) averaged over the voxels of any grid `target`, float32.

    Each voxel is the mean of equally spaced points, at most `step` mm apart along each axis, which
    are sampled as `resample` does it; `outside` has its share in that.
    """
    parts = np.maximum(1, np.ceil(np.asarray(target.affine.spacing) / step - 1e-3)).astype(int)
    scale = Affine.from_parts(np.eye(3), 1 / parts, (1 / parts - 1) / 2)
    result = np.full(target.shape, outside, np.float32)
    # What the data do not reach is not looked at.
    ends = source.apply(corners([(-0.5, n - 0.5) for n in data.shape]))
    reached = target.affine.inverse.apply(ends)
    low = np.clip(np.floor(reached.min(axis=0)), 0, target.shape).astype(int)
    sizes = np.clip(np.ceil(reached.max(axis=0)) + 1, 0, target.shape).astype(int) - low
    if sizes.min() > 0:
        i, j, k = (sizes * parts).tolist()
        fine = Grid((i, j, k), target.affine.shifted(low) @ scale)
        box = tuple(slice(a, a + n) for a, n in zip(low, sizes, strict=True))
        values = resample(data, source, fine, outside=outside)
        result[box] = averaged(values, (int(sizes[0]), int(sizes[1]), int(sizes[2])))
    return result


def averaged(data: Data, shape: tuple[int, int, int]) -> Float:
    """`data` (I, J, K) in fewer voxels, `shape`, each the mean of those that it takes the place of.

    The sizes of `data` must be multiples of those of `shape`.
    """
    split = [n for size, old in zip(shape, data.shape, strict=True) for n in (size, old // size)]
    return np.asarray(data.reshape(split).mean(axis=(1, 3, 5)), np.float32)


def _need_volume(data: Data) -> None:
    if data.ndim != 3 or data.size == 0:
        raise GeometryError(
            f"resampling needs a volume of three axes, but the shape is {data.shape}."
        )


def _parallel_view(
    data: Data, source: Affine, target: Grid
) -> tuple[Data, list[tuple[float, float]]]:
    """`data`, its axes as those of `target`; of each, scale and offset from target to source.

    The offset makes the map exact in the middle.
    """
    if not is_aligned(source, target.affine):
        raise GeometryError(
            f"fast resampling needs parallel voxel axes, but the source is {source.codes} and the "
            f"target {target.affine.codes}, turned against each other; use resample instead."
        )
    view, affine = follow(data, source, target.affine.direction)
    mapping = affine.inverse @ target.affine
    middle = (np.asarray(target.shape) - 1) / 2
    scales = np.diag(mapping.matrix)[:3]
    offsets = mapping.apply(middle) - scales * middle
    return view, list(zip(scales.tolist(), offsets.tolist(), strict=True))


def _nearest_aligned(data: Data, source: Affine, target: Grid, outside: float) -> Data:
    result, maps = _parallel_view(data, source, target)
    for axis, (scale, offset) in enumerate(maps):
        size = result.shape[axis]
        positions = scale * np.arange(target.shape[axis]) + offset
        # The small shift makes a tie (exactly between two voxels) fall the same way every time.
        nearest = np.floor(positions + 0.5 - 1e-6).astype(int)
        result = result.take(np.clip(nearest, 0, size - 1), axis=axis)
        result[(*(slice(None),) * axis, beyond(positions, size))] = outside
    return result


def _sample_slab(data: Data, mapping: Affine, slab: Data, order: int, outside: float) -> None:
    """Fill `slab` from the part of `data` that it touches; `mapping` is slab to data indices."""
    from scipy import ndimage

    matrix, offset = mapping.matrix[:3, :3], mapping.origin
    touched = corners([(0, n - 1) for n in slab.shape]) @ matrix.T + offset
    margin = 2 if order < 3 else SPLINE_MARGIN
    sizes = np.asarray(data.shape)
    low = np.clip(np.floor(touched.min(0)) - margin, 0, sizes - 1).astype(int)
    high = np.clip(np.ceil(touched.max(0)) + margin + 1, low + 1, sizes).astype(int)
    crop = data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    if order == 3:
        # The prefilter mirrors at borders; a rim of edge voxels makes that the edge value.
        crop, low = np.pad(crop, SPLINE_MARGIN, mode="edge"), low - SPLINE_MARGIN
        crop = ndimage.spline_filter(crop, order=3, output=np.float32, mode="mirror")
    ndimage.affine_transform(
        crop, matrix, offset - low, slab.shape, slab, order, mode="nearest", prefilter=False
    )
    i, j, k = np.ogrid[tuple(slice(0, n) for n in slab.shape)]
    for row, start, size in zip(matrix, offset, data.shape, strict=True):
        slab[beyond(row[0] * i + row[1] * j + (row[2] * k + start), size)] = outside


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
    view = data.transpose(order)
    first, second, third = (axes[a] for a in order)
    result = np.empty([len(w.matrix) for w in (first, second, third)], np.float32)
    rows = max(1, SLAB_BYTES // (4 * max(1, view.shape[1] * view.shape[2])))
    depth = int(np.clip(rows * len(first.matrix) / view.shape[0], 1, BLOCK))
    for outputs, inputs, weights in first.blocks(depth):
        if inputs.start == inputs.stop:  # all of these lie outside
            result[outputs] = 0.0
            continue
        slab = np.ascontiguousarray(view[inputs], dtype=np.float32)
        shrinks = len(weights) < weights.shape[1]
        if not shrinks:
            slab = _along_third(third, _along_second(second, slab))
        slab = (weights @ slab.reshape(len(slab), -1)).reshape(len(weights), *slab.shape[1:])
        result[outputs] = _along_third(third, _along_second(second, slab)) if shrinks else slab
    if outside != 0.0:
        for axis, used in enumerate((first, second, third)):
            result[(slice(None),) * axis + (~used.inside,)] = outside
    return result.transpose(np.argsort(order))


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
