# SPDX-License-Identifier: Apache-2.0
"""Overlap scores equal what can be counted by hand, and say nothing they cannot know.

Surface distances equal a brute-force reference for any spacing, and known shapes.
"""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encephalon.errors import ContentError, GeometryError
from encephalon.metrics.segmentation import (
    Overlap,
    dice,
    jaccard,
    overlap,
    surface_distances,
    surface_points,
    volume_error,
    volume_ml,
)

MASKS = arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)))


def test_known_counts_give_the_textbook_scores() -> None:
    """3 of 4 predicted elements are right and 3 of 6 were found, in an image of 10."""
    counts = Overlap(both=3, predicted=4, reference=6, total=10)
    assert counts.dice == pytest.approx(0.6)
    assert counts.jaccard == pytest.approx(3 / 7)
    assert counts.sensitivity == pytest.approx(0.5)
    assert counts.precision == pytest.approx(0.75)
    assert counts.specificity == pytest.approx(0.75)


def test_two_empty_masks_agree_perfectly() -> None:
    """Every score of two empty masks is 1."""
    counts = overlap(np.zeros((3, 3)), np.zeros((3, 3)))
    assert [counts.dice, counts.jaccard, counts.sensitivity, counts.precision] == [1.0] * 4


def test_undefined_scores_are_not_a_number() -> None:
    """Without a prediction there is no precision, and without a reference no sensitivity."""
    full, empty = np.ones((2, 2)), np.zeros((2, 2))
    assert np.isnan(overlap(empty, full).precision)
    assert overlap(empty, full).sensitivity == 0.0
    assert np.isnan(overlap(full, empty).sensitivity)
    assert overlap(full, empty).dice == 0.0


@given(MASKS)
def test_a_mask_agrees_with_itself(mask: np.ndarray) -> None:
    """Dice and Jaccard of a mask with itself are 1, empty or not."""
    assert dice(mask, mask) == jaccard(mask, mask) == 1.0


@given(st.data())
def test_dice_and_jaccard_tell_the_same(data: st.DataObject) -> None:
    """Dice is 2J / (1 + J), and neither depends on which mask comes first."""
    first = data.draw(MASKS)
    second = data.draw(arrays(bool, first.shape))
    share = jaccard(first, second)
    assert dice(first, second) == pytest.approx(2 * share / (1 + share))
    assert dice(first, second) == dice(second, first)


def test_any_number_but_zero_is_inside() -> None:
    """Masks of 255, of 1.0 and of True are the same mask."""
    mask = np.array([[0, 1], [1, 0]])
    assert dice(mask * 255, mask.astype(float)) == dice(mask.astype(bool), mask) == 1.0


def test_different_shapes_are_refused_by_both_shapes() -> None:
    """The message says which shapes came."""
    with pytest.raises(GeometryError, match=r"\(2, 3\).*\(3, 2\)"):
        dice(np.ones((2, 3)), np.ones((3, 2)))


def test_nothing_at_all_is_refused() -> None:
    """Images without an element cannot agree."""
    with pytest.raises(GeometryError, match="nothing to compare"):
        dice(np.ones((0, 3)), np.ones((0, 3)))


def test_not_a_number_does_not_count_as_inside() -> None:
    """A mask with NaN is refused instead of counted."""
    with pytest.raises(ContentError, match="NaN"):
        dice(np.array([np.nan, 1.0]), np.array([1.0, 1.0]))


def test_a_litre_has_a_million_voxels_of_a_millimetre() -> None:
    """Volume is the count times the voxel's volume."""
    assert volume_ml(np.ones((100, 100, 100)), (1.0, 1.0, 1.0)) == pytest.approx(1000.0)
    assert volume_ml(np.ones((10, 10, 10)), (0.5, 2.0, 3.0)) == pytest.approx(3.0)


def test_volume_errors_keep_their_sign() -> None:
    """Too large is positive, in mL and in percent of the reference."""
    small, large = np.zeros((4, 5, 5)), np.ones((4, 5, 5))
    small[:2] = 1
    error = volume_error(large, small, (1.0, 1.0, 1.0))
    assert (error.ml, error.percent) == pytest.approx((0.05, 100.0))
    assert volume_error(small, large, (1.0, 1.0, 1.0)).percent == pytest.approx(-50.0)


def test_the_error_in_percent_needs_a_reference() -> None:
    """It is 0 when both are empty and undefined when only the reference is."""
    empty, full = np.zeros((2, 2, 2)), np.ones((2, 2, 2))
    assert volume_error(empty, empty, (1, 1, 1)).percent == 0.0
    assert np.isnan(volume_error(full, empty, (1, 1, 1)).percent)


SPACING = (0.7, 1.0, 4.0)
FILLED = arrays(bool, (5, 6, 4)).filter(np.any)


def brute_force_surface(mask: np.ndarray) -> np.ndarray:
    """Elements with a face neighbour outside, looked up one by one."""
    padded = np.pad(mask, 1)
    found = []
    for place in np.argwhere(mask):
        steps = [
            padded[tuple(place + 1 + sign * np.eye(mask.ndim, dtype=int)[axis])]
            for axis in range(mask.ndim)
            for sign in (-1, 1)
        ]
        if not all(steps):
            found.append(place)
    return np.array(found)


@settings(deadline=None, max_examples=40)
@given(FILLED, FILLED)
def test_distances_equal_a_brute_force_search(first: np.ndarray, second: np.ndarray) -> None:
    """Every distance is the smallest over all pairs, with anisotropic voxels."""
    one = brute_force_surface(first) * SPACING
    two = brute_force_surface(second) * SPACING
    apart = np.linalg.norm(one[:, None] - two[None], axis=2)
    measured = surface_distances(first, second, SPACING)
    np.testing.assert_allclose(measured.to_reference, apart.min(axis=1))
    np.testing.assert_allclose(measured.to_prediction, apart.min(axis=0))
    both = np.concatenate([apart.min(axis=1), apart.min(axis=0)])
    assert measured.assd == pytest.approx(both.mean())
    assert measured.percentile(100) == pytest.approx(both.max())
    ends = [np.percentile(apart.min(axis=axis), 95) for axis in (0, 1)]
    assert measured.hd95 == pytest.approx(max(ends))


def test_a_shifted_slab_is_as_far_as_its_shift() -> None:
    """Two planes of voxels 3 slices apart are 3 spacings apart, everywhere."""
    first, second = np.zeros((4, 4, 9)), np.zeros((4, 4, 9))
    first[..., 1], second[..., 4] = 1, 1
    measured = surface_distances(first, second, (1, 1, 2.5))
    assert measured.hd95 == measured.assd == 7.5


def test_equal_masks_are_nowhere_apart(brain: np.ndarray) -> None:
    """A mask has distance 0 to itself, everywhere."""
    measured = surface_distances(brain, brain, (2.0, 1.5, 2.5))
    assert (measured.percentile(100), measured.assd) == (0.0, 0.0)


def test_an_empty_mask_is_infinitely_far() -> None:
    """There is no flattering distance to nothing; two empty masks are 0 apart."""
    full, empty = np.ones((3, 3, 3)), np.zeros((3, 3, 3))
    for pair, distance in (((empty, full), inf), ((full, empty), inf), ((empty, empty), 0.0)):
        measured = surface_distances(*pair)
        assert measured.hd95 == measured.assd == distance


def test_only_the_surface_counts(brain: np.ndarray) -> None:
    """The points are the voxels with a face neighbour outside, at their place in mm."""
    points = surface_points(brain, (2.0, 1.5, 2.5))
    expected = brute_force_surface(brain) * (2.0, 1.5, 2.5)
    assert {tuple(point) for point in points} == {tuple(point) for point in expected}
    assert 0 < len(points) < brain.sum()


def test_the_edge_of_the_image_is_a_surface() -> None:
    """A mask that fills the image has its surface along the edge."""
    assert len(surface_points(np.ones((4, 4, 4)))) == 4**3 - 2**3


def test_images_of_two_dimensions_are_measured_too() -> None:
    """Micrographs have two axes and a pixel size."""
    first, second = np.zeros((6, 6)), np.zeros((6, 6))
    first[2, 2], second[2, 5] = 1, 1
    assert surface_distances(first, second, (1.0, 0.5)).hd95 == 1.5


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, np.nan, 1.0)])
def test_a_spacing_must_fit_the_image(spacing: tuple[float, ...]) -> None:
    """One positive number an axis is needed."""
    with pytest.raises(GeometryError, match="3 positive numbers"):
        surface_distances(np.ones((2, 2, 2)), np.ones((2, 2, 2)), spacing)


def test_masks_of_different_shapes_have_no_distance() -> None:
    """The shapes must agree."""
    with pytest.raises(GeometryError, match="same grid"):
        surface_distances(np.ones((2, 2)), np.ones((3, 2)))
