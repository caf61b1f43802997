# SPDX-License-Identifier: Apache-2.0
"""What can be mended in the voxels of a scan before it is used, and what cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.io import Image
from encephalon.io.image import content_check

__all__ = ["mend"]

#: Share of voxels that may be no number where programs mark the air so: brains alone fill more.
MOST_AIR = 0.97
#: Share of the finite voxels that may be no number amid them: a few failed fits of a map.
MOST_HOLES = 1e-3


def mend(image: Image) -> tuple[Image, tuple[str, ...], tuple[str, ...]]:
    """The image with finite voxels (I, J, K), notes, and warnings: sentences about what was done.

    NaN and infinity that reach the border of the volume are its air, and become 0; a few amid the
    rest become 0 and a warning. Negative values stay. Raises ContentError for more of them, for an
    image that is empty or constant, and for a mask.
    """
    notes: list[str] = []
    warnings: list[str] = []
    finite = np.isfinite(image.data) if image.data.dtype.kind == "f" else None
    if finite is not None and not finite.all():
        holes = _holes(~finite)
        _require_few(image, int(np.count_nonzero(~finite)), holes)
        air = image.data.size - int(np.count_nonzero(finite)) - holes
        image = replace(image, data=np.where(finite, image.data, np.float32(0)))
        if air:
            notes.append(f"{image.name}: {air:,} voxels of its air were NaN or infinite, now 0.")
        if holes:
            warnings.append(
                f"{image.name}: {holes:,} voxels inside the head were NaN or infinite, now 0."
            )
    content_check(image)
    low, high = image.data.min(), image.data.max()
    if bool(((image.data == low) | (image.data == high)).all()):
        message = (
            f"{image.name}: every voxel is {low:g} or {high:g}, as in a mask, but a scan is "
            "needed; give the scan."
        )
        raise ContentError(message)
    if low < 0:
        notes.append(f"{image.name}: it has negative values, down to {low:.4g}, which were kept.")
    return image, tuple(notes), tuple(warnings)


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
    good = image.data.size - wrong
    if wrong <= MOST_AIR * image.data.size and holes <= MOST_HOLES * good:
        return
    where = f", {holes:,} of them amid the others" if holes else ""
    message = (
        f"{image.name}: {wrong:,} of {image.data.size:,} voxels are NaN or infinite{where}, too "
        "many to be mended; convert the file again."
    )
    raise ContentError(message)
