# SPDX-License-Identifier: Apache-2.0
"""predictions.csv: one row a sample and model, whole at every moment, shared by several processes.

Rows of earlier runs stay: a row is replaced only by a newer one of the same sample and model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encephalon.errors import InputError, OutputExistsError
from encephalon.io.atomic import locked, write_text
from encephalon.io.records import csv_text, read_records

__all__ = ["FIRST", "LAST", "Ledger"]

Row = Mapping[str, Any]

FIRST = ("id", "model", "source")
"""The columns that every table begins with."""
LAST = ("quality", "reasons", "seconds", "error")
"""The columns that every table ends with; what the predictor adds stands between."""

_SHARE = 0.05
"""Part of the time that may go into writing the table after each sample."""


class Ledger:
    """The rows of one run, merged into the table on disk.

    Raises OutputExistsError when `path` exists and is no such table, unless `overwrite`.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self._path = path
        self._overwrite = overwrite
        self._rows: dict[tuple[str, str], Row] = {}
        self._saved_at = 0.0
        self._cost = 0.0
        self._unsaved = False
        self._finished = {_key(row) for row in self._present() if not row.get("error")}

    def has(self, sample_id: str, model: str) -> bool:
        """Whether an earlier run left a row of this sample and model that is no failure."""
        return (sample_id, model) in self._finished

    def add(self, row: Row) -> None:
        """Keep a row, and write the table unless that would cost more than a small part of time."""
        self._rows[_key(row)] = dict(row)
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
            rows = ({_key(row): row for row in self._present()} | self._rows).values()
            ends = {*FIRST, *LAST}
            middle = dict.fromkeys(name for row in rows for name in row if name not in ends)
            write_text(self._path, csv_text(list(rows), (*FIRST, *middle, *LAST)))
        self._unsaved = False
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - begun

    def _present(self) -> list[Row]:
        if not self._path.exists():
            return []
        try:
            columns, rows = read_records(self._path)
        except InputError:
            columns, rows = [], []
        if {*FIRST, *LAST} <= set(columns):
            return list(rows)
        if self._overwrite:
            return []
        message = (
            f"{self._path} exists already and is no table of predictions: choose another folder, "
            "or replace it with --overwrite."
        )
        raise OutputExistsError(message)


def _key(row: Row) -> tuple[str, str]:
    return str(row["id"]), str(row["model"])
