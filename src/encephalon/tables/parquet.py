# SPDX-License-Identifier: Apache-2.0
"""The columns of a Parquet file, whose size is known before any of it is unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encephalon.errors import EncephalonError, TableError
from encephalon.io.files import opened
from encephalon.io.records import MOST_CELLS

_LARGEST = 1 << 28
"""Bytes that the cells may unpack to."""


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
