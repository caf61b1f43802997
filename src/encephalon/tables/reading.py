# SPDX-License-Identifier: Apache-2.0
"""Tables as files: CSV, TSV, Parquet, and Excel to read; every cell as text: id 007 stays 007.

The size of a Parquet file is known before any of it is unpacked, and refused where it is a trap.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import is_normalized

from encephalon.errors import (
    EncephalonError,
    InputError,
    MissingFileError,
    TableError,
    either,
    require_extra,
)
from encephalon.io.atomic import atomic_path, refuse_existing
from encephalon.io.files import composed, exists, expanded, is_file, opened
from encephalon.io.text import MOST_CELLS, csv_text, read_lines
from encephalon.tables.naming import letters
from encephalon.tables.schema import FIRST_ROW, Columns, Table

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset({"", "n/a", "N/A", "NA", "nan", "NaN"})
"""Cells that say nothing. "n/a" is the BIDS spelling, "NA" that of R, "nan" that of pandas."""

WRITTEN = (".csv", ".tsv", ".parquet")
"""The tables that can be written."""

SUFFIXES = (*WRITTEN, ".xlsx")
"""The files that are tables."""

_FOREIGN = (".xls", ".xlsm", ".xlsb", ".ods", ".fods", ".numbers")
"""Spreadsheets that are not read, and are told from images by their names."""

_LARGEST = 1 << 28
"""Bytes that the cells may unpack to."""


def read_table(path: str | os.PathLike[str], columns: Columns | None = None) -> Table:
    """The table in that file; `columns` says what its columns mean.

    CSV may be parted by commas or semicolons; of an Excel file the first sheet is read. Accents are
    composed (see `io.files.composed`), so that two spellings of a name mean one animal or class.
    Columns that `columns` does not name are kept, and its name patterns are expanded. Nothing is
    checked beyond the form of the file: see `check_table` and `checked`. Raises MissingFileError,
    or TableError for a file that is no table or has no rows.
    """
    file = expanded(path)
    if not exists(file):
        raise MissingFileError(f"There is no table {file}: give a {either(SUFFIXES)} file.")
    frame, numbers = _read_frame(file)
    if frame.empty:
        raise TableError(f"{file} has a header but no rows: add one row a sample.")
    meaning = (columns or Columns()).expand(map(str, frame.columns))
    return Table(frame, meaning, file.parent, source=str(file), rows=numbers)


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether the name of that file is the name of a table, of one that is not read too."""
    return Path(path).suffix.lower() in {*SUFFIXES, *_FOREIGN}


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Write the rows as CSV, TSV or Parquet, by the suffix of `path`, in one atomic step.

    An empty cell is written as nothing. Raises OutputExistsError unless `overwrite`, OutputError
    if the place cannot be written, TableError for another suffix.
    """
    final = expanded(path)
    suffix = _suffix(final, WRITTEN)
    refuse_existing(final, overwrite)
    with atomic_path(final) as temporary:
        if suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            temporary.write_text(table_text(frame, "\t" if suffix == ".tsv" else ","), "utf-8")
    return final


def table_text(frame: pd.DataFrame, separator: str = ",") -> str:
    """The rows as CSV, formulas neutralised (see `encephalon.io.text`)."""
    names = list(map(str, frame.columns))
    cells = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    rows = [dict(zip(names, row, strict=True)) for row in cells]
    return csv_text(rows, names, separator)


def _suffix(path: Path, known: tuple[str, ...]) -> str:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        require_extra("pyarrow", "parquet", "A Parquet table")
    if suffix not in known:
        what = "another spreadsheet" if suffix in _FOREIGN else "no table that can be used"
        what = "an old Excel file" if suffix == ".xls" else what
        raise TableError(f"{path} is {what}: its name must end in {either(known)}; save it as one.")
    return suffix


def _read_frame(file: Path) -> tuple[pd.DataFrame, tuple[int, ...]]:
    """The rows of a file as text, and what a spreadsheet calls each of them."""
    import pandas as pd

    suffix = _suffix(file, SUFFIXES)
    if suffix == ".parquet":
        columns = read_columns(file)
        header = [composed(name) for name, _ in columns]
        _check_header(file, header)
        cells = {
            name: [_as_text(value, file.parent) for value in column]
            for name, (_, column) in zip(header, columns, strict=True)
        }
        return pd.DataFrame(cells, dtype=object), ()
    if suffix == ".xlsx":
        from encephalon.tables.excel import read_sheet

        lines = read_sheet(file)
    else:
        lines = _text_lines(file)
    header, rows, numbers = _rectangle(file, lines)
    _check_header(file, header)
    return pd.DataFrame(rows, columns=pd.Index(header), dtype=object), numbers


def _text_lines(file: Path) -> dict[int, dict[int, str]]:
    try:
        found = read_lines(file)
    except InputError as error:
        raise TableError(str(error)) from error
    header = next((line for line in found if any(map(str.strip, line))), [])
    for number, line in enumerate(found, FIRST_ROW - 1):
        # Cells that say nothing may follow, as Excel writes them; none may be lacking.
        beyond = any(cell.strip() for cell in line[len(header) :])
        if any(map(str.strip, line)) and (beyond or len(line) < len(header)):
            raise TableError(
                f"{file}, row {number}: the header has {len(header)} cells but this row has "
                f"{len(line)}; put cells that contain the separator in double quotes."
            )
    return {
        number: {place: cell.strip() for place, cell in enumerate(line) if cell.strip()}
        for number, line in enumerate(found, FIRST_ROW - 1)
    }


def _rectangle(
    file: Path, lines: Mapping[int, Mapping[int, str]]
) -> tuple[list[str], list[list[str | None]], tuple[int, ...]]:
    """Header, rows and their numbers out of the cells that are not empty, by row and column.

    Rows and columns without any are left out. Raises TableError for cells below no name.
    """
    numbers = [number for number, line in lines.items() if line]
    if not numbers:
        raise TableError(f"{file} is empty: a table begins with a header.")
    first, *others = numbers
    lines = _without_index(lines, first, others)
    used = sorted({column for number in numbers for column in lines[number]})
    for column in used:
        if column not in lines[first]:
            message = f"column {letters(column)} has cells but no name in the first row; name it."
            raise TableError(f"{file}: {message}")
    if len(used) * len(others) > MOST_CELLS:
        raise TableError(f"{file}: more than {MOST_CELLS:,} cells; save what is needed of it.")
    folder = file.parent
    rows = [[_cell(lines[number].get(column, ""), folder) for column in used] for number in others]
    return [composed(lines[first][column]) for column in used], rows, tuple(others)


def _without_index(
    lines: Mapping[int, Mapping[int, str]], first: int, others: list[int]
) -> Mapping[int, Mapping[int, str]]:
    """The cells without a first column that has no name and a number of its own in each row.

    So pandas writes its index, unless it is told not to.
    """
    unnamed = [lines[row].get(0, "") for row in others]
    numbered = all(map(str.isdecimal, unnamed)) and len({*unnamed}) == len(unnamed)
    if 0 in lines[first] or not numbered:
        return lines
    return {row: {k: cell for k, cell in line.items() if k} for row, line in lines.items()}


def _check_header(file: Path, header: list[str]) -> None:
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        raise TableError(f"{file}: the column {twice[0]!r} is there more than once; rename one.")


def _as_text(value: Any, folder: Path) -> str | None:
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    # A column of whole numbers with a gap comes back as floats: 7.0 is the id 7.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _cell(str(value), folder)


def _cell(text: str, folder: Path) -> str | None:
    """What a cell says, accents composed unless it names a file of `folder` as it stands."""
    stripped = text.strip()
    if is_normalized("NFC", stripped) or is_file(folder / expanded(stripped)):
        return None if stripped in MISSING else stripped
    return composed(stripped)


def read_columns(file: Path) -> list[tuple[str, list[Any]]]:
    """Name and values of each column, None where there is none; pandas' index is a column too.

    Raises TableError for a damaged file and for one of more cells or bytes than a table has.
    """
    import pyarrow.parquet

    try:
        with opened(file) as stream, pyarrow.parquet.ParquetFile(stream) as opening:
            _refuse_large(file, opening.metadata)
            strings = [
                field.path
                for field in map(opening.schema.column, range(len(opening.schema)))
                if field.physical_type == "BYTE_ARRAY"
            ]
            # Equal cells are kept once, as they are in the file: repeated they may fill the memory.
            with (
                opened(file) as again,
                pyarrow.parquet.ParquetFile(again, read_dictionary=strings) as lean,
            ):
                table = lean.read(use_pandas_metadata=False)
            names = [str(name) for name in table.column_names]
            return [
                (name, _values(column))
                for name, column in zip(names, table.columns, strict=True)
                if not name.startswith("__index_level_")
            ]
    except EncephalonError as error:
        raise TableError(str(error)) from error
    except Exception as error:  # damage makes its readers raise half a dozen
        reason = " ".join(str(error).split()).rstrip(".")
        raise TableError(f"{file} cannot be read as a Parquet table: {reason}.") from error


def _values(column: Any) -> list[Any]:
    import pyarrow

    values: list[Any] = []
    for chunk in column.chunks:
        if not pyarrow.types.is_dictionary(chunk.type):
            values += chunk.to_pylist()
            continue
        known = [*chunk.dictionary.to_pylist(), None]
        values += [known[-1 if place is None else place] for place in chunk.indices.to_pylist()]
    return values


def _refuse_large(file: Path, about: Any) -> None:
    groups = map(about.row_group, range(about.num_row_groups))
    size = sum(
        group.column(place).total_uncompressed_size
        for group in groups
        for place in range(group.num_columns)
    )
    cells = about.num_rows * about.num_columns
    if cells > MOST_CELLS or size > _LARGEST:
        raise TableError(
            f"{file}: {about.num_rows:,} rows of {about.num_columns:,} columns and {size:,} bytes "
            "are more than a table of samples has; save what is needed of it."
        )
