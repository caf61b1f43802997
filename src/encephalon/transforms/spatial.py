# SPDX-License-Identifier: Apache-2.0
"""Random spatial transforms, drawn first, then applied: smooth maps, and rigid ones.

A smooth one maps a working grid into an image. A rigid one turns and shifts a scan together with
its labels, as the published brain and meningioma networks were trained (`nobrainer` up to 1.2,
`transform.py` and `volume.py`): with probability 0.5 a rotation of up to 180° about each axis
through the middle of the volume, and a shift of up to 5 % of its size along each axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as nnf

from encephalon.transforms.parameters import RigidRanges, SpatialRanges

Matrix = NDArray[np.float64]


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
    if rng.random() < ranges.any_orientation:
        orientation = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    else:
        orientation = np.diag([-1.0 if rng.random() < ranges.flip else 1.0, 1.0, 1.0])
    matrix = scale * (rotation(angles) @ shear @ stretch @ orientation)
    amplitude = rng.uniform(0, ranges.warp)
    warp = amplitude * rng.standard_normal((3, 5, 5, 5), dtype=np.float32)
    return Placement(matrix, centre, warp)


def rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (3, 3) of turns by three `angles` (3,), radians, about the axes, one by one."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def sampling_points(
    placement: Placement, shape: tuple[int, int, int], device: torch.device | None = None
) -> Tensor:
    """Image voxel coordinates (I, J, K, 3) of every voxel of a working grid of `shape`."""
    kind: Any = {"dtype": torch.float32, "device": device}
    axes = [torch.arange(size, **kind) - (size - 1) / 2 for size in shape]
    matrix = torch.as_tensor(placement.matrix, **kind)
    points = torch.as_tensor(placement.centre, **kind).expand(*shape, 3).clone()
    for axis, positions in enumerate(axes):
        view = [1, 1, 1, 1]
        view[axis] = -1
        points += positions.view(view) * matrix[:, axis]
    warp = nnf.interpolate(
        torch.as_tensor(placement.warp, device=device)[None],
        size=shape,
        mode="trilinear",
        align_corners=True,
    )
    return points + warp[0].permute(1, 2, 3, 0)


def sample_linear(volume: Tensor, points: Tensor, outside: float) -> Tensor:
    """Trilinear values of `volume` (C, I, J, K) at `points` (..., 3) in its voxels, float32.

    The result is (C, *points.shape[:3]); points outside the volume take `outside`.
    """
    size = torch.tensor(volume.shape[1:], dtype=torch.float32, device=points.device)
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


@dataclass(frozen=True)
class RigidTransform:
    """A rigid transform of a volume: what was drawn, independent of the volume's size.

    angles  Rotations about i, then j, then k, radians; (3,).
    shift   Translation along i, j, k as a fraction of the volume's size; (3,).
    """

    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def matrix(self, shape: tuple[int, ...]) -> Matrix:
        """The map (4, 4) from voxels of the moved volume to those of the original, both `shape`.

        The middle of n voxels, about which it turns, is (n - 1) / 2.
        """
        from scipy.spatial.transform import Rotation

        turn = Rotation.from_euler("xyz", self.angles).as_matrix()
        middle = (np.asarray(shape) - 1) / 2
        mapping = np.eye(4)
        mapping[:3, :3] = turn
        mapping[:3, 3] = middle - turn @ middle + np.asarray(self.shift) * np.asarray(shape)
        return mapping


def draw_rigid(rng: np.random.Generator, ranges: RigidRanges) -> RigidTransform:
    """Draw a transform; always the same seven numbers of `rng`, whether the pair moves or not."""
    moves = rng.random() < ranges.probability
    angles = np.deg2rad(rng.uniform(-1, 1, 3) * ranges.rotation_degrees).tolist()
    shift = (rng.uniform(-1, 1, 3) * ranges.translation_fraction).tolist()
    if not moves:
        return RigidTransform()
    return RigidTransform((angles[0], angles[1], angles[2]), (shift[0], shift[1], shift[2]))


def transform_pair(
    image: NDArray[Any], labels: NDArray[Any], transform: RigidTransform
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Image and labels (I, J, K) of one head moved by the same transform.

    The image is trilinear, float32, its edge continued where it does not reach; labels are those of
    the nearest voxel, of the same type, 0 where they do not reach.
    """
    from scipy import ndimage

    if transform == RigidTransform():
        return image.astype(np.float32), labels.copy()
    mapping = transform.matrix(image.shape)
    matrix, offset = mapping[:3, :3], mapping[:3, 3]
    moved = ndimage.affine_transform(
        image, matrix, offset, output=np.float32, order=1, mode="nearest"
    )
    # Unlike "constant", this mode ends half a voxel beyond the last centre, where a voxel ends.
    return moved, ndimage.affine_transform(
        labels, matrix, offset, output=labels.dtype, order=0, mode="grid-constant"
    )
