# SPDX-License-Identifier: Apache-2.0
"""Join a table to a second one, row to row by id, and name everything that does not match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from encephalon.errors import TableError, quoted

if TYPE_CHECKING:
    import pandas as pd

    from encephalon.tables.schema import Table


def join_tables(left: Table, right: Table, *, remainder: bool = False) -> pd.DataFrame:
    """The rows of `left`, in their order, each with the columns of its one row in `right`.

    Rows are matched by the id columns of the two tables, whose names may differ; the result has
    the id column of `left`. Raises TableError, naming the ids, if an id is empty or not unique in
    either table, if a row of `left` has no match, or, unless `remainder`, if a row of `right`
    has none; and naming the columns, if the two tables share any but the id.
    """
    _check_ids(left)
    _check_ids(right)
    _check_matches(left, right, remainder)
    key = right.columns.id
    extra = right.frame.drop(columns=[key])
    _check_names(left, right, list(map(str, extra.columns)))
    places = {name: row for row, name in enumerate(right.ids)}
    order = [places[name] for name in left.ids]
    joined = left.frame.reset_index(drop=True).copy()
    for name in extra.columns:
        joined[name] = extra[name].iloc[order].to_list()
    return joined


def _check_ids(table: Table) -> None:
    counts = Counter(table.ids)
    if "" in counts:
        row = table.row(table.ids.index(""))
        raise TableError(f"{table.source}, row {row}: {table.columns.id!r} is empty; fill it.")
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise TableError(
            f"{table.source}: {table.columns.id!r} must be unique to join by it, but these ids "
            f"stand in several rows: {quoted(twice)}."
        )


def _check_matches(left: Table, right: Table, remainder: bool) -> None:
    here, there = left.ids, right.ids
    unmatched = _without(here, there)
    if unmatched:
        raise TableError(
            f"{right.source} has no row for these ids of {left.source}: {quoted(unmatched)}."
        )
    spare = _without(there, here)
    if spare and not remainder:
        raise TableError(
            f"{left.source} has no row for these ids of {right.source}: {quoted(spare)}."
        )


def _check_names(left: Table, right: Table, extra: Sequence[str]) -> None:
    clash = [name for name in extra if name in left.frame.columns]
    if clash:
        raise TableError(f"{left.source} and {right.source} both have {quoted(clash)}: rename one.")


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [name for name in names if name not in known]
