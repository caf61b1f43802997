# SPDX-License-Identifier: Apache-2.0
"""Result tables as files: CSV with the columns of all rows, and rows that JSON can hold."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from encephalon.io.atomic import write_text

__all__ = ["plain_row", "write_records"]


def write_records(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Write rows as CSV, atomically; a column stands where it first came, absent cells are empty.

    Numbers keep ten digits, NaN is an empty cell and infinity is `inf`. Raises OutputError when
    the file cannot be written.
    """
    columns = dict.fromkeys(name for row in rows for name in row)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return write_text(path, stream.getvalue())


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with None for numbers that are not finite, which JSON does not know."""
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in row.items()
    }


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)
