# SPDX-License-Identifier: Apache-2.0
"""Do two registered scans show the same head, or only heads?

Every two heads have an outline, ventricles and two halves, and registered ones share much mutual
information. What only one person's scans share is detail: within a few millimetres one scan is
nearly a linear function of the other, whatever the contrasts. `likeness` is the mean share of local
variance that this explains. How much of it any two heads share, the mirrored scan tells: it has the
same contrast, sharpness and noise, and shows somebody else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine, Grid, resample
from encephalon.io import Image
from encephalon.transforms.foreground import foreground, near, otsu_threshold, reduced

__all__ = ["likeness", "mirrored"]

Float = NDArray[np.float32]

#: Voxels on which detail is compared, mm: folds of the cortex are twice as wide.
SPACING = 1.5
#: Standard deviation of the window within which one scan should be linear in the other, mm.
WINDOW = 3.0
#: The least standard deviation of that window, voxels, for scans that are coarse all over.
LEAST_VOXELS = 1.2
#: Voxels nearer to the air than this, mm, are left out: outlines of all heads are alike.
RIM = 8.0
#: Standard deviation, in units of the bright tissue, below which a window shows nothing but noise.
FLAT = 0.02


def likeness(fixed: Image, moving: Image, matrix: Affine) -> float:
    """Share of the local variance within the head that either scan explains of the other, 0 to 1.

    `matrix` maps fixed world RAS mm to moving world RAS mm. The moving scan is averaged over the
    voxels of the fixed one, so that thick slices meet thick slices. Local: squared correlation in
    Gaussian windows of 3 mm, along the axes whose voxels are finer than that. 0 without overlap.
    """
    scan = reduced(fixed, SPACING)
    other = _averaged(reduced(moving, SPACING), Grid(scan.shape, matrix @ scan.affine))
    inner = _inner(scan.shape, scan.affine, fixed) & np.isfinite(other)
    if not inner.any():
        return 0.0
    here, there = _bright(scan.data, inner), _bright(np.nan_to_num(other), inner)
    # A window must span voxels, or nothing varies within it.
    window = max(WINDOW, LEAST_VOXELS * min(scan.spacing))
    widths = [window / edge if edge < window else 0.0 for edge in scan.spacing]
    return _explained(here, there, inner, widths)


def mirrored(image: Image) -> Image:
    """`image` with its head mirrored left to right, about where it stood: another person's scan."""
    small = reduced(image, 3.0)
    head = np.argwhere(foreground(small))
    middle = small.affine.apply(head).mean(axis=0) if len(head) else small.grid.centre
    flip = Affine.from_parts(np.diag([-1.0, 1.0, 1.0]), 1.0, (2 * middle[0], 0.0, 0.0))
    return Image(image.data, flip @ image.affine)


def _inner(shape: tuple[int, int, int], affine: Affine, image: Image) -> NDArray[np.bool_]:
    """Voxels of a grid (I, J, K) in the head of `image` and away from its outline."""
    small = reduced(image, 3.0)
    # A voxel of air all around, where the field of view ends within the head as well.
    air = np.pad(~foreground(small), 1, constant_values=True)
    deep = ~near(air, small.affine, RIM)[1:-1, 1:-1, 1:-1]
    return np.asarray(resample(deep, small.affine, Grid(shape, affine), order=0))


def _averaged(image: Image, grid: Grid) -> Float:
    """`image` averaged over the voxels of `grid`, (I, J, K); NaN outside its field of view."""
    parts = np.maximum(1, np.ceil(np.asarray(grid.affine.spacing) / SPACING - 1e-3)).astype(int)
    scale = Affine.from_parts(np.eye(3), 1 / parts, (1 / parts - 1) / 2)
    i, j, k = (int(n * p) for n, p in zip(grid.shape, parts, strict=True))
    values = resample(
        image.data, image.affine, Grid((i, j, k), grid.affine @ scale), outside=float("nan")
    )
    split = [n for pair in zip(grid.shape, parts, strict=True) for n in pair]
    return np.asarray(values.reshape(split).mean(axis=(1, 3, 5)), np.float32)


def _bright(data: NDArray[np.float32], inner: NDArray[np.bool_]) -> Float:
    """`data` in units of its bright tissue, without what is much brighter."""
    values = data[inner]
    top = np.percentile(values[values >= otsu_threshold(values)], 90)
    return np.clip(data / (top if top > 0 else 1.0), -0.5, 1.5).astype(np.float32)


def _explained(first: Float, second: Float, inner: NDArray[np.bool_], widths: list[float]) -> float:
    """Mean squared correlation in Gaussian windows of `widths` voxels, over `inner`."""
    from scipy import ndimage

    weights = inner.astype(np.float32)
    share = np.maximum(ndimage.gaussian_filter(weights, widths, truncate=3), 1e-6)

    def mean(values: Float) -> Float:
        filtered = ndimage.gaussian_filter(values * weights, widths, truncate=3)
        return np.asarray(filtered / share, np.float32)

    middle, other = mean(first), mean(second)
    spread = np.maximum(mean(first * first) - middle**2, 0) + FLAT**2
    wide = np.maximum(mean(second * second) - other**2, 0) + FLAT**2
    shared = mean(first * second) - middle * other
    return float((shared**2 / (spread * wide))[inner].mean())
