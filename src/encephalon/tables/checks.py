# SPDX-License-Identifier: Apache-2.0
"""Check a table before any work starts; every fault names its row."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from encephalon.errors import TableError, did_you_mean
from encephalon.io.files import exists
from encephalon.tables.schema import SPLITS, Fault, Table

Item = TypeVar("Item")

_SHOWN = 20  # faults that an error repeats before it only counts
_UNSAFE = set('/\\:*?"<>|')  # a file name with one of these is not portable


def check_table(table: Table) -> list[Fault]:
    """Everything that is wrong with the table, in the order of its rows.

    Missing columns, missing files, empty cells, duplicate or unusable ids, numbers that are
    none, unknown categories, unknown splits, and groups that straddle splits.
    """
    missing = list(_missing_columns(table))
    if missing:
        return missing
    faults = [*_ids(table), *_files(table), *_values(table), *_split(table), *_group(table)]
    return sorted(faults, key=lambda fault: fault.row)


def checked(table: Table) -> Table:
    """The table itself, if it has no fault; TableError with the faults otherwise."""
    faults = check_table(table)
    if faults:
        raise TableError(fault_message(table, faults))
    return table


def fault_message(table: Table, faults: Sequence[Fault]) -> str:
    """One text that counts the faults and lists the first 20, a line each."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = [f"{table.source} has {count}:", *map(str, faults[:_SHOWN])]
    if len(faults) > _SHOWN:
        lines.append(f"and {len(faults) - _SHOWN} more.")
    return "\n  ".join(lines)


def _missing_columns(table: Table) -> Iterator[Fault]:
    have = list(map(str, table.frame.columns))
    for name in table.columns.needed():
        if name in have or _may_be_absent(table, name):
            continue
        meant = did_you_mean(name, have, "it has")
        yield Fault(0, name, f"the recipe names this column but the table has none; {meant}")


def _may_be_absent(table: Table, name: str) -> bool:
    # Who predicts needs neither split nor group; training asks for its parts by itself.
    columns = table.columns
    optional = {columns.inputs.get(role, role) for role in columns.optional}
    return name in optional or name in {columns.split, columns.group}


def _ids(table: Table) -> Iterator[Fault]:
    column, first = table.columns.id, dict[str, int]()
    for row, name in _numbered(table, table.ids):
        # Ids become file names, and some file systems take Scan and scan for the same name.
        key = unicodedata.normalize("NFC", name).casefold()
        if not name:
            yield Fault(row, column, "the id is empty; give each row its own.")
        elif set(name) & _UNSAFE or name.startswith(".") or not name.isprintable():
            message = f"the id {name!r} cannot be a file name; use letters, digits, - and _."
            yield Fault(row, column, message)
        elif key in first:
            message = f"the id {name!r} is already that of row {first[key]}; ids are unique."
            yield Fault(row, column, message)
        first.setdefault(key, row)


def _files(table: Table) -> Iterator[Fault]:
    for role, column in table.columns.file_columns().items():
        if not table.has(column):
            continue
        for row, cell in _numbered(table, table.texts(column)):
            if not cell and role not in table.columns.optional:
                yield Fault(row, column, f"names no file for {role!r}; give its path.")
            elif cell and not exists(table.path(cell)):
                message = (
                    f"there is no file {table.path(cell)}; paths start from the table's folder."
                )
                yield Fault(row, column, message)


def _values(table: Table) -> Iterator[Fault]:
    columns = table.columns
    kinds = dict(columns.covariates)
    if columns.target is not None and columns.target_kind == "number":
        kinds[columns.target] = "number"
    for column, kind in kinds.items():
        if table.has(column):
            optional = column in columns.optional
            yield from _column(table, column, kind, optional)
    if columns.classes and columns.target is not None and table.has(columns.target):
        yield from _classes(table, columns.target)


def _classes(table: Table, target: str) -> Iterator[Fault]:
    # A row without a class is no fault: nothing is learnt from it, and it is scored.
    columns = table.columns
    for row, cell in _numbered(table, table.texts(target)):
        if cell and cell not in (*columns.classes, *columns.score_only):
            meant = did_you_mean(cell, columns.classes, "the classes are").rstrip(".")
            message = (
                f"{cell!r} is none of the classes: {meant}; what is scored and never learnt "
                "belongs into score_only of [table]."
            )
            yield Fault(row, target, message)


def _column(
    table: Table, column: str, kind: str | tuple[str, ...], optional: bool
) -> Iterator[Fault]:
    for row, cell in _numbered(table, table.texts(column)):
        if not cell:
            if not optional:
                yield Fault(row, column, "is empty, NaN, NA or n/a; give its value.")
        elif isinstance(kind, str):
            if not _is_number(cell):
                yield Fault(row, column, f"expected a number but got {cell!r}.")
        elif cell not in kind:
            yield Fault(row, column, f"expected {_one_of(kind)} but got {cell!r}.")


def _split(table: Table) -> Iterator[Fault]:
    column = table.columns.split
    if column is None or not table.has(column):
        return
    for row, cell in _numbered(table, table.texts(column)):
        if cell and cell not in SPLITS:
            yield Fault(row, column, f"expected {_one_of(SPLITS)} or nothing but got {cell!r}.")


def _group(table: Table) -> Iterator[Fault]:
    group, split = table.columns.group, table.columns.split
    if group is None or not table.has(group):
        return
    seen: dict[str, tuple[str, int]] = {}
    parts = table.texts(split) if split is not None and table.has(split) else [""] * len(table)
    for row, (name, part) in _numbered(table, zip(table.texts(group), parts, strict=True)):
        if not name:
            yield Fault(row, group, "the group is empty; name what the sample belongs to.")
        elif part:
            other, where = seen.setdefault(name, (part, row))
            if other != part:
                message = f"{name!r} is in {part!r} here but in {other!r} in row {where}: a leak."
                yield Fault(row, group, message)


def _numbered(table: Table, items: Iterable[Item]) -> Iterator[tuple[int, Item]]:
    """What a spreadsheet calls each row, and its item."""
    return ((table.row(place), item) for place, item in enumerate(items))


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _one_of(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
