# SPDX-License-Identifier: Apache-2.0
"""predictions.csv: one row a sample and model, whole at every moment, shared by several processes.

Rows of earlier runs stay: a row is replaced only by a newer one of the same sample and model, or by
one of another model whose images took the place of its own.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from encephalon.errors import InputError, OutputExistsError
from encephalon.io.atomic import locked, write_text
from encephalon.io.text import csv_text, read_records

Row = Mapping[str, Any]

FIRST = ("id", "model", "source")
"""The columns that every table begins with."""
LAST = ("quality", "reasons", "seconds", "error")
"""The columns that every table ends with; what the predictor adds stands between."""
MARK = "fingerprint"
"""The column that says what the row depends on, see `inference.fingerprint`."""
STATUS, AGAIN = "status", "again"
"""What became of a sample in this run (done, skipped, failed), and why it was done once more; both
are said in the rows of a run, and kept in no table."""
RESERVED = (*FIRST, *LAST, MARK, STATUS, AGAIN)
"""Names that a predictor's values cannot have."""

_SHARE = 0.05
"""Part of the time that may go into writing the table after each sample."""
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+(?:[eE][+-]?\d+)?")


class PredictionsTable:
    """The rows of one run, merged into the table on disk.

    `images` are the columns that name images; rows of the samples `order` stand in that order among
    themselves, however they came. Raises OutputExistsError when `path` exists and is no such table,
    unless `overwrite`.
    """

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool = False,
        images: Iterable[str] = (),
        order: Iterable[str] = (),
    ) -> None:
        self._path = path
        self._overwrite = overwrite
        self._images = tuple(images)
        self._place = {name: place for place, name in enumerate(order)}
        self._rows: dict[tuple[str, str], Row] = {}
        self._saved_at = 0.0
        self._cost = 0.0
        self._unsaved = False
        self._earlier = {_key(row): row for row in self._present() if not row.get("error")}

    def earlier(self, sample_id: str, model: str) -> Row | None:
        """The row of this sample and model that an earlier run left, if it is no failure."""
        return self._earlier.get((sample_id, model))

    def add(self, row: Row) -> None:
        """Keep a row, and write the table unless that would cost more than a small part of time."""
        self._rows[_key(row)] = {k: cell for k, cell in row.items() if k not in (STATUS, AGAIN)}
        self._unsaved = True
        if time.monotonic() - self._saved_at >= self._cost / _SHARE:
            self.save()

    def save(self) -> None:
        """Write the rows of this run and those on disk as one table; raises OutputError."""
        if not self._unsaved:
            return
        begun = time.monotonic()
        # Another process may have added rows since: they are read again under the lock.
        with locked(self._path.with_name(f".{self._path.name}")):
            rows = self._ordered(merged(self._present(), self._rows.values(), self._images))
            ends = {*FIRST, *LAST}
            middle = dict.fromkeys(name for row in rows for name in row if name not in ends)
            write_text(self._path, csv_text(rows, (*FIRST, *middle, *LAST)))
        self._unsaved = False
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - begun

    def _ordered(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of `order` in the places that they have, all others where they are."""
        ours = [row for row in rows if row["id"] in self._place]
        sorted_ours = iter(sorted(ours, key=lambda row: self._place[row["id"]]))
        return [next(sorted_ours) if row["id"] in self._place else row for row in rows]

    def _present(self) -> list[Row]:
        try:
            return read_rows(self._path)
        except OutputExistsError:
            if self._overwrite:
                return []
            raise


def merged(earlier: Sequence[Row], new: Iterable[Row], images: Iterable[str] = ()) -> list[Row]:
    """The newest row of each sample and model, in the order in which they first came.

    A row of another model goes when a new row of its sample names one of its images, by the columns
    `images`: the image is no longer that of the other model.
    """
    added = {_key(row): row for row in new}
    columns = tuple(images)
    taken = {
        (row["id"], column, row[column])
        for row in added.values()
        for column in columns
        if row.get(column)
    }
    kept = {
        _key(row): row
        for row in earlier
        if not any((row["id"], column, row.get(column)) in taken for column in columns)
    }
    places = dict.fromkeys(_key(row) for row in earlier) | dict.fromkeys(added)
    rows = kept | added
    return [rows[key] for key in places if key in rows]


def read_rows(path: Path) -> list[Row]:
    """The rows of a table of predictions, as written here or saved again by a spreadsheet program.

    No table is no rows. Raises OutputExistsError for what is there and no such table.
    """
    if not os.path.lexists(path):
        return []
    with suppress(InputError):
        columns, rows = read_records(path)
        if {*FIRST, *LAST} <= set(columns):
            return list(rows)
    raise OutputExistsError(
        f"{path} exists already and is no table of predictions: choose another folder, or replace "
        "it with --overwrite."
    )


def typed(row: Row) -> dict[str, Any]:
    """A row as it was before it was written: numbers, truth values, None for empty cells."""
    return {name: cell if name in FIRST else _value(cell) for name, cell in row.items()}


def _value(cell: str) -> Any:
    if cell in {"", "true", "false"}:
        return None if cell == "" else cell == "true"
    if _DECIMAL_COMMA.fullmatch(cell):  # as a spreadsheet program writes them in half of Europe
        cell = cell.replace(",", ".")
    for kind in (int, float):
        try:
            number = kind(cell)
        except ValueError:
            continue
        if f"{number:.10g}" == cell:
            return number
    return cell


def _key(row: Row) -> tuple[str, str]:
    return str(row["id"]), str(row["model"])
