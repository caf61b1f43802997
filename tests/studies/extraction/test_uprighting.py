# SPDX-License-Identifier: Apache-2.0
"""Orientations are applied and undone exactly, and the best one is the cleanest."""

from __future__ import annotations

import numpy as np

from encephalon.geometry import Affine, Grid
from encephalon.studies.extraction.localise import View
from encephalon.studies.extraction.options import Grids
from encephalon.studies.extraction.uprighting import ALL, AS_STORED, best_orientation


def test_there_are_24_orientations_without_the_mirror() -> None:
    """48 signed permutations, halved by the mirror of left and right."""
    assert len(set(ALL)) == 24
    assert AS_STORED in ALL


def test_every_orientation_is_undone_exactly() -> None:
    """With leading axes too."""
    volume = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    for one in ALL:
        assert np.array_equal(one.undo(one.apply(volume)), volume)


def test_a_stored_grid_is_upright_after_turning() -> None:
    """The shape that the network sees is always the recipe's."""
    grids = Grids(coarse=(16, 32, 48), fine=(32, 64, 96))
    for one in ALL:
        stored = np.zeros(one.grids(grids).coarse, np.float32)
        assert one.apply(stored).shape == grids.coarse


def test_the_orientation_with_the_cleanest_border_wins() -> None:
    """A network that knows only heads whose bright end is up."""
    ball = np.linalg.norm(np.mgrid[:24, :24, :24] - 11.5, axis=0)
    ramp = np.linspace(0, 1, 24)

    def network(image: np.ndarray) -> np.ndarray:
        upright = image[12, 12, -1] > image[12, 12, 0] and image[12, -1, 12] > image[12, 0, 12]
        return ((8 - ball) * (1.0 if upright else 0.4)).astype(np.float32)[None]

    upright = (ramp[None, None, :] + 0.5 * ramp[None, :, None] + 0 * ball).astype(np.float32)
    grid = Grid((24, 24, 24), Affine.from_spacing((2, 2, 2)))
    for one in ALL[::5]:
        stored = one.undo(upright)
        view = View(grid, stored, np.ones(stored.shape, bool))
        seen = best_orientation(view, network).apply(stored)
        assert seen[12, 12, -1] > seen[12, 12, 0]
        assert seen[12, -1, 12] > seen[12, 0, 12]
