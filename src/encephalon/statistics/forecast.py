# SPDX-License-Identifier: Apache-2.0
"""How long many tasks will take, by what others took that had the same traits.

Each trait makes a task longer or shorter by a factor, whatever the other traits are. A value that
was never seen is taken for the usual; a trait that all had whose times are known, and none has
whose are wanted, may be anything, and is left to luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError
from encephalon.statistics.intervals import percentile_ends

__all__ = ["Forecast", "forecast_total"]

Values = NDArray[np.float64]
#: Weight of the belief that a trait changes nothing, in tasks that were seen (our choice).
BELIEF = 0.5


@dataclass(frozen=True)
class Forecast:
    """What `tasks` will take together, with the interval of that; `measured` others are known.

    The ends are NaN where none was drawn.
    """

    tasks: int
    measured: int
    total: float
    low: float
    high: float


def forecast_total(
    traits: Sequence[Mapping[str, Any]],
    took: ArrayLike,
    wanted: Sequence[Mapping[str, Any]],
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> Forecast:
    """What tasks with the traits `wanted` will take, by tasks with `traits` that took so long (N,).

    By ridge regression of the logarithm; the interval draws what was measured again, and for each
    task how far one may be from what its traits say; without `repeats` there is none. Raises
    UsageError where nothing was measured, or something took no time at all.
    """
    known = np.asarray(took, np.float64)
    if not known.size or not (np.isfinite(known).all() and (known > 0).all()):
        raise UsageError(
            "A forecast needs tasks that were measured, each of which took some time, but got "
            f"{known.size}, the shortest of {known.min(initial=np.inf):g}."
        )
    unknown = set(traits[0]).intersection(*traits) - set().union(*wanted)
    pairs = ((name, str(value)) for one in traits for name, value in one.items())
    levels = sorted({pair for pair in pairs if pair[0] not in unknown})
    seen, new = _indicators(traits, levels), _indicators(wanted, levels)
    rng, logs = np.random.default_rng(seed), np.log(known)
    rest = logs - _fitted(seen, logs, seen)
    # What was fitted varies less than what is new.
    rest *= np.sqrt(len(known) / max(len(known) - np.linalg.matrix_rank(seen), 1))
    total = np.exp(_fitted(seen, logs, new)).sum() * np.exp(rest).mean()
    totals = np.empty(repeats)
    for draw in range(repeats):
        rows = rng.integers(len(known), size=len(known))
        expected = _fitted(seen[rows], logs[rows], new)
        totals[draw] = np.exp(expected + rng.choice(rest, size=len(new))).sum()
    ends = percentile_ends(totals) if repeats else (nan, nan)
    return Forecast(len(new), len(known), float(total), *ends)


def _indicators(traits: Sequence[Mapping[str, Any]], levels: Sequence[tuple[str, str]]) -> Values:
    """Which levels each task has, (N, L), behind a column of ones."""
    rows = [[1.0, *(str(one.get(name)) == value for name, value in levels)] for one in traits]
    return np.array(rows, np.float64).reshape(len(traits), len(levels) + 1)


def _fitted(seen: Values, logs: Values, new: Values) -> Values:
    """What ridge regression says of new rows; the intercept is not shrunk."""
    penalty = np.eye(seen.shape[1]) * BELIEF
    penalty[0, 0] = 0
    weights = np.linalg.solve(seen.T @ seen + penalty, seen.T @ logs)
    return np.asarray(new @ weights)
