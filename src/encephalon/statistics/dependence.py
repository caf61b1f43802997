# SPDX-License-Identifier: Apache-2.0
"""How far two columns of people depend on each other: correlation, mutual information, and MIC.

Every pair is measured in the people who have both. Columns are numbers whose order means something;
one of two values is fine. The maximal information coefficient is the estimator MIC_e of Reshef et
al. 2016 ("Measuring dependence powerfully and equitably", JMLR 17), which the authors of MIC (2011,
doi:10.1126/science.1205438) put in the place of their first one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, isnan, log, nan
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError, require_extra
from encephalon.statistics.intervals import (
    LEVEL,
    Interval,
    affordable_repeats,
    bootstrap_draws,
    percentile_ends,
)

__all__ = [
    "FEWEST",
    "Dependence",
    "dependences",
    "maximal_information_coefficient",
    "mutual_information",
]

Values = NDArray[np.float64]
Labels = NDArray[np.int64]
Estimator = Literal["mic_e", "mic_approx"]

#: People below which nothing is said of a pair (ours).
FEWEST = 10
#: Different values up to which a column is taken for categories by mutual information (ours).
FEW_VALUES = 12
#: B(n) = n^0.6 bounds the cells of a grid; an axis is cut at the best of so many times as many
#: places as it gets parts (Reshef 2011, 2016). Here they are a multiple of 12, so that halves,
#: thirds and quarters are among them.
EXPONENT, CLUMPS = 0.6, {"mic_e": 5, "mic_approx": 15}


@dataclass(frozen=True)
class Dependence:
    """What two columns have to do with each other, in the `n` people who have both.

    correlation         of Pearson, signed, with its bootstrap interval; of two columns of two
                        values it is phi
    mutual_information  nats
    mic                 0 to 1; independent columns come near 0 only with many people

    All are NaN for fewer than FEWEST people, or where one column is the same for all of them.
    """

    n: int
    correlation: Interval
    mutual_information: float
    mic: float


def dependences(
    columns: Mapping[str, ArrayLike],
    *,
    groups: Sequence[Any] | None = None,
    repeats: int | None = None,
    seed: int = 0,
) -> dict[tuple[str, str], Dependence]:
    """The dependence of every two columns, by their names in the order given.

    columns  numbers of the same people, (N,) each, NaN where unknown
    groups   who is drawn together by the bootstrap, (N,): families
    repeats  draws of the bootstrap; fewer of many people if None

    Raises UsageError for columns of different lengths.
    """
    names = list(columns)
    values = [np.asarray(columns[name], np.float64).ravel() for name in names]
    if len({len(one) for one in values}) > 1:
        lengths = ", ".join(
            f"{name!r}: {len(one)}" for name, one in zip(names, values, strict=True)
        )
        raise UsageError(f"Columns of the same people have one length, but these have {lengths}.")
    pairs = list(combinations(range(len(names)), 2))
    if not pairs:
        return {}
    repeats = repeats or affordable_repeats(len(values[0]))
    correlations = _correlations(np.stack(values, axis=1), groups, repeats, seed)
    found = {}
    for (first, second), correlation in zip(pairs, correlations, strict=True):
        both = np.isfinite(values[first]) & np.isfinite(values[second])
        pair = values[first][both], values[second][both]
        found[names[first], names[second]] = Dependence(
            len(pair[0]),
            correlation,
            mutual_information(*pair, seed=seed),
            maximal_information_coefficient(*pair),
        )
    return found


def _correlations(
    columns: Values, groups: Sequence[Any] | None, repeats: int, seed: int
) -> list[Interval]:
    """Of every two columns of (N, T), in order, with all draws at once."""
    known = np.isfinite(columns)
    # Centred, because sums of squares of numbers far from 0 cancel.
    middle = np.where(known, columns, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, columns - middle, 0.0)

    def statistic(_: Values, weights: NDArray[np.int64]) -> Values:
        drawn, found = weights.astype(np.float64), []
        for one in range(columns.shape[1] - 1):
            both = known[:, [one]] & known[:, one + 1 :]
            found.append(_correlation(drawn, both, centred[:, [one]], centred[:, one + 1 :]))
        return np.concatenate(found, axis=1)

    people = np.arange(len(columns), dtype=np.float64)
    values = statistic(people, np.ones((1, len(people)), np.int64))[0]
    draws = bootstrap_draws(people, statistic, groups=groups, repeats=repeats, seed=seed)
    intervals = []
    for r, drawn in zip(values.tolist(), draws.T, strict=True):
        ends = (nan, nan) if isnan(r) else percentile_ends(drawn)
        method = "none" if isnan(ends[0]) else "bootstrap"
        units = len(people) if groups is None else len(set(groups))
        intervals.append(Interval(r, *ends, LEVEL, units, method))
    return intervals


def _correlation(weights: Values, both: NDArray[np.bool_], first: Values, others: Values) -> Values:
    """Of a column (N, 1) with others (N, T) where both are known, one a row of weights (R, N)."""
    x, y = first * both, others * both
    terms = np.hstack([both, x, y, x * x, y * y, x * y])
    n, x, y, xx, yy, xy = np.split(weights @ terms, 6, axis=1)
    few, n = n < FEWEST, np.maximum(n, 1.0)
    spread = np.maximum(xx - x * x / n, 0.0) * np.maximum(yy - y * y / n, 0.0)
    unknown = few | (spread <= 1e-20 * xx * yy)  # one of them is the same for all but for rounding
    r: Values = np.where(unknown, nan, (xy - x * y / n) / np.sqrt(np.where(unknown, 1.0, spread)))
    return r


def mutual_information(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> float:
    """The mutual information of two columns (N,) of known numbers, nats.

    It is counted where both have few values, and estimated from nearest neighbours otherwise
    (Kraskov 2004, Ross 2014), as scikit-learn does. NaN as for a Dependence.
    """
    one, two = (np.asarray(column, np.float64) for column in (first, second))
    if not _tells(one, two):
        return nan
    require_extra("sklearn", "grid", "Mutual information")
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    # The one with fewer values is the target: of categories, if either is.
    target, feature = sorted((one, two), key=lambda column: len(np.unique(column)))
    few, also_few = (len(np.unique(column)) <= FEW_VALUES for column in (target, feature))
    measure, told = mutual_info_regression, target
    if few:
        measure, told = mutual_info_classif, np.unique(target, return_inverse=True)[1]
    found = measure(feature[:, None], told, discrete_features=also_few, random_state=seed)
    return float(found[0])


def maximal_information_coefficient(
    first: ArrayLike, second: ArrayLike, estimator: Estimator = "mic_e"
) -> float:
    """The MIC of two columns (N,) of known numbers, 0 to 1; NaN as for a Dependence.

    The largest mutual information that a grid of at most N^0.6 cells shows, over the logarithm of
    its fewer parts. One axis has equally many people in each part, and the other is cut where it
    tells most, by dynamic programming.

    estimator  "mic_e" (2016) has the equal parts on the axis with more of them. "mic_approx" (2011)
               tries both: a noiseless function then has 1 even if it turns often, but so does
               chance have more, 0.1 among 2,000 people
    """
    one, two = (np.asarray(column, np.float64) for column in (first, second))
    if not _tells(one, two):
        return nan
    return max(_characteristic(one, two, estimator), _characteristic(two, one, estimator))


def _tells(first: Values, second: Values) -> bool:
    return len(first) >= FEWEST and bool(np.ptp(first) > 0 and np.ptp(second) > 0)


def _characteristic(cut: Values, even: Values, estimator: Estimator) -> float:
    """The largest entry of the characteristic matrix with `even` in equal parts."""
    order = np.argsort(cut, kind="stable")
    # A cut between equal values is none: the nearest places around each at which there is one.
    apart = np.flatnonzero(np.diff(cut[order], prepend=-np.inf, append=np.inf))
    place = np.arange(len(cut) + 1)
    near = apart[
        np.stack([np.searchsorted(apart, place, "right") - 1, np.searchsorted(apart, place)])
    ]
    shares = np.unique(even, return_inverse=True, return_counts=True)
    ends = np.cumsum(shares[2]).tolist()
    most = max(int(len(cut) ** EXPONENT), 4)
    best = 0.0
    for parts in range(2, min(most // 2, len(ends)) + 1):
        widest = min(most // parts, parts if estimator == "mic_e" else most)
        told = _equal_parts(ends, parts)[shares[1]][order]
        cuts = _clumps(told, near, 12 * ceil(CLUMPS[estimator] * widest / 12))
        found = _informations(told, cuts, parts, widest)
        best = max(best, *(found / np.log(np.minimum(np.arange(2, widest + 1), parts))))
    return min(float(best), 1.0)


def _equal_parts(ends: Sequence[int], parts: int) -> Labels:
    """The part of each value, from how many people have it or a smaller one.

    Equal values are never parted, so each part aims at its share of those who are left.
    """
    starts, people = [0], 0
    for left in range(parts, 1, -1):
        last = len(ends) - left  # a value at least is left to each of the others
        aim = people + (ends[-1] - people) / left
        place = min(bisect_left(ends, aim, starts[-1]), last)
        if place > starts[-1] and aim - ends[place - 1] <= ends[place] - aim:
            place -= 1
        starts.append(place + 1)
        people = ends[place]
    return np.repeat(np.arange(parts), np.diff([*starts, len(ends)]))


def _clumps(told: Labels, near: Labels, most: int) -> Labels:
    """Where the cut axis may be cut: (C + 1,), from 0 to N, at most `most` clumps.

    People in a row who are in one part of the other axis are never cut apart: it would tell less.
    """
    allowed = np.zeros(len(told) + 1, dtype=bool)
    allowed[near[:, 1:-1][:, np.diff(told) != 0]] = True
    allowed[[0, -1]] = True
    cuts = np.flatnonzero(allowed)
    if len(cuts) - 1 > most:
        cuts = cuts[np.unique(np.searchsorted(cuts, np.arange(most + 1) * len(told) / most))]
    return cuts


def _informations(told: Labels, cuts: Labels, parts: int, widest: int) -> Values:
    """The most that 2, 3 .. `widest` columns between the cuts tell of the parts, nats."""
    people = len(told)
    numbers = np.arange(people + 1)
    logs = numbers * np.log(np.maximum(numbers, 1))
    clump = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
    counts = np.bincount(clump * parts + told, minlength=(len(cuts) - 1) * parts)
    until = np.zeros((len(cuts), parts), np.int64)
    until[1:] = counts.reshape(-1, parts).cumsum(axis=0)
    inside = logs[until[None] - until[:, None]].sum(axis=2) - logs[cuts[None] - cuts[:, None]]
    inside[np.tri(len(cuts), dtype=bool)] = -np.inf  # a column ends after its start
    parted = log(people) - float(logs[until[-1]].sum()) / people
    reached, found = inside[0], []
    for _ in range(2, widest + 1):
        reached = (reached[:, None] + inside).max(axis=0)
        found.append(max(reached[-1], inside[0, -1]))
    told_most: Values = parted + np.array(found) / people
    return told_most
