# SPDX-License-Identifier: Apache-2.0
"""The rows of an evaluation table: what is predicted, where its truth is, and whose it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from encephalon.errors import TableError

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample
    from encephalon.tables.schema import Columns, Table

__all__ = ["Case", "Cases", "labelled_table", "read_cases"]

# Columns that say whose scan it is, in the order of preference, when the recipe names none.
_GROUPS = ("group", "participant_id", "subject", "person", "patient")
# A column with more different words than this is a label, and cuts no subgroups.
_MOST_SUBGROUPS = 12


@dataclass(frozen=True)
class Case:
    """A sample to predict.

    `reference` is the file with its truth, None where it has none of its own; `group` says whose
    it is, its id where nobody says; `about` holds further cells for the scores.
    """

    sample: Sample
    group: str
    reference: Path | None = None
    about: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The id of the sample."""
        return self.sample.id


@dataclass(frozen=True)
class Cases:
    """All cases of a table, the column that says whose they are, and those to cut scores by."""

    cases: list[Case]
    group: str | None
    subgroups: list[str]


def read_cases(
    path: Path, columns: Columns, references: Sequence[str | None], *, required: bool = True
) -> Cases:
    """Read and check a table of scans: all rows, or those of the part "test" if it was split.

    The truth is in the first of the columns `references` that the table has. It is `required`, and
    every file must be there; without that, rows may lack it, and a file that is not there spoils
    its own row alone, when that is read. Raises TableError naming each faulty row.
    """
    from encephalon.tables.reading import read_table
    from encephalon.tables.samples import table_samples
    from encephalon.tables.splits import rows_with_scans, unseen_rows

    table = replace(read_table(path), columns=columns)
    reference = next((name for name in references if table.has(name)), None)
    if required and reference is None:
        names = " or ".join(repr(name) for name in dict.fromkeys(references) if name is not None)
        raise TableError(
            f"{table.source} has no reference masks: add a column {names} with the path of each "
            "scan's mask."
        )
    group = next((name for name in (columns.group, *_GROUPS) if table.has(name)), None)
    rows = rows_with_scans(table, unseen_rows(table, columns.split))
    first = next(iter(columns.inputs), None)
    known = replace(
        columns,
        target=reference if required else None,
        target_kind="labels",
        covariates={},
        split=None,
        group=None,
        optional=tuple(role for role in columns.optional if role != first),
    )
    table = replace(table, columns=known)
    _refuse_faults(table, rows, alone=() if required else known.inputs.values())
    table = table.select(rows)
    shown = {known.id, reference, *known.inputs.values()}
    kept = [str(name) for name in table.frame.columns if name not in shown]
    truths = [""] * len(table) if reference is None else table.texts(reference)
    cases = [
        Case(
            sample,
            str(sample.row.get(group or known.id) or sample.id),
            table.path(truth) if truth else None,
            {name: str(sample.row.get(name) or "") for name in kept},
        )
        for sample, truth in zip(table_samples(table), truths, strict=True)
    ]
    told = {group, columns.split, columns.target}
    words = {name: len(set(table.texts(name))) for name in kept if name not in told}
    return Cases(cases, group, [name for name, n in words.items() if 2 <= n <= _MOST_SUBGROUPS])


def labelled_table(path: Path, columns: Columns) -> Table:
    """The rows of a table to score a classifier on, checked but for what fails image by image.

    Raises TableError for a table without the column of the classes, without any class, with faulty
    ids or classes, and for one whose split has no test part.
    """
    from encephalon.tables.reading import read_table
    from encephalon.tables.splits import unseen_rows

    table = read_table(path, columns)
    known = replace(columns, group=None, split=None, covariates={})
    alone = {*columns.file_columns().values(), *columns.covariates}
    _refuse_faults(replace(table, columns=known), range(len(table)), alone)
    return table.select(unseen_rows(table, columns.split))


def _refuse_faults(table: Table, rows: Iterable[int], alone: Iterable[str]) -> None:
    """Raise TableError for what is wrong with these rows, but for columns that fail alone."""
    from encephalon.tables.checks import check_table, fault_message

    numbers, alone = set(map(table.row, rows)), set(alone)
    faults = [
        fault
        for fault in check_table(table)
        if not fault.row or (fault.row in numbers and fault.column not in alone)
    ]
    if faults:
        raise TableError(fault_message(table, faults))
