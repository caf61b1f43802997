# SPDX-License-Identifier: Apache-2.0
"""Swaps and flips of voxel axes lose nothing and move nothing."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, Grid, follow, orient

CODES = [
    "".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)
]


def test_there_are_48_orientations() -> None:
    """Six orders of axes times eight choices of sign."""
    assert len(set(CODES)) == 48


@given(st.sampled_from(CODES), st.sampled_from(CODES))
def test_orienting_there_and_back_is_the_identity(first: str, second: str) -> None:
    """Any orientation to any other and back gives the same voxels at the same place."""
    data = np.arange(24).reshape(2, 3, 4)
    data, affine = orient(data, Affine.from_spacing((1, 2, 3), (5, 6, 7)), first)
    there, moved = orient(data, affine, second)
    back, home = orient(there, moved, first)
    assert moved.codes == second
    assert np.array_equal(back, data)
    assert home.is_close(affine, 1e-9)


@pytest.mark.parametrize("codes", CODES)
def test_every_voxel_keeps_its_place_in_the_world(codes: str, oblique: Affine) -> None:
    """The value at a point of the world is the same before and after."""
    data = np.arange(60).reshape(3, 4, 5)
    view, affine = orient(data, oblique, codes)
    old = np.argwhere(view == data[2, 1, 3])[0]
    assert np.allclose(affine.apply(old), oblique.apply((2, 1, 3)))
    assert np.shares_memory(view, data)
    assert affine.codes == codes


def test_reorienting_like_an_oblique_image_undoes_orient(oblique: Affine) -> None:
    """After work in RAS the result returns to exactly the axes of the input."""
    data = np.arange(60).reshape(3, 4, 5)
    view, affine = orient(data, oblique, "RAS")
    back, home = follow(view, affine, oblique.direction)
    assert np.array_equal(back, data)
    assert home.is_close(oblique, 1e-9)


def test_axes_after_the_third_are_left_alone() -> None:
    """A channel axis at the end stays at the end."""
    data = np.zeros((2, 3, 4, 7))
    view, _ = orient(data, Affine.from_spacing(1.0), "SAR")
    assert view.shape == (4, 3, 2, 7)


@pytest.mark.parametrize("codes", ["RA", "RAA", "XYZ", "RASS", "RLS", ""])
def test_codes_must_name_each_direction_once(codes: str) -> None:
    """What does not name three different directions is refused with an example."""
    with pytest.raises(GeometryError, match="for example 'RAS'"):
        orient(np.zeros((2, 2, 2)), Affine.from_spacing(1.0), codes)


def test_two_axes_cannot_be_oriented() -> None:
    """A slice has no third axis to put anywhere."""
    with pytest.raises(GeometryError, match="3 voxel axes"):
        orient(np.zeros((2, 2)), Affine.from_spacing(1.0))


def test_the_centre_of_the_grid_stays(oblique: Affine) -> None:
    """Flips move the origin, never the volume."""
    data = np.zeros((3, 4, 5))
    view, affine = orient(data, oblique, "LIP")
    assert np.allclose(Grid(view.shape, affine).centre, Grid(data.shape, oblique).centre)
