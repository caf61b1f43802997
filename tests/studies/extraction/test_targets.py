# SPDX-License-Identifier: Apache-2.0
"""Borders and distances of heads whose shape is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from encephalon.studies.extraction.data import (
    TRUNCATION,
    closing,
    sample_from_labels,
    sample_from_lesion,
    sample_from_mask,
    signed_distance,
)
from tests.studies.extraction.tiny_heads import label_map, radius, scan_of

SHAPE = (48, 52, 46)


def distances(labels: np.ndarray) -> np.ndarray:
    """Both distances in mm on the whole volume, -12.7 beyond the window."""
    head = sample_from_labels(labels)
    whole = np.full((2, *labels.shape), -TRUNCATION)
    window = tuple(
        slice(c, c + n) for c, n in zip(head.corner, head.distances.shape[1:], strict=True)
    )
    whole[(slice(None), *window)] = head.distances / 10
    return whole


def test_the_distance_of_a_ball_is_that_of_its_sphere() -> None:
    """Within a fraction of a millimetre, positive inside, cut off at 12.7 mm."""
    far = radius(SHAPE, [(n - 1) / 2 for n in SHAPE])
    found = signed_distance(far < 15)
    expected = np.clip(15 - far, -TRUNCATION, TRUNCATION)
    near = np.abs(expected) < 8
    assert np.abs(found - expected)[near].max() < 0.7
    assert np.abs(found - expected)[near].mean() < 0.35
    assert found.dtype == np.float32
    assert found.min() >= np.float32(-TRUNCATION)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_the_sign_of_a_distance_is_the_mask(seed: int) -> None:
    """For any mask that is not thinner than a few voxels."""
    noise = np.random.default_rng(seed).normal(size=(24, 24, 24))
    mask = ndimage.gaussian_filter(noise, 3) > 0
    assert np.mean((signed_distance(mask) > 0) == mask) > 0.97


def test_nothing_is_far_from_everything() -> None:
    """An empty mask has no border that a distance could be measured to."""
    assert (signed_distance(np.zeros((4, 5, 6), bool)) == np.float32(-TRUNCATION)).all()


def test_the_window_of_distances_lies_where_it_says() -> None:
    """The brain of the map, moved by some voxels, is found where it is."""
    for shift in (-3.0, 0.0, 4.0):
        labels = label_map(SHAPE, shift)
        assert np.mean((distances(labels)[1] > 0) == np.isin(labels, (2, 3))) > 0.99


def test_the_box_is_that_of_the_brain() -> None:
    """First and last voxel on each axis."""
    labels = label_map(SHAPE, 2.0)
    head = sample_from_labels(labels)
    brain = np.argwhere(distances(labels)[0] > 0)
    assert np.abs(head.box[:, 0] - brain.min(0)).max() <= 1
    assert np.abs(head.box[:, 1] - brain.max(0)).max() <= 1


def test_fluid_in_a_sulcus_belongs_to_the_brain_and_not_to_its_tissue() -> None:
    """A slit of 4 mm filled with fluid is inside the outer border only."""
    labels = label_map(SHAPE)
    slit = np.zeros(SHAPE, bool)
    slit[22:26, 26:, :] = True
    labels[slit & np.isin(labels, (2, 3))] = 24
    brain, tissue = distances(labels) > 0
    inner = slit & (radius(SHAPE, (23.5, 25.5, 22.5)) < 11)
    assert brain[inner].mean() > 0.95
    assert tissue[inner].mean() < 0.15


def test_fluid_outside_the_brain_stays_outside() -> None:
    """The shell around the brain adds no more than rounding."""
    labels = label_map(SHAPE)
    fluid = labels == 24
    assert (distances(labels)[0] > 0)[fluid].mean() < 0.3


def test_the_spinal_cord_is_not_bridged_into_the_brain() -> None:
    """Closing never enters what is known to be outside."""
    labels = label_map(SHAPE)
    labels[23:26, 25:28, :8] = 502
    assert not (distances(labels)[0] > 0.5)[23:26, 25:28, :7].any()


def test_closing_fills_holes_and_stops_where_it_is_not_allowed() -> None:
    """A shell becomes solid; a bay that is forbidden stays open."""
    far = radius(SHAPE, [(n - 1) / 2 for n in SHAPE])
    shell = (far < 14) & (far > 9)
    assert closing(shell, np.ones(SHAPE, bool))[24, 26, 23]
    bay = (far < 14) & ~((np.abs(np.arange(48) - 24) < 2)[:, None, None] & (far > 6))
    closed = closing(bay, np.ones(SHAPE, bool))
    kept = closing(bay, bay)
    assert closed.sum() > kept.sum()
    assert np.array_equal(kept, bay)


def test_a_stray_piece_is_not_brain() -> None:
    """Only the largest piece of the tissue border counts."""
    labels = label_map(SHAPE)
    labels[1:3, 1:3, 1:3] = 2
    assert not (distances(labels)[:, 1:3, 1:3, 1:3] > 0).any()


def test_a_map_without_brain_is_refused() -> None:
    """Skin alone cannot be learnt from."""
    with pytest.raises(ValueError, match="no brain"):
        sample_from_labels(np.full((20, 20, 20), 510, np.int16))
    with pytest.raises(ValueError, match="no brain"):
        sample_from_mask(np.ones((9, 9, 9), np.float32), np.zeros((9, 9, 9), bool))


def test_a_mask_gives_both_borders_alike() -> None:
    """Where the tissue's border is unknown it is the mask's."""
    labels = label_map(SHAPE)
    head = sample_from_mask(scan_of(labels), np.isin(labels, (2, 3)))
    assert head.labels is None
    assert np.array_equal(head.distances[0], head.distances[1])


def test_a_lesion_has_one_border_and_the_box_of_the_brain() -> None:
    """The distance is to the lesion; the grid will be laid around the brain."""
    lesion = radius(SHAPE, (20, 22, 24)) < 5
    box = np.array([[5, 40], [6, 45], [4, 39]])
    head = sample_from_lesion(np.zeros(SHAPE, np.float32), lesion, box)
    assert head.distances.shape[0] == 1
    assert np.array_equal(head.box, box)
    inside = np.argwhere(head.distances[0] > 0) + head.corner
    assert len(inside) == pytest.approx(lesion.sum(), rel=0.05)
    assert inside.mean(0) == pytest.approx([20, 22, 24], abs=0.1)


def test_a_head_without_a_lesion_is_far_everywhere() -> None:
    """Healthy heads teach a network to find nothing."""
    box = np.array([[5, 40], [6, 45], [4, 39]])
    head = sample_from_lesion(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool), box)
    assert (head.distances == round(-10 * TRUNCATION)).all()
    assert min(head.distances.shape[1:]) > 1
