# SPDX-License-Identifier: Apache-2.0
"""Connectivity from files: of all people in one, or a file a person, as matrices or triangles.

NumPy arrays are mapped and text is read; what comes out is the upper triangle of each person, as
`encephalon.transforms.connectivity.vectorise` has it.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, TableError, did_you_mean
from encephalon.io.files import expanded
from encephalon.io.rows import read_rows
from encephalon.io.text import read_text
from encephalon.studies.legibility.settings import Source
from encephalon.tables.schema import Table
from encephalon.transforms.connectivity import matrices_of, vectorise

__all__ = ["Item", "array_rows", "triangles"]

Item = Path | NDArray[Any] | None
"""What a person has of a source: a file, or the matrix (R, R) or triangle (P,) of an array."""
Triangle = Literal["upper", "lower"]

#: Matrices that are held at once: of 360 regions, one has a megabyte.
_CHUNK = 64
#: What rounding, and z taken back, may leave an eigenvalue of correlations below 0 (ours).
_NEGATIVE = 0.01

_log = logging.getLogger(__name__)


def triangles(
    source: Source, items: Sequence[Item], people: Sequence[str]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The row and the upper triangle (P,) of everybody who has connectivity, checked.

    Raises ContentError, with the person, for what `vectorise` refuses, for the other triangle, and
    for files of no numbers.
    """
    rows = [row for row, item in enumerate(items) if item is not None]
    if rows:
        _refuse_other_triangle(source, _numbers(items[rows[0]]), people[rows[0]])
    for start in range(0, len(rows), _CHUNK):
        # The first of all comes along, so that all are of its size.
        chunk = [rows[0], *rows[start : start + _CHUNK]]
        matrices = [_matrix(source.triangle, _numbers(items[row]), people[row]) for row in chunk]
        found = vectorise(matrices, [people[row] for row in chunk])
        yield from zip(chunk[1:], found[1:].astype(np.float32), strict=True)


def array_rows(source: Source, table: Table, beside: Path) -> list[Item]:
    """The row of an array that each row of the table has: by its id, or in turn where it has none.

    Rows of NaN alone are those of people who have nothing. Raises TableError with the id that is
    there twice or unknown to the table, or for counts that differ; ContentError for no numbers.
    """
    file, part = _parted(source.array)
    path = beside / expanded(file)
    array, ids = read_rows(path, part, table.columns.id)
    if array.ndim < 2:
        raise ContentError(f"{path}: expected a row a person, but its shape is {array.shape}.")
    if source.ids:
        lines = read_text(beside / expanded(source.ids)).splitlines()
        ids = [line.strip() for line in lines if line.strip()]
    if len(array) != len(ids or table.ids):
        what = f"ids in {source.ids}" if ids else f"rows in {table.source}, and no ids"
        raise TableError(
            f"{path} has the connectivity of {len(array)} people, but there are "
            f"{len(ids or table.ids)} {what}: give one each."
        )
    ids = ids or table.ids
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


def _refuse_other_triangle(source: Source, row: NDArray[Any], person: str) -> None:
    """Raise ContentError where only the other order of pairs gives a matrix of correlations.

    Correlations have no eigenvalue below 0; in the wrong order the smallest is far below.
    """
    if row.ndim != 1 or not np.isfinite(row).all():
        return
    other: Triangle = "lower" if source.triangle == "upper" else "upper"
    said, else_ = (
        float(np.linalg.eigvalsh(_matrix(triangle, row, person))[0])
        for triangle in (source.triangle, other)
    )
    if said < -_NEGATIVE <= else_:
        raise ContentError(
            f"The connectivity of {person} is no matrix of correlations as the {source.triangle} "
            f"triangle (its smallest eigenvalue is {said:.2g}), and is one as the {other}: set  "
            f'triangle = "{other}".'
        )


def _unknown(row: NDArray[Any]) -> bool:
    """Whether a person has nothing in an array, which is NaN then: asked of one number first."""
    return bool(np.isnan(row.flat[row.size // 2 - 1]) and np.isnan(row).all())


def _numbers(item: Item) -> NDArray[Any]:
    """The matrix or triangle of a person who has one."""
    assert item is not None
    return np.squeeze(read_rows(item)[0]) if isinstance(item, Path) else item


def _matrix(triangle: Triangle, numbers: NDArray[Any], person: str) -> NDArray[Any]:
    """The matrix (R, R) of a person."""
    try:
        return matrices_of(numbers[None], triangle)[0] if numbers.ndim == 1 else numbers
    except ContentError as error:
        raise ContentError(f"{person}: {error}") from error


def _parted(array: str) -> tuple[str, str]:
    """The file and the name after it of "file.npz:name", of which C:\\data\\file.npy has none."""
    found = re.fullmatch(r"(.+\.npz):(.*)", array, re.IGNORECASE)
    return (found[1], found[2]) if found else (array, "")
