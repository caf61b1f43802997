# SPDX-License-Identifier: Apache-2.0
"""Intervals cover what they promise, draw whole groups, and are absent where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import UsageError
from encephalon.statistics.intervals import (
    Interval,
    Statistic,
    WeightedStatistic,
    bootstrap,
    bootstrap_weighted,
    mean_of,
    median_of,
    percentile_ends,
    proportion,
)


def rounded(interval: Interval) -> tuple[float, float]:
    """The two ends with two decimals."""
    return round(interval.low, 2), round(interval.high, 2)


def test_the_published_proportions_have_the_published_intervals() -> None:
    """Sensitivity 7/9 and specificity 8/10 of 3BTRON, exact and by Wilson."""
    assert rounded(proportion(7, 9, method="exact")) == (0.40, 0.97)
    assert rounded(proportion(7, 9)) == (0.45, 0.94)
    assert rounded(proportion(8, 10, method="exact")) == (0.44, 0.97)
    assert rounded(proportion(8, 10)) == (0.49, 0.94)


def test_no_trial_gives_no_proportion() -> None:
    """0 of 0 is not a number, and has no interval."""
    nothing = proportion(0, 0)
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


@pytest.mark.parametrize("counts", [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(counts: tuple[int, int]) -> None:
    """More successes than trials cannot be."""
    with pytest.raises(UsageError, match="successes"):
        proportion(*counts)


def test_the_interval_of_a_mean_is_about_two_standard_errors(rng: np.random.Generator) -> None:
    """On many normal values the percentile bootstrap agrees with theory within 15 %."""
    values = rng.normal(10.0, 2.0, 400)
    interval = bootstrap(values, np.mean, seed=1)
    width = 2 * 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(width, rel=0.15)
    assert interval.low < values.mean() < interval.high


def test_the_same_seed_gives_the_same_interval(rng: np.random.Generator) -> None:
    """A report can be made again, figure for figure."""
    values = rng.random(30)
    first, second = (bootstrap(values, np.median, seed=seed) for seed in (4, 4))
    assert first == second != bootstrap(values, np.median, seed=5)


def test_groups_are_drawn_as_a_whole(rng: np.random.Generator) -> None:
    """Ten copies of each person tell no more than the person does."""
    people = rng.normal(size=20)
    alone = bootstrap(people, np.mean, seed=2)
    copies = np.repeat(people, 10)
    grouped = bootstrap(copies, np.mean, groups=np.repeat(np.arange(20), 10).tolist(), seed=2)
    naive = bootstrap(copies, np.mean, seed=2)
    assert grouped.units == alone.units == 20
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))
    assert naive.high - naive.low < 0.5 * (grouped.high - grouped.low)


def test_several_columns_are_drawn_together() -> None:
    """A correlation of identical columns stays 1 in every draw."""
    values = np.arange(12.0)

    def correlation(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.corrcoef(first, second)[0, 1])

    interval = bootstrap((values, values), correlation, repeats=200)
    assert (interval.value, interval.low, interval.high) == pytest.approx((1.0, 1.0, 1.0))


def test_one_unit_gives_no_interval() -> None:
    """From one person nothing can be said about others."""
    interval = bootstrap([0.9, 0.8, 0.7], np.mean, groups=["a", "a", "a"])
    assert interval.value == pytest.approx(0.8)
    assert np.isnan([interval.low, interval.high]).all()


def test_no_sample_gives_no_figure() -> None:
    """An empty column has neither a value nor an interval."""
    assert np.isnan(bootstrap(np.array([]), np.mean).value)


def test_draws_without_an_answer_are_left_out() -> None:
    """A statistic that needs both classes is judged on the draws that have them."""
    labels = np.array([0, 0, 0, 1, 1, 1])

    def share(drawn: np.ndarray) -> float:
        return float(drawn.mean()) if 0 < drawn.sum() < drawn.size else float("nan")

    assert np.isfinite(bootstrap(labels, share).low)
    assert np.isnan(bootstrap(labels, lambda _: float("nan")).low)


def test_an_interval_needs_an_answer_from_half_of_the_draws() -> None:
    """Half of them are enough; with most missing, the ends say nothing."""
    assert percentile_ends(np.array([1.0, 3.0, np.nan, np.nan]), 0.9) == (1.0, 3.0)
    assert np.isnan(percentile_ends(np.array([1.0, 3.0, np.nan, np.nan, np.nan]), 0.9)).all()


@pytest.mark.parametrize(("weighted", "plain"), [(mean_of, np.mean), (median_of, np.median)])
def test_the_fast_bootstrap_agrees_with_the_plain_one(
    weighted: WeightedStatistic, plain: Statistic, rng: np.random.Generator
) -> None:
    """Drawing by weights gives the same figure and, but for chance, the same ends."""
    values = rng.gamma(2.0, size=60)
    groups = rng.integers(0, 25, 60).tolist()
    fast = bootstrap_weighted(values, weighted, groups=groups, repeats=4000)
    slow = bootstrap(values, plain, groups=groups, repeats=4000)
    assert fast.value == pytest.approx(slow.value)
    assert fast.units == slow.units
    width = slow.high - slow.low
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=0.1 * width)


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 4)), min_size=1).filter(
        lambda pairs: sum(count for _, count in pairs) > 0
    )
)
def test_a_weighted_figure_is_that_of_repeated_values(pairs: list[tuple[float, int]]) -> None:
    """A value drawn three times counts three times, in the mean and in the median."""
    values = np.array([value for value, _ in pairs])
    counts = np.array([[count for _, count in pairs]])
    repeated = np.repeat(values, counts[0])
    assert median_of(values, counts)[0] == pytest.approx(float(np.median(repeated)))
    assert mean_of(values, counts)[0] == pytest.approx(float(np.mean(repeated)), abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_lies_between_0_and_1(level: float) -> None:
    """95 is not a level, 0.95 is."""
    with pytest.raises(UsageError, match="between 0 and 1"):
        bootstrap([1.0, 2.0], np.mean, level=level)


def test_columns_and_groups_must_match() -> None:
    """Each sample needs one entry in every column and one group."""
    with pytest.raises(UsageError, match="one entry per sample"):
        bootstrap((np.ones(3), np.ones(4)), lambda *_: 0.0)
    with pytest.raises(UsageError, match="one per sample"):
        bootstrap(np.ones(3), np.mean, groups=["a"])
