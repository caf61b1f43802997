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
    FEATURES,
    CellMap,
    published_features,
    semantic_features,
)

CLASSES = ("background", "vessel", "cell", "axon")
WHOLE = np.s_[0:1, 0:32, 0:64]


def blank() -> np.ndarray:
    """Labels of one slice without anything in it."""
    return np.zeros((1, 32, 64), np.uint8)


def test_an_empty_tile_has_no_cells_and_no_defined_size_or_distance() -> None:
    found = semantic_features(CellMap.of(blank(), CLASSES), WHOLE)
    assert (found.vessels, found.axons, found.cell_area, found.cells) == (0, 0, 0, 0)
    assert np.isnan([found.cell_size, found.nearest_cell, found.third_cell]).all()


def test_one_cell_has_a_size_and_no_neighbour() -> None:
    labels = blank()
    labels[0, 4:6, 10:13] = 2
    found = semantic_features(CellMap.of(labels, CLASSES), WHOLE)
    assert (found.cells, found.cell_size) == (1, 6)
    assert np.isnan(found.nearest_cell)


def test_two_cells_thirty_pixels_apart_are_thirty_pixels_apart() -> None:
    labels = blank()
    labels[0, 4:6, 10:12] = labels[0, 4:6, 40:42] = 2
    cells = CellMap.of(labels, CLASSES)
    assert semantic_features(cells, WHOLE).nearest_cell == pytest.approx(30)
    (published,) = published_features(cells, [WHOLE])
    assert published.nearest_cell == pytest.approx(15)


def test_published_features_of_fewer_than_two_cells_are_nought_and_sixty_four() -> None:
    labels = blank()
    labels[0, 4:6, 10:13] = 2
    (found,) = published_features(CellMap.of(labels, CLASSES), [WHOLE])
    assert (found.cells, found.cell_size, found.nearest_cell) == (1, 0, 64)


def test_shares_are_percent_of_the_tile_alone() -> None:
    labels = blank()
    labels[0, :, 32:] = 1
    labels[0, :16, :32] = 3
    cells = CellMap.of(labels, CLASSES)
    assert semantic_features(cells, WHOLE).vessels == 50
    assert semantic_features(cells, np.s_[0:1, 0:16, 0:32]).axons == 100


def test_a_cell_that_touches_by_a_corner_is_another_cell_and_by_a_face_the_same() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 2
    tile = np.s_[0:2, 0:4, 0:4]
    assert semantic_features(CellMap.of(labels, CLASSES), tile).cells == 2
    labels[1, 0, 0] = 2
    assert semantic_features(CellMap.of(labels, CLASSES), tile).cells == 2
    labels[1, 0, 1] = 2
    assert semantic_features(CellMap.of(labels, CLASSES), tile).cells == 1


def test_a_cell_of_several_slices_counts_once_and_its_size_is_that_of_a_slice() -> None:
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[:, 2:4, 2:4] = 2
    cells = CellMap.of(labels, CLASSES)
    found = semantic_features(cells, np.s_[0:3, 0:8, 0:8])
    assert (found.cells, found.cell_size) == (1, 4)
    # Two pieces that show in a slice are one cell where another slice joins them.
    labels[0, 2:4, 5:7] = labels[1, 2:4, 4:7] = 2
    assert semantic_features(CellMap.of(labels, CLASSES), np.s_[0:1, 0:8, 0:8]).cells == 1


def test_labels_without_the_class_cell_are_refused_with_the_classes() -> None:
    with pytest.raises(UsageError, match="'axon', 'myelin'"):
        CellMap.of(blank(), ("axon", "myelin"))


def test_a_class_that_the_labels_do_not_have_is_not_defined() -> None:
    found = semantic_features(CellMap.of(blank(), ("background", "cell")), WHOLE)
    assert np.isnan(found.vessels)
    assert len(FEATURES) == 7


@given(arrays(np.uint8, (2, 6, 6), elements=st.integers(0, 3)))
def test_features_equal_those_of_a_brute_force_search(labels: np.ndarray) -> None:
    cells = CellMap.of(labels, CLASSES)
    found = semantic_features(cells, np.s_[0:2, 0:6, 0:6])
    numbers = [n for n in np.unique(cells.cells) if n]
    assert found.cells == len(numbers)
    centres = [np.argwhere(cells.cells == n).mean(axis=0) for n in numbers]
    if len(centres) > 1:
        gaps = [sorted(float(np.linalg.norm(a - b)) for b in centres)[1] for a in centres]
        assert found.nearest_cell == pytest.approx(float(np.mean(gaps)))
    if numbers:
        areas = [(cells.cells[z] == n).sum() for n in numbers for z in range(2)]
        assert found.cell_size == pytest.approx(np.mean([area for area in areas if area]))
