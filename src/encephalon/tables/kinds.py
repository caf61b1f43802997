# SPDX-License-Identifier: Apache-2.0
"""What a column of a table holds, as its cells show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from encephalon.errors import TableError, did_you_mean, listed
from encephalon.tables.encoding import as_number
from encephalon.tables.schema import ColumnKind, Table

__all__ = ["column_classes", "column_kind", "numbers_of"]

#: Different words of a column that are taken for its categories, and not for text (ours).
MOST_WORDS = 12
#: Rows of a class, at the least: one to learn from, and one to be told.
FEWEST = 2


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


def column_classes(
    table: Table, column: str, kind: str, whose: str, named: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The classes of a column that is learnt; () of a "continuous" one.

    kind   "binary" and "multiclass" have classes in any order, "ordinal" in theirs
    whose  what the column is of, in words, such as "the target 'sex'"
    named  the classes, where they are known; of an ordinal column they must be

    Raises TableError for a column that there is not, that is empty or the same in every row, or
    that has words which do not suit its kind, and for a class of fewer than FEWEST rows.
    """
    table.require(column, whose)
    place, cells = f"{table.source}: {column!r}, of {whose},", dict(known_cells(table, column))
    if not cells:
        raise TableError(f"{place} is empty in every row: leave it out.")
    if len({size_of(word) for word in cells.values()}) == 1:
        word = next(iter(cells.values()))
        raise TableError(f"{place} is {word!r} for everybody: nothing can be learnt of it.")
    if kind == "continuous":
        for row, cell in cells.items():
            if math.isnan(as_number(cell)):
                raise TableError(
                    f"{table.source}, row {row}: {column!r}, of {whose}, is {cell!r} and no "
                    "number: mend it, or name another kind."
                )
        return ()
    classes = named or _classes(place, kind, sorted_words(cells.values()))
    for row, cell in cells.items():
        if cell not in classes:
            meant = did_you_mean(cell, classes, "they are").rstrip(".")
            raise TableError(
                f"{table.source}, row {row}: {column!r} is {cell!r}, which is none of the classes "
                f"of {whose}: {meant}; empty the cell, or name the class."
            )
    counts = Counter(cells.values())
    for word in classes:
        if counts[word] < FEWEST:
            raise TableError(
                f"{place} is {word!r} in {counts[word]} of {len(cells)} rows, and a class needs "
                f"{FEWEST}, one to learn from and one to be told: leave it out of the classes, or "
                "join it with another."
            )
    return classes


def _classes(place: str, kind: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """All words of a column, if they are classes of that kind."""
    for one, other in pairwise(words):
        if size_of(one) == size_of(other):
            raise TableError(
                f"{place} is {one!r} in some rows and {other!r} in others, which is one number: "
                "write it alike."
            )
    if kind == "binary" and len(words) != 2:
        raise TableError(
            f"{place} has {len(words)} different words, {listed(words)}, and a binary target two: "
            "make it multiclass, or name two classes and empty the other cells."
        )
    if kind == "ordinal" and any(math.isnan(as_number(word)) for word in words):
        raise TableError(f"{place} is ordinal: name its classes in their order, from the lowest.")
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
        if cell and not math.isfinite(number):
            raise TableError(
                f"{table.source}, row {table.row(place)}: {column!r} is {cell!r}, which is no "
                "number: correct the cell, or leave it empty."
            )
    return [float(number) for number in found]
