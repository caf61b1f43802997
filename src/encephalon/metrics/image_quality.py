# SPDX-License-Identifier: Apache-2.0
"""How like its truth an image is: PSNR, SSIM, NRMSE and MSE, of all voxels or of some.

Two ways to bring truth and image to one scale are kept apart, because their metrics differ by
several dB on the same images: the published one (BABY-AI: each volume by its own percentiles,
clipped, padded with zeros, background included) and the default one (both by the truth's
percentiles, nothing clipped, the foreground alone). A learnt perceptual distance (LPIPS) would need
downloaded weights and is left out. Structural similarity (Wang et al. 2004) goes slab by slab, so
that it needs little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, log10, nan, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError
from encephalon.geometry.affine import bounding_box
from encephalon.metrics.segmentation import same_shape

__all__ = [
    "Similarity",
    "foreground",
    "foreground_similarities",
    "nrmse",
    "published_similarity",
    "similarities",
]

Volume = NDArray[Any]
Mask = NDArray[np.bool_]

#: The percentiles of voxels above 0 that become 0 and 1, as for BABY-AI.
PERCENTILES = (1.0, 99.0)
#: What the published normalisation adds to the range, and what its volumes are padded to: sizes
#: (182, 218, 182) become (192, 224, 192), as for BABY-AI.
PUBLISHED_EPSILON, PUBLISHED_MULTIPLE = 1e-6, 32
#: Share of the truth's 99th percentile above which a voxel is no air: the noise of the air reaches
#: 4 % in clinical scans, and white matter on T2w lies above 15 %.
FOREGROUND_SHARE = 0.1
#: Edge of the cubes that are compared, and the two constants: the defaults of scikit-image.
WINDOW = 7
K1, K2 = 0.01, 0.03
# Voxels of one slab: with its moments in double precision about 100 MB.
_SLAB = 2_000_000


@dataclass(frozen=True)
class Similarity:
    """Four metrics of one pair of images in [0, 1]; NaN where there is nothing to compare.

    psnr   the peak signal-to-noise ratio, 10 log10(1 / MSE), dB; infinite for equal images
    ssim   the structural similarity as scikit-image has it by default: cubes of 7 voxels, all of
           one weight, sample covariances, K1 = 0.01, K2 = 0.03 (Wang et al. 2004), averaged over
           the voxels whose cube lies within the image
    nrmse  see `nrmse`
    mse    the mean squared difference
    """

    psnr: float
    ssim: float
    nrmse: float
    mse: float


def nrmse(reference: Volume, image: Volume, mask: Mask | None = None) -> float:
    """The root of the summed squared differences over that of the reference: ||a - b|| / ||b||.

    A reference that is 0 everywhere gives infinity, or 0 for an equal image. Raises GeometryError
    for different shapes.
    """
    _check(reference, image, mask)
    return _nrmse(*_powers(reference, image, mask))


def similarities(
    reference: Volume, image: Volume, masks: Mapping[str, Mask | None]
) -> dict[str, Similarity]:
    """All four metrics of images of any dimension in each of several regions; None means all.

    What an empty region would say is NaN. Raises GeometryError for different shapes, or an edge
    shorter than 7 voxels.
    """
    for mask in masks.values():
        _check(reference, image, mask)
    if min(reference.shape) < WINDOW:
        raise GeometryError(
            f"Structural similarity compares cubes of {WINDOW} voxels, but the shape is "
            f"{reference.shape}: give larger images."
        )
    sums, counts = dict.fromkeys(masks, 0.0), dict.fromkeys(masks, 0)
    for inside, alike in _similarity_slabs(reference, image):
        for name, mask in masks.items():
            kept = alike if mask is None else alike[mask[inside]]
            sums[name] += float(kept.sum())
            counts[name] += kept.size
    found = {}
    for name, mask in masks.items():
        error, power = _powers(reference, image, mask)
        psnr = inf if error == 0 else 10 * log10(1 / error)
        ssim = sums[name] / counts[name] if counts[name] else nan
        found[name] = Similarity(psnr, ssim, _nrmse(error, power), error)
    return found


def published_similarity(reference: Volume, image: Volume) -> Similarity:
    """The metrics as BABY-AI computed them (its `calculate_metrics`), for comparison only.

    Each volume (I, J, K) is padded with zeros on both sides to multiples of 32 voxels, scaled by
    its own percentiles 1 and 99 of what is above 0 and clipped to [0, 1]; all voxels count. A
    volume without anything above 0, where the original fails, becomes 0 everywhere.
    """
    _check(reference, image, None)
    padded = [size + -size % PUBLISHED_MULTIPLE for size in reference.shape]
    pair = [_padded(_own_scale(each)) for each in (reference, image)]
    # Most of it is 0 in both: there the error is 0 and the similarity 1, and nothing is computed.
    box = _box((pair[0] > 0) | (pair[1] > 0), 2 * (WINDOW // 2))
    part = similarities(pair[0][box], pair[1][box], {"": None})[""]
    rim = WINDOW - 1
    size, inner = (prod(each - less for each in padded) for less in (0, rim))
    cut = pair[0][box].shape
    share, inner_share = prod(cut) / size, prod(each - rim for each in cut) / inner
    return Similarity(
        part.psnr - 10 * log10(share),
        1 - (1 - part.ssim) * inner_share,
        part.nrmse,
        part.mse * share,
    )


def foreground_similarities(
    reference: Volume, image: Volume, masks: Mapping[str, Mask]
) -> dict[str, Similarity]:
    """The metrics in the `masks` (I, J, K), both images scaled by the truth's percentiles.

    Percentiles 1 and 99 of what is above 0 in `reference` become 0 and 1; nothing is clipped, so
    an image that is too bright or too dark is worse for it. Make the masks with `foreground`.
    """
    for mask in masks.values():
        _check(reference, image, mask)
    low, high = _percentiles(reference)
    scale = np.float32(1 / (high - low) if high > low else 1.0)
    box = _box(np.any(list(masks.values()), axis=0), WINDOW // 2)
    pair = [
        np.multiply(np.asarray(each[box], np.float32) - np.float32(low), scale)
        for each in (reference, image)
    ]
    return similarities(pair[0], pair[1], {name: mask[box] for name, mask in masks.items()})


def foreground(reference: Volume, share: float = FOREGROUND_SHARE) -> Mask:
    """Where there is no air: above `share` of the truth's 99th percentile, its holes filled.

    A volume without anything above 0 has no foreground.
    """
    from scipy.ndimage import binary_fill_holes

    above = np.asarray(reference > max(share * _percentiles(reference)[1], 0.0))
    return np.asarray(binary_fill_holes(above), dtype=bool)


def _powers(reference: Volume, image: Volume, mask: Mask | None) -> tuple[float, float]:
    """Mean squared difference and mean squared reference, in double precision, plane by plane."""
    error = power = 0.0
    count = 0
    for place in range(len(reference)):
        one, two = (np.asarray(each[place], np.float64) for each in (reference, image))
        if mask is not None:
            one, two = one[mask[place]], two[mask[place]]
        error += float(np.square(one - two).sum())
        power += float(np.square(one).sum())
        count += one.size
    return (error / count, power / count) if count else (nan, nan)


def _nrmse(error: float, power: float) -> float:
    if power == 0:
        return 0.0 if error == 0 else inf
    return sqrt(error / power)


def _own_scale(volume: Volume) -> NDArray[np.float32]:
    low, high = _percentiles(volume)
    if high == 0:
        return np.zeros(volume.shape, np.float32)
    scaled = (np.asarray(volume, np.float64) - low) / (high - low + PUBLISHED_EPSILON)
    return np.clip(scaled, 0, 1).astype(np.float32)


def _percentiles(volume: Volume) -> tuple[float, float]:
    """The percentiles of what is above 0; (0, 0) where nothing is."""
    above = volume[volume > 0]
    if not above.size:
        return 0.0, 0.0
    low, high = np.percentile(above, PERCENTILES)
    return float(low), float(high)


def _padded(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    missing = [-size % PUBLISHED_MULTIPLE for size in volume.shape]
    return np.pad(volume, [(lack // 2, lack - lack // 2) for lack in missing])


def _box(inside: Mask, margin: int) -> tuple[slice, ...]:
    """The box around what is true and `margin` voxels more, in which a cube always has room."""
    found = []
    for part, size in zip(bounding_box(inside, margin), inside.shape, strict=True):
        low = max(0, min(part.start, size - WINDOW))
        found.append(slice(low, min(size, max(part.stop, low + WINDOW))))
    return tuple(found)


def _check(reference: Volume, image: Volume, mask: Mask | None) -> None:
    same_shape(image, reference)
    if mask is not None and np.shape(mask) != np.shape(reference):
        raise GeometryError(
            f"The mask has the shape {np.shape(mask)} and the images {np.shape(reference)}: give "
            "a mask on their grid."
        )


def _similarity_slabs(
    reference: Volume, image: Volume
) -> Iterator[tuple[tuple[slice, ...], NDArray[np.float64]]]:
    """Slab by slab where it lies and the local similarities of the voxels that have whole cubes."""
    rim = WINDOW // 2
    inner = tuple(slice(rim, size - rim) for size in reference.shape[1:])
    depth = max(1, _SLAB // max(1, reference[0].size))
    for start in range(rim, len(reference) - rim, depth):
        stop = min(start + depth, len(reference) - rim)
        read = slice(start - rim, stop + rim)
        pair = [np.asarray(each[read], np.float64) for each in (reference, image)]
        alike = _local_similarity(pair[0], pair[1])
        yield (slice(start, stop), *inner), alike[(slice(rim, rim + stop - start), *inner)]


def _local_similarity(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import uniform_filter

    cube = WINDOW**one.ndim
    sample = cube / (cube - 1)
    mean_one, mean_two = uniform_filter(one, WINDOW), uniform_filter(two, WINDOW)
    product = mean_one * mean_two
    squares = mean_one**2 + mean_two**2
    together = sample * (uniform_filter(one * two, WINDOW) - product)
    spread = sample * (uniform_filter(one**2 + two**2, WINDOW) - squares)
    first, second = K1**2, K2**2
    above = (2 * product + first) * (2 * together + second)
    return np.asarray(above / ((squares + first) * (spread + second)))
