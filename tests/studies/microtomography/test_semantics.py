# SPDX-License-Identifier: Apache-2.0
"""Semantic features: by hand, against brute force, and the published errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encephalon.errors import UsageError
from encephalon.studies.microtomography.semantics import (
    ObjectMap,
    is_feature,
    published_features,
    semantic_features,
)

CLASSES = ("background", "vessel", "cell", "axon")
WHOLE = np.s_[0:1, 0:32, 0:64]


def blank() -> np.ndarray:
    """Labels of one slice without anything in it."""
    return np.zeros((1, 32, 64), np.uint8)


def test_an_empty_tile_has_no_cells_and_no_defined_size_or_distance() -> None:
    found = semantic_features(ObjectMap.of(blank(), CLASSES, "cell"), WHOLE)
    assert [found[f"percent_{name}"] for name in CLASSES[1:]] == [0, 0, 0]
    assert found["cell_count"] == 0
    assert np.isnan([found[f"cell_{n}"] for n in ("size", "nearest", "third_nearest")]).all()


def test_one_cell_has_a_size_and_no_neighbour() -> None:
    labels = blank()
    labels[0, 4:6, 10:13] = 2
    found = semantic_features(ObjectMap.of(labels, CLASSES, "cell"), WHOLE)
    assert (found["cell_count"], found["cell_size"]) == (1, 6)
    assert np.isnan(found["cell_nearest"])


def test_two_cells_thirty_pixels_apart_are_thirty_pixels_apart() -> None:
    labels = blank()
    labels[0, 4:6, 10:12] = labels[0, 4:6, 40:42] = 2
    cells = ObjectMap.of(labels, CLASSES, "cell")
    assert semantic_features(cells, WHOLE)["cell_nearest"] == pytest.approx(30)
    (published,) = published_features(cells, [WHOLE])
    assert published["cell_nearest"] == pytest.approx(15)


def test_published_features_of_fewer_than_two_cells_are_nought_and_sixty_four() -> None:
    labels = blank()
    labels[0, 4:6, 10:13] = 2
    (found,) = published_features(ObjectMap.of(labels, CLASSES, "cell"), [WHOLE])
    assert (found["cell_count"], found["cell_size"], found["cell_nearest"]) == (1, 0, 64)


def test_shares_are_percent_of_the_tile_alone() -> None:
    labels = blank()
    labels[0, :, 32:] = 1
    labels[0, :16, :32] = 3
    cells = ObjectMap.of(labels, CLASSES, "cell")
    assert semantic_features(cells, WHOLE)["percent_vessel"] == 50
    assert semantic_features(cells, np.s_[0:1, 0:16, 0:32])["percent_axon"] == 100


def test_a_cell_that_touches_by_a_corner_is_another_cell_and_by_a_face_the_same() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 2
    tile = np.s_[0:2, 0:4, 0:4]
    assert semantic_features(ObjectMap.of(labels, CLASSES, "cell"), tile)["cell_count"] == 2
    labels[1, 0, 0] = 2
    assert semantic_features(ObjectMap.of(labels, CLASSES, "cell"), tile)["cell_count"] == 2
    labels[1, 0, 1] = 2
    assert semantic_features(ObjectMap.of(labels, CLASSES, "cell"), tile)["cell_count"] == 1


def test_a_cell_of_several_slices_counts_once_and_its_size_is_that_of_a_slice() -> None:
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[:, 2:4, 2:4] = 2
    cells = ObjectMap.of(labels, CLASSES, "cell")
    found = semantic_features(cells, np.s_[0:3, 0:8, 0:8])
    assert (found["cell_count"], found["cell_size"]) == (1, 4)
    # Two pieces that show in a slice are one cell where another slice joins them.
    labels[0, 2:4, 5:7] = labels[1, 2:4, 4:7] = 2
    assert (
        semantic_features(ObjectMap.of(labels, CLASSES, "cell"), np.s_[0:1, 0:8, 0:8])["cell_count"]
        == 1
    )


def test_objects_of_a_class_that_there_is_not_are_refused_with_the_classes() -> None:
    with pytest.raises(UsageError, match="'axon', 'myelin'"):
        ObjectMap.of(blank(), ("axon", "myelin"), "cell")


def test_objects_are_of_the_class_that_is_named_and_features_say_so() -> None:
    labels = blank()
    labels[0, 4:6, 10:12] = 1
    found = semantic_features(ObjectMap.of(labels, ("background", "axon", "myelin"), "axon"), WHOLE)
    assert found["axon_count"] == 1
    assert set(found) >= {"percent_axon", "percent_myelin", "axon_size", "axon_third_nearest"}
    assert all(map(is_feature, found))
    assert not any(map(is_feature, ("id", "size_z", "first_x", "region")))
    assert "axon_count" not in semantic_features(ObjectMap.of(labels, ("a", "b"), ""), WHOLE)


@given(arrays(np.uint8, (2, 6, 6), elements=st.integers(0, 3)))
def test_features_equal_those_of_a_brute_force_search(labels: np.ndarray) -> None:
    cells = ObjectMap.of(labels, CLASSES, "cell")
    found = semantic_features(cells, np.s_[0:2, 0:6, 0:6])
    numbers = [n for n in np.unique(cells.numbers) if n]
    assert found["cell_count"] == len(numbers)
    centres = [np.argwhere(cells.numbers == n).mean(axis=0) for n in numbers]
    if len(centres) > 1:
        gaps = [sorted(float(np.linalg.norm(a - b)) for b in centres)[1] for a in centres]
        assert found["cell_nearest"] == pytest.approx(float(np.mean(gaps)))
    if numbers:
        areas = [(cells.numbers[z] == n).sum() for n in numbers for z in range(2)]
        assert found["cell_size"] == pytest.approx(np.mean([area for area in areas if area]))
