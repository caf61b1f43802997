# SPDX-License-Identifier: Apache-2.0
"""The rows of an evaluation table: a scan, its reference mask, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from encephalon.errors import TableError

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample
    from encephalon.tables.schema import Columns, Table

__all__ = ["Case", "read_cases"]

MASK = "mask"
# Columns that say whose scan it is, in the order of preference, when the recipe names none.
_GROUPS = ("group", "participant_id", "subject", "person", "patient")
# A column with more different words than this is a label, not a way to part the scans.
_MOST_PARTS = 12


@dataclass(frozen=True)
class Case:
    """A sample to predict, the path of its reference mask, and further cells for the scores."""

    sample: Sample
    reference: Path
    about: dict[str, str] = field(default_factory=dict)


def read_cases(path: Path, columns: Columns) -> tuple[list[Case], list[str], str | None]:
    """Read and check a table of scans and masks: all rows, or those of the part "test" if split.

    Returns the cases, the columns worth cutting the scores by, and the column that groups scans of
    one person, if there is one. Raises TableError naming each faulty row.
    """
    from encephalon.tables.checks import check_table, fault_message
    from encephalon.tables.reading import read_table
    from encephalon.tables.samples import table_samples
    from encephalon.tables.splits import rows_with_scans, unseen_rows

    table = read_table(path)
    target, unseen = _target(table, columns), unseen_rows(table, columns.split)
    unseen = rows_with_scans(replace(table, columns=columns), unseen)
    group = next((name for name in (columns.group, *_GROUPS) if table.has(name)), None)
    known = replace(
        columns, target=target, target_kind="labels", split=None, group=None, optional=()
    )
    table = replace(table, columns=known)
    rows = {0, *map(table.row, unseen)}
    faults = [fault for fault in check_table(table) if fault.row in rows]
    if faults:
        raise TableError(fault_message(table, faults))
    table = table.select(unseen)
    kept = [name for name in table.frame.columns if name not in set(known.file_columns().values())]
    cases = []
    for sample, cell in zip(table_samples(table), table.texts(target), strict=True):
        about = {str(name): sample.row.get(name) or "" for name in kept if name != known.id}
        cases.append(Case(sample, table.path(cell), about))
    return cases, _parts(table, kept, {known.id, group, columns.split}), group


def _target(table: Table, columns: Columns) -> str:
    for name in (MASK, columns.target):
        if name is not None and table.has(name):
            return name
    names = dict.fromkeys((MASK, columns.target or MASK))
    raise TableError(
        f"{table.source} has no reference masks: add a column "
        f"{' or '.join(map(repr, names))} with the path of each scan's mask."
    )


def _parts(table: Table, names: list[str], left_out: set[str | None]) -> list[str]:
    parts = []
    for name in names:
        if name not in left_out and 2 <= len(set(table.texts(name))) <= _MOST_PARTS:
            parts.append(name)
    return parts
