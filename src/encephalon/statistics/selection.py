# SPDX-License-Identifier: Apache-2.0
"""The best of several that were scored on the same people: what it is worth, and which equal it.

The best of many is best by merit and by luck, so that its own score flatters it. Where people can
be drawn again, what it is worth is told by choosing again: the best of each draw counts with what
it scores on those who were not drawn (bootstrap bias corrected cross-validation, Tsamardinos et al.
2018, doi:10.1007/s10994-018-5714-4). Where only the errors of the scores are known, scores are
shrunk to their mean as far as errors may explain that they differ (empirical Bayes).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError
from encephalon.statistics.intervals import LEVEL, percentile_ends

__all__ = ["Selection", "choose_again", "noisy_draws", "select_best"]

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """The best of several.

    place      of the best
    score      as it was scored, which flatters it
    corrected  what may be expected of whichever is chosen in this way
    low, high  the interval of that
    equal      places that cannot be told from the best, the best among them: with the level of the
               intervals the truly best is one of them
    """

    place: int
    score: float
    corrected: float
    low: float
    high: float
    equal: tuple[int, ...]


def select_best(scores: ArrayLike, draws: ArrayLike, later: ArrayLike) -> Selection:
    """The best of scores (S,), larger is better, corrected for having been chosen.

    draws  (R, S): what they could have scored; what is common to all of a draw changes nothing
    later  (R,): what the one that is chosen would score where it was not chosen by: see
           `choose_again`

    One cannot be told from the best where its distance to none of the others, in units of the
    standard deviation of that over the draws, is more than the largest such distance is by chance
    (Gupta's subset selection, doi:10.1080/00401706.1965.10490251). A score that is NaN is left out.
    Raises UsageError where none is left.
    """
    known, made, worth = (np.asarray(each, np.float64) for each in (scores, draws, later))
    places = np.flatnonzero(np.isfinite(known) & np.isfinite(made).any(axis=0))
    if not places.size:
        raise UsageError("The best of several needs one score at least that is a number.")
    best = int(places[known[places].argmax()])
    complete = made[np.isfinite(made[:, places]).all(axis=1)][:, places]
    equal = tuple(int(places[k]) for k in _equal(known[places], complete))
    mean = float(np.nanmean(worth)) if np.isfinite(worth).any() else nan
    return Selection(best, float(known[best]), mean, *percentile_ends(worth), equal)


def choose_again(draws: ArrayLike, unseen: ArrayLike) -> Values:
    """What the best of each draw scores where it was not chosen by, (R,).

    draws   (R, S), scores of people who were drawn; one that is NaN is not chosen
    unseen  (R, S), of those who were not
    """
    made, held = np.asarray(draws, np.float64), np.asarray(unseen, np.float64)
    chosen = np.where(np.isfinite(made), made, -np.inf).argmax(axis=1)
    return np.asarray(held[np.arange(len(held)), chosen])


def noisy_draws(
    scores: ArrayLike, errors: ArrayLike, *, repeats: int = 2000, seed: int = 0
) -> tuple[Values, Values]:
    """`draws` (repeats, S) and `later` (repeats,) of `select_best`, where nobody can be drawn.

    errors  the standard error (S,) of each score (S,), none of them NaN; taken to be independent

    Draws are the scores with another error each. What the best will score is normal around it and
    the mean of all, as near to the latter as errors may explain that scores differ (James, Stein).
    """
    known, error = np.asarray(scores, np.float64), np.asarray(errors, np.float64)
    variance = float(np.var(known, ddof=1)) if known.size > 1 else 0.0
    best, mean, usual = int(known.argmax()), known.mean(), float(np.mean(error**2))
    true = max(variance - usual, 0.0)
    kept = true / max(true + error[best] ** 2, 1e-300)
    # The mean that it is shrunk to is not known for sure either.
    spread = np.sqrt(kept * error[best] ** 2 + (1 - kept) ** 2 * usual / known.size)
    rng = np.random.default_rng(seed)
    draws = known + error * rng.standard_normal((repeats, known.size))
    centre = mean + kept * (known[best] - mean)
    return draws, np.asarray(centre + spread * rng.standard_normal(repeats))


def _equal(scores: Values, draws: Values) -> list[int]:
    """Which cannot be told from the best."""
    if scores.size == 1 or len(draws) < 2:
        return [int(scores.argmax())]
    luck = draws - draws.mean(axis=0)
    common = luck.T @ luck / len(luck)
    own = np.diag(common)
    size = np.sqrt(np.maximum(own[:, None] + own - 2 * common, 0.0))
    found = []
    for k, score in enumerate(scores):
        apart, moves = scores - score, size[k] > 1e-9  # others may never differ by anything else
        if (apart[~moves] > 1e-9).any():
            continue
        largest = ((luck[:, moves] - luck[:, [k]]) / size[k, moves]).max(axis=1, initial=0.0)
        if (apart[moves] / size[k, moves]).max(initial=0.0) <= np.quantile(largest, LEVEL):
            found.append(k)
    return found
