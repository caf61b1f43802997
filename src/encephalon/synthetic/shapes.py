# SPDX-License-Identifier: Apache-2.0
"""Solids in millimetres for the head phantom: ellipsoids, tubes, soft unions, random fields.

Coordinates are RAS+ mm. Distances are negative inside; they are exact for tubes and near enough
elsewhere, because they are only compared with a few millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine

__all__ = [
    "Ellipsoid",
    "Float",
    "Mask",
    "Point",
    "Solid",
    "Space",
    "Tube",
    "inside",
    "soft_union",
    "waves",
]

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Point = tuple[float, float, float]
Corner = Point | NDArray[np.float64]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Space:
    """A box of voxels with edges of `detail` mm; voxel 0, 0, 0 is centred at `low`."""

    low: Point
    high: Point
    detail: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        i, j, k = (
            int(round((high - low) / self.detail, 6)) + 1
            for low, high in zip(self.low, self.high, strict=True)
        )
        return i, j, k

    @property
    def affine(self) -> Affine:
        """Voxel to RAS+ mm."""
        return Affine.from_spacing((self.detail,) * 3, self.low)

    def axes(self) -> tuple[Float, Float, Float]:
        """Coordinates x (I, 1, 1), y (1, J, 1) and z (1, 1, K) of the voxel centres, mm."""
        x, y, z = (
            (low + self.detail * np.arange(size)).astype(np.float32)
            for low, size in zip(self.low, self.shape, strict=True)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def part(self, low: Corner, high: Corner) -> tuple[Box, Space]:
        """The voxels between two corners: their place in this space, and a space of their own."""
        slices, corners = [], []
        for axis in range(3):
            size = self.shape[axis]
            first = int(np.floor((low[axis] - self.low[axis]) / self.detail))
            last = int(np.ceil((high[axis] - self.low[axis]) / self.detail))
            first, last = min(max(first, 0), size - 1), min(max(last, 0), size - 1)
            slices.append(slice(first, last + 1))
            corners.append([self.low[axis] + self.detail * end for end in (first, last)])
        (a, b), (c, d), (e, f) = corners
        return (slices[0], slices[1], slices[2]), Space((a, c, e), (b, d, f), self.detail)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid along the axes; with `both`, also its mirror image on the other side (-x)."""

    centre: Point
    radii: Point
    both: bool = False

    def distance(self, space: Space) -> Float:
        """Signed distance in mm, negative inside; first order away from the surface."""
        x, y, z = space.axes()
        across = np.abs(x) if self.both else x
        offsets = [axis - at for axis, at in zip((across, y, z), self.centre, strict=True)]
        near = [(offset / r) ** 2 for offset, r in zip(offsets, self.radii, strict=True)]
        steep = [(offset / r**2) ** 2 for offset, r in zip(offsets, self.radii, strict=True)]
        level = np.sqrt(near[0] + near[1] + near[2])
        slope = np.sqrt(steep[0] + steep[1] + steep[2])
        return np.asarray(level * (level - 1) / np.maximum(slope, 1e-6), dtype=np.float32)


@dataclass(frozen=True)
class Tube:
    """A tube through points, its radius running from one to the next; `both` mirrors it."""

    points: Sequence[Point]
    radii: Sequence[float]
    both: bool = False

    def distance(self, space: Space) -> Float:
        """Signed distance in mm, negative inside; exact for a constant radius."""
        x, y, z = space.axes()
        axes = (np.abs(x) if self.both else x, y, z)
        nearest = np.full(space.shape, np.inf, dtype=np.float32)
        for (start, end), (first, last) in zip(
            pairwise(self.points), pairwise(self.radii), strict=True
        ):
            way = [b - a for a, b in zip(start, end, strict=True)]
            length = sum(step * step for step in way)
            parts = [(axis - a) * (w / length) for axis, a, w in zip(axes, start, way, strict=True)]
            share = np.clip(parts[0] + parts[1] + parts[2], 0.0, 1.0)
            apart = [
                (axis - a - share * w) ** 2 for axis, a, w in zip(axes, start, way, strict=True)
            ]
            radius = first + (last - first) * share
            nearest = np.minimum(nearest, np.sqrt(apart[0] + apart[1] + apart[2]) - radius)
        return nearest.astype(np.float32)


Solid = Ellipsoid | Tube


def inside(space: Space, *solids: Solid) -> Mask:
    """Which voxels lie in any of the solids, looking only at the boxes that hold them."""
    mask = np.zeros(space.shape, dtype=bool)
    for solid in solids:
        points = np.array([solid.centre] if isinstance(solid, Ellipsoid) else solid.points)
        low, high = points.min(axis=0) - max(solid.radii), points.max(axis=0) + max(solid.radii)
        if solid.both:
            high[0] = max(abs(low[0]), abs(high[0]))
            low[0] = -high[0]
        box, within = space.part(low, high)
        mask[box] |= solid.distance(within) < 0
    return mask


def soft_union(first: Float, *others: Float, blend: float) -> Float:
    """The union of solids with its seams filled over about `blend` mm."""
    result = first
    for other in others:
        overlap = np.maximum(np.float32(blend) - np.abs(result - other), np.float32(0))
        result = np.minimum(result, other) - overlap**2 / np.float32(4 * blend)
    return result


def waves(space: Space, wavelength: float, generator: np.random.Generator) -> Float:
    """A smooth random field of mean 0 and deviation 1, its zeros about half a wavelength apart.

    It is drawn on a coarse grid of a fifth of the wavelength (mm) and interpolated, so that one
    seed gives the same field at any detail.
    """
    from scipy import ndimage

    step = wavelength / 5.0
    lengths = [high - low for low, high in zip(space.low, space.high, strict=True)]
    coarse = [int(np.ceil(length / step)) + 4 for length in lengths]
    noise = generator.standard_normal(coarse).astype(np.float32)
    # The difference of two blurs passes a band of wavelengths around 5 coarse voxels.
    band = ndimage.gaussian_filter(noise, 0.8) - ndimage.gaussian_filter(noise, 1.6)
    result: Float = np.asarray(band / band.std(), dtype=np.float32)
    for axis, size in enumerate(space.shape):
        places = 1.5 + np.arange(size) * (space.detail / step)
        result = _interpolated(result, places, axis)
    return result


def _interpolated(field: Float, places: NDArray[Any], axis: int) -> Float:
    """Cubic (Catmull-Rom) interpolation along one axis."""
    floor = np.floor(places).astype(int)
    t = (places - floor).astype(np.float32)
    weights = [
        0.5 * (-t + 2 * t**2 - t**3),
        0.5 * (2 - 5 * t**2 + 3 * t**3),
        0.5 * (t + 4 * t**2 - 3 * t**3),
        0.5 * (-(t**2) + t**3),
    ]
    matrix = np.zeros((len(places), field.shape[axis]), dtype=np.float32)
    for offset, weight in zip(range(-1, 3), weights, strict=True):
        columns = np.clip(floor + offset, 0, field.shape[axis] - 1)
        np.add.at(matrix, (np.arange(len(places)), columns), weight)
    return np.asarray(np.moveaxis(np.tensordot(matrix, field, axes=(1, axis)), 0, axis))
