# SPDX-License-Identifier: Apache-2.0
"""Fluid around a brain is left out voxel by voxel, that within it stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encephalon.geometry.affine import Affine, Grid
from encephalon.io.image import Image
from encephalon.metrics.segmentation import dice
from encephalon.studies.extraction.segmentation.boundary import Boundary
from encephalon.studies.extraction.segmentation.fluid import without_fluid
from encephalon.studies.extraction.segmentation.localisation import View

NOTHING: Any = None
SHAPE, BRAIN, CORTEX, VENTRICLE = (80, 84, 76), 34.0, 30.0, 6.0
AFFINE = Affine.from_spacing(1.0)


def radii(spacing: float = 1.0) -> np.ndarray:
    """Distance from the middle of the scan, on its grid or on one of `spacing`."""
    axes = np.ogrid[tuple(slice(0, round(n / spacing)) for n in SHAPE)]
    middle = [(n - 1) / 2 for n in SHAPE]
    return np.sqrt(sum((x * spacing - c) ** 2 for x, c in zip(axes, middle, strict=True)))


def brain() -> tuple[np.ndarray, np.ndarray]:
    """Tissue and fluid: a ball with a ventricle and a sulcus two voxels wide, ten deep."""
    far = radii()
    inside = far < BRAIN
    sulcus = np.zeros(SHAPE, bool)
    sulcus[38:40, :, 57:] = True
    tissue = (far < CORTEX) & ~sulcus & (far > VENTRICLE)
    return tissue, inside & ~tissue


def borders() -> Boundary:
    """What a network says of it on a grid of 2 mm: it cannot follow the sulcus."""
    far = radii(2.0)
    grid = Grid(far.shape, Affine.from_spacing(2.0))  # type: ignore[arg-type]
    distances = np.stack([BRAIN - far, CORTEX - far]).astype(np.float32)
    view = View(grid, np.zeros(far.shape, np.float32), np.ones(far.shape, bool))
    return Boundary(NOTHING, view, distances, 1.0, 1.0, 0.0, 0.0)


def scan(fluid: float, tissue: float = 100.0, bias: bool = False) -> Image:
    """Intensities with noise, brighter to one side with `bias`; the skull is dark."""
    solid, wet = brain()
    image = np.where(solid, tissue, np.where(wet, fluid, 10.0))
    image = image + np.random.default_rng(0).normal(0, 3, SHAPE)
    slope = np.exp(np.linspace(-0.4, 0.4, SHAPE[0]))[:, None, None] if bias else 1.0
    return Image((image * slope).astype(np.float32), AFFINE)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("fluid", [20.0, 180.0])
def test_the_sulcus_is_followed_and_the_ventricle_stays(fluid: float, bias: bool) -> None:
    """In a dark fluid and a bright one, whatever the coil makes of it."""
    solid, _ = brain()
    truth = solid | (radii() <= VENTRICLE)
    image, mask = scan(fluid, bias=bias), (radii() < BRAIN).astype(np.uint8)
    found, told = without_fluid(image, image, mask, borders())
    assert told
    assert dice(found > 0, truth) > 0.99
    assert not found[38:40, 42, 60:].any()
    assert found[radii() < VENTRICLE].all()


def test_fluid_as_bright_as_tissue_is_not_told_apart() -> None:
    """The mask is then that of the smooth border around the tissue, and that is told."""
    image, mask = scan(100.0), (radii() < BRAIN).astype(np.uint8)
    found, told = without_fluid(image, image, mask, borders())
    assert not told
    assert dice(found > 0, radii() < CORTEX) > 0.98


def test_nothing_is_taken_where_there_is_no_fluid() -> None:
    """Two borders at one place leave nothing between them to know fluid by."""
    same = borders()
    same.distances[0] = same.distances[1]
    image, mask = scan(20.0), (radii() < CORTEX).astype(np.uint8)
    found, told = without_fluid(image, image, mask, same)
    assert not told
    assert dice(found > 0, mask > 0) > 0.98
