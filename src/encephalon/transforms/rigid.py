# SPDX-License-Identifier: Apache-2.0
"""Turn and shift a scan together with its labels: drawn first, then applied. NumPy and SciPy only.

As the published brain and meningioma networks were trained (`nobrainer` up to 1.2, `transform.py`
and `volume.py`): with probability 0.5 a rotation of up to 180° about each axis through the middle
of the volume, and a shift of up to 5 % of its size along each axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.transforms.parameters import RigidRanges

__all__ = ["RigidTransform", "draw_rigid", "transform_image", "transform_labels", "transform_pair"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class RigidTransform:
    """A rigid transform of a volume: what was drawn, independent of the volume's size.

    Attributes
    ----------
    angles
        Rotations about i, then j, then k, radians; (3,).
    shift
        Translation along i, j, k as a fraction of the volume's size; (3,).
    """

    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return not any(self.angles) and not any(self.shift)

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


def transform_image(image: NDArray[Any], transform: RigidTransform) -> NDArray[np.float32]:
    """`image` (I, J, K) moved: trilinear, float32, its edge continued where it does not reach."""
    return _moved(image, transform, np.dtype(np.float32), order=1, mode="nearest")


def transform_labels(labels: NDArray[Any], transform: RigidTransform) -> NDArray[Any]:
    """`labels` (I, J, K) moved: nearest voxel, same type, 0 where they do not reach."""
    # Unlike "constant", this mode ends half a voxel beyond the last centre, where a voxel ends.
    return _moved(labels, transform, labels.dtype, order=0, mode="grid-constant")


def transform_pair(
    image: NDArray[Any], labels: NDArray[Any], transform: RigidTransform
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Image and labels (I, J, K) of one head moved by the same transform."""
    return transform_image(image, transform), transform_labels(labels, transform)


def _moved(
    volume: NDArray[Any], transform: RigidTransform, kind: np.dtype[Any], order: int, mode: str
) -> NDArray[Any]:
    from scipy import ndimage

    if transform.is_identity:
        return volume.astype(kind)
    mapping = transform.matrix(volume.shape)
    moved: NDArray[Any] = ndimage.affine_transform(
        volume, mapping[:3, :3], mapping[:3, 3], output=kind, order=order, mode=mode
    )
    return moved
