# SPDX-License-Identifier: Apache-2.0
"""Rows of results as CSV: cells that say nothing are empty, and numbers keep ten digits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from encephalon.io.atomic import write_text

__all__ = ["csv_text", "write_records"]


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Iterable[str] | None = None) -> str:
    """The rows as CSV; without `columns` each stands where it first came.

    None, NaN and absent cells are empty, infinity is `inf`, truth values are `true` and `false`.
    """
    stream = io.StringIO(newline="")
    names = list(columns or dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def write_records(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Write the rows as CSV, atomically; raises OutputError when the file cannot be written."""
    return write_text(path, csv_text(rows))


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)
