# SPDX-License-Identifier: Apache-2.0
"""Intervals cover what they promise, draw whole groups, and are absent where nothing is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import UsageError
from encephalon.statistics.intervals import (
    Interval,
    WeightedStatistic,
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
    interval = bootstrap_weighted(values, mean_of, seed=1)
    width = 2 * 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(width, rel=0.15)
    assert interval.low < values.mean() < interval.high


def test_the_same_seed_gives_the_same_interval(rng: np.random.Generator) -> None:
    """A report can be made again, figure for figure."""
    values = rng.random(30)
    first, second = (bootstrap_weighted(values, mean_of, seed=seed) for seed in (4, 4))
    assert first == second != bootstrap_weighted(values, mean_of, seed=5)


def test_groups_are_drawn_as_a_whole(rng: np.random.Generator) -> None:
    """Ten copies of each person tell no more than the person does."""
    people = rng.normal(size=20)
    alone = bootstrap_weighted(people, mean_of, seed=2)
    copies = np.repeat(people, 10)
    owners = np.repeat(np.arange(20), 10).tolist()
    grouped = bootstrap_weighted(copies, mean_of, groups=owners, seed=2)
    naive = bootstrap_weighted(copies, mean_of, seed=2)
    assert grouped.units == alone.units == 20
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))
    assert naive.high - naive.low < 0.5 * (grouped.high - grouped.low)


def test_one_unit_gives_no_interval() -> None:
    """From one person nothing can be said about others."""
    interval = bootstrap_weighted([0.9, 0.8, 0.7], mean_of, groups=["a", "a", "a"])
    assert interval.value == pytest.approx(0.8)
    assert np.isnan([interval.low, interval.high]).all()


def test_no_sample_gives_no_figure() -> None:
    """An empty column has neither a value nor an interval."""
    assert np.isnan(bootstrap_weighted(np.array([]), mean_of).value)


def test_draws_without_an_answer_are_left_out() -> None:
    """A statistic that needs both classes is judged on the draws that have them."""
    labels = np.array([0, 0, 0, 1, 1, 1])

    def share(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        mean = mean_of(values, weights)
        return np.where((mean > 0) & (mean < 1), mean, np.nan)

    assert np.isfinite(bootstrap_weighted(labels, share).low)
    assert np.isnan(bootstrap_weighted(labels, lambda _, w: np.full(len(w), np.nan)).low)


def test_an_interval_needs_an_answer_from_half_of_the_draws() -> None:
    """Half of them are enough; with most missing, the ends say nothing."""
    assert percentile_ends(np.array([1.0, 3.0, np.nan, np.nan])) == (1.0, 3.0)
    assert np.isnan(percentile_ends(np.array([1.0, 3.0, np.nan, np.nan, np.nan]))).all()


@pytest.mark.parametrize(("weighted", "plain"), [(mean_of, np.mean), (median_of, np.median)])
def test_weights_give_what_drawing_whole_groups_gives(
    weighted: WeightedStatistic, plain: Callable[..., float], rng: np.random.Generator
) -> None:
    """Drawing by weights gives the same value and, but for chance, the same ends."""
    values = rng.gamma(2.0, size=60)
    groups = rng.integers(0, 25, 60)
    fast = bootstrap_weighted(values, weighted, groups=groups.tolist(), repeats=4000)
    people = [values[groups == name] for name in np.unique(groups)]
    drawn = rng.integers(len(people), size=(4000, len(people)))
    slow = [plain(np.concatenate([people[place] for place in draw])) for draw in drawn]
    low, high = np.percentile(slow, [2.5, 97.5])
    assert fast.value == pytest.approx(plain(values))
    assert fast.units == len(people)
    assert (fast.low, fast.high) == pytest.approx((low, high), abs=0.1 * (high - low))


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


def test_values_and_groups_must_match() -> None:
    """Each sample needs one group."""
    with pytest.raises(UsageError, match="one per sample"):
        bootstrap_weighted(np.ones(3), mean_of, groups=["a"])


def test_an_interval_is_read_back_from_the_cells_of_a_row() -> None:
    """What the row does not have is not a number."""
    cells = Interval(0.5, 0.4, 0.6, 0.95, 9, "bootstrap").cells("r2")
    assert cells == {"r2": 0.5, "r2_low": 0.4, "r2_high": 0.6}
    read = Interval.of_cells({**cells, "n": 9}, "r2")
    assert (read.value, read.low, read.high, read.units) == (0.5, 0.4, 0.6, 9)
    assert np.isnan(Interval.of_cells(cells, "mae").low)
