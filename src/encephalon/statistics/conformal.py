# SPDX-License-Identifier: Apache-2.0
"""Answers that hold the truth as often as they promise: intervals of numbers and sets of classes.

Split conformal prediction (Vovk et al. 2005, doi:10.1007/b106715; Lei et al. 2018,
doi:10.1080/01621459.2017.1307116). Samples that the model did not learn from tell how large its
errors get; what a new sample may be is all that errs no more: |truth - prediction| of numbers, and
1 - probability of classes, which makes the smallest sets on average (Sadinle et al. 2019,
doi:10.1080/01621459.2017.1395341). Where both kinds of samples are exchangeable, at least 1 - alpha
of such answers hold the truth, whatever the model. Several samples of one person are not: calibrate
and test with one a person.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from fractions import Fraction
from math import ceil, inf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encephalon.errors import UsageError
from encephalon.statistics.intervals import Interval, units_of
from encephalon.statistics.weighted_metric import share_interval

__all__ = ["EVERYONE", "conformal_quantile", "coverage", "thresholds"]

#: The subgroup of all samples, where none are told apart.
EVERYONE = "all"
#: A subgroup has a threshold of its own with as many samples, times 1 / alpha: with fewer it would
#: be one of their largest errors (ours).
FEWEST = 5


def conformal_quantile(scores: ArrayLike, alpha: float) -> float:
    """The score of rank ceil((n + 1)(1 - alpha)) among n scores (N,); infinite if beyond the last.

    Raises UsageError unless alpha lies between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"The share that may be missed lies between 0 and 1, but it is {alpha}.")
    ranked = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    # The decimal number that was written: 10 * (1 - 0.7) is 3, and not a little more.
    rank = ceil((ranked.size + 1) * (1 - Fraction(str(float(alpha)))))
    return float(ranked[rank - 1]) if rank <= ranked.size else inf


def thresholds(
    scores: ArrayLike, alpha: float = 0.1, subgroups: Sequence[str] | None = None
) -> dict[str, float]:
    """The error that at least 1 - alpha of new samples do not exceed, by those (N,) of others.

    Of EVERYONE, and of each of the subgroups (N,) that is large enough; "" is none. The promise
    holds in each of these by itself ("Mondrian"). Raises UsageError for a score that is not finite.
    """
    known = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(known).all():
        raise UsageError("The error of a sample is not a finite number: leave such samples out.")
    found = {EVERYONE: conformal_quantile(known, alpha)}
    for rows in units_of(known.size, subgroups) if subgroups is not None else ():
        name = subgroups[rows[0]] if subgroups is not None else ""
        if name and len(rows) * alpha >= FEWEST:
            found[name] = conformal_quantile(known[rows], alpha)
    return found


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
    names = list[Hashable]([EVERYONE] * hits.size if subgroups is None else subgroups)
    if len(names) != hits.size:
        raise UsageError(
            f"There are {len(names)} subgroups for {hits.size} samples: give one each."
        )
    parts = {EVERYONE: np.ones(hits.size, dtype=bool)}
    for rows in units_of(hits.size, names):
        parts[names[rows[0]]] = np.isin(np.arange(hits.size), rows)
    return {name: share_interval(hits, inside, units) for name, inside in parts.items()}
