# SPDX-License-Identifier: Apache-2.0
"""A small head of thick slices: the truth is known, and its three axes tell themselves apart."""

from __future__ import annotations

import numpy as np

from encephalon.geometry.affine import Affine, Grid
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Problem, Stack
from encephalon.transforms.slices import SliceOperator, SliceProfile

SHAPE = (26, 30, 36)
#: Work orders of axial, coronal and sagittal slices: voxel axes run L, P and S where they are told.
WORLD = Affine(np.diag([-1.0, -1.0, 1.0, 1.0]))


def truth() -> np.ndarray:
    """A bright ellipsoid with a brighter corner to the first ends of all axes, (I, J, K)."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    corner = np.all([axis < -0.15 for axis in axes], axis=0)
    volume = np.where(radius < 0.85, 400.0 + 500.0 * corner, 0.0)
    return (volume + 100 * (radius < 0.85) * np.sin(6 * axes[2])).astype(np.float32)


def guide() -> np.ndarray:
    """A T1w of the same head: dark where the T2w is bright."""
    volume = truth()
    return np.where(volume > 0, 1200 - volume, 0).astype(np.float32)


def problem(
    *,
    ratio: float = 4,
    thickness: float | None = None,
    guided: bool = True,
    affine: Affine = WORLD,
) -> Problem:
    """The problem of thick slices of `truth`, voxels of 1 mm, slices across the last axis."""
    size = SHAPE[2]
    middles = np.arange((ratio - 1) / 2, size - (ratio - 1) / 2 - 1e-6, ratio)
    operator = SliceOperator.of(SliceProfile("box"), thickness or ratio, middles, size, 1.0)
    stack = Stack(operator.slice(truth()), Grid(SHAPE, affine), operator)
    if not guided:
        return Problem((stack,), 2)
    return Problem((stack,), 2, guide(), np.ones(SHAPE, bool))


def estimate(of: Problem, deviation: float = 20.0) -> Estimate:
    """The truth, off by `deviation` everywhere as it says itself."""
    return Estimate(truth(), np.full(of.grid.shape, deviation, np.float32))
