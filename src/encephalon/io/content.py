# SPDX-License-Identifier: Apache-2.0
"""Voxels of a file: their bytes, and whether they can be a head, a brain or a block of tissue.

Both NIfTI and MGH store them one after the other, i fastest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, GeometryError, UnreadableFileError

Data = NDArray[Any]
_SLAB_BYTES = 4 * 2**20  # converted at once while writing


def volume_shape(shape: tuple[int, ...], source: object) -> tuple[int, int, int]:
    """`shape` without trailing axes of one: (I, J, K).

    Raises ContentError for a series of volumes, and GeometryError for no voxels, a single
    slice or a volume one voxel thick.
    """
    sizes = tuple(int(n) for n in shape)
    if not sizes or min(sizes) < 1:
        raise GeometryError(
            f"{source}: expected a 3-D volume, but the shape {sizes} holds no voxels."
        )
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) > 3 and sizes[0] == 1:
        raise ContentError(
            f"{source}: expected one 3-D volume, but the shape is {sizes}, whose first axis has a "
            "single voxel; save it without that axis."
        )
    if len(sizes) > 3:
        count = math.prod(sizes[3:])
        raise ContentError(
            f"{source}: expected one 3-D volume, but the shape is {sizes}, {count} volumes in one "
            "file; save the one that you want as a file of its own."
        )
    if len(sizes) < 3 or min(sizes) == 1:
        raise GeometryError(
            f"{source}: expected a 3-D volume, but the shape is {sizes}, a single slice; give a "
            "volume of at least two voxels along each axis."
        )
    return sizes[0], sizes[1], sizes[2]


def plain_numbers(data: Data, source: object, *, ours: bool = False) -> Data:
    """`data` as uint8 (from truth values), its own integer type, or float32; native byte order.

    The array may be changed in place only if it is `ours`, read from a file and seen by nobody yet.
    Raises ContentError for colours, complex numbers and anything else that is not one real
    number a voxel.
    """
    kind = data.dtype
    if kind == np.bool_:
        return data.view(np.uint8)
    if kind.kind in "iu":
        return _native_order(data, ours)
    if kind.kind == "f":
        return _single(_native_order(data, ours))
    raise ContentError(
        f"{source}: expected one real number a voxel, but the voxels are of type {kind}; convert "
        "colours or complex values to a single grey value."
    )


def _native_order(data: Data, ours: bool) -> Data:
    if data.dtype.isnative:
        return data
    swapped = data.byteswap(inplace=ours and data.flags.writeable)
    return swapped.view(data.dtype.newbyteorder("="))


def scaled(data: Data, slope: float, intercept: float) -> Data:
    """`data * slope + intercept` as float32, or `data` itself when that changes nothing.

    A slope of 0 or NaN means "not scaled" in NIfTI.
    """
    if not math.isfinite(slope) or slope == 0.0 or (slope == 1.0 and intercept == 0.0):
        return data
    result = data.astype(np.float32)
    result *= np.float32(slope)
    if math.isfinite(intercept) and intercept != 0.0:
        result += np.float32(intercept)
    return result


def refuse_useless(data: Data, source: object) -> None:
    """Raise ContentError, naming `source`, when voxels are not finite or all the same.

    Two passes over the array and no copy of it.
    """
    low, high = data.min(), data.max()  # NaN and infinity both surface in one of the two
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ContentError(_not_finite(data, source))
    if low == high:
        what = "0: the image is empty" if low == 0 else f"{low:g}: the image is constant"
        raise ContentError(
            f"{source}: every voxel is {what}, so there is nothing to see; check the file."
        )


def _not_finite(data: Data, source: object) -> str:
    count = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in data)
    share = "all" if count == data.size else f"{count:,} of {data.size:,}"
    return (
        f"{source}: {share} voxels are NaN or infinite, but finite numbers are needed; set them "
        "to 0 if they are background, or convert the file again."
    )


def _single(data: Data) -> Data:
    if data.dtype == np.float32:
        return data
    with np.errstate(over="ignore"):  # what overflows turns infinite and is refused by its name
        return data.astype(np.float32)


def stored_voxels(
    content: bytearray,
    kind: np.dtype[Any],
    shape: tuple[int, int, int],
    offset: int,
    source: object,
) -> NDArray[Any]:
    """The voxels (I, J, K) of type `kind` from byte `offset` of `content` on, without a copy.

    Raises UnreadableFileError, naming `source`, when there are fewer than `shape` promises.
    """
    count = math.prod(shape)
    found = max(0, len(content) - offset) // kind.itemsize if kind.itemsize else 0
    if found < count:
        raise UnreadableFileError(
            f"{source}: the file is truncated: its header promises {count:,} voxels, but only "
            f"{found:,} are there; copy or download it again."
        )
    return np.frombuffer(content, kind, count, offset).reshape(shape, order="F")


def as_stored(data: NDArray[Any], kind: np.dtype[Any]) -> Iterator[bytes]:
    """The bytes of `data` (I, J, K) as `kind`, a few slices of k at a time."""
    depth = max(1, _SLAB_BYTES // max(1, data[:, :, :1].nbytes))
    for first in range(0, data.shape[2], depth):
        yield data[:, :, first : first + depth].astype(kind, copy=False).tobytes(order="F")
