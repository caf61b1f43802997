# SPDX-License-Identifier: Apache-2.0
"""What many scores say together, of all samples and of parts of them: subgroups and units.

A summary is median, mean, spread, extremes and their intervals. Subgroups are a result table cut by
sex, contrast, site or age, each with its size. A level of aggregation has one prediction for a
vessel, an animal, a person, which samples were taken from, instead of one for each image.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite, isnan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import TableError, UsageError
from encephalon.statistics.intervals import Interval, bootstrap_weighted, mean_of, median_of

__all__ = [
    "UNKNOWN",
    "Aggregated",
    "GroupedSummary",
    "Row",
    "Subgroup",
    "SubgroupSummary",
    "Summary",
    "aggregate",
    "column",
    "cut",
    "in_thirds",
    "subgroups",
    "summarise",
    "summarise_rows",
    "summarise_subgroup",
]

Row = Mapping[str, Any]
UNKNOWN = "unknown"
# A column of numbers with more different values than this is cut into thirds (our choice).
_MOST_VALUES = 8
# Less than any probability that single precision can tell from 0: one sample that is certain must
# not outvote all others.
_SMALLEST = 1e-7


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


@dataclass(frozen=True)
class Subgroup:
    """The rows of a result table whose `column` says `value`."""

    column: str
    value: str
    rows: tuple[Row, ...]

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.rows)

    def units(self, group: str) -> int:
        """Number of different animals, persons or volumes named by the column `group`."""
        return len({row.get(group) for row in self.rows})


def subgroups(rows: Sequence[Row], *columns: str) -> list[Subgroup]:
    """Cut a result table by one column, or by several together; values are sorted.

    A missing value makes the subgroup `unknown`, which comes last.
    Raises TableError when no row has a column of that name.
    """
    for name in columns:
        if not any(name in row for row in rows):
            known = ", ".join(sorted({key for row in rows for key in row})) or "none"
            raise TableError(f"There is no column {name!r} to stratify by; the table has: {known}.")
    parts: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = tuple(_text(row.get(name)) for name in columns)
        parts.setdefault(key, []).append(row)
    title = " × ".join(columns)

    def order(key: tuple[str, ...]) -> list[tuple[bool, float, str]]:
        return [(text == UNKNOWN, _leading_number(text), text) for text in key]

    return [Subgroup(title, " × ".join(key), tuple(parts[key])) for key in sorted(parts, key=order)]


@dataclass(frozen=True)
class SubgroupSummary:
    """The metrics of the `n` samples, of `units` groups, whose `column` says `value`."""

    column: str
    value: str
    n: int
    units: int
    metrics: dict[str, Summary]


@dataclass(frozen=True)
class GroupedSummary:
    """The statistics of each metric, over all samples that were scored and in each subgroup."""

    overall: dict[str, Summary]
    subgroups: list[SubgroupSummary]


def summarise_subgroup(
    part: Subgroup, metrics: Iterable[str], group: str | None = None
) -> SubgroupSummary:
    """Summarise several metrics of a subgroup; `group` names the column of the drawn unit."""
    units = part.units(group) if group else part.n
    summary = summarise_rows(part.rows, metrics, group=group)
    return SubgroupSummary(part.column, part.value, part.n, units, summary)


def cut(rows: Sequence[Row], column: str, edges: Sequence[float], name: str) -> list[Row]:
    """Return copies of the rows with a column `name` that says between which edges a number lies.

    Parts hold their lower edge and not their upper one: edges 18 and 65 give `< 18`, `18 to 65`
    and `>= 65`. Raises UsageError unless the edges grow and are not empty.
    """
    if not edges or any(low >= high for low, high in pairwise(edges)):
        raise UsageError(
            f"The edges of subgroups must be growing numbers, but they are {list(edges)}."
        )
    return [{**row, name: _part(row.get(column), edges)} for row in rows]


def in_thirds(rows: Sequence[Row], name: str) -> Sequence[Row]:
    """The rows, with a column of many different numbers cut into thirds."""
    cells = [row.get(name) for row in rows]
    try:
        numbers = np.array([float(cell) for cell in cells if cell not in {None, "", UNKNOWN}])
    except ValueError:
        return rows
    numbers = numbers[np.isfinite(numbers)]
    if np.unique(numbers).size <= _MOST_VALUES:
        return rows
    edges = np.unique(np.quantile(numbers, [1 / 3, 2 / 3], method="higher"))
    return cut(rows, name, edges.tolist(), name)


def _part(value: Any, edges: Sequence[float]) -> str:
    if _text(value) == UNKNOWN:
        return UNKNOWN
    place = bisect_right(edges, float(value))
    if place == 0:
        return f"< {edges[0]:g}"
    if place == len(edges):
        return f">= {edges[-1]:g}"
    return f"{edges[place - 1]:g} to {edges[place]:g}"


def _text(value: Any) -> str:
    empty = value is None or value == "" or (isinstance(value, float) and isnan(value))
    return UNKNOWN if empty else str(value)


def _leading_number(text: str) -> float:
    if text.startswith("<"):
        return float("-inf")
    try:
        return float(text.removeprefix(">=").split(" to ")[0])
    except ValueError:
        return float("inf")


@dataclass(frozen=True)
class Aggregated:
    """Predictions of U units, in the order in which they first came.

    units          (U) names
    probabilities  (U, C)
    truth          (U,) class of each unit
    first          (U,) place of each unit's first sample
    """

    units: tuple[str, ...]
    probabilities: NDArray[np.float64] = field(repr=False)
    truth: NDArray[np.int64] = field(repr=False)
    first: NDArray[np.int64] = field(repr=False)


def aggregate(probabilities: ArrayLike, truth: ArrayLike, units: Sequence[str]) -> Aggregated:
    """Combine the probabilities (N, C) of each unit's samples by the mean of their logits.

    That is the geometric mean of the odds: the mean of log probabilities, normalised. `truth` (N,)
    and `units` (N) say class and unit of each sample. Raises TableError for a unit with two true
    classes, naming it, and UsageError for different lengths.
    """
    table, known = np.asarray(probabilities, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    if not len(table) == len(known) == len(units):
        raise UsageError(
            "There must be one row of probabilities, one class and one unit for each sample, but "
            f"there are {len(table)}, {len(known)} and {len(units)}."
        )
    places: dict[str, int] = {}
    owner = np.array([places.setdefault(unit, len(places)) for unit in units], dtype=np.int64)
    first = np.unique(owner, return_index=True)[1]
    mixed = np.flatnonzero(known != known[first][owner])
    if mixed.size:
        raise TableError(
            f"{units[mixed[0]]!r} holds samples of more than one class, so it has no class of its "
            "own: score it by sample, or name another column."
        )
    total = np.zeros((len(places), table.shape[1]))
    np.add.at(total, owner, np.log(np.clip(table, _SMALLEST, 1.0)))
    mean = np.exp(total / np.bincount(owner, minlength=len(places))[:, None])
    return Aggregated(tuple(places), mean / mean.sum(axis=1, keepdims=True), known[first], first)
