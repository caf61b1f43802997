# SPDX-License-Identifier: Apache-2.0
"""The first sheet of an Excel workbook (.xlsx) as cells of text."""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

from encephalon.errors import EncephalonError, TableError, quoted, require_extra
from encephalon.io.files import is_zip_bomb, opened
from encephalon.tables.naming import letters

_log = logging.getLogger(__name__)

_LARGEST = 1 << 28
"""Bytes that a workbook may unpack to: some eight million cells."""
_SMALL = 1 << 26
"""Bytes that it may unpack to, whatever its ratio of compression."""
_MOST_GROWTH = 100
"""Ratio of compression of a larger one: workbooks of people grow 5 to 30 times."""

_END = 1 << 20
"""Bytes at the end of a sheet in which its merged cells are listed, at least."""
_MERGED = re.compile(rb'mergeCell\s[^>]*?ref="([A-Z]{1,3}\d{1,7}):([A-Z]{1,3}\d{1,7})"')
_PADDED = re.compile("0{2,20}")


def read_sheet(file: Path) -> dict[int, dict[int, str]]:
    """The cells of the first sheet that is not hidden: row, from 1, column, from 0, and text.

    Formulas give the value that Excel last computed, whole numbers have no decimal point, dates
    are 2024-02-29, and a number that is shown as 007 is 007; empty cells are left out. Raises
    TableError for a damaged file, one that unpacks to far more than it has, and, naming them, for
    formulas that were never computed and cells that are merged.
    """
    require_extra("openpyxl", "excel", f"The Excel file {file}")
    try:
        with opened(file) as stream:
            _refuse_zip_bomb(file, stream)
            values, formulas = (_cells(file, stream, computed) for computed in (True, False))
    except EncephalonError as error:
        raise TableError(str(error)) from error
    except Exception as error:  # damage makes openpyxl, zipfile and the XML parser raise a dozen
        reason = str(error).split("\n")[0].rstrip(".")
        raise TableError(
            f"{file} cannot be read as an Excel workbook: {reason}; save it again, or as CSV."
        ) from error
    uncomputed = [
        f"{letters(at)}{row}"
        for row, line in formulas.items()
        for at in line
        if at not in values.get(row, {})
    ]
    if uncomputed:  # a formula without a value is not empty
        raise TableError(
            f"{file}: formulas whose values were never stored, in {quoted(uncomputed)}; open it in "
            "a spreadsheet program and save it."
        )
    texts = {row: {at: _text(cell) for at, cell in line.items()} for row, line in values.items()}
    return {row: {at: text for at, text in line.items() if text} for row, line in texts.items()}


def _cells(file: Path, stream: IO[bytes], computed: bool) -> dict[int, dict[int, Any]]:
    """What each cell that is there holds, or, if not `computed`, its formula."""
    import openpyxl

    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about styles and forms, none of which are read
        book = openpyxl.load_workbook(stream, read_only=True, data_only=computed)
        shown = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        first, *others = shown or book.worksheets
        if computed and (others or len(shown) < len(book.worksheets)):
            _log.warning("%s: %r is read, and no other sheet.", file, first.title)
        # A single cell at the far end would make each row as wide as a sheet can be.
        first.reset_dimensions()
        cells = {
            number: {at: cell for at, cell in enumerate(map(_value, line)) if cell is not None}
            for number, line in enumerate(first.iter_rows(), 1)
            if line
        }
        if computed:  # a sheet that is read in pieces does not tell which cells were merged
            _refuse_merged(file, stream, first._worksheet_path, cells)
        return cells


def _value(cell: Any) -> Any:
    # The empty text that a formula gives is stored, and openpyxl makes nothing of it.
    if cell.value is None and cell.data_type == "str":
        return ""
    is_whole = cell.data_type == "n" and isinstance(cell.value, int) and cell.value >= 0
    if is_whole and _PADDED.fullmatch(cell.number_format):
        return str(cell.value).zfill(len(cell.number_format))  # 7 in the format 000 is the id 007
    return cell.value


def _refuse_merged(
    file: Path, stream: IO[bytes], sheet: str, values: dict[int, dict[int, Any]]
) -> None:
    """Raise TableError for cells that were merged: all seem to have what only the first holds."""
    with zipfile.ZipFile(stream) as archive, archive.open(sheet) as content:
        end = b""  # the list of merged cells follows the cells
        while piece := content.read(_END):
            end = (end + piece)[-2 * _END :]
    header = min((row for row, line in values.items() if line), default=0)
    filled = {f"{letters(at)}{row}" for row, line in values.items() if row > header for at in line}
    merged = [f"{first.decode()}:{last.decode()}" for first, last in _MERGED.findall(end)]
    wrong = [area for area in merged if area.split(":")[0] in filled]
    if wrong:
        raise TableError(
            f"{file}: merged cells, of which only the first holds what all seem to have, in "
            f"{quoted(wrong)}; unmerge them and fill each."
        )


def _refuse_zip_bomb(file: Path, stream: IO[bytes]) -> None:
    with zipfile.ZipFile(stream) as archive:
        size = sum(item.file_size for item in archive.infolist())
    packed = os.fstat(stream.fileno()).st_size
    if is_zip_bomb(packed, size, harmless=_SMALL, most=_LARGEST, growth=_MOST_GROWTH):
        raise TableError(
            f"{file}: {packed:,} bytes that unpack to {size:,}, more than a workbook's; save "
            "what is needed of it again, or as CSV."
        )


def _text(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        value = value.date()
    text = value.isoformat() if isinstance(value, dt.date) else str(value)
    return None if value is None or text.strip() in {"", "#N/A"} else text.strip()
