# SPDX-License-Identifier: Apache-2.0
"""Connectivity from files or rows of an array, as matrices or triangles, to upper triangles.

NumPy arrays are mapped and text is read; what comes out is the upper triangle of each person, as
`encephalon.transforms.connectivity.vectorise` has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.io.rows import read_rows
from encephalon.transforms.connectivity import matrices_of, vectorise

__all__ = ["Item", "Triangle", "read_triangles"]

Item = Path | NDArray[Any] | None
"""What a person has: a file, or the matrix (R, R) or triangle (P,) of an array."""
Triangle = Literal["upper", "lower"]

#: Matrices that are held at once: of 360 regions, one has a megabyte.
_CHUNK = 64
#: What rounding, and z taken back, may leave an eigenvalue of correlations below 0 (ours).
_NEGATIVE = 0.01


def read_triangles(
    items: Sequence[Item], people: Sequence[str], triangle: Triangle = "upper"
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The row and the upper triangle (P,) of everybody who has connectivity, checked.

    triangle  which of the two flat items are

    Raises ContentError, with the person, for what `vectorise` refuses, for the other triangle, and
    for files of no numbers.
    """
    rows = [row for row, item in enumerate(items) if item is not None]
    if rows:
        _refuse_other_triangle(triangle, _numbers(items[rows[0]]), people[rows[0]])
    for start in range(0, len(rows), _CHUNK):
        # The first of all comes along, so that all are of its size.
        chunk = [rows[0], *rows[start : start + _CHUNK]]
        matrices = [_matrix(triangle, _numbers(items[row]), people[row]) for row in chunk]
        found = vectorise(matrices, [people[row] for row in chunk])
        yield from zip(chunk[1:], found[1:].astype(np.float32), strict=True)


def _refuse_other_triangle(triangle: Triangle, row: NDArray[Any], person: str) -> None:
    """Raise ContentError where only the other order of pairs gives a matrix of correlations.

    Correlations have no eigenvalue below 0; in the wrong order the smallest is far below.
    """
    if row.ndim != 1 or not np.isfinite(row).all():
        return
    other: Triangle = "lower" if triangle == "upper" else "upper"
    said, else_ = (
        float(np.linalg.eigvalsh(_matrix(one, row, person))[0]) for one in (triangle, other)
    )
    if said < -_NEGATIVE <= else_:
        raise ContentError(
            f"The connectivity of {person} is no matrix of correlations as the {triangle} "
            f"triangle (its smallest eigenvalue is {said:.2g}), and is one as the {other}: set "
            f'triangle = "{other}".'
        )


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
