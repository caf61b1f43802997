# SPDX-License-Identifier: Apache-2.0
"""The first sheet of an Excel workbook (.xlsx) as a header and rows of text."""

from __future__ import annotations

import datetime as dt
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from encephalon.errors import TableError, require_extra

Row = list[str | None]

_log = logging.getLogger(__name__)


def read_sheet(file: Path) -> tuple[list[str], list[Row]]:
    """The header of the first sheet, and its rows, each as long as the header.

    Formulas give the value that Excel last computed, whole numbers have no decimal point, dates
    are 2024-02-29; empty rows and columns are left out. Raises TableError for a damaged
    file, an empty sheet, or cells below no name.
    """
    require_extra("openpyxl", "excel", f"The Excel file {file}")
    lines = [list(map(_text, line)) for line in _lines(file)]
    lines = [line for line in lines if any(cell is not None for cell in line)]
    if not lines:
        raise TableError(f"{file}: the first sheet is empty: a table begins with a header.")
    width = max(len(line) for line in lines)
    lines = [line + [None] * (width - len(line)) for line in lines]
    used = [column for column in range(width) if any(line[column] is not None for line in lines)]
    names = [lines[0][column] for column in used]
    if None in names:
        place = _letters(used[names.index(None)])
        message = f"{file}: column {place} has cells but no name in the first row; name it."
        raise TableError(message)
    return list(map(str, names)), [[line[column] for column in used] for line in lines[1:]]


def _lines(file: Path) -> list[tuple[Any, ...]]:
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and forms, none of which are read
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            try:
                first, *others = book.worksheets
                if others:
                    _log.warning("%s: %r is read, and no other sheet.", file, first.title)
                rows: Iterable[tuple[Any, ...]] = first.iter_rows(values_only=True)
                return list(rows)
            finally:
                book.close()
    except Exception as error:  # damage makes openpyxl, zipfile and the XML parser raise a dozen
        reason = str(error).split("\n")[0].rstrip(".")
        message = f"{file} cannot be read as an Excel workbook: {reason}; save it again, or as CSV."
        raise TableError(message) from error


def _text(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        value = value.date()
    text = value.isoformat() if isinstance(value, dt.date) else str(value)
    return None if value is None or text.strip() in {"", "#N/A"} else text.strip()


def _letters(column: int) -> str:
    """What Excel calls the column of that number, from 0: A ... Z, AA ..."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
