# SPDX-License-Identifier: Apache-2.0
"""Paired comparison of two systems on the same samples.

The differences are first averaged within each group (person, animal, volume), because samples of
one group are not independent; the groups are then the pairs that tests and intervals see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError
from encephalon.statistics.intervals import (
    Interval,
    bootstrap_weighted,
    mean_of,
    median_of,
    units_of,
)

__all__ = ["Comparison", "compare_correct", "compare_paired", "false_discovery", "holm"]


@dataclass(frozen=True)
class Comparison:
    """First minus second, over independent pairs.

    `p_value` is two-sided: Wilcoxon's signed rank test for scores, McNemar's exact test for right
    and wrong answers. It is 1 when nothing differs.
    """

    mean_difference: Interval
    median_difference: Interval
    first_better: int
    second_better: int
    ties: int
    p_value: float
    test: str


def compare_paired(
    first: ArrayLike, second: ArrayLike, *, groups: Sequence[Any] | None = None
) -> Comparison:
    """Compare two scores (N,) of the same samples by Wilcoxon's test and bootstrap intervals.

    Larger is better. Raises UsageError for different lengths, scores that are not finite, or no
    sample at all.
    """
    from scipy.stats import wilcoxon

    found = _differences(first, second)
    differences = np.array([found[rows].mean() for rows in units_of(found.size, groups)])
    p_value = float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0
    return _compared(differences, p_value, "Wilcoxon signed rank")


def compare_correct(first: ArrayLike, second: ArrayLike) -> Comparison:
    """Compare right and wrong answers (N,) to the same independent samples by McNemar's exact test.

    The differences are those of the two accuracies.
    Raises UsageError for different lengths or no sample at all.
    """
    from scipy.stats import binomtest

    differences = _differences(first, second)
    wins, unlike = int((differences > 0).sum()), int(np.count_nonzero(differences))
    p_value = float(binomtest(wins, unlike, 0.5).pvalue) if unlike else 1.0
    return _compared(differences, p_value, "McNemar exact")


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for testing several things at once, by Holm's step-down rule, in order.

    Those that are NaN stay so, and do not count.
    """
    corrected, running = [float("nan")] * len(p_values), 0.0
    known = [place for place, value in enumerate(p_values) if not isnan(value)]
    for rank, index in enumerate(sorted(known, key=lambda place: p_values[place])):
        running = max(running, (len(known) - rank) * p_values[index])
        corrected[index] = min(1.0, running)
    return corrected


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """Correct p values by the rule of Benjamini and Hochberg, in order.

    Of all that are then below 0.05, no more than 5 % are expected to be false, which is less than
    Holm's rule asks for. Those that are NaN stay so, and do not count.
    """
    from scipy.stats import false_discovery_control

    values = np.array(p_values, dtype=np.float64)
    known = np.isfinite(values)
    values[known] = false_discovery_control(values[known]) if known.any() else []
    return [float(value) for value in values]


def _compared(differences: NDArray[np.float64], p_value: float, test: str) -> Comparison:
    mean, median = (bootstrap_weighted(differences, each) for each in (mean_of, median_of))
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return Comparison(mean, median, wins, losses, differences.size - wins - losses, p_value, test)


def _differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 1 or not one.size:
        raise UsageError(
            "A paired comparison needs two scores for each sample, "
            f"but got lists of the shapes {one.shape} and {two.shape}."
        )
    if not bool(np.isfinite(one).all() and np.isfinite(two).all()):
        raise UsageError(
            "A paired comparison needs finite scores: leave out or fill in the others first."
        )
    return one - two
