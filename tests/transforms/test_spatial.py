# SPDX-License-Identifier: Apache-2.0
"""Placements: the identity, known maps, and what happens outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encephalon.transforms.parameters import SpatialRanges
from encephalon.transforms.spatial import (
    Placement,
    draw_placement,
    sample_linear,
    sample_nearest,
    sampling_points,
)

STILL = SpatialRanges(rotation=0, scaling=0, shear=0, warp=0, flip=0, any_orientation=0)


def labels(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 600, shape).astype(np.int16))


def middle(*shape: int) -> np.ndarray:
    return (np.array(shape) - 1) / 2


def test_no_range_at_all_is_the_identity() -> None:
    """Every voxel samples itself, by both interpolations."""
    volume = labels(6, 7, 8)
    placement = draw_placement(np.random.default_rng(0), middle(6, 7, 8), 1.0, STILL)
    points = sampling_points(placement, (6, 7, 8))
    assert placement.scale == pytest.approx(1)
    assert torch.equal(sample_nearest(volume, points), volume.long())
    assert torch.allclose(sample_linear(volume[None], points, 0.0)[0], volume.float(), atol=0.01)


def test_a_seed_draws_the_same_placement() -> None:
    """Matrix, centre and warp."""
    first, second = (
        draw_placement(np.random.default_rng(9), middle(4, 4, 4), 1.5, SpatialRanges())
        for _ in range(2)
    )
    assert np.array_equal(first.matrix, second.matrix)
    assert np.array_equal(first.warp, second.warp)


def test_scale_is_image_voxels_per_working_voxel() -> None:
    """Neighbouring points of a grid of scale 2.5 are 2.5 voxels apart, around the centre."""
    placement = draw_placement(np.random.default_rng(0), np.array([3.0, 4, 5]), 2.5, STILL)
    points = sampling_points(placement, (3, 5, 7))
    assert torch.allclose(points.diff(dim=0)[..., 0], torch.tensor(2.5))
    assert torch.allclose(points[1, 2, 3], torch.tensor([3.0, 4, 5]))


def test_the_ends_of_every_range_give_finite_placements() -> None:
    ranges = SpatialRanges(rotation=180, scaling=1, shear=1, warp=100, any_orientation=1)
    for seed in range(20):
        found = draw_placement(np.random.default_rng(seed), np.zeros(3), 1.0, ranges)
        points = sampling_points(found, (3, 5, 7))
        assert torch.isfinite(points).all()
        assert 0.01 < abs(np.linalg.det(found.matrix)) < 100


def test_a_mirror_is_along_the_first_axis() -> None:
    """flip = 1 mirrors left and right and nothing else."""
    ranges = SpatialRanges(rotation=0, scaling=0, shear=0, warp=0, flip=1, any_orientation=0)
    volume = labels(6, 7, 8)
    placement = draw_placement(np.random.default_rng(0), middle(6, 7, 8), 1.0, ranges)
    found = sample_nearest(volume, sampling_points(placement, (6, 7, 8)))
    assert torch.equal(found, volume.flip(0).long())


def test_any_orientation_draws_all_of_the_48() -> None:
    """Permutations and mirrors of the axes, without a turn in between."""
    ranges = SpatialRanges(rotation=0, scaling=0, shear=0, warp=0, any_orientation=1)
    rng = np.random.default_rng(0)
    found = {
        tuple(np.round(draw_placement(rng, middle(4, 4, 4), 1.0, ranges).matrix).ravel())
        for _ in range(1000)
    }
    assert len(found) == 48
    assert all(np.allclose(np.abs(np.reshape(m, (3, 3))).sum(0), 1) for m in found)


def test_a_warp_moves_points_smoothly() -> None:
    """Control displacements are met at the corners of the grid and interpolated in between."""
    warp = np.zeros((3, 2, 2, 2), np.float32)
    warp[1, 1] = 4.0
    placement = Placement(np.eye(3), middle(5, 5, 5), warp)
    moved = sampling_points(placement, (5, 5, 5))[..., 1] - torch.arange(5.0)[None, :, None]
    assert torch.allclose(moved[:, 0, 0], torch.tensor([0.0, 1, 2, 3, 4]), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_labels_stay_labels(seed: int) -> None:
    """Whatever is drawn, no label appears that was not there, but 0 outside."""
    volume = labels(6, 7, 8)
    rng = np.random.default_rng(seed)
    placement = draw_placement(rng, middle(6, 7, 8), 1.3, SpatialRanges())
    found = sample_nearest(volume, sampling_points(placement, (8, 8, 8)))
    assert set(found.unique().tolist()) <= {0, *volume.unique().tolist()}


def test_outside_is_what_was_asked_for() -> None:
    """Far outside the value given, for labels 0; half way over the edge half of it."""
    volume = torch.full((1, 4, 4, 4), 10.0)
    points = torch.tensor([[[[-3.0, 1, 1], [-0.5, 1, 1], [1.0, 1, 1]]]])
    assert sample_linear(volume, points, -6.0).flatten().tolist() == pytest.approx([-6, 2, 10])
    assert sample_nearest(volume[0].to(torch.int16), points).flatten().tolist() == [0, 10, 10]
