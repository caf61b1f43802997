# SPDX-License-Identifier: Apache-2.0
"""A calibration finds what was done to the logits, never harms, and is checked bin by bin.

A model that may keep silent is judged by how its errors fall with its coverage.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from encephalon.errors import ModelError, UsageError
from encephalon.metrics.calibration import (
    Calibration,
    calibration_error_metric,
    coverage_risk,
    expected_calibration_error,
    fit_calibration,
    reliability,
)
from encephalon.metrics.classification import classification_scores
from encephalon.statistics.intervals import proportion


def world(
    rng: np.random.Generator, n: int, bias: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits that are three times too large and lack a bias, and classes drawn by the truth."""
    logits = rng.normal(size=(n, len(bias)))
    honest = Calibration(1.0, bias).apply(logits)
    truth = (honest.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return 3.0 * logits, truth


def test_the_temperature_and_the_biases_are_found(rng: np.random.Generator) -> None:
    """Of 4000 samples the fit finds temperature 3 and the biases that were left out."""
    logits, truth = world(rng, 4000, (0.4, 0.0, -0.4))
    fitted = fit_calibration(logits, truth)
    assert fitted.temperature == pytest.approx(3.0, rel=0.08)
    assert fitted.bias == pytest.approx((0.4, 0.0, -0.4), abs=0.08)
    assert sum(fitted.bias) == pytest.approx(0.0, abs=1e-6)


def test_calibrating_mends_the_calibration_error(rng: np.random.Generator) -> None:
    """Overconfident probabilities of new samples become honest."""
    logits, truth = world(rng, 4000, (0.0, 0.0))
    fitted = fit_calibration(logits[:2000], truth[:2000])
    new, came = logits[2000:], truth[2000:] == 1
    before, after = (
        expected_calibration_error(each.apply(new)[:, 1], came)
        for each in (Calibration.identity(2), fitted)
    )
    assert before > 0.1
    assert after < 0.04


def test_few_groups_hold_the_fit_near_the_identity(rng: np.random.Generator) -> None:
    """The same images from 4 animals say less than from 200."""
    logits, truth = world(rng, 200, (1.0, -1.0))
    many = fit_calibration(logits, truth, groups=list(range(200)))
    few = fit_calibration(logits, truth, groups=[i % 4 for i in range(200)])
    assert many == fit_calibration(logits, truth)
    assert 1.0 < few.temperature < many.temperature
    assert 0.0 < few.bias[0] < many.bias[0]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_a_bias_is_held_by_a_prior_of_half_a_logit() -> None:
    """Without logits to go by, 15 of 20 give the bias b at which b = 0.5² · 20 · (15/20 - p)."""
    fitted = fit_calibration(np.zeros((20, 2)), np.repeat([0, 1], [5, 15]))
    low, high = fitted.bias
    assert low == pytest.approx(-high)
    said = sigmoid(high - low)
    assert high == pytest.approx(0.5**2 * 20 * (0.75 - said), abs=1e-4)
    assert 0.6 < said < 0.75


def test_a_temperature_is_held_by_a_prior_of_a_factor_of_e() -> None:
    """Logits that are right 15 times of 20: log T = 20 · (p - 15/20) / T at the fit."""
    truth = np.repeat([0, 1], 10)
    told = np.where(np.arange(20) % 4 == 3, 1 - truth, truth)
    wrong = (told != truth).sum()
    fitted = fit_calibration(4.0 * np.eye(2)[told], truth, shift=False)
    said = sigmoid(4.0 / fitted.temperature)
    expected = 20 * 4.0 * (said - (1 - wrong / 20)) / fitted.temperature
    assert math.log(fitted.temperature) == pytest.approx(expected, abs=1e-4)
    assert fitted.temperature > 1.5


@pytest.mark.parametrize(
    "truth", [[0] * 20, [0, 1] * 4], ids=["one class only", "fewer than ten samples"]
)
def test_too_little_to_fit_gives_the_identity(truth: list[int]) -> None:
    """The softmax is then left as it is."""
    logits = np.arange(2.0 * len(truth)).reshape(-1, 2) ** 1.1
    assert fit_calibration(logits, truth) == Calibration.identity(2)


def test_a_class_that_was_not_seen_keeps_its_bias(rng: np.random.Generator) -> None:
    """Its absence from a small validation part is no reason to forbid it."""
    logits = rng.normal(size=(60, 3))
    assert fit_calibration(logits, rng.integers(0, 2, 60)).bias[2] == 0.0


def test_perfect_separation_stays_finite(rng: np.random.Generator) -> None:
    """Logits that are always right are sharpened, and not without end."""
    truth = np.array([0, 1] * 50)
    fitted = fit_calibration(4.0 * np.eye(2)[truth], truth)
    assert math.exp(-3) <= fitted.temperature < 1.0


@given(st.integers(0, 2**32 - 1), st.integers(10, 60), st.integers(2, 4), st.floats(0.1, 30))
def test_fitting_never_makes_the_fitted_loss_worse(
    seed: int, n: int, classes: int, scale: float
) -> None:
    """Whatever the logits are, noise included."""
    rng = np.random.default_rng(seed)
    logits, truth = scale * rng.normal(size=(n, classes)), rng.integers(0, classes, n)
    before = classification_scores(truth, Calibration.identity(classes).apply(logits))["loss"]
    after = classification_scores(truth, fit_calibration(logits, truth).apply(logits))["loss"]
    assert after <= before + 1e-9


def test_groups_that_do_not_match_are_refused() -> None:
    """Their number is named."""
    with pytest.raises(UsageError, match="3 groups for 20 samples"):
        fit_calibration(np.zeros((20, 2)), [0, 1] * 10, groups=[1, 2, 3])


def test_a_calibration_applies_temperature_then_bias() -> None:
    """softmax([2, 0] / 2 + [0, 1]) is one half each, and huge logits do not overflow."""
    calibration = Calibration(2.0, (0.0, 1.0))
    assert calibration.apply([[2.0, 0.0]]) == pytest.approx(np.array([[0.5, 0.5]]))
    assert calibration.apply([[5000.0, 0.0]]) == pytest.approx(np.array([[1.0, 0.0]]))


def test_a_calibration_is_written_and_read() -> None:
    """Plain data there and the same calibration back."""
    calibration = Calibration(1.7, (0.25, -0.25))
    assert calibration.as_dict() == {"temperature": 1.7, "bias": [0.25, -0.25]}
    assert Calibration.from_dict(calibration.as_dict()) == calibration


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 1.0},
        {"temperature": 0.0, "bias": [0.0, 0.0]},
        {"temperature": "warm", "bias": [0.0]},
        {"temperature": 1.0, "bias": [float("nan"), 0.0]},
        {"temperature": 1.0, "bias": []},
    ],
)
def test_a_broken_calibration_is_refused(values: dict[str, object]) -> None:
    """The sentence repeats what the model says."""
    with pytest.raises(ModelError, match="temperature above 0 and a finite bias"):
        Calibration.from_dict(values)


def test_a_calibration_of_other_classes_is_refused() -> None:
    """Three logits do not fit two biases."""
    with pytest.raises(ModelError, match=r"2 classes.*\(1, 3\)"):
        Calibration.identity(2).apply(np.zeros((1, 3)))


def test_reliability_counts_every_sample_in_one_bin() -> None:
    """Bins hold their lower edge, the last one holds 1, empty ones are left out."""
    bins = reliability([0.0, 0.05, 0.1, 0.95, 1.0], [0, 1, 1, 1, 1])
    assert [(each.low, each.high, each.n) for each in bins] == [
        (0.0, 0.1, 2),
        (0.1, 0.2, 1),
        (0.9, 1.0, 2),
    ]
    assert bins[0].mean_probability == pytest.approx(0.025)
    assert bins[0].observed == proportion(1, 2)


def test_reliability_draws_whole_groups() -> None:
    """Forty images of two animals that agree among themselves leave everything open."""
    (one,) = reliability([0.55] * 40, [1] * 20 + [0] * 20, groups=["a"] * 20 + ["b"] * 20)
    assert (one.observed.value, one.observed.units) == (0.5, 2)
    assert (one.observed.low, one.observed.high) == (0.0, 1.0)


def test_the_calibration_error_is_the_mean_distance() -> None:
    """Half the samples are off by 0.25, the others by 0.05."""
    said, came = [0.75] * 10 + [0.45] * 10, [1] * 10 + [1] * 4 + [0] * 6
    assert expected_calibration_error(said, came) == pytest.approx((0.25 + 0.05) / 2)
    assert math.isnan(expected_calibration_error([], []))
    with pytest.raises(UsageError, match="one probability for each sample"):
        expected_calibration_error([0.1], [1, 0])


def test_without_a_shift_only_the_temperature_is_fitted() -> None:
    """A fit that may not shift keeps the order of the logits of every sample."""
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 200, p=[0.7, 0.2, 0.1])
    logits = rng.normal(size=(200, 3)) + 2 * np.eye(3)[truth]
    fitted = fit_calibration(logits, truth, shift=False)
    assert fitted.bias == (0.0, 0.0, 0.0)
    assert fitted.temperature != 1.0
    assert np.array_equal(fitted.apply(logits).argmax(axis=1), logits.argmax(axis=1))


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


def test_the_calibration_error_of_a_draw_is_that_of_the_drawn_samples(
    rng: np.random.Generator,
) -> None:
    """And so it has an interval, of whole groups where they are given."""
    said, weights = rng.random(40), rng.integers(0, 4, (3, 40))
    came = rng.random(40) < said**2
    metric = calibration_error_metric(said, came)
    repeated = [
        expected_calibration_error(np.repeat(said, row), np.repeat(came, row)) for row in weights
    ]
    assert metric.weigh(weights.astype(float)) == pytest.approx(repeated)
    found = metric.interval([place % 8 for place in range(40)])
    assert (found.units, found.value) == (8, expected_calibration_error(said, came))
    assert found.low < found.high
