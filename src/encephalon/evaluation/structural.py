# SPDX-License-Identifier: Apache-2.0
"""Structural similarity (Wang et al. 2004), slab by slab, so that it needs little memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError

__all__ = ["WINDOW", "structural_means"]

Volume = NDArray[Any]
Mask = NDArray[np.bool_]

#: Edge of the cubes that are compared, and the two constants: the defaults of scikit-image.
WINDOW = 7
K1, K2 = 0.01, 0.03
# Voxels of one slab: with its moments in double precision about 100 MB.
_SLAB = 2_000_000


def structural_means(
    reference: Volume, image: Volume, masks: Sequence[Mask | None], data_range: float
) -> list[float]:
    """The mean structural similarity in each mask, NaN for an empty one."""
    if min(reference.shape) < WINDOW:
        raise GeometryError(
            f"Structural similarity compares cubes of {WINDOW} voxels, but the shape is "
            f"{reference.shape}: give larger images."
        )
    sums, counts = np.zeros(len(masks)), np.zeros(len(masks), np.int64)
    for inside, alike in _similarity_slabs(reference, image, data_range):
        for place, mask in enumerate(masks):
            kept = alike if mask is None else alike[mask[inside]]
            sums[place] += kept.sum()
            counts[place] += kept.size
    return [float(total / n) if n else nan for total, n in zip(sums, counts, strict=True)]


def _similarity_slabs(
    reference: Volume, image: Volume, data_range: float
) -> Iterator[tuple[tuple[slice, ...], NDArray[np.float64]]]:
    """Slab by slab where it lies and the local similarities of the voxels that have whole cubes."""
    rim = WINDOW // 2
    inner = tuple(slice(rim, size - rim) for size in reference.shape[1:])
    depth = max(1, _SLAB // max(1, reference[0].size))
    for start in range(rim, len(reference) - rim, depth):
        stop = min(start + depth, len(reference) - rim)
        read = slice(start - rim, stop + rim)
        pair = [np.asarray(each[read], np.float64) for each in (reference, image)]
        alike = _local_similarity(pair[0], pair[1], data_range)
        yield (slice(start, stop), *inner), alike[(slice(rim, rim + stop - start), *inner)]


def _local_similarity(
    one: NDArray[np.float64], two: NDArray[np.float64], data_range: float
) -> NDArray[np.float64]:
    from scipy.ndimage import uniform_filter

    cube = WINDOW**one.ndim
    sample = cube / (cube - 1)
    mean_one, mean_two = uniform_filter(one, WINDOW), uniform_filter(two, WINDOW)
    product = mean_one * mean_two
    squares = mean_one**2 + mean_two**2
    together = sample * (uniform_filter(one * two, WINDOW) - product)
    spread = sample * (uniform_filter(one**2 + two**2, WINDOW) - squares)
    first, second = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    above = (2 * product + first) * (2 * together + second)
    return np.asarray(above / ((squares + first) * (spread + second)))
