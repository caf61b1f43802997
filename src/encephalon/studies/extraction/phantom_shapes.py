# SPDX-License-Identifier: Apache-2.0
"""Solids in millimetres for the head phantom: ellipsoids, tubes, soft unions, random fields.

A solid is an array of signed distances on a `Space`, negative inside. The distances are exact for
tubes and near enough elsewhere: they are only compared with a few millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine

__all__ = ["Float", "Space", "ellipsoid", "mirrored", "soft_union", "tube", "waves"]

Float = NDArray[np.float32]
Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Space:
    """A box of voxels in RAS+ mm, with open coordinate arrays x (I, 1, 1), y (1, J, 1), z (1, 1, K).

    `detail` is the voxel edge in mm; voxel 0, 0, 0 lies at `low`.
    """

    low: Point
    high: Point
    detail: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        i, j, k = (
            int((high - low) // self.detail) + 1
            for low, high in zip(self.low, self.high, strict=True)
        )
        return i, j, k

    @property
    def affine(self) -> Affine:
        """Voxel to RAS+ mm."""
        return Affine.from_spacing((self.detail,) * 3, self.low)

    def axes(self) -> tuple[Float, Float, Float]:
        """The coordinates of the voxel centres, mm, ready to broadcast."""
        x, y, z = (
            low + self.detail * np.arange(size, dtype=np.float32)
            for low, size in zip(self.low, self.shape, strict=True)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]


def ellipsoid(space: Space, centre: Point, radii: Point) -> Float:
    """Signed distance to an ellipsoid, first order away from its surface."""
    offsets = [(axis - at) for axis, at in zip(space.axes(), centre, strict=True)]
    near = sum((o / r) ** 2 for o, r in zip(offsets, radii, strict=True))
    steep = sum((o / r**2) ** 2 for o, r in zip(offsets, radii, strict=True))
    level = np.sqrt(np.asarray(near, dtype=np.float32))
    slope = np.sqrt(np.asarray(steep, dtype=np.float32))
    return np.asarray(level * (level - 1) / np.maximum(slope, 1e-6), dtype=np.float32)


def tube(space: Space, points: Sequence[Point], radii: Sequence[float]) -> Float:
    """Signed distance to a tube through `points` whose radius runs from one to the next."""
    axes = space.axes()
    nearest = np.full(space.shape, np.inf, dtype=np.float32)
    for start, end, first, last in zip(points, points[1:], radii, radii[1:], strict=False):
        way = np.subtract(end, start)
        along = sum((axis - s) * w for axis, s, w in zip(axes, start, way, strict=True))
        share = np.clip(np.asarray(along) / float(way @ way), 0.0, 1.0).astype(np.float32)
        apart = sum(
            (axis - s - share * np.float32(w)) ** 2
            for axis, s, w in zip(axes, start, way, strict=True)
        )
        radius = first + (last - first) * share
        nearest = np.minimum(nearest, np.sqrt(np.asarray(apart)) - radius)
    return np.asarray(nearest, dtype=np.float32)


def mirrored(solid: Float) -> Float:
    """The union of a solid with its mirror image in x; the space must be symmetric in x."""
    return np.minimum(solid, solid[::-1])


def soft_union(first: Float, *others: Float, blend: float = 8.0) -> Float:
    """The union of solids with seams rounded over about `blend` mm."""
    result = first
    for other in others:
        overlap = np.maximum(np.float32(blend) - np.abs(result - other), np.float32(0))
        result = np.minimum(result, other) - overlap**2 / np.float32(4 * blend)
    return result


def waves(space: Space, wavelength: float, generator: np.random.Generator) -> Float:
    """A smooth random field of mean 0 and standard deviation 1 around one wavelength in mm.

    It is drawn on a coarse grid of a quarter wavelength and interpolated, so that the same seed
    gives the same folds at any detail.
    """
    from scipy import ndimage

    step = wavelength / 5.0
    extent = [high - low for low, high in zip(space.low, space.high, strict=True)]
    coarse = [int(np.ceil(length / step)) + 4 for length in extent]
    noise = generator.standard_normal(coarse).astype(np.float32)
    # The difference of two blurs passes a band around the wavelength.
    band = ndimage.gaussian_filter(noise, 0.9) - ndimage.gaussian_filter(noise, 1.6)
    band /= band.std()
    scale = space.detail / step
    field = ndimage.affine_transform(
        band, np.full(3, scale), offset=1.5, output_shape=space.shape, order=2, mode="nearest"
    )
    return np.asarray(field, dtype=np.float32)
