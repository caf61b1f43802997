# SPDX-License-Identifier: Apache-2.0
"""The rows of an array that the rows of a table have, matched by their ids."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, TableError, did_you_mean
from encephalon.io.files import composed, expanded
from encephalon.io.rows import read_rows
from encephalon.io.text import read_text
from encephalon.tables.schema import Table

__all__ = ["array_rows"]

_log = logging.getLogger(__name__)


def array_rows(
    array_file: str, ids_file: str, table: Table, beside: Path
) -> list[NDArray[Any] | None]:
    """The row of an array that each row of the table has: by its id, or in turn where it has none.

    array_file  .npy, .npz ("file.npz:name"), CSV or TSV of (N, ...), from the folder `beside`
    ids_file    a text file of its ids, one a line; "" for those in it, or those of the table

    Rows of NaN alone are those of people who have nothing. Raises TableError with the id that is
    there twice or unknown to the table, or for counts that differ; ContentError for no numbers.
    """
    file, part = _parted(array_file)
    path = beside / expanded(file)
    array, ids = read_rows(path, part, table.columns.id)
    if array.ndim < 2:
        raise ContentError(f"{path}: expected a row a person, but its shape is {array.shape}.")
    if ids_file:
        lines = read_text(beside / expanded(ids_file)).splitlines()
        ids = [line.strip() for line in lines if line.strip()]
    if len(array) != len(ids or table.ids):
        what = f"ids in {ids_file}" if ids else f"rows in {table.source}, and no ids"
        raise TableError(
            f"{path} has the connectivity of {len(array)} people, but there are "
            f"{len(ids or table.ids)} {what}: give one each."
        )
    ids = list(map(composed, ids)) or table.ids
    _refuse_strange(path, ids, table)
    rows = dict(zip(ids, array, strict=True))
    if list(rows) != [person for person in table.ids if person in rows]:
        _log.info("%s is in another order than %s: matched by id.", path, table.source)
    return [None if row is None or _unknown(row) else row for row in map(rows.get, table.ids)]


def _refuse_strange(path: Path, ids: Sequence[str], table: Table) -> None:
    """Raise TableError for an id of an array that is there twice, or that the table has not."""
    known = set(table.ids)
    for person, count in Counter(ids).items():
        if count > 1:
            raise TableError(f"{path} has the id {person!r} {count} times: leave one.")
        if person not in known:
            meant = did_you_mean(person, table.ids[:100], "it begins with").split(",")[0]
            raise TableError(
                f"{path} has the id {person!r}, which is not in {table.source}; "
                f"{meant.rstrip('.')}{'' if meant.endswith('?') else '.'}"
            )


def _unknown(row: NDArray[Any]) -> bool:
    """Whether a person has nothing in an array, which is NaN then: asked of one number first."""
    return bool(np.isnan(row.flat[row.size // 2 - 1]) and np.isnan(row).all())


def _parted(array: str) -> tuple[str, str]:
    """The file and the name after it of "file.npz:name", of which C:\\data\\file.npy has none."""
    found = re.fullmatch(r"(.+\.npz):(.*)", array, re.IGNORECASE)
    return (found[1], found[2]) if found else (array, "")
