# SPDX-License-Identifier: Apache-2.0
"""Strata: the same result table cut by sex, contrast, site or age, each part with its size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import Any

from encephalon.errors import TableError, UsageError
from encephalon.evaluation.summary import Row

__all__ = ["UNKNOWN", "Stratum", "cut", "strata"]

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Stratum:
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


def strata(rows: Sequence[Row], *columns: str) -> list[Stratum]:
    """Cut a result table by one column, or by several together; values are sorted.

    A missing value makes the stratum `unknown`, which comes last.
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
    return [Stratum(title, " × ".join(key), tuple(parts[key])) for key in sorted(parts, key=_order)]


def cut(rows: Sequence[Row], column: str, edges: Sequence[float], name: str) -> list[Row]:
    """Return copies of the rows with a column `name` that says between which edges a number lies.

    Parts hold their lower edge and not their upper one: edges 18 and 65 give `< 18`, `18 to 65`
    and `>= 65`. Raises UsageError unless the edges grow and are not empty.
    """
    if not edges or any(low >= high for low, high in pairwise(edges)):
        raise UsageError(
            f"The edges of strata must be growing numbers, but they are {list(edges)}."
        )
    return [{**row, name: _part(row.get(column), edges)} for row in rows]


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


def _order(key: tuple[str, ...]) -> tuple[tuple[bool, float, str], ...]:
    return tuple((text == UNKNOWN, _leading_number(text), text) for text in key)


def _leading_number(text: str) -> float:
    if text.startswith("<"):
        return float("-inf")
    try:
        return float(text.removeprefix(">=").split(" to ")[0])
    except ValueError:
        return float("inf")
