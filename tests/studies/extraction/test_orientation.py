# SPDX-License-Identifier: Apache-2.0
"""Orientations are applied and undone exactly, and the best one is the cleanest."""

from __future__ import annotations

import numpy as np

from encephalon.geometry.affine import Affine, Grid
from encephalon.studies.extraction.segmentation.localisation import View
from encephalon.studies.extraction.segmentation.orientation import (
    ALL,
    STORED_ORIENTATION,
    Orientation,
    likely_orientations,
)
from encephalon.studies.extraction.settings import Grids


def test_there_are_24_orientations_without_the_mirror() -> None:
    """48 signed permutations, halved by the mirror of left and right."""
    assert len(set(ALL)) == 24
    assert STORED_ORIENTATION in ALL


def test_every_orientation_is_undone_exactly() -> None:
    """With leading axes too; no two of them give the same volume."""
    volume = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    for one in ALL:
        assert np.array_equal(one.undo(one.apply(volume)), volume)
    assert len({(one.apply(volume).shape, one.apply(volume).tobytes()) for one in ALL}) == 24


def test_an_orientation_orders_the_axes_and_then_turns_them() -> None:
    """Upright axis n is the stored axis `order[n]`, backwards where its flip says so."""
    stored = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    upright = Orientation((2, 0, 1), (1, -1, 1)).apply(stored)
    assert upright.shape == (5, 3, 4)
    for i, j, k in np.ndindex(upright.shape):
        assert upright[i, j, k] == stored[2 - j, k, i]


def test_a_stored_grid_is_upright_after_turning() -> None:
    """The shape that the network sees is always the recipe's."""
    grids = Grids(coarse=(16, 32, 48), fine=(32, 64, 96))
    for one in ALL:
        stored = np.zeros(one.grids(grids).coarse, np.float32)
        assert one.apply(stored).shape == grids.coarse


def test_the_axis_of_symmetry_is_that_of_left_and_right() -> None:
    """A head that is brighter in front and above is symmetric from left to right alone."""
    ball = np.linalg.norm(np.mgrid[:24, :24, :24] - 11.5, axis=0)
    ramp = np.linspace(-1, 1, 24)
    upright = (ramp[None, None, :] + 0.5 * ramp[None, :, None] + 0 * ball).astype(np.float32)
    grid = Grid((24, 24, 24), Affine.from_spacing((2, 2, 2)))

    def network(image: np.ndarray) -> np.ndarray:
        lopsided = (image - image[::-1]) * ramp[:, None, None]
        return (8 - ball + lopsided).astype(np.float32)[None]

    for one in ALL[::5]:
        stored = one.undo(upright)
        view = View(grid, stored, np.ones(stored.shape, bool))
        likely = likely_orientations(view, network)
        assert len(likely) == 8
        assert {each.order[0] for each in likely} == {one.order[0]}
        assert one in likely
