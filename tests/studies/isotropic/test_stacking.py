# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.geometry.affine import Affine, Grid
from encephalon.io.image import Image
from encephalon.studies.isotropic.acquisition.registration import (
    make_stack,
    missing_voxels,
    output_grid,
)
from encephalon.studies.isotropic.acquisition.slices import find_acquisition
from encephalon.studies.isotropic.reconstruction.problem import Problem, Stack
from encephalon.studies.isotropic.settings import PredictOptions
from encephalon.transforms.slices import SliceProfile
from tests.studies.isotropic.scans import head, scan

NONE, BOX = PredictOptions(), SliceProfile("box")


def stack(image: Image, spacing: float = 1.0) -> Stack:
    return make_stack(image, find_acquisition(image, NONE), spacing, BOX)


def test_a_plane_of_the_right_spacing_is_untouched(oblique: Affine) -> None:
    """Voxels and their places in the world are those of the file, to the last digit but one."""
    affine = Affine.from_parts(oblique.direction, (0.9, 0.9, 3.6), oblique.origin)
    image = Image(head(), affine)
    made = stack(image, 0.9)
    np.testing.assert_array_equal(made.slices, image.data)
    assert made.grid.shape == (24, 20, 40)
    # Every slice's middle lies in the world where the file says.
    for number, middle in enumerate(made.operator.middles):
        here = made.grid.affine.apply((3, 4, middle / 0.9))
        np.testing.assert_allclose(here, affine.apply((3, 4, number)), atol=1e-9)


@given(
    shape=st.tuples(*[st.integers(2, 40)] * 3),
    sizes=st.tuples(*[st.floats(0.4, 6.0)] * 3),
    spacing=st.floats(0.5, 2.0),
    axis=st.integers(0, 2),
)
def test_the_field_of_view_is_kept(
    shape: tuple[int, int, int],
    sizes: tuple[float, float, float],
    spacing: float,
    axis: int,
) -> None:
    """Same middle, same directions, and outer faces within half a voxel of each other."""
    grid = Grid(shape, Affine.from_spacing(sizes, (5.0, -6.0, 7.0)))
    made = output_grid(grid, axis, spacing)
    np.testing.assert_allclose(made.centre, grid.centre, atol=1e-9)
    np.testing.assert_allclose(made.affine.direction, grid.affine.direction)
    assert made.affine.spacing[axis] == pytest.approx(spacing)
    difference = np.abs(np.subtract(made.extent, grid.extent))
    assert (difference <= spacing / 2 + 1e-9).all() or min(made.shape) == 1


def test_a_whole_ratio_aligns_the_faces() -> None:
    """Ten slices of 4 mm are forty voxels, the first slice over the first four."""
    made = stack(scan())
    assert made.grid.shape == (24, 20, 40)
    assert made.operator.middles[0] == pytest.approx(1.5)
    np.testing.assert_allclose(made.operator.matrix[0, :5], [0.25, 0.25, 0.25, 0.25, 0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slice_axis_comes_last_and_goes_back(axis: int) -> None:
    """In work order slices are last; `Problem.native` undoes it, affine and all."""
    data = np.moveaxis(head(), 2, axis)
    sizes = [1.0, 1.0]
    sizes.insert(axis, 4.0)
    image = scan((sizes[0], sizes[1], sizes[2]), data)
    made = stack(image)
    problem = Problem((made,), axis)
    volume = problem.native(made.operator.interpolate(made.slices))
    assert volume.shape == problem.native_grid.shape
    np.testing.assert_allclose(
        problem.native_grid.affine.matrix,
        output_grid(image.grid, axis, 1.0).affine.matrix,
        atol=1e-9,
    )
    again = np.moveaxis(volume, axis, 2).reshape(24, 20, 10, 4).mean(-1)
    np.testing.assert_allclose(again, head(), atol=0.1)


def test_another_spacing_resamples_the_plane() -> None:
    """A ramp stays the ramp it is in the world, in and across the plane, with odd ratios."""
    image = scan((0.8, 1.3, 3.3))
    places = np.moveaxis(np.indices(image.shape), 0, -1)
    ramp = image.affine.apply(places) @ [1.0, 2.0, 0.0]
    made = stack(Image(ramp.astype(np.float32), image.affine))
    assert made.grid.affine.spacing == pytest.approx((1.0, 1.0, 1.0))
    indices = np.moveaxis(np.indices((*made.grid.shape[:2], 1)), 0, -1)
    wanted = made.grid.affine.apply(indices)[..., 0, :] @ [1.0, 2.0, 0.0]
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(made.slices[..., 4][inner], wanted[inner], atol=1e-3)


def test_missing_slices_are_left_out_of_the_measurement() -> None:
    """Those beside them tell what is there, and what lies beyond the last is known as such."""
    data = head()
    data[..., [4, 8, 9]] = 0
    made = stack(scan(data=data))
    assert made.slices.shape == (24, 20, 7)
    assert made.grid.shape == (24, 20, 40)
    np.testing.assert_allclose(np.diff(made.operator.middles)[2:5], [4, 8, 4])
    np.testing.assert_array_equal(np.flatnonzero(missing_voxels(made.operator)), np.arange(33, 40))
    assert not missing_voxels(stack(scan()).operator).any()


def test_a_moved_stack_lies_in_the_world_of_the_first() -> None:
    """Its voxels are its own, its grid goes where it is told."""
    image = scan()
    motion = Affine.from_spacing(1.0, (3.0, -2.0, 1.0))
    made = make_stack(image, find_acquisition(image, NONE), 1.0, BOX, motion)
    np.testing.assert_allclose(
        made.grid.affine.matrix, (motion @ stack(image).grid.affine).matrix, atol=1e-12
    )
