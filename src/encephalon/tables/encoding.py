# SPDX-License-Identifier: Apache-2.0
"""Cells of a table as numbers for a network: covariates (N, W) and classes (N,)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from encephalon.errors import InputError, TableError
from encephalon.tables.reading import MISSING
from encephalon.tables.schema import Columns, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scaling = Mapping[str, tuple[float, float]]
"""Mean and standard deviation of each covariate that is a number."""

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
            yield (_number(row, columns, column, text) - mean) / deviation
        else:
            if text not in kind:
                raise _unusable(row, columns, column, text)
            yield from (float(text == one) for one in kind)


def _number(row: Mapping[str, Any], columns: Columns, column: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _unusable(row, columns, column, text)
    return number


def _unusable(row: Mapping[str, Any], columns: Columns, column: str, text: str) -> InputError:
    kind = columns.covariates[column]
    wanted = "a number" if isinstance(kind, str) else f"one of {', '.join(map(repr, kind))}"
    came = repr(text) if text else "nothing" if column in row else "a row without that column"
    return InputError(
        f"{row.get(columns.id) or 'a row'}: the covariate {column!r} must be {wanted}, as the "
        f"model was trained, but got {came}; mend the table."
    )
