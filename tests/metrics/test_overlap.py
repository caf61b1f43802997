# SPDX-License-Identifier: Apache-2.0
"""Overlap scores equal what can be counted by hand, and say nothing they cannot know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encephalon.errors import ContentError, GeometryError
from encephalon.metrics.segmentation import (
    Overlap,
    dice,
    jaccard,
    overlap,
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
