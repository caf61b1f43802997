# SPDX-License-Identifier: Apache-2.0
"""What a column of a table holds, as its cells show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from encephalon.errors import TableError
from encephalon.tables.encoding import as_number
from encephalon.tables.schema import ColumnKind, Table

__all__ = ["column_kind", "known_cells", "numbers_of", "size_of", "sorted_words"]

#: Different words of a column that are taken for its categories, and not for text (ours).
MOST_WORDS = 12


def column_kind(table: Table, column: str, whose: str) -> ColumnKind:
    """What a column holds: numbers throughout, or few words.

    whose  what the column is of, in words, such as "the block 'blood'"

    Raises TableError for a column of neither, or of nothing.
    """
    cells = dict(known_cells(table, column))
    if not cells:
        raise TableError(
            f"{table.source}: {column!r}, of {whose}, is empty in every row: leave it out."
        )
    strange = {row: cell for row, cell in cells.items() if math.isnan(as_number(cell))}
    if not strange:
        return "number"
    words = sorted_words(cells.values())
    if len(strange) < len(cells) or len(words) > MOST_WORDS:
        row, word = next(iter(strange.items()))
        raise TableError(
            f"{table.source}, row {row}: {column!r}, of {whose}, is {word!r}, and a "
            f"column is numbers throughout or at most {MOST_WORDS} different words, not "
            f"{len(words)}: correct the cell, leave the column out, or name its categories."
        )
    return words


def sorted_words(words: Iterable[str]) -> tuple[str, ...]:
    """Each word once: numbers by their size, and then the others."""
    return tuple(sorted(set(words), key=lambda word: (*size_of(word), word)))


def size_of(word: str) -> tuple[float, str]:
    """What words are told apart and put in order by: 1 and 1.0 are one number."""
    number = as_number(word)
    return (math.inf, word) if math.isnan(number) else (number, "")


def known_cells(table: Table, column: str) -> Iterator[tuple[int, str]]:
    """What a spreadsheet calls each row that says something, and what it says."""
    for place, cell in enumerate(table.texts(column)):
        if cell:
            yield table.row(place), cell


def numbers_of(table: Table, column: str) -> list[float]:
    """The numbers of a column, NaN where a cell is empty; raises TableError for other words."""
    found = table.numbers(column)
    for place, (cell, number) in enumerate(zip(table.texts(column), found, strict=True)):
        if cell and math.isnan(number):
            raise TableError(
                f"{table.source}, row {table.row(place)}: {column!r} is {cell!r}, which is no "
                "number: correct the cell, or leave it empty."
            )
    return [float(number) for number in found]
