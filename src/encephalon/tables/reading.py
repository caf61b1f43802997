# SPDX-License-Identifier: Apache-2.0
"""Tables as files: CSV, TSV, Parquet, and Excel to read; every cell as text: id 007 stays 007."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import MissingFileError, TableError, require_extra
from encephalon.io.atomic import atomic_path, refuse_existing
from encephalon.io.paths import expanded
from encephalon.tables.schema import Columns, Table

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset({"", "n/a", "N/A", "NA", "nan", "NaN"})
"""Cells that say nothing. "n/a" is the BIDS spelling, "NA" that of R, "nan" that of pandas."""

WRITTEN = (".csv", ".tsv", ".parquet")
"""The tables that can be written."""

SUFFIXES = (*WRITTEN, ".xlsx")
"""The files that are tables."""

_MAX_CELL = 1 << 20  # characters; the csv module stops at 131,072 by default


def read_table(path: str | os.PathLike[str], columns: Columns | None = None) -> Table:
    """The table in that file; `columns` says what its columns mean.

    CSV may be parted by commas or semicolons; of an Excel file the first sheet is read. Columns
    that `columns` does not name are kept, and its name patterns are expanded. Nothing is checked
    beyond the form of the file: see `check_table` and `checked`. Raises MissingFileError, or
    TableError for a file that is no table or has no rows.
    """
    file = expanded(path)
    if not file.is_file():
        message = f"There is no table {file}: give a {_named(SUFFIXES)} file."
        raise MissingFileError(message)
    frame = _read_frame(file)
    if frame.empty:
        raise TableError(f"{file} has a header but no rows: add one row a sample.")
    meaning = (columns or Columns()).expand(map(str, frame.columns))
    return Table(frame, meaning, file.parent, source=str(file))


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether the name of that file is the name of a table."""
    return Path(path).suffix.lower() in SUFFIXES


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
            separator = "\t" if suffix == ".tsv" else ","
            frame.to_csv(temporary, sep=separator, index=False, lineterminator="\n")
    return final


def _suffix(path: Path, known: tuple[str, ...]) -> str:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        require_extra("pyarrow", "parquet", "A Parquet table")
    if suffix not in known:
        what = "an old Excel file" if suffix == ".xls" else "no table that can be used"
        message = f"{path} is {what}: its name must end in {_named(known)}; save it as one."
        raise TableError(message)
    return suffix


def _named(suffixes: tuple[str, ...]) -> str:
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"


def _read_frame(file: Path) -> pd.DataFrame:
    import pandas as pd

    suffix = _suffix(file, SUFFIXES)
    if suffix == ".parquet":
        return _read_parquet(file)
    if suffix == ".xlsx":
        from encephalon.tables.excel import read_sheet

        header, cells = read_sheet(file)
        _check_header(file, header)
        rows = [[None if text is None else _cell(text) for text in row] for row in cells]
    else:
        header, rows = _read_rows(file)
    return pd.DataFrame(rows, columns=pd.Index(header), dtype=object)


def _read_rows(file: Path) -> tuple[list[str], list[list[str | None]]]:
    """The header and the rows of a text file, each as long as the header."""
    csv.field_size_limit(_MAX_CELL)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=_separator(file), strict=True)
            lines = [line for line in reader if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{file} cannot be read as a table of UTF-8 text: {error}.") from error
    if not lines:
        raise TableError(f"{file} is empty: a table begins with a header.")
    header = [name.strip() for name in lines[0]]
    _check_header(file, header)
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            message = (
                f"{file}, row {number}: the header has {len(header)} cells but this row has "
                f"{len(line)}; put cells that contain the separator in double quotes."
            )
            raise TableError(message)
    return header, [[_cell(cell) for cell in line] for line in lines[1:]]


def _separator(file: Path) -> str:
    if file.suffix.lower() == ".tsv":
        return "\t"
    with file.open(encoding="utf-8-sig") as stream:
        header = stream.readline()
    return max(",;\t", key=header.count)


def _check_header(file: Path, header: list[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise TableError(f"{file}: the column {twice[0]!r} is there more than once; rename one.")


def _read_parquet(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise TableError(f"{file} cannot be read as a Parquet table: {error}") from error
    frame.columns = pd.Index([str(name) for name in frame.columns])
    _check_header(file, list(frame.columns))
    cells = {name: [_as_text(value) for value in frame[name]] for name in frame.columns}
    return pd.DataFrame(cells, dtype=object)


def _as_text(value: Any) -> str | None:
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    # A column of whole numbers with a gap comes back as floats: 7.0 is the id 7.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _cell(str(value))


def _cell(text: str) -> str | None:
    stripped = text.strip()
    return None if stripped in MISSING else stripped
