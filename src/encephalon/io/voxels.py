# SPDX-License-Identifier: Apache-2.0
"""Voxels as the bytes of a file, which both NIfTI and MGH store one after the other, i fastest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UnreadableFileError

_SLAB_BYTES = 4 * 2**20  # converted at once while writing


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
