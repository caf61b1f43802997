# SPDX-License-Identifier: Apache-2.0
"""Metrics of numbers agree with scikit-learn for any weights, and are NaN where undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from encephalon.errors import UsageError
from encephalon.metrics.regression import regression_metrics, regression_scores

Values = NDArray[np.float64]


def reference(truth: Values, predicted: Values, weights: Values) -> dict[str, float]:
    """The metrics of scikit-learn and NumPy."""
    cells = np.cov(truth, predicted, aweights=weights, ddof=0)
    return {
        "r2": metrics.r2_score(truth, predicted, sample_weight=weights),
        "pearson_r": cells[0, 1] / math.sqrt(cells[0, 0] * cells[1, 1]),
        "mae": metrics.mean_absolute_error(truth, predicted, sample_weight=weights),
        "rmse": math.sqrt(metrics.mean_squared_error(truth, predicted, sample_weight=weights)),
    }


def test_weighted_metrics_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    """Ages far from 0, and weights with zeros, whole numbers and fractions."""
    truth = rng.normal(1e4, 8, 80)
    predicted = truth + rng.normal(2, 5, 80)
    weights = np.stack([np.ones(80), rng.integers(0, 4, 80), rng.random(80)])
    found = regression_metrics(truth, predicted)
    for place, row in enumerate(weights):
        known = reference(truth, predicted, row)
        assert {name: each.weigh(weights)[place] for name, each in found.items()} == (
            pytest.approx(known)
        )
    assert regression_scores(truth, predicted) == pytest.approx(
        reference(truth, predicted, weights[0])
    )


def test_errors_are_in_the_unit_of_the_values() -> None:
    """Three years too old and one too young: on average 2, by squares the root of 5."""
    scores = regression_scores([50.0, 60.0], [53.0, 59.0])
    assert (scores["mae"], scores["rmse"]) == (2.0, pytest.approx(math.sqrt(5)))
    assert scores["r2"] == pytest.approx(1 - 10 / 50)


def test_a_constant_prediction_correlates_with_nothing() -> None:
    """It has an R² nonetheless, of 0 where it is the mean."""
    scores = regression_scores([0.1, 0.2, 0.3], [0.2, 0.2, 0.2])
    assert math.isnan(scores["pearson_r"])
    assert scores["r2"] == pytest.approx(0.0)


@pytest.mark.parametrize("value", [0.1, 1e9 / 3])
def test_constant_truth_has_neither_r2_nor_correlation(value: float) -> None:
    """Whatever the mean is rounded to; the errors remain."""
    scores = regression_scores([value] * 10, np.arange(10.0))
    assert math.isnan(scores["r2"])
    assert math.isnan(scores["pearson_r"])
    assert math.isfinite(scores["mae"])


def test_a_draw_of_equal_answers_is_undefined() -> None:
    """People of one age, drawn alone, are a constant, also where another one sets the scale."""
    found = regression_metrics([70.3, 70.3, 70.3, 20.1, 33.3], [60.0, 65.0, 70.0, 20.0, 30.0])
    alone = np.array([[1.0, 3.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 7.0, 0.0]])
    assert np.isnan(found["r2"].weigh(alone)).all()
    assert np.isnan(found["pearson_r"].weigh(alone)).all()


def test_perfect_predictions_have_perfect_scores(rng: np.random.Generator) -> None:
    """Also in a unit of their own, as far as the correlation goes."""
    truth = rng.normal(size=30)
    assert regression_scores(truth, truth) == pytest.approx(
        {"r2": 1.0, "pearson_r": 1.0, "mae": 0.0, "rmse": 0.0}
    )
    assert regression_scores(truth, 5 - 2 * truth)["pearson_r"] == pytest.approx(-1.0)


def test_intervals_draw_whole_groups(rng: np.random.Generator) -> None:
    """Five scans of each of 12 people are 12 units, and say less than 60 people."""
    person = np.repeat(np.arange(12), 5)
    truth = rng.normal(50, 10, 12)[person]
    predicted = truth + rng.normal(0, 8, 12)[person]
    for metric in regression_metrics(truth, predicted).values():
        grouped, single = metric.interval(person.tolist()), metric.interval()
        assert (grouped.units, grouped.method) == (12, "bootstrap")
        assert grouped.low < grouped.value < grouped.high
        assert grouped.high - grouped.low > single.high - single.low


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_value_that_is_not_finite_makes_all_nan(broken: float) -> None:
    """A network that broke down, or a gap in the table, gives no score and no warning."""
    for pair in (([1.0, 2.0], [1.0, broken]), ([1.0, broken], [1.0, 2.0])):
        assert all(math.isnan(each) for each in regression_scores(*pair).values())


def test_no_sample_gives_nan() -> None:
    """And no warning."""
    assert all(math.isnan(each) for each in regression_scores([], []).values())


def test_lengths_must_agree() -> None:
    """Both shapes are named; a column is not silently spread to a table."""
    with pytest.raises(UsageError, match=r"\(2,\) and \(2, 1\)"):
        regression_scores([1.0, 2.0], [[1.0], [2.0]])
