# SPDX-License-Identifier: Apache-2.0
"""Brains without a skull are told from heads, and outlined as they are."""

from __future__ import annotations

import numpy as np

from encephalon.geometry.affine import Affine, Grid
from encephalon.io.image import Image
from encephalon.studies.extraction.segmentation.boundary import outline, stripped_share
from encephalon.studies.extraction.segmentation.localisation import View

_I, _J, _K = np.mgrid[:40, :40, :40] - 19.5
DISTANCE = (8 - np.sqrt(_I**2 + _J**2 + _K**2)).astype(np.float32)


def test_a_brain_in_the_void_is_bare_and_one_in_a_skull_is_not() -> None:
    """Only what lies 5 to 9 voxels outside the border counts."""
    alone = np.where(DISTANCE > -5, 1.0, 0.0).astype(np.float32)
    grid, seen = Grid((40, 40, 40), Affine.from_spacing((1, 1, 1))), np.ones(alone.shape, bool)
    assert stripped_share(View(grid, alone, seen), DISTANCE) == 1.0
    assert stripped_share(View(grid, np.ones_like(alone), seen), DISTANCE) == 0.0


def test_what_was_not_acquired_is_not_taken_for_air() -> None:
    """A head whose shell is seen on one side only is judged by that side."""
    image, seen = np.ones(DISTANCE.shape, np.float32), _I > 0
    image[~seen] = 0
    grid = Grid((40, 40, 40), Affine.from_spacing((1, 1, 1)))
    assert stripped_share(View(grid, image, seen), DISTANCE) == 0.0


def test_the_outline_is_that_of_all_matter_without_its_holes() -> None:
    """Dark ventricles stay inside; the sign changes between the last full and the first empty."""
    image = np.where((DISTANCE > 0) & (DISTANCE < 6), 1.0, 0.0).astype(np.float32)
    affine = Affine.from_spacing((1, 1, 1))
    border = outline(Image(image, affine), Grid((40, 40, 40), affine))
    assert np.array_equal(border > 0, DISTANCE > 0)
    assert np.abs(border[DISTANCE > 0].min()) == 0.5
