# SPDX-License-Identifier: Apache-2.0
"""Resampling: exact on grids that agree, linear on ramps, honest outside, bounded in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, Grid, orient
from encephalon.geometry.resample import (
    beyond,
    is_aligned,
    linear_weights,
    resample,
    resample_aligned,
)

UNIT = Affine.from_spacing(1.0)


def ramp(grid: Grid) -> np.ndarray:
    """A linear function of world position on `grid`, float32."""
    points = grid.affine.apply(np.moveaxis(np.indices(grid.shape), 0, -1))
    return (points @ (1.0, -2.0, 0.5) + 3.0).astype(np.float32)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two masks."""
    return float(2 * np.sum(one & other) / (np.sum(one) + np.sum(other)))


@pytest.mark.parametrize("order", [0, 1, 3])
def test_the_same_grid_gives_the_same_voxels(order: int, rng: np.random.Generator) -> None:
    """Resampling onto its own grid changes nothing."""
    data = rng.normal(size=(6, 7, 8)).astype(np.float32)
    grid = Grid(data.shape, Affine.from_spacing((1, 2, 3), (4, 5, 6)))
    assert np.allclose(resample(data, grid.affine, grid, order), data, atol=1e-4)


@pytest.mark.parametrize("order", [1, 3])
def test_a_ramp_survives_rotation(order: int, oblique: Affine) -> None:
    """A linear function of the world is reproduced between oblique grids away from the border."""
    source = Grid((40, 40, 20), oblique)
    target = Grid((9, 8, 7), Affine.from_spacing(1.0, source.centre - (4, 4, 3)))
    result = resample(ramp(source), oblique, target, order)
    assert np.allclose(result, ramp(target), atol=2e-3)


def test_slabs_and_one_piece_agree(monkeypatch: pytest.MonkeyPatch, oblique: Affine) -> None:
    """Working in slabs of one plane gives what one slab gives."""
    data = np.random.default_rng(1).normal(size=(17, 18, 19)).astype(np.float32)
    target = Grid((15, 14, 13), Affine.from_spacing(2.0, Grid(data.shape, oblique).centre - 14))
    whole = resample(data, oblique, target, 3)
    monkeypatch.setattr("encephalon.geometry.resample.SLAB_BYTES", 1)
    assert np.allclose(resample(data, oblique, target, 3), whole, atol=1e-4)


def test_the_fast_path_agrees_with_the_general_one(rng: np.random.Generator) -> None:
    """Parallel grids give the same trilinear values by weights as by scipy's interpolation."""
    data = rng.normal(size=(9, 10, 11)).astype(np.float32)
    tilt = np.eye(3)
    tilt[0, 1] = 3e-4  # just enough to take the general path
    target = Grid((8, 9, 10), Affine.from_spacing((0.9, 1.1, 0.7), (0.3, 0.2, 1.4)))
    tilted = Affine.from_parts(tilt, target.affine.spacing, target.affine.origin)
    assert is_aligned(UNIT, target.affine)
    assert not is_aligned(UNIT, tilted)
    fast = resample(data, UNIT, target, 1)
    assert np.allclose(fast, resample(data, UNIT, Grid(target.shape, tilted), 1), atol=0.02)


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SRA", "AIL"])
def test_swapped_and_flipped_axes_are_parallel(codes: str) -> None:
    """The same head in another orientation resamples to the same voxels."""
    source = Grid((12, 13, 14), Affine.from_spacing((1, 1.5, 2)))
    target = Grid((10, 10, 10), Affine.from_spacing(1.7, (0.5, 0.5, 0.5)))
    data, affine = orient(ramp(source), source.affine, codes)
    expected = resample_aligned(ramp(source), source.affine, target)
    assert np.allclose(resample_aligned(data, affine, target), expected, atol=1e-4)


@given(st.integers(2, 40), st.integers(1, 40), st.floats(0.2, 5.0), st.floats(-3, 3))
def test_weights_sum_to_one_inside_and_zero_outside(n: int, o: int, s: float, t: float) -> None:
    """Interpolation neither adds nor loses signal, and reads nothing outside the volume."""
    weights = linear_weights(n, o, s, t, antialias=True)
    assert np.allclose(weights.matrix.sum(axis=1), weights.inside, atol=1e-5)
    assert (weights.matrix >= 0).all()
    rebuilt = np.zeros_like(weights.matrix)
    for outputs, inputs, block in weights.blocks(7):
        rebuilt[outputs, inputs] = block
    assert np.array_equal(rebuilt, weights.matrix)


def test_a_place_just_beside_a_voxel_has_a_little_of_its_neighbour() -> None:
    """A two-thousandth of a voxel is still interpolated, whichever way the axis runs."""
    there = linear_weights(3, 1, 1.0, 0.0005, antialias=False).matrix
    back = linear_weights(3, 1, -1.0, 1.9995, antialias=False).matrix
    np.testing.assert_allclose(there, [[0.9995, 0.0005, 0]], atol=1e-7)
    np.testing.assert_allclose(back, there[:, ::-1], atol=1e-7)
    shrunk = linear_weights(12, 3, -3.0, 10.0, antialias=True).matrix
    assert np.array_equal(shrunk, linear_weights(12, 3, 3.0, 1.0, antialias=True).matrix[:, ::-1])


def test_the_faces_of_a_volume_belong_to_it() -> None:
    """Half a voxel beyond the outer centres is inside, whatever the last digit; more is not."""
    places = np.array([-0.5, 3.5])
    for error in (-1e-9, 0.0, 1e-9):
        assert not beyond(places + error, 4).any()
    assert beyond(np.array([-0.51, 3.51]), 4).all()


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_memory_order_and_type_do_not_matter(seed: int, shrink: bool) -> None:
    """C order, Fortran order, reversed and int16 input give the same result."""
    rng = np.random.default_rng(seed)
    data = rng.integers(-1000, 1000, (9, 17, 12)).astype(np.int16)
    spacing = 2.0 if shrink else 0.5
    target = Grid((7, 9, 8), Affine.from_spacing(spacing, (0.4, 0.1, 0.2)))
    expected = resample_aligned(data.astype(np.float32), UNIT, target)
    for variant in (np.asfortranarray(data), data.astype(">i2"), data[::-1][::-1]):
        assert np.allclose(resample_aligned(variant, UNIT, target), expected, atol=1e-2)


def test_shrinking_averages_instead_of_aliasing() -> None:
    """Stripes one voxel wide become their mean, not one of their two values."""
    stripes = np.zeros((32, 4, 4), np.float32)
    stripes[::2] = 1.0
    target = Grid((16, 4, 4), Affine.from_spacing((2, 1, 1)))
    smooth = resample_aligned(stripes, UNIT, target)
    sharp = resample_aligned(stripes, UNIT, target, antialias=False)
    assert np.allclose(smooth[1:-1], 0.5)
    assert np.allclose(sharp, 1.0)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("turn", [0.0, 0.05])
def test_points_outside_take_the_given_value(order: int, turn: float) -> None:
    """Further than half a voxel outside is `outside`."""
    data = np.full((6, 6, 6), 5, np.float32)
    direction = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    target = Grid((6, 6, 6), Affine.from_parts(direction, 1.0, (0, 0, 3)))
    filled = resample(data, UNIT, target, order, outside=-7.0)
    assert np.all(filled[:, :, 3:] == -7.0)
    assert np.allclose(filled[2:4, 2:4, :3], 5.0)


def test_a_grid_far_away_is_all_outside(oblique: Affine) -> None:
    """No overlap is no error: every voxel takes the value for outside."""
    data = np.ones((6, 6, 6), np.float32)
    for affine in (UNIT, oblique):
        target = Grid((3, 3, 3), Affine.from_spacing(1.0, (1000, 1000, 1000)))
        assert not resample(data, affine, target).any()


def test_labels_stay_labels(oblique: Affine) -> None:
    """Order 0 keeps the type and invents no value between labels, also for truth values."""
    labels = np.random.default_rng(3).choice([0, 7, 502], (12, 12, 12)).astype(np.int32)
    target = Grid((9, 9, 9), Affine.from_spacing(1.0, Grid(labels.shape, oblique).centre - 4))
    result = resample(labels, oblique, target, order=0)
    assert result.dtype == np.int32
    assert set(np.unique(result)) <= {0, 7, 502}
    for affine in (UNIT, oblique):
        assert resample(labels > 0, affine, target, order=0).dtype == np.bool_


@pytest.mark.parametrize("noise", [-1e-9, 0.0, 1e-9])
def test_half_way_between_two_voxels_is_the_lower_one(noise: float) -> None:
    """Always, so that labels do not depend on the last digit of an affine."""
    labels = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    between = Grid((3, 4, 5), Affine.from_spacing(1.0, (0.5 + noise,) * 3))
    assert np.array_equal(resample(labels, UNIT, between, order=0), labels[:3, :4, :5])


def test_a_mask_comes_back_from_a_finer_grid_unchanged() -> None:
    """Up by two and down again is the same mask, voxel for voxel."""
    mask = np.random.default_rng(4).random((8, 9, 10)) > 0.5
    fine = Grid((16, 18, 20), Affine.from_spacing(0.5, (-0.25, -0.25, -0.25)))
    up = resample(mask, UNIT, fine, order=0)
    back = resample(up, fine.affine, Grid(mask.shape, UNIT), order=0)
    assert np.array_equal(up, mask.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert dice(back, mask) == 1.0


def test_shrinking_never_copies_the_whole_input() -> None:
    """Working memory is a slab: below half of what a float copy of the input would take."""
    data = np.zeros((300, 300, 300), np.int16)
    target = Grid((32, 32, 32), Affine.from_spacing(300 / 32))
    tracemalloc.start()
    resample_aligned(data, UNIT, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < data.size * 4 / 2


def test_turned_axes_need_the_general_path(oblique: Affine) -> None:
    """The fast path refuses what it would get wrong, and names the other function."""
    with pytest.raises(GeometryError, match="use resample instead"):
        resample_aligned(np.ones((4, 4, 4)), oblique, Grid((4, 4, 4), UNIT))


def test_wrong_orders_and_shapes_are_refused() -> None:
    """Order 2 and a 4-D array are errors in one sentence."""
    grid = Grid((4, 4, 4), UNIT)
    with pytest.raises(GeometryError, match="0, 1 or 3, but it is 2"):
        resample(np.ones((4, 4, 4)), UNIT, grid, order=2)
    with pytest.raises(GeometryError, match="three axes"):
        resample(np.ones((4, 4, 4, 2)), UNIT, grid)
