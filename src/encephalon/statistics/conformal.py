# SPDX-License-Identifier: Apache-2.0
"""Answers that hold the truth as often as they promise: intervals of numbers and sets of classes.

Split conformal prediction (Vovk et al. 2005, doi:10.1007/b106715; Lei et al. 2018,
doi:10.1080/01621459.2017.1307116). Samples that the model did not learn from tell how large its
scores of error get; what a new sample may be is all that scores no more. Where both kinds of
samples are exchangeable, at least 1 - alpha of such answers hold the truth, whatever the model.
Several samples of one person are not: calibrate and test with one a person.

With subgroups each has its own threshold ("Mondrian"), and the promise holds in each. It costs
samples: a subgroup of fewer than 1 / alpha - 1 has no finite threshold, so its intervals are
infinite and its sets hold all classes. `Thresholds.too_few` names them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError
from encephalon.statistics.intervals import Interval, units_of
from encephalon.statistics.weighted_metric import share_interval

__all__ = [
    "EVERYONE",
    "SetMethod",
    "Thresholds",
    "class_scores",
    "conformal_quantile",
    "coverage",
    "interval_ends",
    "prediction_sets",
    "residual_scores",
    "thresholds",
]

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: The subgroup of all samples, where none are told apart.
EVERYONE = "all"
#: How much a class surprises, see `class_scores`.
SetMethod = Literal["adaptive", "least_ambiguous"]


@dataclass(frozen=True)
class Thresholds:
    """The score that at least 1 - alpha of the new samples of a subgroup do not exceed.

    alpha      share of answers that may miss the truth
    threshold  one a subgroup; infinite where it has too few samples
    samples    calibration samples of each subgroup
    """

    alpha: float
    threshold: Mapping[Hashable, float]
    samples: Mapping[Hashable, int]

    @property
    def too_few(self) -> tuple[Hashable, ...]:
        """The subgroups without a finite threshold."""
        return tuple(name for name, value in self.threshold.items() if value == inf)

    @property
    def fewest(self) -> int:
        """The samples that a subgroup needs for a finite threshold."""
        return ceil(1 / _exact(self.alpha)) - 1

    def of(self, size: int, subgroups: Sequence[Hashable] | None = None) -> Values:
        """The threshold of each sample (size,); infinite for a subgroup that was never seen.

        Raises UsageError for subgroups that do not match, or that the thresholds do not tell apart.
        """
        names = _names(size, subgroups)
        if (EVERYONE in self.threshold) != (subgroups is None):
            raise UsageError(
                "Thresholds and samples must be told apart by the same subgroups, but only one of "
                "the two has any: give `subgroups` to both or to neither."
            )
        return np.array([self.threshold.get(name, inf) for name in names], dtype=np.float64)


def conformal_quantile(scores: ArrayLike, alpha: float) -> float:
    """The score of rank ceil((n + 1)(1 - alpha)) among n scores (N,); infinite if beyond the last.

    Raises UsageError unless alpha lies between 0 and 1.
    """
    ranked = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    rank = ceil((ranked.size + 1) * (1 - _exact(alpha)))
    return float(ranked[rank - 1]) if rank <= ranked.size else inf


def thresholds(
    scores: ArrayLike, alpha: float = 0.1, subgroups: Sequence[Hashable] | None = None
) -> Thresholds:
    """Calibrate on the scores (N,) of samples that the model did not learn from.

    Raises UsageError for a score that is not finite, for subgroups that do not match the scores, or
    for an alpha that is not between 0 and 1.
    """
    known = _finite("score", scores)
    names = _names(known.size, subgroups)
    members = {names[rows[0]]: rows for rows in units_of(known.size, names)}
    if not members and subgroups is None:
        members = {EVERYONE: np.array([], dtype=np.int64)}
    return Thresholds(
        alpha,
        {name: conformal_quantile(known[rows], alpha) for name, rows in members.items()},
        {name: len(rows) for name, rows in members.items()},
    )


def residual_scores(
    truth: ArrayLike, predicted: ArrayLike, spread: ArrayLike | None = None
) -> Values:
    """Absolute residuals (N,) of predicted values (N,), in units of their `spread` (N,) if given.

    The spread is the model's own word on how sure it is, a standard deviation say; sure answers
    then have narrow intervals. Raises UsageError for different lengths, a value that is not finite
    and a spread that is not positive.
    """
    known, found = _finite("true value", truth), _finite("predicted value", predicted)
    if known.size != found.size:
        raise UsageError(
            f"There must be one predicted value for each true one, but there are {found.size} for "
            f"{known.size}."
        )
    return np.asarray(np.abs(known - found) / _spread(spread, known.size))


def interval_ends(
    predicted: ArrayLike,
    limits: Thresholds,
    spread: ArrayLike | None = None,
    subgroups: Sequence[Hashable] | None = None,
) -> tuple[Values, Values]:
    """The ends (N,) and (N,) of the intervals of predicted values (N,), both of which belong to it.

    `limits` are the thresholds of `residual_scores`, which must have had a `spread` where these
    have one. Raises UsageError for what `residual_scores` and `Thresholds.of` refuse.
    """
    found = _finite("predicted value", predicted)
    half = limits.of(found.size, subgroups) * _spread(spread, found.size)
    return found - half, found + half


def class_scores(
    probabilities: ArrayLike,
    method: SetMethod = "least_ambiguous",
    generator: np.random.Generator | None = None,
) -> Values:
    """How much each class would surprise (N, C), of probabilities (N, C).

    least_ambiguous  1 - probability: the smallest sets on average, empty ones among them
                     (Sadinle et al. 2019, doi:10.1080/01621459.2017.1395341)
    adaptive         probability of all classes down to this one, the likeliest first: large sets
                     where the model is unsure (Romano et al. 2020, arXiv:2006.02544)

    With a `generator` the class's own probability counts by a share drawn for each sample, without
    which adaptive sets are larger than need be; draw those of calibration and test from the same
    one. Thresholds are of the true class: `class_scores(p)[np.arange(n), truth]`.
    Raises UsageError for probabilities of another shape or outside 0 to 1.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim != 2 or not ((table >= 0) & (table <= 1)).all():
        raise UsageError(
            "Prediction sets need probabilities from 0 to 1, one row a sample and one column a "
            f"class, but those of shape {table.shape} are something else."
        )
    if method == "least_ambiguous":
        return 1.0 - table
    share = np.ones((len(table), 1)) if generator is None else generator.random((len(table), 1))
    order = np.argsort(-table, axis=1, kind="stable")
    ranked = np.take_along_axis(table, order, axis=1)
    reached = np.cumsum(ranked, axis=1) - (1.0 - share) * ranked
    scores = np.empty_like(table)
    np.put_along_axis(scores, order, reached, axis=1)
    return scores


def prediction_sets(
    scores: ArrayLike, limits: Thresholds, subgroups: Sequence[Hashable] | None = None
) -> Flags:
    """Which classes each sample may have (N, C), of the scores (N, C) of `class_scores`.

    `limits` are the thresholds of scores of the same method. Raises what `Thresholds.of` raises.
    """
    table = np.asarray(scores, dtype=np.float64)
    return np.asarray(table <= limits.of(len(table), subgroups)[:, None])


def coverage(
    held: ArrayLike,
    subgroups: Sequence[Hashable] | None = None,
    units: Sequence[Any] | None = None,
) -> dict[Hashable, Interval]:
    """The share of answers that held the truth (N,), of all and of each subgroup, with intervals.

    Independent samples have Wilson's interval, those of the same `units` (N,), people say, that of
    `share_interval`. Raises UsageError for subgroups or units that do not match the samples.
    """
    hits = np.asarray(held, dtype=bool)
    names = _names(hits.size, subgroups)
    parts = {EVERYONE: np.ones(hits.size, dtype=bool)}
    for rows in units_of(hits.size, names):
        parts[names[rows[0]]] = np.isin(np.arange(hits.size), rows)
    return {name: share_interval(hits, inside, units) for name, inside in parts.items()}


def _exact(alpha: float) -> Fraction:
    """The decimal number that was written: 10 · (1 - 0.7) is 3, and not a little more."""
    if not 0 < alpha < 1:
        raise UsageError(f"The share that may be missed lies between 0 and 1, but it is {alpha}.")
    return Fraction(str(float(alpha)))


def _names(size: int, subgroups: Sequence[Hashable] | None) -> list[Hashable]:
    names = list[Hashable]([EVERYONE] * size if subgroups is None else subgroups)
    if len(names) != size:
        raise UsageError(f"There are {len(names)} subgroups for {size} samples: give one each.")
    if subgroups is not None and EVERYONE in names:
        raise UsageError(f"A subgroup is called {EVERYONE!r}, which is the word for all samples.")
    return names


def _finite(what: str, values: ArrayLike) -> Values:
    known = np.asarray(values, dtype=np.float64)
    if known.ndim != 1:
        raise UsageError(f"There must be one {what} a sample, but the shape is {known.shape}.")
    broken = np.flatnonzero(~np.isfinite(known))
    if broken.size:
        raise UsageError(
            f"The {what} of sample {broken[0]}, counted from 0, is {known[broken[0]]} and not a "
            "finite number: leave such samples out."
        )
    return known


def _spread(spread: ArrayLike | None, size: int) -> Values:
    if spread is None:
        return np.ones(size)
    known = _finite("spread", spread)
    if known.size != size or (known <= 0).any():
        raise UsageError(
            f"There must be a spread above 0 for each of the {size} samples, but there are "
            f"{known.size}, the smallest {known.min(initial=inf):.3g}."
        )
    return known
