# SPDX-License-Identifier: Apache-2.0
"""Random spatial sampling: draw a smooth map from a working grid into an image, then apply it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as nnf

from encephalon.transforms.parameters import SpatialRanges


@dataclass(frozen=True)
class Placement:
    """A map from working-grid voxels to image voxels: matrix, centre and smooth displacement.

    `matrix` (3, 3) has image voxels per working voxel; `centre` (3,) is the image voxel seen at
    the middle of the grid; `warp` (3, a, b, c) holds control displacements in image voxels.
    """

    matrix: NDArray[np.float64]
    centre: NDArray[np.float64]
    warp: NDArray[np.float32]

    @property
    def scale(self) -> float:
        """Image voxels per working voxel, as the cube root of the volume ratio."""
        return float(abs(np.linalg.det(self.matrix)) ** (1 / 3))


def draw_placement(
    rng: np.random.Generator, centre: NDArray[np.float64], scale: float, ranges: SpatialRanges
) -> Placement:
    """Draw a placement around `centre` (image voxels) with `scale` image voxels a grid voxel."""
    angles = np.deg2rad(rng.uniform(-ranges.rotation, ranges.rotation, 3))
    shear = np.eye(3)
    shear[np.triu_indices(3, 1)] = rng.uniform(-ranges.shear, ranges.shear, 3)
    stretch = np.diag(np.exp(rng.uniform(-ranges.scaling, ranges.scaling, 3)))
    orientation = _orientation(rng, ranges)
    matrix = scale * (_rotation(angles) @ shear @ stretch @ orientation)
    amplitude = rng.uniform(0, ranges.warp)
    warp = amplitude * rng.standard_normal((3, 5, 5, 5), dtype=np.float32)
    return Placement(matrix, centre, warp)


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def _orientation(rng: np.random.Generator, ranges: SpatialRanges) -> NDArray[np.float64]:
    if rng.random() < ranges.any_orientation:
        axes: NDArray[np.float64] = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
        return axes
    mirror = -1.0 if rng.random() < ranges.flip else 1.0
    return np.diag([mirror, 1.0, 1.0])


def sampling_points(placement: Placement, shape: tuple[int, int, int]) -> Tensor:
    """Image voxel coordinates (I, J, K, 3) of every voxel of a working grid of `shape`."""
    axes = [torch.arange(size, dtype=torch.float32) - (size - 1) / 2 for size in shape]
    matrix = torch.as_tensor(placement.matrix, dtype=torch.float32)
    points = torch.as_tensor(placement.centre, dtype=torch.float32).expand(*shape, 3).clone()
    for axis, positions in enumerate(axes):
        view = [1, 1, 1, 1]
        view[axis] = -1
        points += positions.view(view) * matrix[:, axis]
    warp = nnf.interpolate(
        torch.as_tensor(placement.warp)[None], size=shape, mode="trilinear", align_corners=True
    )
    return points + warp[0].permute(1, 2, 3, 0)


def sample_linear(volume: Tensor, points: Tensor, outside: float) -> Tensor:
    """Trilinear values of `volume` (C, I, J, K) at `points` (..., 3) in its voxels, float32.

    The result is (C, *points.shape[:3]); points outside the volume take `outside`.
    """
    size = torch.tensor(volume.shape[1:], dtype=torch.float32)
    normalised = (2 * points / (size - 1) - 1).flip(-1)
    sampled = nnf.grid_sample(
        (volume.float() - outside)[None],
        normalised[None],
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )
    return sampled[0] + outside


def sample_nearest(volume: Tensor, points: Tensor) -> Tensor:
    """Values of an integer `volume` (I, J, K) at the voxels nearest to `points` (..., 3), int64.

    Points outside the volume are 0. No copy of the volume is made, whatever its type.
    """
    voxels = points.round().long()
    size = torch.tensor(volume.shape)
    inside = ((voxels >= 0) & (voxels < size)).all(-1)
    i, j, k = voxels.clamp(min=torch.zeros(3, dtype=torch.long), max=size - 1).unbind(-1)
    return volume[i, j, k].long() * inside
