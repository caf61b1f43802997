# SPDX-License-Identifier: Apache-2.0
"""Points of many dimensions in a plane."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.statistics.projections import (
    FEWEST,
    neighbour_plane,
    principal_plane,
    standardised,
)


def clusters() -> np.ndarray:
    """Two clusters of twenty points far apart."""
    generator = np.random.default_rng(0)
    return np.concatenate([generator.normal(centre, 1, (20, 8)) for centre in (0, 50)])


def test_principal_components_keep_distances_where_two_dimensions_are_all_there_are() -> None:
    flat = np.random.default_rng(0).normal(size=(9, 2)) @ np.random.default_rng(1).normal(
        size=(2, 7)
    )
    plane = principal_plane(flat)
    for one, other in ((0, 1), (3, 8)):
        apart = np.linalg.norm(flat[one] - flat[other])
        assert np.linalg.norm(plane[one] - plane[other]) == pytest.approx(apart)
    assert (principal_plane(flat[:, :1])[:, 1] == 0).all()


def test_what_is_near_stays_near_and_the_plane_is_the_same_again() -> None:
    pytest.importorskip("sklearn")
    plane = neighbour_plane(clusters())
    first, second = plane[:20], plane[20:]
    between = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    assert max(first.std(), second.std()) < between
    assert np.array_equal(plane, neighbour_plane(clusters()))


def test_few_points_have_no_neighbourhoods() -> None:
    assert np.isnan(neighbour_plane(clusters()[: FEWEST - 1])).all()


def test_a_dimension_without_spread_says_nothing() -> None:
    scaled = standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert scaled.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert standardised(np.array([[4.0, 6.0]]), np.array([[1.0, 5.0], [3.0, 5.0]])).tolist() == [
        [2.0, 1.0]
    ]
