# SPDX-License-Identifier: Apache-2.0
"""Coarser copies of a scan, and the head or brain in it: what registration looks at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine, Grid, resample_aligned
from encephalon.io import Image

__all__ = ["foreground", "near", "otsu_threshold", "reduced"]

Mask = NDArray[np.bool_]

#: Share of Otsu's threshold that separates a head from air: fat and bright fluid draw the threshold
#: itself up, into the darker tissues.
AIR_SHARE = 0.5
#: A coarser copy is made only along axes whose voxels are this much finer than asked for.
WORTHWHILE = 1.15


def reduced(image: Image, spacing: float) -> Image:
    """`image` with voxels of about `spacing` mm along every axis that is finer, float32.

    Axes that are coarser already, such as that of thick slices, keep their voxels; the field of
    view stays. Voxels are averaged, not skipped.
    """
    sizes, edges = np.asarray(image.shape), np.asarray(image.spacing)
    fine = edges * WORTHWHILE < spacing
    counts = np.where(fine, np.maximum(1, np.round(sizes * edges / spacing)), sizes).astype(int)
    coarse = sizes * edges / counts
    origin = image.affine.apply((coarse / edges - 1) / 2)
    affine = Affine.from_parts(image.affine.direction, coarse, origin)
    i, j, k = (int(n) for n in counts)
    return Image(resample_aligned(image.data, image.affine, Grid((i, j, k), affine)), affine)


def foreground(image: Image) -> Mask:
    """The head, or the brain of a scan without skull, (I, J, K): one piece without holes.

    Nothing is set where nothing stands out. Meant for copies of about 3 mm.
    """
    from scipy import ndimage

    data = image.data
    bright = data > data.min() + AIR_SHARE * (otsu_threshold(data) - data.min())
    # Opening cuts noise off, along axes that have enough voxels to lose some.
    shape = tuple(3 if n >= 8 else 1 for n in data.shape)
    opened = ndimage.binary_opening(bright, np.ones(shape))
    pieces, count = ndimage.label(opened)
    if count == 0:
        return np.zeros(data.shape, bool)
    largest = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    return _filled(largest)


def _filled(mask: Mask) -> Mask:
    """Without holes in any slice: nostrils and cut necks open a head to the air in 3-D."""
    from scipy import ndimage

    result = mask.copy()
    for axis in range(3):
        for index in range(mask.shape[axis]):
            cut = (slice(None),) * axis + (index,)
            result[cut] |= ndimage.binary_fill_holes(mask[cut])
    return result


def near(mask: Mask, affine: Affine, reach: float) -> Mask:
    """Voxels within `reach` mm of `mask` (I, J, K), and the mask itself."""
    from scipy import ndimage

    away = ndimage.distance_transform_edt(~mask, affine.spacing)
    return np.asarray(away <= reach)


def otsu_threshold(values: NDArray[Any], bins: int = 256) -> float:
    """The value that best parts `values` into dark and bright (Otsu 1979); extremes count less.

    The lowest value where all are equal.
    """
    flat = np.asarray(values, dtype=np.float32).ravel()
    low, high = np.percentile(flat, (0.1, 99.5))
    if not high > low:
        return float(flat.min())
    counts, edges = np.histogram(np.clip(flat, low, high), bins, (float(low), float(high)))
    middles = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * middles)[:-1]
    above = flat.size - below
    total = float((counts * middles).sum())
    parted = (total * below / flat.size - sums) ** 2 / np.maximum(below * above, 1)
    return float(edges[1 + int(np.argmax(parted))])
