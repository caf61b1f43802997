# SPDX-License-Identifier: Apache-2.0
"""Intervals: how far a metric could move had other samples been drawn.

Samples of one animal or person are not independent, so `groups` makes whole groups the unit that
is drawn. With fewer than two units there is no interval: its ends are NaN and its method is "none".

How often the bootstrap drew a unit is its weight, so a weighted mean or median is worked out for
all draws at once: some hundred times faster than drawing the samples themselves, and a report can
afford an interval for every metric of every subgroup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isnan, nan
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError

__all__ = [
    "Interval",
    "WeightedStatistic",
    "affordable_repeats",
    "bootstrap_draws",
    "bootstrap_weighted",
    "bootstrapped",
    "draw_weights",
    "mean_of",
    "median_of",
    "percentile_ends",
    "proportion",
    "units_of",
]

Values = NDArray[np.float64]
#: From values (N,) and how often each was drawn (R, N) to one value a draw (R,).
WeightedStatistic = Callable[[Values, NDArray[np.int64]], Values]
#: The level of every interval.
LEVEL = 0.95
# Weights held at a time: 32 MB.
_CHUNK = 4_000_000
#: Samples that are drawn in all, and draws at the most and at the least (our choice).
DRAWN, MOST_DRAWS, FEWEST_DRAWS = 20_000_000, 2000, 400


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its interval; `units` were drawn, samples or whole groups.

    `method` names the interval: "bootstrap", "wilson", "exact", or "none" where there is none.
    """

    value: float
    low: float
    high: float
    level: float
    units: int
    method: str

    def cells(self, name: str) -> dict[str, float]:
        """Cells of a table: the value as `name`, its ends as `name_low` and `name_high`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    @classmethod
    def of_cells(cls, row: Mapping[str, Any], name: str) -> Interval:
        """What `cells` said in a row, also as text; NaN for what is not there."""
        cells = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
        value, low, high = (nan if cell in (None, "") else float(cell) for cell in cells)
        return cls(value, low, high, LEVEL, int(row.get("n", 0)), "bootstrap")


def proportion(
    successes: int, total: int, *, method: Literal["wilson", "exact"] = "wilson"
) -> Interval:
    """Interval of a proportion of independent trials, by Wilson or by Clopper and Pearson.

    Raises UsageError unless 0 <= successes <= total.
    """
    if not 0 <= successes <= total:
        raise UsageError(
            f"A proportion needs 0 <= successes <= total, but got {successes} of {total}."
        )
    if total == 0:
        return Interval(nan, nan, nan, LEVEL, 0, "none")
    from scipy.stats import binomtest

    ends = binomtest(successes, total).proportion_ci(LEVEL, method=method)
    return Interval(successes / total, float(ends.low), float(ends.high), LEVEL, total, method)


def percentile_ends(draws: NDArray[np.float64]) -> tuple[float, float]:
    """The ends between which 95 % of the draws lie; NaN when most draws are NaN."""
    kept = draws[~np.isnan(draws)]
    if kept.size * 2 < draws.size:
        return nan, nan
    tail = 50.0 * (1.0 - LEVEL)
    # Without interpolation, because a draw may be infinite.
    low, high = np.percentile(kept, [tail, 100.0 - tail], method="inverted_cdf")
    return float(low), float(high)


def units_of(size: int, groups: Sequence[Any] | None) -> list[NDArray[np.int64]]:
    """The rows of each unit that is drawn: every sample, or every group."""
    if groups is None:
        return [np.array([index]) for index in range(size)]
    if len(groups) != size:
        raise UsageError(f"There are {len(groups)} groups for {size} samples: give one per sample.")
    members: dict[Any, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return [np.array(rows) for rows in members.values()]


def bootstrap_weighted(
    values: ArrayLike,
    statistic: WeightedStatistic,
    *,
    groups: Sequence[Any] | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of a weighted statistic of the values (N,).

    Draws for which the statistic is NaN (one class missing, say) are left out; if most are, the
    ends are NaN. Raises UsageError for groups that do not match the values.
    """
    return bootstrapped(values, statistic, groups=groups, repeats=repeats, seed=seed)[0]


def bootstrapped(
    values: ArrayLike,
    statistic: WeightedStatistic,
    *,
    groups: Sequence[Any] | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> tuple[Interval, Values]:
    """The interval of `bootstrap_weighted`, and the draws (repeats,) that it is of, if any."""
    known = np.asarray(values, dtype=np.float64).ravel()
    units = units_of(known.size, groups)
    value = float(statistic(known, np.ones((1, known.size), np.int64))[0]) if known.size else nan
    if len(units) < 2 or np.isnan(value):
        return Interval(value, nan, nan, LEVEL, len(units), "none"), np.zeros(0)
    draws = bootstrap_draws(known, statistic, groups=groups, repeats=repeats, seed=seed)
    low, high = percentile_ends(draws)
    method = "none" if isnan(low) else "bootstrap"
    return Interval(value, low, high, LEVEL, len(units), method), draws


def bootstrap_draws(
    values: ArrayLike,
    statistic: WeightedStatistic,
    *,
    groups: Sequence[Any] | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> Values:
    """The weighted statistic of the values (N,), one or more, in each draw (repeats,).

    The same seed, groups and number of values draw the same. Raises UsageError for groups that do
    not match the values.
    """
    known = np.asarray(values, dtype=np.float64).ravel()
    step = max(1, _CHUNK // known.size)
    if step >= repeats:  # all at once, for every metric of as many samples
        drawn = draw_weights(known.size, groups, repeats=repeats, seed=seed)
        return statistic(known, drawn)
    units, owner = _owners(known.size, groups)
    generator, draws = np.random.default_rng(seed), []
    for start in range(0, repeats, step):
        counts = _counts(generator, units, min(step, repeats - start))
        draws.append(statistic(known, counts[:, owner]))
    return np.concatenate(draws)


def draw_weights(
    size: int, groups: Sequence[Any] | None = None, *, repeats: int = 2000, seed: int = 0
) -> NDArray[np.int64]:
    """How often each of so many samples is drawn, (repeats, size); whole groups where given.

    Raises UsageError for groups that do not match.
    """
    units, owner = _owners(size, groups)
    return _drawn(units, repeats, seed)[:, owner]


def affordable_repeats(size: int) -> int:
    """Draws of so many samples: so many that the products of a large cohort still fit."""
    return int(np.clip(DRAWN // max(size, 1), FEWEST_DRAWS, MOST_DRAWS))


def _owners(size: int, groups: Sequence[Any] | None) -> tuple[int, NDArray[np.int64]]:
    """How many units are drawn, and which one each sample is of."""
    units = units_of(size, groups)
    owner = np.empty(size, dtype=np.int64)
    for place, rows in enumerate(units):
        owner[rows] = place
    return len(units), owner


@lru_cache(maxsize=2)
def _drawn(units: int, repeats: int, seed: int) -> NDArray[np.int64]:
    """How often each unit is drawn (repeats, units), which takes longer than most statistics."""
    return _counts(np.random.default_rng(seed), units, repeats)


def _counts(generator: np.random.Generator, units: int, repeats: int) -> NDArray[np.int64]:
    return generator.multinomial(units, np.full(units, 1.0 / units), size=repeats)


def mean_of(values: Values, weights: NDArray[np.int64]) -> Values:
    """The mean of each draw; NaN for all where a value is infinite, because there is no mean."""
    if not np.isfinite(values).all():
        return np.full(len(weights), np.nan)
    return np.asarray(weights @ values / weights.sum(axis=1))


def median_of(values: Values, weights: NDArray[np.int64]) -> Values:
    """The median of each draw, the mean of the two middle values when their number is even."""
    order = np.argsort(values)
    ranked = values[order]
    reached = 2 * np.cumsum(weights[:, order], axis=1)
    total = reached[:, -1:] // 2
    low = ranked[np.argmax(reached >= total, axis=1)]
    high = ranked[np.argmax(reached > total, axis=1)]
    return np.where(low == high, low, low / 2 + high / 2)
