# SPDX-License-Identifier: Apache-2.0
"""Painted brains of any person and contrast, and rigid maps, for the tests of registration."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image

SPACING = 3.0
SHAPE = (46, 54, 44)
# Fluid, grey and white matter.
CONTRASTS = {"t1": (0.15, 0.55, 0.85), "t2": (1.0, 0.6, 0.4)}


def painted(contrast: str, person: int = 0, *, noise: float = 0.01) -> Image:
    """A brain of 115 mm without skull: random folds that are not symmetric, on 3 mm voxels."""
    rng = np.random.default_rng(person)
    axes = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * SPACING for n in SHAPE], indexing="ij")
    radius = np.sqrt((axes[0] / 55) ** 2 + (axes[1] / 66) ** 2 + (axes[2] / 50) ** 2)
    folds = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.9)
    folds /= folds.std()
    fluid, grey, white = CONTRASTS[contrast]
    tissue = np.select([folds < -1.1, folds < 0.3], [fluid, grey], white)
    values = ndimage.gaussian_filter(np.where(radius < 1, tissue, 0.0), 0.5)
    values += np.random.default_rng(99).normal(0, noise, SHAPE)
    origin = -(np.asarray(SHAPE) - 1) / 2 * SPACING
    return Image((500 * values).astype(np.float32), Affine.from_spacing(SPACING, origin))


def brain_points(image: Image) -> np.ndarray:
    """Places (N, 3) RAS mm in the brain of a painted scan."""
    return image.affine.apply(np.argwhere(image.data > 100)[::37])


def turned(degrees: float, shift: float, seed: int) -> Affine:
    """A turn about a random axis through the origin, and a shift (mm) in a random direction."""
    rng = np.random.default_rng(seed)
    axis, way = rng.normal(size=(2, 3))
    matrix = np.eye(4)
    turn = np.deg2rad(degrees) * axis / np.linalg.norm(axis)
    matrix[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    matrix[:3, 3] = shift * way / np.linalg.norm(way)
    return Affine(matrix)


def placed(image: Image, world: Affine) -> Image:
    """The same voxels with another header: what lay at p says that it lies at `world` p."""
    return Image(image.data, world @ image.affine)
