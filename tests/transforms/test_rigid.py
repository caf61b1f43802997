# SPDX-License-Identifier: Apache-2.0
"""Pairs are moved together, as far as published, and reproducibly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encephalon.transforms.parameters import RigidRanges
from encephalon.transforms.spatial import (
    RigidTransform,
    draw_rigid,
    transform_pair,
)

ALWAYS = RigidRanges(probability=1.0)
ANGLES = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)


def ball(radius: float = 7.0, offset: float = 0.0) -> np.ndarray:
    """A ball of label 3 in a shell of label 200, 20 x 22 x 24 voxels."""
    shape = (20, 22, 24)
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    far = sum((x - (n - 1) / 2 - offset) ** 2 for x, n in zip(axes, shape, strict=True)) ** 0.5
    return np.select([far < radius - 2, far < radius], [3, 200], 0).astype(np.uint8)


def test_the_same_generator_draws_the_same_motion() -> None:
    """Draw, then apply: nothing else decides."""
    first, second = (draw_rigid(np.random.default_rng(4), ALWAYS) for _ in range(2))
    assert first == second
    assert first != draw_rigid(np.random.default_rng(5), ALWAYS)
    one, other = (transform_pair(ball(), ball(), drawn) for drawn in (first, second))
    assert np.array_equal(one, other)


def test_a_still_pair_uses_up_as_many_numbers_as_a_moving_one() -> None:
    """What is drawn afterwards does not depend on the coin."""
    still, moving = np.random.default_rng(1), np.random.default_rng(1)
    assert draw_rigid(still, RigidRanges(probability=0.0)) == RigidTransform()
    assert draw_rigid(moving, ALWAYS) != RigidTransform()
    assert still.random() == moving.random()


def test_motions_are_as_frequent_and_as_far_as_published() -> None:
    """Half of the pairs; up to 180 degrees about each axis and 5 % along each, evenly."""
    rng = np.random.default_rng(0)
    drawn = [draw_rigid(rng, RigidRanges()) for _ in range(2000)]
    moving = [transform for transform in drawn if transform != RigidTransform()]
    assert 0.46 < len(moving) / len(drawn) < 0.54
    angles = np.array([transform.angles for transform in moving])
    shifts = np.array([transform.shift for transform in moving])
    for values, limit in ((angles, np.pi), (shifts, 0.05)):
        assert np.abs(values).max() <= limit
        assert np.allclose(
            np.quantile(values, [0.25, 0.5, 0.75], axis=0).T / limit, [-0.5, 0, 0.5], atol=0.1
        )


def test_no_motion_changes_nothing() -> None:
    """Not a single value, and the labels keep their type."""
    labels = ball()
    image, moved = transform_pair(labels, labels, RigidTransform())
    assert image.dtype == np.float32
    assert moved.dtype == np.uint8
    assert np.array_equal(image, labels)
    assert np.array_equal(moved, labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_labels_stay_labels(dtype: type) -> None:
    """No value appears that was not there, in any integer type."""
    rng = np.random.default_rng(2)
    labels = rng.choice([0, 3, 77, 120], (9, 10, 11)).astype(dtype)
    _, moved = transform_pair(labels, labels, draw_rigid(rng, ALWAYS))
    assert moved.dtype == dtype
    assert set(np.unique(moved)) <= {0, 3, 77, 120}


@pytest.mark.parametrize(("axis", "plane"), [(0, (1, 2)), (1, (2, 0)), (2, (0, 1))])
def test_a_quarter_turn_is_a_quarter_turn(axis: int, plane: tuple[int, int]) -> None:
    """In a cube it only permutes voxels, about the middle of the volume."""
    volume = np.random.default_rng(3).integers(0, 9, (6, 6, 6)).astype(np.int16)
    angles = tuple(np.pi / 2 if a == axis else 0.0 for a in range(3))
    turned = np.rot90(volume, -1, plane)
    image, labels = transform_pair(volume, volume, RigidTransform(angles))  # type: ignore[arg-type]
    assert np.array_equal(labels, turned)
    assert np.allclose(image, turned, atol=1e-4)


def test_a_shift_continues_the_edge_of_the_image_and_not_of_the_labels() -> None:
    """A tenth of 10 voxels: the last plane is repeated in the image and 0 in the labels."""
    volume = np.random.default_rng(3).integers(1, 9, (10, 4, 4)).astype(np.int16)
    image, labels = transform_pair(volume, volume, RigidTransform(shift=(0.1, 0.0, 0.0)))
    assert np.allclose(image[:-1], volume[1:])
    assert np.allclose(image[-1], volume[-1])
    assert np.array_equal(labels[:-1], volume[1:])
    assert not labels[-1].any()


@settings(max_examples=15, deadline=None)
@given(ANGLES)
def test_a_centred_ball_looks_the_same_from_everywhere(angles: tuple[float, float, float]) -> None:
    """Any rotation is about the middle and keeps lengths."""
    still = ball() > 0
    moved = transform_pair(ball(), ball(), RigidTransform(angles))[1] > 0
    assert 2 * (moved & still).sum() / (moved.sum() + still.sum()) > 0.92


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_image_and_labels_move_together(seed: int) -> None:
    """An image that is the mask is still the mask after any transform."""
    ranges = replace(ALWAYS, translation_fraction=0.1)
    mask = (ball(offset=2.0) > 0).astype(np.uint8)
    image, labels = transform_pair(mask, mask, draw_rigid(np.random.default_rng(seed), ranges))
    overlap = 2 * ((image > 0.5) & (labels > 0)).sum() / ((image > 0.5).sum() + labels.sum())
    assert overlap > 0.95


def test_a_motion_maps_the_moved_volume_into_the_original() -> None:
    """Its matrix is rigid, turns about i first, and the middle goes by the shift alone."""
    transform = RigidTransform((0.3, -0.2, 0.9), (0.05, -0.01, 0.0))
    mapping = transform.matrix((10, 20, 40))
    assert np.allclose(mapping[:3, :3] @ mapping[:3, :3].T, np.eye(3))
    assert np.linalg.det(mapping[:3, :3]) == pytest.approx(1)
    middle = np.array([4.5, 9.5, 19.5, 1])
    assert np.allclose((mapping @ middle)[:3] - middle[:3], [0.5, -0.2, 0.0])
