# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with scans, made on purpose: a lesion in one of two, a T1w in the wrong place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.evaluation import foreground
from encephalon.geometry import Affine, Grid
from encephalon.io.image import Image

__all__ = ["Lesion", "centred", "draw_lesion", "misaligned", "painted"]

#: How far a T1w is moved and turned: what a registration that looks right may miss.
SHIFT_MM, TURN_DEGREES = 2.0, 2.0
#: Radius of a lesion and width of its edge, mm: a large plaque or a small metastasis.
RADIUS_MM, EDGE_MM = 5.0, 0.8
# Voxels between those that a lesion's place is drawn from.
_STRIDE = 3


@dataclass(frozen=True)
class Lesion:
    """A bright ball at a point of the world (R, A, S), mm; `healthy` is the mean without it."""

    centre: tuple[float, float, float]
    healthy: float = 0.0

    def distance(self, grid: Grid) -> NDArray[np.float32]:
        """How far each voxel of a grid (I, J, K) is from the centre, mm."""
        i, j, k = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
        total = np.zeros(grid.shape, np.float32)
        for row, origin, middle in zip(
            grid.affine.matrix[:3, :3], grid.affine.origin, self.centre, strict=True
        ):
            total += (row[0] * i + row[1] * j + (row[2] * k + origin - middle)) ** 2
        return np.sqrt(total)

    def kept(self, image: NDArray[Any], truth: NDArray[Any], grid: Grid) -> float:
        """The share of the lesion that `image` (I, J, K) shows: 0 for healthy, 1 for the truth."""
        ball = self.distance(grid) < RADIUS_MM
        height = float(np.mean(truth[ball])) - self.healthy
        return (float(np.mean(image[ball])) - self.healthy) / height if height else float("nan")


def draw_lesion(image: Image, seed: int) -> Lesion:
    """A place deep in the head: not nearer to the air than half of what is possible.

    Raises ContentError for an image without foreground.
    """
    from scipy.ndimage import distance_transform_edt

    sparse = np.pad(foreground(image.data[(slice(None, None, _STRIDE),) * 3]), 1)
    depth = distance_transform_edt(sparse, sampling=image.spacing)[1:-1, 1:-1, 1:-1]
    if not depth.any():
        raise ContentError(f"{image.name}: there is no head to paint a lesion in.")
    places = np.argwhere(depth >= depth.max() / 2)
    place = places[int(np.random.default_rng(seed).integers(len(places)))] * _STRIDE
    x, y, z = image.affine.apply(place)
    centre = (float(x), float(y), float(z))
    ball = Lesion(centre).distance(image.grid) < RADIUS_MM
    return Lesion(centre, float(np.mean(image.data[ball])))


def painted(image: Image, lesion: Lesion) -> Image:
    """The image with the lesion in it, as bright as its 99th percentile of what is above 0."""
    data = np.asarray(image.data, np.float32)
    bright = np.percentile(data[data > 0], 99)
    distance = (lesion.distance(image.grid) - RADIUS_MM) / EDGE_MM
    weight = 1 / (1 + np.exp(np.clip(distance, -30, 30)))
    return replace(image, data=np.asarray(data + weight * (bright - data), np.float32))


def misaligned(image: Image, seed: int) -> Image:
    """The image, its header moved by 2 mm and turned by 2° about its middle, both as drawn."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    axis, direction = (each / np.linalg.norm(each) for each in rng.standard_normal((2, 3)))
    turn = Rotation.from_rotvec(TURN_DEGREES * axis, degrees=True).as_matrix()
    centre = image.grid.centre
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre - turn @ centre + SHIFT_MM * direction
    return replace(image, affine=Affine(matrix) @ image.affine)


def centred(image: Image, target: Image) -> Image:
    """The image, its header moved so that the middle of its volume is that of `target`."""
    matrix = np.eye(4)
    matrix[:3, 3] = target.grid.centre - image.grid.centre
    return replace(image, affine=Affine(matrix) @ image.affine)
