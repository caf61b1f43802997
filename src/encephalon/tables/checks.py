# SPDX-License-Identifier: Apache-2.0
"""Check a table and its label images before any work starts; every fault names its row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, TypeVar

from encephalon.errors import EncephalonError, TableError, did_you_mean, either
from encephalon.io.files import composed, exists
from encephalon.tables.encoding import as_number
from encephalon.tables.schema import SPLITS, Fault, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Item = TypeVar("Item")

#: Times the range between the quartiles that a number may lie from the median: nearly twice as far
#: as the furthest of a thousand of a log-normal distribution (ours).
_FAR = 30.0

_SHOWN = 20  # faults that an error repeats before it only counts
_UNSAFE = set('/\\:*?"<>|')  # a file name with one of these is not portable
_AFFINE_TOLERANCE = 1e-3
"""mm, per entry: a label image on the same grid differs only by how its header was rounded."""


def check_table(table: Table, audited: bool = False) -> list[Fault]:
    """Everything that is wrong with the table, in the order of its rows.

    Missing columns, missing files, empty cells, duplicate or unusable ids, numbers that are
    none, unknown categories, unknown splits, and groups that straddle splits, unless these are
    `audited` later: a cross-validation draws its own.
    """
    columns, have = table.columns, list(map(str, table.frame.columns))
    # Who predicts needs neither split nor group; training asks for its parts by itself.
    spared = {columns.split, columns.group}
    spared |= {columns.inputs.get(role, role) for role in columns.optional}
    missing = []
    for name in columns.needed():
        if name not in have and name not in spared:
            meant = did_you_mean(name, have, "it has")
            message = f"the recipe names this column but the table has none; {meant}"
            missing.append(Fault(0, name, message))
    if missing:
        return missing
    ids = table.once(("ids", columns.id), lambda: list(_ids(table)))
    faults = [*ids, *_files(table), *_values(table), *_split(table)]
    faults += [] if audited else _group(table)
    return sorted(faults, key=lambda fault: fault.row)


def checked(table: Table, audited: bool = False) -> Table:
    """The table itself, if it has no fault; TableError with the faults otherwise."""
    faults = check_table(table, audited)
    if faults:
        raise TableError(fault_message(table, faults))
    return table


def far_off(table: Table, columns: Iterable[str]) -> Iterator[str]:
    """The number of each of these columns that may stand for no value, in a sentence each."""
    for column in columns:
        place = _far_off(table.numbers(column))
        if place is not None:
            yield (
                f"{table.source}, row {table.row(place)}: {column!r} is "
                f"{table.texts(column)[place]}, far from all others: empty the cell if that stands "
                "for no value."
            )


def _far_off(numbers: NDArray[np.float64]) -> int | None:
    """The place of the number (N,) that lies far from all others, such as 9999 for no value.

    None where there is none, or where the quartiles of those that are no NaN are the same.
    """
    import numpy as np

    known = numbers[np.isfinite(numbers)]
    if not known.size:
        return None
    low, middle, high = np.percentile(known, (25, 50, 75))
    away = np.abs(np.where(np.isfinite(numbers), numbers, middle) - middle)
    return int(away.argmax()) if 0 < (high - low) * _FAR < away.max() else None


def fault_message(table: Table, faults: Sequence[Fault]) -> str:
    """One text that counts the faults and lists the first 20, a line each."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = [f"{table.source} has {count}:", *map(str, faults[:_SHOWN])]
    if len(faults) > _SHOWN:
        lines.append(f"and {len(faults) - _SHOWN} more.")
    return "\n  ".join(lines)


def _ids(table: Table) -> Iterator[Fault]:
    column, first = table.columns.id, dict[str, int]()
    for row, name in _numbered(table, table.ids):
        # Ids become file names, and some file systems take Scan and scan for the same name.
        key = composed(name).casefold()
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
        absent = table.once(("absent", column), partial(_absent, table, column))
        for row, cell in _numbered(table, table.texts(column)) if absent else ():
            if not cell and role not in table.columns.optional:
                yield Fault(row, column, f"names no file for {role!r}; give its path.")
            elif cell and cell in absent:
                message = (
                    f"there is no file {table.path(cell)}; paths start from the table's folder."
                )
                yield Fault(row, column, message)


def _absent(table: Table, column: str) -> set[str]:
    return {cell for cell in set(table.texts(column)) if not (cell and exists(table.path(cell)))}


def _values(table: Table) -> Iterator[Fault]:
    columns = table.columns
    kinds = dict(columns.covariates)
    if columns.target is not None and columns.target_kind == "number":
        kinds[columns.target] = "number"
    for column, kind in kinds.items():
        if table.has(column):
            yield from _column(table, column, kind, column in columns.optional)
    if not columns.classes or columns.target is None or not table.has(columns.target):
        return
    # A row without a class is no fault: nothing is learnt from it, and it is scored.
    for row, cell in _numbered(table, table.texts(columns.target)):
        if cell and cell not in (*columns.classes, *columns.score_only):
            meant = did_you_mean(cell, columns.classes, "the classes are").rstrip(".")
            message = (
                f"{cell!r} is none of the classes: {meant}; name others in table.target_kind, and "
                "what is scored and never learnt in table.score_only."
            )
            yield Fault(row, columns.target, message)


def _column(
    table: Table, column: str, kind: str | tuple[str, ...], optional: bool
) -> Iterator[Fault]:
    strange = table.once(("strange", column, kind), partial(_strange, table, column, kind))
    for row, cell in _numbered(table, table.texts(column)) if strange else ():
        if not cell:
            if not optional:
                yield Fault(row, column, "is empty, NaN, NA or n/a; give its value.")
        elif cell in strange:
            wanted = "a number" if isinstance(kind, str) else either(map(repr, kind))
            yield Fault(row, column, f"expected {wanted} but got {cell!r}.")


def _strange(table: Table, column: str, kind: str | tuple[str, ...]) -> set[str]:
    cells = set(table.texts(column))
    if isinstance(kind, str):
        return {cell for cell in cells if isnan(as_number(cell))}
    return cells.difference(kind)


def _split(table: Table) -> Iterator[Fault]:
    column = table.columns.split
    if column is None or not table.has(column):
        return
    for row, cell in _numbered(table, table.texts(column)):
        if cell and cell not in SPLITS:
            wanted = either(map(repr, SPLITS))
            yield Fault(row, column, f"expected {wanted} or nothing but got {cell!r}.")


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


def verify_labels(table: Table) -> list[Fault]:
    """Read every image and label image of a table; say which labels cannot be learnt from.

    A label image must be readable, hold integers >= 0, and lie on the grid (shape and affine)
    of each input image of its row. Raises TableError if the table's target is no label image.
    """
    column = table.columns.target
    if column is None or table.columns.target_kind != "labels":
        raise TableError(
            f"{table.source} has no label images to verify: name their column as target."
        )
    faults: list[Fault] = []
    for row, cell in enumerate(table.texts(column)):
        if cell:
            faults += [Fault(table.row(row), column, text) for text in _row(table, row, cell)]
        elif "target" not in table.columns.optional:
            faults.append(Fault(table.row(row), column, "names no label image; give its path."))
    return faults


def _row(table: Table, row: int, cell: str) -> Iterator[str]:
    """What is wrong with the label image that `cell` names, or with an image of its row."""
    from encephalon.io.reading import read_image, read_labels

    try:
        labels = read_labels(table.path(cell))
    except EncephalonError as error:
        yield str(error)
        return
    for role, column in table.columns.inputs.items():
        name = table.texts(column)[row] if table.has(column) else ""
        if not name:
            continue
        try:
            image = read_image(table.path(name))
        except EncephalonError as error:
            yield str(error)
            continue
        apart = float(abs(labels.affine.matrix - image.affine.matrix).max())
        if labels.shape != image.shape:
            yield (
                f"the labels have the shape {labels.shape} but {role!r} has {image.shape}; "
                "resample one to the other."
            )
        elif apart > _AFFINE_TOLERANCE:
            yield (
                f"the affine of the labels differs from that of {role!r} by up to {apart:.3g} mm; "
                "resample one to the other, or copy the header if they are truly aligned."
            )
