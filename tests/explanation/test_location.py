# SPDX-License-Identifier: Apache-2.0
"""Shares inside boxes are areas, and the prior is a Gaussian around the middle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.explanation.location import box_cover, centre_prior, points_inside, share_inside

NAN = np.nan


def test_a_cover_counts_parts_of_pixels() -> None:
    """x runs along the columns, y along the rows, and half a pixel is 0.5."""
    cover = box_cover((4, 8), (0.25, 0.5, 0.25, 0.75))
    expected = np.outer([0.5, 1, 1, 0.5], [0, 1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(cover, expected)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(0.3, 0.7),
    st.floats(0.3, 0.7),
    st.floats(0.01, 0.6),
    st.floats(0.01, 0.6),
)
def test_a_uniform_map_has_the_box_s_area_inside(
    rows: int, columns: int, x: float, y: float, width: float, height: float
) -> None:
    """Whatever the grid, the share is width times height."""
    cover = box_cover((rows, columns), (x, y, width, height))
    share = share_inside(np.ones((rows, columns), np.float32), cover)
    assert share == pytest.approx(width * height, rel=1e-4)


def test_what_was_not_looked_at_counts_for_nothing() -> None:
    """NaN is neither inside nor outside; an empty map has no share and points nowhere."""
    cover = np.array([[1, 1], [0, 0]], np.float32)
    assert share_inside(np.array([[NAN, 1.0], [NAN, 3.0]]), cover) == pytest.approx(0.25)
    empty = np.array([[0.0, NAN], [0.0, NAN]])
    assert share_inside(empty, cover) == 0
    assert not points_inside(empty, cover)


def test_the_pointing_game_looks_at_the_highest_point() -> None:
    """A hit is a maximum in a pixel of which half or more lies inside."""
    cover = np.array([[1.0, 0.4], [0.5, 0.0]])
    hits = [points_inside(np.eye(4)[place].reshape(2, 2), cover) for place in range(4)]
    assert hits == [True, False, True, False]


def test_the_centre_prior_falls_as_a_gaussian_does() -> None:
    """One sigma from the middle it is exp(-1/2) of its top, along either axis."""
    prior = centre_prior((101, 41))
    assert prior.max() == prior[50, 20] == 1
    row = 50 + 101 * 0.25
    at_sigma = np.interp(row, np.arange(101), prior[:, 20])
    assert at_sigma == pytest.approx(np.exp(-0.5), abs=1e-4)
    np.testing.assert_allclose(prior, prior[::-1, ::-1], rtol=1e-6)
