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
    conformal_quantile,
    coverage,
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
    assert thresholds(np.arange(n), alpha) == {EVERYONE: math.inf}
    assert thresholds(np.arange(n + 1), alpha) == {EVERYONE: n}


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


def numbers(rng: np.random.Generator, n: int) -> tuple[Values, list[str]]:
    """Errors of predicted numbers, and a subgroup that is noisier than the other."""
    women = rng.random(n) < 0.5
    errors = np.abs(rng.normal(0, np.where(women, 1.0, 4.0)))
    return errors, ["FM"[int(not one)] for one in women]


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_intervals_hold_the_truth_as_often_as_promised(
    rng: np.random.Generator, alpha: float
) -> None:
    """Within 0.025 of 1 - alpha: three standard errors of calibration and test together."""
    limit = thresholds(numbers(rng, 4000)[0], alpha)[EVERYONE]
    assert (numbers(rng, 4000)[0] <= limit).mean() == pytest.approx(1 - alpha, abs=0.025)


def test_only_groups_of_their_own_keep_the_promise_to_each(rng: np.random.Generator) -> None:
    """One threshold for all serves the quiet subgroup too well and the noisy one too badly."""
    limits = thresholds(*swapped(numbers(rng, 4000)))
    errors, groups = numbers(rng, 4000)
    found = coverage(errors <= limits[EVERYONE], groups)
    assert found["F"].value > 0.97
    assert found["M"].high < 0.9
    found = coverage(errors <= np.array([limits[name] for name in groups]), groups)
    assert [found[name].value for name in "FM"] == pytest.approx([0.9, 0.9], abs=0.03)


def swapped(made: tuple[Values, list[str]]) -> tuple[Values, float, list[str]]:
    """As `thresholds` takes them."""
    return made[0], 0.1, made[1]


def classes(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], Values]:
    """True classes of three, and probabilities that are surer than they should be."""
    honest = rng.dirichlet(np.ones(3), n)
    truth = (honest.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    sharp = honest**2
    return truth, sharp / sharp.sum(axis=1, keepdims=True)


def test_sets_hold_the_true_class_as_often_as_promised(rng: np.random.Generator) -> None:
    """Though the probabilities are wrong."""
    truth, table = classes(rng, 4000)
    limit = thresholds(1 - table[np.arange(4000), truth], 0.1)[EVERYONE]
    truth, table = classes(rng, 4000)
    sets = 1 - table <= limit
    assert sets[np.arange(4000), truth].mean() == pytest.approx(0.9, abs=0.02)
    assert 1.0 < sets.sum(axis=1).mean() < 3.0


def test_a_subgroup_that_is_small_has_no_threshold_of_its_own() -> None:
    """With half of 10 it has 5 errors beyond the threshold; "" is no subgroup."""
    names = ["a"] * 10 + ["b"] * 9 + [""] * 20
    found = thresholds(np.arange(39), 0.5, names)
    assert found == {EVERYONE: 19.0, "a": 5.0}


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
    """With what is wrong of it."""
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(UsageError, match="between 0 and 1"):
            conformal_quantile([1.0], alpha)
    with pytest.raises(UsageError, match="not a finite number"):
        thresholds([1.0, math.nan])
    with pytest.raises(UsageError, match="1 subgroups for 2 samples"):
        coverage([True, False], ["a"])
