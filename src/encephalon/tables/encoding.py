# SPDX-License-Identifier: Apache-2.0
"""Numbers for a network: covariates (N, W), classes (N,) and label images (I, J, K)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from encephalon.errors import ContentError, InputError, RecipeError, TableError, either
from encephalon.tables.reading import MISSING
from encephalon.tables.schema import ColumnKind, Columns, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scaling = Mapping[str, tuple[float, float]]
"""Mean and standard deviation of each covariate that is a number."""

LabelRule = Literal["keep", "nonzero"] | Mapping[str, int]

NO_CLASS = -1
"""The class of a row that nothing is learnt from."""

_NOTHING = {word.casefold() for word in MISSING} | {"none", "null"}


def covariate_names(columns: Columns) -> tuple[str, ...]:
    """The name of each number (W) that a row becomes: "sex=F", "sex=M", ..., "age"."""
    return tuple(
        name
        for column, kind in columns.covariates.items()
        for name in ([column] if kind == "number" else [f"{column}={one}" for one in kind])
    )


def covariate_width(columns: Columns) -> int:
    """How many numbers W the covariates of a row become."""
    return len(covariate_names(columns))


def encode_covariates(
    rows: Sequence[Mapping[str, Any]], columns: Columns, scaling: Scaling | None = None
) -> NDArray[np.float32]:
    """The covariates of N rows as (N, W), in the order of `covariate_names`.

    A category becomes 0 and 1 in the order in which `columns` names the categories, whichever of
    them occur; a number is standardised by `scaling` where that has it. An empty cell of an
    `optional` covariate becomes zeros (for a standardised number, the mean). Raises InputError,
    naming the id and the column, for a category never named, no number, NaN, or no value.
    """
    import numpy as np

    values = [list(_encoded(row, columns, scaling or {})) for row in rows]
    return np.array(values, np.float32).reshape(len(rows), covariate_width(columns))


def fit_scaling(table: Table) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each covariate that is a number, over the rows that have it.

    A number that never varies gets a deviation of 1, so that nothing is divided by 0.
    """
    import numpy as np

    found = {}
    for column, kind in table.columns.covariates.items():
        if kind == "number":
            values = table.numbers(column)
            values = values[np.isfinite(values)]
            varies = values.size > 0 and values.min() < values.max()
            mean = float(values.mean()) if values.size else 0.0
            found[column] = (mean, float(values.std()) if varies else 1.0)
    return found


def encode_classes(table: Table) -> NDArray[np.int64]:
    """The class of each row (N,), counted from 0; NO_CLASS where it is empty or `score_only`.

    Raises TableError, naming the row, for any other label, and for a table without classes.
    """
    import numpy as np

    columns = table.columns
    if columns.target is None or not columns.classes:
        raise TableError(
            f"{table.source}: no classes are named; give target and target_kind in [table]."
        )
    known = {name: number for number, name in enumerate(columns.classes)}
    known |= dict.fromkeys(("", *columns.score_only), NO_CLASS)
    cells = table.texts(columns.target)
    strange = next((row for row, cell in enumerate(cells) if cell not in known), None)
    if strange is not None:
        raise TableError(
            f"{table.source}, row {table.row(strange)}: {cells[strange]!r} in {columns.target!r} "
            f"is none of the classes {', '.join(columns.classes)}."
        )
    return np.array([known[cell] for cell in cells], np.int64)


def encode_known(table: Table, kinds: Mapping[str, ColumnKind]) -> NDArray[np.float64]:
    """What is known of the columns of N rows (N, W), in the order of `covariate_names`.

    kinds  of each column: "number", or its categories, which become 0 and 1

    Nothing is filled in: an empty cell is NaN, in each number of its column. Raises TableError,
    naming the row and the column, for a cell that is not what its column has.
    """
    import numpy as np

    for column in kinds:
        table.require(column)
    cells = {column: table.texts(column) for column in kinds}
    rows = []
    for row in range(len(table)):
        who = f"{table.source}, row {table.row(row)}"
        here = {column: some[row] for column, some in cells.items()}
        try:
            rows.append(encode_known_row(here, kinds, who))
        except InputError as error:
            raise TableError(f"{error} Correct it, or leave it empty.") from error
    width = covariate_width(Columns(covariates=dict(kinds)))
    return np.array(rows, np.float64).reshape(len(table), width)


def encode_known_row(
    row: Mapping[str, Any], kinds: Mapping[str, ColumnKind], who: str
) -> list[float]:
    """The numbers (W) of a row, NaN where a cell is empty or there is no such column.

    Raises InputError, naming the person and the column, for a cell that is not what it has.
    """
    found: list[float] = []
    for column, kind in kinds.items():
        cell = row.get(column)
        text = "" if cell is None else str(cell).strip()
        if kind == "number":
            number = as_number(text)
            if text and math.isnan(number):
                raise InputError(f"{who}: {column!r} must be a number or empty, but is {text!r}.")
            found.append(number)
        elif text:
            if text not in kind:
                raise InputError(
                    f"{who}: {column!r} must be {either(kind)} or empty, but is {text!r}."
                )
            found += [float(text == one) for one in kind]
        else:
            found += [math.nan] * len(kind)
    return found


def encode_target(table: Table, column: str, classes: Sequence[str] = ()) -> NDArray[np.float64]:
    """What is known of a target (N,): its number, or that of its class; NaN where it is empty.

    All of it is unknown where the table lacks the column. Raises TableError, naming the row, for a
    cell that is none.
    """
    import numpy as np

    if not table.has(column):
        return np.full(len(table), np.nan)
    known = {one: float(number) for number, one in enumerate(classes)}
    found = np.full(len(table), np.nan)
    for row, cell in enumerate(table.texts(column)):
        if cell:
            found[row] = known.get(cell, np.nan) if known else as_number(cell)
            if np.isnan(found[row]):
                wanted = either(classes) if known else "a number"
                raise TableError(
                    f"{table.source}, row {table.row(row)}: the target {column!r} must be {wanted} "
                    f"or empty, but is {cell!r}: correct it, or leave it empty."
                )
    return found


def map_labels(labels: NDArray[Any], rule: LabelRule) -> NDArray[Any]:
    """The labels (I, J, K) under a rule, in the smallest unsigned integer that holds them.

    "keep" changes no value, "nonzero" gives 1 wherever there is a label, and a mapping gives
    each label, written as text, its new value and every other label 0. Raises ContentError for
    labels that are no integers >= 0, RecipeError for a mapping that is not of such integers.
    """
    import numpy as np

    whole = _whole(labels)
    top = int(whole.max(initial=0))
    if isinstance(rule, str):
        if rule == "nonzero":
            return np.asarray(whole != 0, np.uint8)
        if rule == "keep":
            return whole.astype(np.min_scalar_type(top))
        raise RecipeError(f"A label rule is 'keep', 'nonzero' or a mapping, not {rule!r}.")
    try:
        pairs = [(int(old), int(new)) for old, new in rule.items()]
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"A label mapping goes from whole numbers to whole numbers: {error}."
        ) from error
    if any(min(pair) < 0 for pair in pairs):
        raise RecipeError("A label mapping may not hold numbers below 0.")
    highest = max((new for _, new in pairs), default=0)
    table = np.zeros(top + 1, dtype=np.min_scalar_type(highest))
    for old, new in pairs:
        if old <= top:
            table[old] = new
    return np.take(table, whole)


def as_number(text: str) -> float:
    """The number that a cell says; NaN where it says none, or none that is finite."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _whole(labels: NDArray[Any]) -> NDArray[Any]:
    """The same labels as integers, refused if they are none or below 0."""
    import numpy as np

    if not np.issubdtype(labels.dtype, np.integer):
        if not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
            raise ContentError("Labels must be whole numbers, but these have fractions or NaN.")
        labels = labels.astype(np.int64)
    lowest = int(labels.min(initial=0))
    if lowest < 0:
        raise ContentError(f"Labels must be 0 or more, but the lowest is {lowest}.")
    return labels


def _encoded(row: Mapping[str, Any], columns: Columns, scaling: Scaling) -> Iterator[float]:
    for column, kind in columns.covariates.items():
        cell = row.get(column)
        text = "" if cell is None else str(cell).strip()
        width = 1 if isinstance(kind, str) else len(kind)
        if text.casefold() in _NOTHING and (isinstance(kind, str) or text not in kind):
            if column not in columns.optional:
                raise _unusable(row, columns, column, text)
            yield from [0.0] * width
        elif isinstance(kind, str):
            mean, deviation = scaling.get(column, (0.0, 1.0))
            number = as_number(text)
            if math.isnan(number):
                raise _unusable(row, columns, column, text)
            yield (number - mean) / deviation
        else:
            if text not in kind:
                raise _unusable(row, columns, column, text)
            yield from (float(text == one) for one in kind)


def _unusable(row: Mapping[str, Any], columns: Columns, column: str, text: str) -> InputError:
    kind = columns.covariates[column]
    wanted = "a number" if isinstance(kind, str) else f"one of {', '.join(map(repr, kind))}"
    came = repr(text) if text else "nothing" if column in row else "a row without that column"
    return InputError(
        f"{row.get(columns.id) or 'a row'}: the covariate {column!r} must be {wanted}, as the "
        f"model was trained, but got {came}; mend the table."
    )
