# SPDX-License-Identifier: Apache-2.0
"""A model that may keep silent is judged by how its errors fall with its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import UsageError
from encephalon.metrics.calibration import coverage_risk


def test_the_most_confident_are_answered_first() -> None:
    """The error is the least confident of four, so the risk is 0 until all are answered."""
    curve = coverage_risk([0.6, 0.9, 0.8, 0.7], [False, True, True, True])
    assert curve.confidence == (0.9, 0.8, 0.7, 0.6)
    assert curve.coverage == (0.25, 0.5, 0.75, 1.0)
    assert curve.risk == (0.0, 0.0, 0.0, 0.25)
    assert curve.area.value == pytest.approx(0.25 / 4)


def test_equal_confidences_are_answered_together() -> None:
    """Their order in the list means nothing."""
    for correct in ([True, False, True], [False, True, True]):
        curve = coverage_risk([0.9, 0.9, 0.5], correct)
        assert curve.coverage == pytest.approx((2 / 3, 1.0))
        assert curve.risk == pytest.approx((1 / 2, 1 / 3))
        assert curve.area.value == pytest.approx((2 * 1 / 2 + 1 / 3) / 3)


def test_a_confidence_that_knows_nothing_has_the_error_rate_as_area() -> None:
    """One threshold for all."""
    curve = coverage_risk([0.5] * 10, [True] * 7 + [False] * 3)
    assert curve.area.value == pytest.approx(0.3)


def test_the_interval_draws_groups(rng: np.random.Generator) -> None:
    """The units of the interval are the animals."""
    sure, groups = rng.random(60), np.repeat(np.arange(6), 10).tolist()
    area = coverage_risk(sure, rng.random(60) < sure, groups).area
    assert area.units == 6
    assert area.low <= area.value <= area.high


def test_no_answer_gives_no_curve() -> None:
    """An empty list has no points and no area."""
    curve = coverage_risk([], [])
    assert curve.coverage == curve.risk == ()
    assert np.isnan(curve.area.value)


def test_lists_of_different_lengths_are_refused() -> None:
    """Both shapes are named."""
    with pytest.raises(UsageError, match=r"\(1,\) and \(2,\)"):
        coverage_risk([0.5], [True, False])


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_the_curve_ends_at_the_error_rate(samples: list[tuple[float, bool]]) -> None:
    """Coverage rises to 1, and the last risk is that of answering everything."""
    curve = coverage_risk([sure for sure, _ in samples], [right for _, right in samples])
    assert list(curve.coverage) == sorted(set(curve.coverage))
    assert curve.coverage[-1] == 1.0
    assert curve.risk[-1] == pytest.approx(np.mean([not right for _, right in samples]))
    assert 0.0 <= curve.area.value <= 1.0
