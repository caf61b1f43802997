# SPDX-License-Identifier: Apache-2.0
"""Voxels that are no number: what can be mended before a scan is used, and what cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.io.image import Image

__all__ = ["with_finite_voxels"]

#: Share of voxels that may be no number where programs mark the air so: brains alone fill more.
MOST_AIR = 0.97
#: Share of the finite voxels that may be no number amid them: dark sinuses and skull that went with
#: the air, and failed fits of a map.
MOST_HOLES = 0.1


def with_finite_voxels(image: Image) -> Image:
    """`image` with 0 where a voxel (I, J, K) was NaN or infinite, and that as a doubt.

    Raises ContentError where so many are that the head cannot be there: nearly all, or many that
    others enclose.
    """
    data = image.data
    if data.dtype.kind != "f" or bool(np.isfinite(data.min()) and np.isfinite(data.max())):
        return image
    finite = np.isfinite(data)
    holes = _holes(~finite)
    air = data.size - int(np.count_nonzero(finite)) - holes
    _require_few(image, air + holes, holes)
    mended = replace(image, data=np.where(finite, data, np.float32(0)))
    where = [f"{air:,} of the air"] * bool(air) + [f"{holes:,} amid the others"] * bool(holes)
    return mended.doubted(f"voxels were NaN or infinite and are now 0: {' and '.join(where)}")


def _holes(wrong: NDArray[np.bool_]) -> int:
    """How many of the voxels `wrong` (I, J, K) are enclosed by others."""
    from scipy import ndimage

    pieces, count = ndimage.label(wrong)
    border = np.zeros(count + 1, bool)
    for axis in range(3):
        for end in (0, -1):
            border[np.unique(pieces.take(end, axis=axis))] = True
    border[0] = True
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    return int(sizes[~border].sum())


def _require_few(image: Image, wrong: int, holes: int) -> None:
    size = image.data.size
    if wrong <= MOST_AIR * size and holes <= MOST_HOLES * (size - wrong):
        return
    count = "all" if wrong == size else f"{wrong:,} of {size:,}"
    where = f", {holes:,} of them amid the others" if holes else ""
    raise ContentError(
        f"{image.name}: {count} voxels are NaN or infinite{where}, too many to be mended; convert "
        "the file again."
    )
