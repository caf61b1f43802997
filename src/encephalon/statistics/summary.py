# SPDX-License-Identifier: Apache-2.0
"""What many scores say together: median, mean, spread, extremes and their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encephalon.statistics.intervals import (
    Interval,
    bootstrap_weighted,
    mean_of,
    median_of,
)

__all__ = ["Row", "Summary", "column", "summarise", "summarise_rows"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Summary:
    """Statistics of one metric over `n` samples.

    An infinite score (a distance to a mask that is empty) counts in the median and the extremes,
    so that a failure cannot improve them, and leaves the mean undefined. `missing` scores, NaN or
    absent, count in nothing but that number.
    """

    metric: str
    n: int
    missing: int
    median: float
    mean: float
    sd: float
    minimum: float
    maximum: float
    median_interval: Interval
    mean_interval: Interval


def summarise(values: ArrayLike, metric: str, *, groups: Sequence[Any] | None = None) -> Summary:
    """Summarise the scores (N,) of one metric; intervals draw whole `groups` when given.

    Raises UsageError for groups that do not match the values.
    """
    scores = np.asarray(values, dtype=np.float64).ravel()
    kept = ~np.isnan(scores)
    known = scores[kept]
    owners = None if groups is None else [groups[int(index)] for index in np.flatnonzero(kept)]
    median, mean = (bootstrap_weighted(known, each, groups=owners) for each in (median_of, mean_of))
    lowest, highest = (known.min(), known.max()) if known.size else (np.nan, np.nan)
    return Summary(
        metric=metric,
        n=int(known.size),
        missing=int(scores.size - known.size),
        median=median.value,
        mean=mean.value,
        sd=float(np.std(known, ddof=1)) if known.size > 1 and isfinite(mean.value) else np.nan,
        minimum=float(lowest),
        maximum=float(highest),
        median_interval=median,
        mean_interval=mean,
    )


def summarise_rows(
    rows: Sequence[Row], metrics: Iterable[str], *, group: str | None = None
) -> dict[str, Summary]:
    """Summarise several metrics of a result table; `group` names the column of the drawn unit."""
    groups = None if group is None else [row.get(group) for row in rows]
    return {metric: summarise(column(rows, metric), metric, groups=groups) for metric in metrics}


def column(rows: Sequence[Row], name: str) -> list[float]:
    """Return one column of a result table as numbers, NaN where it is absent or empty."""
    values = (row.get(name) for row in rows)
    return [float("nan") if value is None or value == "" else float(value) for value in values]
