# SPDX-License-Identifier: Apache-2.0
"""Metrics of label maps: against a brute-force count, and where they are not defined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encephalon.errors import GeometryError, UsageError
from encephalon.metrics.label_maps import METRICS, ClassCounts, count_classes

MAPS = arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 2))


@given(MAPS, MAPS)
def test_pooled_and_per_image_metrics_equal_those_of_a_brute_force_count(
    predicted: np.ndarray, truth: np.ndarray
) -> None:
    counts = ClassCounts.stacked(
        [count_classes(a, b, 3) for a, b in zip(predicted, truth, strict=True)]
    )
    for number in range(3):
        hit = (predicted == number) & (truth == number)
        either = (predicted == number) | (truth == number)
        both = (predicted == number).sum() + (truth == number).sum()
        pooled = counts.pooled
        if both:
            assert pooled.metric("iou")[0, number] == pytest.approx(hit.sum() / either.sum())
            assert pooled.metric("f1")[0, number] == pytest.approx(2 * hit.sum() / both)
        right = ((predicted == number) == (truth == number)).mean()
        assert pooled.metric("accuracy")[0, number] == pytest.approx(right)
        each = [h.sum() / e.sum() for h, e in zip(hit, either, strict=True) if e.any()]
        if each:
            assert counts.per_image("iou")[number] == pytest.approx(np.mean(each))
    sensitivity = sum(((predicted == n) & (truth == n)).sum() for n in (1, 2))
    positive = sum((truth == n).sum() for n in (1, 2))
    specificity = sum(((predicted != n) & (truth != n)).sum() for n in (1, 2))
    negative = sum((truth != n).sum() for n in (1, 2))
    if positive and negative:
        wanted = (sensitivity / positive + specificity / negative) / 2
        assert counts.balanced_accuracy() == pytest.approx(wanted)


def test_a_class_in_neither_map_is_left_out_of_the_mean_or_counted_as_asked() -> None:
    there, absent = np.array([[0, 1]]), np.array([[0, 0]])
    counts = ClassCounts.stacked([count_classes(there, there, 2), count_classes(absent, absent, 2)])
    assert counts.per_image("f1")[1] == 1
    assert np.isnan(counts.metric("f1")[1, 1])
    assert counts.per_image("f1", empty=0)[1] == 0.5


def test_a_class_that_no_image_has_is_not_defined() -> None:
    empty = np.zeros((2, 2), int)
    assert np.isnan(count_classes(empty, empty, 3).per_image("iou")[2])
    assert np.isnan(count_classes(empty, empty, 3).balanced_accuracy())


def test_rare_classes_tell_pooled_metrics_from_those_per_image() -> None:
    # One image is nearly all cell and right, the other has one voxel of it and misses it.
    large = count_classes(np.ones(100, int), np.ones(100, int), 2)
    small = count_classes(np.zeros(100, int), np.arange(100) == 0, 2)
    counts = ClassCounts.stacked([large, small])
    assert counts.pooled.metric("f1")[0, 1] == pytest.approx(200 / 201)
    assert counts.per_image("f1")[1] == 0.5


def test_voxels_that_nobody_looked_at_are_not_counted() -> None:
    truth = np.array([0, 1, 255])
    counts = count_classes(np.array([0, 1, 1]), truth, 2, truth != 255)
    assert (counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist()) == (
        [[1, 1]],
        [[0, 0]],
        [[0, 0]],
    )


def test_labels_beyond_the_classes_other_shapes_and_no_image_are_refused() -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        count_classes(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(GeometryError, match="same grid"):
        count_classes(np.zeros(2), np.zeros(3), 2)
    with pytest.raises(UsageError, match="no image"):
        ClassCounts.stacked([])
    assert set(METRICS) >= {"f1", "iou"}
