# SPDX-License-Identifier: Apache-2.0
"""Conformal answers hold the truth as often as they promise, in each subgroup."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from encephalon.errors import UsageError
from encephalon.statistics.conformal import (
    EVERYONE,
    SetMethod,
    Thresholds,
    class_scores,
    conformal_quantile,
    coverage,
    interval_ends,
    prediction_sets,
    residual_scores,
    thresholds,
)
from encephalon.statistics.intervals import proportion

Values = NDArray[np.float64]


@pytest.mark.parametrize(
    ("n", "alpha", "rank"),
    [
        (9, 0.1, 9),  # 10 · 0.9
        (10, 0.1, 10),  # 9.9 rounded up
        (19, 0.1, 18),
        (4, 0.5, 3),  # 2.5 rounded up
        (9, 0.7, 3),  # 3, though 10 · (1 - 0.7) is a little more in a computer
        (99, 0.29, 71),
    ],
)
def test_the_quantile_has_the_rank_of_a_finite_sample(n: int, alpha: float, rank: int) -> None:
    """By hand: ceil((n + 1)(1 - alpha)) of the scores 1 to n, in any order."""
    assert conformal_quantile(np.arange(n, 0, -1), alpha) == rank


@pytest.mark.parametrize(("n", "alpha"), [(8, 0.1), (18, 0.05), (0, 0.5)])
def test_too_few_samples_promise_nothing_less_than_everything(n: int, alpha: float) -> None:
    """One sample more, and the largest score is the threshold."""
    found = thresholds(np.arange(n), alpha)
    assert found.threshold == {EVERYONE: math.inf}
    assert (found.too_few, found.fewest) == ((EVERYONE,), n + 1)
    assert thresholds(np.arange(n + 1), alpha).too_few == ()
    low, high = interval_ends([3.0], found)
    assert (low[0], high[0]) == (-math.inf, math.inf)
    assert prediction_sets(class_scores([[1.0, 0.0]]), found).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 99))
def test_enough_of_the_scores_do_not_exceed_the_quantile(scores: list[int], percent: int) -> None:
    """At least (n + 1)(1 - alpha) of them, ties or not, and no smaller score would do."""
    found = conformal_quantile(scores, percent / 100)
    needed = (len(scores) + 1) * (100 - percent) / 100 - 1e-9
    if math.isinf(found):
        assert needed > len(scores)
    else:
        assert sum(each <= found for each in scores) >= needed
        assert sum(each < found for each in scores) < needed


def numbers(rng: np.random.Generator, n: int) -> tuple[Values, Values, Values, list[str]]:
    """True values, predictions, spreads of noise and a subgroup that is noisier than the other."""
    women = rng.random(n) < 0.5
    spread = np.where(women, 1.0, 4.0) * rng.uniform(0.5, 1.5, n)
    predicted = rng.normal(60, 10, n)
    return predicted + rng.normal(0, spread), predicted, spread, ["FM"[int(not w)] for w in women]


def held(
    rng: np.random.Generator, alpha: float, *, scaled: bool, grouped: bool
) -> tuple[NDArray[np.bool_], list[str], Values]:
    """Which of 4000 new intervals hold the truth, their subgroups and their widths."""
    truth, predicted, spread, groups = numbers(rng, 4000)
    scores = residual_scores(truth, predicted, spread if scaled else None)
    limits = thresholds(scores, alpha, groups if grouped else None)
    truth, predicted, spread, groups = numbers(rng, 4000)
    low, high = interval_ends(
        predicted, limits, spread if scaled else None, groups if grouped else None
    )
    return (low <= truth) & (truth <= high), groups, high - low


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("scaled", [False, True])
def test_intervals_hold_the_truth_as_often_as_promised(
    rng: np.random.Generator, alpha: float, scaled: bool
) -> None:
    """Within 0.025 of 1 - alpha: three standard errors of calibration and test together."""
    hits, _, _ = held(rng, alpha, scaled=scaled, grouped=False)
    assert hits.mean() == pytest.approx(1 - alpha, abs=0.025)


def test_only_groups_of_their_own_keep_the_promise_to_each(rng: np.random.Generator) -> None:
    """One threshold for all serves the quiet subgroup too well and the noisy one too badly."""
    hits, groups, _ = held(rng, 0.1, scaled=False, grouped=False)
    found = coverage(hits, groups)
    assert found["F"].value > 0.97
    assert found["M"].high < 0.9
    hits, groups, _ = held(rng, 0.1, scaled=False, grouped=True)
    found = coverage(hits, groups)
    assert [found[name].value for name in "FM"] == pytest.approx([0.9, 0.9], abs=0.03)


def test_a_spread_makes_sure_answers_narrow(rng: np.random.Generator) -> None:
    """The widths follow the noise, and on average are smaller."""
    _, _, even = held(rng, 0.1, scaled=False, grouped=False)
    _, groups, scaled = held(rng, 0.1, scaled=True, grouped=False)
    assert np.ptp(even) == pytest.approx(0.0, abs=1e-9)
    assert scaled.mean() < even.mean()
    women = np.array(groups) == "F"
    assert scaled[women].mean() < scaled[~women].mean() / 3


def classes(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], Values]:
    """True classes of three, and probabilities that are surer than they should be."""
    honest = rng.dirichlet(np.ones(3), n)
    truth = (honest.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    sharp = honest**2
    return truth, sharp / sharp.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("method", ["least_ambiguous", "adaptive"])
def test_sets_hold_the_true_class_as_often_as_promised(
    rng: np.random.Generator, method: SetMethod
) -> None:
    """Though the probabilities are wrong, and with chance to smooth the scores."""
    truth, table = classes(rng, 4000)
    limits = thresholds(class_scores(table, method, rng)[np.arange(4000), truth], 0.1)
    truth, table = classes(rng, 4000)
    sets = prediction_sets(class_scores(table, method, rng), limits)
    assert sets[np.arange(4000), truth].mean() == pytest.approx(0.9, abs=0.02)
    assert 1.0 < sets.sum(axis=1).mean() < 3.0


def test_scores_of_classes_by_hand() -> None:
    """Adaptive scores are what has been reached down to a class; the likeliest comes first."""
    table = [[0.2, 0.5, 0.3]]
    assert class_scores(table)[0] == pytest.approx([0.8, 0.5, 0.7])
    assert class_scores(table, "adaptive")[0] == pytest.approx([1.0, 0.5, 0.8])
    share = np.random.default_rng(3).random()
    smoothed = class_scores(table, "adaptive", np.random.default_rng(3))[0]
    assert smoothed == pytest.approx([0.8 + share * 0.2, share * 0.5, 0.5 + share * 0.3])


def test_each_subgroup_has_its_own_threshold_and_is_named_if_small() -> None:
    """A subgroup that was never seen is promised everything, too."""
    found = thresholds([1.0, 2.0, 3.0, 9.0], 0.25, ["a", "a", "a", "b"])
    assert found == Thresholds(0.25, {"a": 3.0, "b": math.inf}, {"a": 3, "b": 1})
    assert (found.too_few, found.fewest) == (("b",), 3)
    assert found.of(3, ["b", "c", "a"]).tolist() == [math.inf, math.inf, 3.0]
    for limits, subgroups in ((found, None), (thresholds([1.0], 0.5), ["a"])):
        with pytest.raises(UsageError, match="told apart by the same subgroups"):
            limits.of(1, subgroups)


def test_coverage_has_the_interval_of_a_proportion() -> None:
    """Of all and of each subgroup; several scans of a person count as the person."""
    hits, groups = [1, 1, 0, 1], ["a", "a", "b", "b"]
    assert coverage(hits, groups) == {
        EVERYONE: proportion(3, 4),
        "a": proportion(2, 2),
        "b": proportion(1, 2),
    }
    assert coverage(hits) == {EVERYONE: proportion(3, 4)}
    assert coverage([1, 1, 1], units=["p", "p", "q"]) == {EVERYONE: proportion(2, 2)}


def test_what_cannot_be_calibrated_is_refused() -> None:
    """With the sample, or the numbers that do not agree."""
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(UsageError, match="between 0 and 1"):
            conformal_quantile([1.0], alpha)
    with pytest.raises(UsageError, match="sample 1, counted from 0, is nan"):
        thresholds([1.0, math.nan])
    with pytest.raises(UsageError, match="1 subgroups for 2 samples"):
        thresholds([1.0, 2.0], 0.1, ["a"])
    with pytest.raises(UsageError, match="'all'"):
        thresholds([1.0], 0.1, ["all"])
    with pytest.raises(UsageError, match="2 for 1"):
        residual_scores([1.0], [1.0, 2.0])
    with pytest.raises(UsageError, match="the smallest 0"):
        residual_scores([1.0], [1.0], [0.0])
    with pytest.raises(UsageError, match=r"shape is \(1, 1\)"):
        residual_scores([[1.0]], [1.0])
    for table in ([0.1, 0.9], [[1.5, -0.5]], [[math.nan, 1.0]]):
        with pytest.raises(UsageError, match="probabilities from 0 to 1"):
            class_scores(table)
