# SPDX-License-Identifier: Apache-2.0
"""The rows of an evaluation table: a T2w, perhaps a T1w and a reference, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from encephalon.errors import TableError

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample
    from encephalon.tables.schema import Columns, Table

__all__ = ["REFERENCE", "Case", "read_cases", "stranger_of"]

#: The column with an isotropic truth, for a T2w that was acquired with thick slices.
REFERENCE = "reference"
# Columns that say whose scan it is, in the order of preference, when the recipe names none.
_GROUPS = ("group", "participant_id", "subject", "person", "patient")
# A column with more different words than this is a label, not a way to part the scans.
_MOST_PARTS = 12


@dataclass(frozen=True)
class Case:
    """A sample to reconstruct.

    `group` is whose it is, `reference` its isotropic truth (None for a T2w that is isotropic
    itself), and `about` holds further cells for the scores.
    """

    sample: Sample
    group: str
    reference: Path | None = None
    about: dict[str, str] = field(default_factory=dict)


def read_cases(path: Path, columns: Columns) -> tuple[list[Case], list[str]]:
    """The rows to score, all or those of the part "test" if split, and the columns to cut by.

    A file that is not there spoils its own row alone, when that is read. Raises TableError for
    faulty ids, missing columns, or a split without a part "test".
    """
    from encephalon.tables.checks import check_table, fault_message
    from encephalon.tables.reading import read_table
    from encephalon.tables.samples import table_samples
    from encephalon.tables.splits import rows_with_scans, unseen_rows

    table = read_table(path)
    known = replace(columns, target=None, covariates={}, group=None, split=None)
    table = replace(table, columns=known)
    files = set(known.inputs.values())
    unseen = rows_with_scans(table, unseen_rows(table, columns.split))
    rows = set(map(table.row, unseen))
    faults = [
        fault
        for fault in check_table(table)
        if not fault.row or (fault.row in rows and fault.column not in files)
    ]
    if faults:
        raise TableError(fault_message(table, faults))
    table = table.select(unseen)
    named = (name for name in (columns.group, *_GROUPS) if name and table.has(name))
    group = next(named, known.id)
    meant = {known.id, group, columns.split, columns.target, REFERENCE, *files}
    kept = [str(name) for name in table.frame.columns if name not in meant]
    truths = table.texts(REFERENCE) if table.has(REFERENCE) else [""] * len(table)
    cases = [
        Case(
            sample,
            str(sample.row.get(group) or sample.id),
            table.path(truth) if truth else None,
            {name: str(sample.row.get(name) or "") for name in kept},
        )
        for sample, truth in zip(table_samples(table), truths, strict=True)
    ]
    return cases, _parts(table, kept)


def stranger_of(case: Case, cases: Sequence[Case]) -> Case | None:
    """The next case of another person with a T1w; None where there is none."""
    start = next(place for place, one in enumerate(cases) if one.sample.id == case.sample.id)
    others = [*cases[start + 1 :], *cases[:start]]
    fits = (one for one in others if one.group != case.group and "t1w" in one.sample.inputs)
    return next(fits, None)


def _parts(table: Table, names: Sequence[str]) -> list[str]:
    return [name for name in names if 2 <= len(set(table.texts(name))) <= _MOST_PARTS]
