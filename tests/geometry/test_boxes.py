# SPDX-License-Identifier: Apache-2.0
"""The box of a mask holds all of it and no more than was asked for."""

from __future__ import annotations

import numpy as np

from encephalon.geometry.affine import bounding_box


def test_the_box_is_the_smallest() -> None:
    """Two corners span it; the last voxel is inside."""
    mask = np.zeros((6, 7, 8), bool)
    mask[1, 2, 3] = mask[4, 2, 7] = True
    assert bounding_box(mask) == (slice(1, 5), slice(2, 3), slice(3, 8))
    assert mask[bounding_box(mask)].sum() == 2


def test_a_margin_ends_where_the_volume_does() -> None:
    """Two voxels more on every side, if there are as many."""
    mask = np.zeros((6, 7), np.uint8)
    mask[1, 3] = 1
    assert bounding_box(mask, 2) == (slice(0, 4), slice(1, 6))


def test_nothing_has_an_empty_box() -> None:
    """Also with a margin, and without any voxel at all."""
    assert bounding_box(np.zeros((3, 4), bool), 2) == (slice(0, 0), slice(0, 0))
    assert bounding_box(np.zeros((0, 4), bool)) == (slice(0, 0), slice(0, 0))
