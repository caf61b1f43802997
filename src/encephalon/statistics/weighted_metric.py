# SPDX-License-Identifier: Apache-2.0
"""A metric that can be had for any weights of its samples, and so for its interval.

How often the bootstrap drew each sample is its weight, so a metric that understands weights is
worked out for thousands of draws in a few products of matrices, and nothing is sorted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import erfc, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.statistics.intervals import (
    Interval,
    bootstrapped,
    proportion,
    units_of,
)

__all__ = [
    "WeightedMetric",
    "average_precision_metric",
    "macro",
    "mean_metric",
    "paired_difference",
    "pearson_metric",
    "r2_metric",
    "ratio",
    "risk_area_metric",
    "roc_auc_metric",
    "roc_curve",
    "share_interval",
    "share_metric",
]

Values = NDArray[np.float64]


@dataclass(frozen=True)
class WeightedMetric:
    """A metric of `size` samples: `weigh` maps weights (R, N) to the metric of each draw (R,).

    A draw for which the metric is not defined (one class missing, say) gives NaN.
    """

    size: int
    weigh: Callable[[Values], Values]

    @property
    def value(self) -> float:
        """The metric of the samples as they are, NaN where it is not defined."""
        return float(self.weigh(np.ones((1, self.size)))[0]) if self.size else float("nan")

    def interval(
        self,
        groups: Sequence[Any] | None = None,
        *,
        repeats: int = 2000,
        seed: int = 0,
    ) -> Interval:
        """The metric with its percentile bootstrap interval; whole `groups` are drawn when given.

        Where all draws agree there is no interval: a perfect area under a curve is perfect in every
        draw, which says nothing of how sure it is.
        Raises UsageError for groups that do not match the samples.
        """
        return self._bootstrapped(groups, repeats, seed)[0]

    def _bootstrapped(
        self, groups: Sequence[Any] | None, repeats: int, seed: int
    ) -> tuple[Interval, Values]:
        found, draws = bootstrapped(
            np.arange(self.size),
            lambda _, counts: self.weigh(counts.astype(np.float64)),
            groups=groups,
            repeats=repeats,
            seed=seed,
        )
        if found.low == found.high:
            found = replace(found, low=nan, high=nan, method="none")
        return found, draws


def paired_difference(
    first: WeightedMetric,
    second: WeightedMetric,
    groups: Sequence[Any] | None = None,
    *,
    repeats: int = 2000,
    seed: int = 0,
) -> tuple[Interval, float]:
    """First minus second on the same samples, and how surprising it were if there was none.

    The p value is two-sided, of the difference in units of the standard deviation of the same draws
    that the interval is of; counting draws could never be small enough for hundreds of comparisons.
    It is 1 where nothing differs, and NaN where there is no interval otherwise.
    Raises UsageError for groups that do not match the samples.
    """
    both = WeightedMetric(first.size, lambda w: first.weigh(w) - second.weigh(w))
    found, draws = both._bootstrapped(groups, repeats, seed)
    if found.method == "none":
        return found, 1.0 if found.value == 0 else nan
    return found, erfc(abs(found.value) / (float(np.nanstd(draws)) * sqrt(2.0)))


def mean_metric(values: ArrayLike) -> WeightedMetric:
    """The mean of the values (N,)."""
    known = np.asarray(values, dtype=np.float64)
    return WeightedMetric(known.size, lambda weights: ratio(weights @ known, weights.sum(axis=1)))


def share_metric(hits: ArrayLike, among: ArrayLike) -> WeightedMetric:
    """The share of hits (N,) in those samples that count, `among` (N,)."""
    counted = np.asarray(among, dtype=bool)
    both = np.stack([np.asarray(hits, dtype=bool) & counted, counted], axis=1).astype(np.float64)
    return WeightedMetric(len(both), lambda weights: ratio(*(weights @ both).T))


def share_interval(
    hits: ArrayLike,
    among: ArrayLike,
    groups: Sequence[Any] | None = None,
    *,
    repeats: int = 2000,
    seed: int = 0,
) -> Interval:
    """The share of hits (N,) in the samples that count, `among` (N,), with its interval.

    Independent samples have Wilson's interval, grouped ones that of a bootstrap of the groups that
    count. Where all or none hit, the bootstrap would pretend to be certain: then it is Wilson's,
    with whole groups as trials. Raises UsageError for groups that do not match the samples.
    """
    every = np.asarray(hits, dtype=bool)
    units_of(every.size, groups)
    counted = np.flatnonzero(np.asarray(among, dtype=bool))
    hit = every[counted]
    owners = None if groups is None else [groups[int(place)] for place in counted]
    if owners is None or hit.all() or not hit.any():
        units = len(units_of(hit.size, owners))
        return proportion(round(units * float(hit.mean())) if units else 0, units)
    return mean_metric(hit).interval(owners, repeats=repeats, seed=seed)


def roc_auc_metric(positive: ArrayLike, scores: ArrayLike) -> WeightedMetric:
    """The area under the receiver operating characteristic; ties of the scores (N,) count half."""
    ranked = _Ranked.of(positive, scores)

    def weigh(weights: Values) -> Values:
        hits, misses = ranked.reached(weights)
        steps = np.diff(misses, axis=1, prepend=0.0)
        heights = hits - np.diff(hits, axis=1, prepend=0.0) / 2
        return ratio((steps * heights).sum(axis=1), hits[:, -1] * misses[:, -1])

    return WeightedMetric(ranked.size, weigh)


def roc_curve(positive: ArrayLike, scores: ArrayLike, points: int = 200) -> tuple[Values, Values]:
    """False and true positive rates (P,) as the threshold falls, from 0 to 1, at the end of ties.

    points  how many there are at the most
    """
    ranked = _Ranked.of(positive, scores)
    counts = [each[0] for each in ranked.reached(np.ones((1, ranked.size)))]
    kept = np.unique(np.linspace(0, ranked.ends.size - 1, points).astype(int))
    hits, misses = (np.append(0.0, each[kept] / each[-1]) for each in counts)
    return misses, hits


def average_precision_metric(positive: ArrayLike, scores: ArrayLike) -> WeightedMetric:
    """The area under the precision-recall steps (average precision); NaN without both classes."""
    ranked = _Ranked.of(positive, scores)

    def weigh(weights: Values) -> Values:
        hits, misses = ranked.reached(weights)
        gained = np.diff(hits, axis=1, prepend=0.0)
        precision = hits / np.maximum(hits + misses, 1.0)
        area = ratio((gained * precision).sum(axis=1), hits[:, -1])
        return np.where(misses[:, -1] > 0, area, np.nan)

    return WeightedMetric(ranked.size, weigh)


def risk_area_metric(correct: ArrayLike, confidence: ArrayLike) -> WeightedMetric:
    """The mean risk over all coverages: share of errors among the samples at least as confident."""
    ranked = _Ranked.of(correct, confidence)

    def weigh(weights: Values) -> Values:
        right, wrong = ranked.reached(weights)
        kept = right + wrong
        risk = wrong / np.maximum(kept, 1.0)
        return ratio((np.diff(kept, axis=1, prepend=0.0) * risk).sum(axis=1), kept[:, -1])

    return WeightedMetric(ranked.size, weigh)


def r2_metric(truth: ArrayLike, predicted: ArrayLike) -> WeightedMetric:
    """The coefficient of determination of predictions (N,); NaN for answers that are all alike."""
    known = np.asarray(truth, dtype=np.float64)
    error, known = (known - np.asarray(predicted)) ** 2, _centred(known)
    return WeightedMetric(
        known.size,
        lambda weights: (
            1.0 - ratio(weights @ error, weights.sum(axis=1) * _variance(weights, known))
        ),
    )


def pearson_metric(first: ArrayLike, second: ArrayLike) -> WeightedMetric:
    """Pearson's correlation of values (N,) and (N,); NaN where one of them is constant."""
    one, two = (_centred(np.asarray(each, dtype=np.float64)) for each in (first, second))

    def weigh(weights: Values) -> Values:
        total = np.maximum(weights.sum(axis=1), 1e-12)
        shared = weights @ (one * two) / total - (weights @ one / total) * (weights @ two / total)
        spread = np.sqrt(_variance(weights, one)) * np.sqrt(_variance(weights, two))
        return np.clip(ratio(shared, spread), -1.0, 1.0)

    return WeightedMetric(one.size, weigh)


def macro(metrics: Sequence[WeightedMetric]) -> WeightedMetric:
    """The plain mean of several metrics of the same samples; NaN in a draw where one is."""
    size = metrics[0].size if metrics else 0
    return WeightedMetric(
        size, lambda weights: np.mean([each.weigh(weights) for each in metrics], axis=0)
    )


def ratio(above: Values, below: Values) -> Values:
    """Quotients (R,), NaN where the lower number is not positive."""
    quotients = np.full(len(above), np.nan)
    np.divide(above, below, out=quotients, where=below > 0)
    return quotients


def _centred(known: Values) -> Values:
    """Values less their median, without which large ones would lose their digits in the squares.

    The median of equal values is their own, so they become exactly 0; their mean may be rounded.
    """
    return known - np.median(known) if known.size else known


def _variance(weights: Values, known: Values) -> Values:
    """Variances (R,) of values (N,); what rounding leaves of a draw of equal values counts as 0."""
    total = np.maximum(weights.sum(axis=1), 1e-12)
    square = weights @ known**2 / total
    spread = square - (weights @ known / total) ** 2
    return np.where(spread > 1e-12 * square, spread, 0.0)


@dataclass(frozen=True)
class _Ranked:
    """Samples by falling score, and the last place of every distinct score."""

    order: NDArray[np.int64]
    ends: NDArray[np.int64]
    positive: Values

    @staticmethod
    def of(positive: ArrayLike, scores: ArrayLike) -> _Ranked:
        known = np.asarray(scores, dtype=np.float64)
        order = np.argsort(-known, kind="stable")
        ranked = known[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: known.size])
        return _Ranked(order, ends, np.asarray(positive, dtype=np.float64)[order])

    @property
    def size(self) -> int:
        return self.order.size

    def reached(self, weights: Values) -> tuple[Values, Values]:
        """Positive and other weight (R, T) at or above each of the T distinct scores."""
        ranked = weights[:, self.order]
        total = np.cumsum(ranked, axis=1)[:, self.ends]
        hits = np.cumsum(ranked * self.positive, axis=1)[:, self.ends]
        return hits, total - hits
