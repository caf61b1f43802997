# SPDX-License-Identifier: Apache-2.0
"""Planes show the body as it lies, whatever the order of the voxels."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.geometry import Affine
from encephalon.studies.isotropic.images import interpolated_planes, orthogonal_slices
from tests.studies.isotropic.thick_head import SHAPE, problem, truth


def _affine(worlds: tuple[int, int, int], signs: tuple[int, int, int]) -> Affine:
    matrix = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(zip(worlds, signs, strict=True)):
        matrix[world, axis] = sign
    return Affine.from_parts(matrix, 1.0, (0, 0, 0))


@pytest.mark.parametrize("worlds", [(0, 1, 2), (0, 2, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])
def test_planes_follow_the_world(worlds: tuple[int, int, int], signs: tuple[int, int, int]) -> None:
    """Left is left, anterior right in the sagittal plane, and superior above."""
    affine = _affine(worlds, signs)
    planes = orthogonal_slices(problem(affine=affine))
    indices = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    places = affine.apply(indices)
    sagittal = planes.of(places[..., 1])[0]
    coronal, axial = planes.of(places[..., 0])[1:]
    high = planes.of(places[..., 2])
    assert (np.diff(sagittal, axis=1) > 0).all()
    assert (np.diff(coronal, axis=1) > 0).all()
    assert (np.diff(axial, axis=1) > 0).all()
    assert (np.diff(high[0], axis=0) < 0).all()
    assert (np.diff(high[1], axis=0) < 0).all()
    assert (np.diff(planes.of(places[..., 1])[2], axis=0) < 0).all()


def test_slices_and_volumes_are_cut_alike() -> None:
    """What a matrix makes of the slices looks as if the whole volume had been made first."""
    one = problem(affine=_affine((1, 2, 0), (-1, 1, 1)))
    planes, slices = orthogonal_slices(one), one.stack.slices
    matrix = np.eye(slices.shape[2])[one.stack.operator.nearest]
    whole = slices[..., one.stack.operator.nearest]
    for quick, slow in zip(
        interpolated_planes(planes, matrix, slices), planes.of(whole), strict=True
    ):
        np.testing.assert_allclose(quick, slow, rtol=1e-6)


def test_the_plane_along_the_slices_lies_between_two() -> None:
    """There before and after differ most."""
    one = problem(ratio=5, thickness=5)
    offset = one.stack.operator.place()[orthogonal_slices(one).at[2]]
    assert abs(offset) == pytest.approx(0.4)


def test_panels_have_the_proportions_of_the_body() -> None:
    """A voxel twice as long is drawn twice as long."""
    one = problem(affine=Affine.from_spacing((1.0, 2.0, 1.0)))
    planes = orthogonal_slices(one)
    widths = [panel.size for panel in planes.panels(planes.of(truth()))]
    (deep, high), (across, also_high), (also_across, also_deep) = widths
    assert (deep, high, across) == (also_deep, also_high, also_across)
    assert deep / across == pytest.approx(2 * 30 / 26, rel=0.02)
    assert deep + 2 * across + 20 <= 942


def test_an_empty_scan_is_shown_whole() -> None:
    """Without a head there is nothing to cut to."""
    one = problem(guided=False)
    one.stack.slices[:] = 0
    planes = orthogonal_slices(one)
    assert planes.box == tuple(slice(0, size) for size in SHAPE)
