# SPDX-License-Identifier: Apache-2.0
"""Two contrasts of one small head with folded tissues, and thick slices of it in any direction."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from encephalon.geometry.affine import Affine, Grid
from encephalon.io.image import Image
from encephalon.studies.isotropic.reconstruction.problem import Problem, Stack
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_problem, simulate_stack

SHAPE = (40, 44, 36)
GRID = Grid(SHAPE, Affine.from_spacing((1.0, 1.0, 1.0), (-20.0, -22.0, -18.0)))
THICKNESS = 4.0
#: Intensities of air, fluid, grey and white tissue.
T2W, T1W = (0.0, 1000.0, 600.0, 400.0), (0.0, 200.0, 500.0, 900.0)


def contrast(levels: tuple[float, ...], seed: int = 0) -> np.ndarray:
    """Folded tissues about 4 mm thick, with a little noise, in a ball of air (I, J, K)."""
    rng = np.random.default_rng(seed)
    folds = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.0)
    tissue = 1 + np.digitize(folds / folds.std(), (-0.6, 0.6))
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    tissue[sum(axis**2 for axis in axes) > 0.95] = 0
    sharp = np.asarray(levels)[tissue] + 5 * rng.standard_normal(SHAPE) * (tissue > 0)
    return ndimage.gaussian_filter(sharp, 0.5).astype(np.float32)


def problem(axis: int = 2, *, guide: np.ndarray | None = None) -> tuple[Problem, np.ndarray]:
    """Thick slices of the T2w contrast across `axis`, and the truth in work order."""
    t1w = None if guide is None else Image(guide, GRID.affine)
    return simulate_problem(Image(contrast(T2W), GRID.affine), t1w, SliceSettings(axis, THICKNESS))


def stack(axis: int, volume: np.ndarray | None = None, noise: float = 0.0) -> Stack:
    """Thick slices of `volume`, the T2w contrast unless given, across `axis`."""
    scan = contrast(T2W) if volume is None else volume
    return simulate_stack(
        Image(scan, GRID.affine), SliceSettings(axis, THICKNESS, noise=noise, seed=axis)
    )[0]


def error(volume: np.ndarray, truth: np.ndarray) -> float:
    """The root mean square difference in the head, 5 voxels of the border aside."""
    inside = (slice(5, -5),) * 3
    head = truth[inside] > 100
    return float(np.sqrt(np.mean((volume[inside] - truth[inside])[head] ** 2)))
