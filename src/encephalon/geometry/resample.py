# SPDX-License-Identifier: Apache-2.0
"""Put an image on another grid: a general path for any affine, a fast one for parallel axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, Grid, corners
from encephalon.geometry.orientation import follow
from encephalon.geometry.separable import (
    SLAB_BYTES,
    Data,
    Float,
    beyond,
    linear_weights,
    resample_axes,
)

# Axes count as parallel when no cosine between them is further than this from 0 or 1: a drift
# of 0.05 mm over a head of 250 mm, far below a voxel.
PARALLEL = 2e-4
# Voxels after which the cubic B-spline prefilter has forgotten the border (0.268^12 < 1e-6).
SPLINE_MARGIN = 12


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
    result = np.empty(target.shape, _plain(kind))
    mapping = source.inverse @ target.affine
    depth = max(1, SLAB_BYTES // (8 * target.shape[1] * target.shape[2]))
    for start in range(0, target.shape[0], depth):
        slab = result[start : start + depth]
        _sample_slab(_plain_view(data), mapping.shifted((start, 0, 0)), slab, order, outside)
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
    view, affine = _parallel_view(data, source, target)
    axes = []
    for axis in range(3):
        scale, offset = _axis_map(affine, target, axis)
        size, count = view.shape[axis], target.shape[axis]
        axes.append(linear_weights(size, count, scale, offset, antialias=antialias))
    return resample_axes(view, axes, outside=outside)


def _need_volume(data: Data) -> None:
    if data.ndim != 3 or data.size == 0:
        raise GeometryError(
            f"resampling needs a volume of three axes, but the shape is {data.shape}."
        )


def _parallel_view(data: Data, source: Affine, target: Grid) -> tuple[Data, Affine]:
    if not is_aligned(source, target.affine):
        raise GeometryError(
            f"fast resampling needs parallel voxel axes, but the source is {source.codes} and the "
            f"target {target.affine.codes}, turned against each other; use resample instead."
        )
    return follow(data, source, target.affine.direction)


def _axis_map(affine: Affine, target: Grid, axis: int) -> tuple[float, float]:
    """Scale and offset from target to source indices along one axis, exact in the middle."""
    mapping = affine.inverse @ target.affine
    middle = (np.asarray(target.shape) - 1) / 2
    scale = float(mapping.matrix[axis, axis])
    return scale, float(mapping.apply(middle)[axis] - scale * middle[axis])


def _nearest_aligned(data: Data, source: Affine, target: Grid, outside: float) -> Data:
    view, affine = _parallel_view(data, source, target)
    result = view
    for axis in range(3):
        scale, offset = _axis_map(affine, target, axis)
        positions = scale * np.arange(target.shape[axis]) + offset
        # The small shift makes a tie (exactly between two voxels) fall the same way every time.
        nearest = np.floor(positions + 0.5 - 1e-6).astype(int)
        size = view.shape[axis]
        result = result.take(np.clip(nearest, 0, size - 1), axis=axis)
        result[(*(slice(None),) * axis, beyond(positions, size))] = outside
    return result


def _sample_slab(data: Data, mapping: Affine, slab: Data, order: int, outside: float) -> None:
    """Fill `slab` from the part of `data` that it touches; `mapping` is slab to data indices."""
    from scipy import ndimage

    matrix, offset = mapping.matrix[:3, :3], mapping.origin
    crop, low = _touched(data, matrix, offset, slab.shape, order)
    if order == 3:
        # The prefilter mirrors at borders; a rim of edge voxels makes that the edge value.
        crop, low = np.pad(crop, SPLINE_MARGIN, mode="edge"), low - SPLINE_MARGIN
        crop = ndimage.spline_filter(crop, order=3, output=np.float32, mode="mirror")
    ndimage.affine_transform(
        crop, matrix, offset - low, slab.shape, slab, order, mode="nearest", prefilter=False
    )
    slab[_outside(data.shape, matrix, offset, slab.shape)] = outside


def _touched(
    data: Data,
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    shape: tuple[int, ...],
    order: int,
) -> tuple[Data, NDArray[np.float64]]:
    """The box of `data` needed for outputs of `shape`, and its first voxel (3,)."""
    points = corners([(0, n - 1) for n in shape]) @ matrix.T + offset
    margin = 2 if order < 3 else SPLINE_MARGIN
    sizes = np.asarray(data.shape)
    low = np.clip(np.floor(points.min(0)) - margin, 0, sizes - 1).astype(int)
    high = np.clip(np.ceil(points.max(0)) + margin + 1, low + 1, sizes).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return data[box], low.astype(np.float64)


def _outside(
    sizes: tuple[int, ...],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    shape: tuple[int, ...],
) -> NDArray[np.bool_]:
    """Which of the outputs (shape) lie further than half a voxel from the volume."""
    i, j, k = np.ogrid[tuple(slice(0, n) for n in shape)]
    outside = np.zeros(shape, bool)
    for axis, size in enumerate(sizes):
        row = matrix[axis]
        outside |= beyond(row[0] * i + row[1] * j + (row[2] * k + offset[axis]), size)
    return outside


def _plain(kind: np.dtype[Any]) -> np.dtype[Any]:
    """The type scipy can work in for `kind`: bytes for truth values, single for half."""
    if kind == np.bool_:
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if kind == np.float16 else kind


def _plain_view(data: Data) -> Data:
    return data.astype(np.float32) if data.dtype == np.float16 else data.view(_plain(data.dtype))
