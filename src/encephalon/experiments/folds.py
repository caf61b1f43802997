# SPDX-License-Identifier: Apache-2.0
"""Which rows of a table train, validate and test, and the audit of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError, did_you_mean
from encephalon.recipes.schema import Classification, Recipe, class_names
from encephalon.tables.encoding import encode_classes
from encephalon.tables.leakage import LeakageReport, audit, require_clean
from encephalon.tables.schema import Table
from encephalon.tables.splits import FOLD, SplitOptions, fold_table, split_table, use_fold

__all__ = ["Fold", "Rows", "Splits", "make_splits", "with_fold"]

Rows = NDArray[np.int64]
"""Positions of rows in the table, from 0."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows of the table that train, validate and test one network."""

    number: int
    train: Rows
    validation: Rows
    test: Rows

    def unseen(self, *more: Rows) -> Rows:
        """The rows that the network did not learn, and `more` of them."""
        return np.concatenate([self.validation, self.test, *more])

    def split(self) -> dict[int, str]:
        """What each row that the fold knows is for, by its number."""
        named = (("train", self.train), ("validation", self.validation), ("test", self.test))
        return {int(row): name for name, rows in named for row in rows}


@dataclass(frozen=True, eq=False)
class Splits:
    """How the rows of a table are used.

    table      the table as used: with its split, or its folds
    folds      one or, in a cross-validation, several
    held_out   rows with a class that no fold knows: the final model is tested on them
    others     rows that nothing is learnt from or tested on: they are scored
    audit      what the parts know of each other
    """

    table: Table
    folds: tuple[Fold, ...]
    held_out: Rows
    others: Rows
    audit: LeakageReport

    @property
    def cross_validated(self) -> bool:
        """Whether this is a cross-validation, after which a final model is trained."""
        return len(self.folds) > 1

    @property
    def learnt(self) -> Rows:
        """Every row that some fold knows, in order."""
        fold = self.folds[0]
        return np.sort(np.concatenate([fold.train, fold.validation, fold.test]))


def make_splits(
    recipe: Recipe, settings: Classification, table: Table, hold_out: SplitOptions | None = None
) -> Splits:
    """Draw the folds that `settings` ask for, or take the split of the table, and audit them.

    Without folds, a table that has no split is split as `hold_out` says. Raises TableError where
    that is None, for a class that is missing where it is needed, too few groups, and, unless
    `study.allow_leakage`, for parts that know something of each other.
    """
    _check_group(table)
    _check_columns(table, settings)
    _check_classes(table, class_names(recipe), np.arange(len(table)), "")
    if settings.folds:
        used, folds = _cross_validated(table, settings.folds, recipe.training.seed)
    else:
        used, folds = _single(table, hold_out)
    known = {row: part for fold in folds for row, part in fold.split().items()}
    tested = set(_rows(used, "test")) & set(_labelled(table))
    held_out = [row for row in sorted(tested) if row not in known]
    others = [row for row in range(len(table)) if row not in known and row not in tested]
    if len(folds) > 1:
        known = {int(row): f"fold {fold.number}" for fold in folds for row in fold.test}
        known |= dict.fromkeys(held_out, "test")
    report = audit(_with_split(used, known))
    if not settings.allow_leakage:
        _require_clean(used, report)
    return Splits(used, folds, _array(held_out), _array(others), report)


def with_fold(table: Table, fold: Fold) -> Table:
    """The table with a split column that says what `fold` makes of each row."""
    return _with_split(table, fold.split())


def _with_split(table: Table, split: Mapping[int, str]) -> Table:
    column = table.columns.split or "split"
    cells = [split.get(row) for row in range(len(table))]
    columns = replace(table.columns, split=column)
    return replace(table.with_column(column, cells), columns=columns)


def _cross_validated(table: Table, count: int, seed: int) -> tuple[Table, tuple[Fold, ...]]:
    """Every row with a class, unless its split is "test", is in one of the folds."""
    kept = set(_rows(table, "test"))
    rows = _array([row for row in _labelled(table) if row not in kept])
    strata = (str(table.columns.target),)
    numbered = fold_table(table.select(rows.tolist()), count, strata, seed=seed)
    folds = []
    for number in range(count):
        used = use_fold(numbered, number, validation=(number + 1) % count)
        parts = [rows[_rows(used, name)] for name in ("train", "validation", "test")]
        folds.append(Fold(number, *parts))
    tested_in = {int(row): str(fold.number) for fold in folds for row in fold.test}
    cells = [tested_in.get(row) for row in range(len(table))]
    return table.with_column(FOLD, cells), tuple(folds)


def _single(table: Table, hold_out: SplitOptions | None) -> tuple[Table, tuple[Fold, ...]]:
    """One fold: the table's own split, or `hold_out`."""
    if not table.has(table.columns.split):
        if hold_out is None:
            raise TableError(
                f"{table.source} has no split and study.folds is 0: split the table, or set "
                "study.folds to 5."
            )
        table = _held_out(table, hold_out)
    known = set(_labelled(table))
    train, validation, test = (
        _array([row for row in _rows(table, name) if row in known])
        for name in ("train", "validation", "test")
    )
    for name, rows in (("train", train), ("validation", validation)):
        _check_classes(table, table.columns.target_kind, rows, f" in its part {name!r}")
    return table, (Fold(0, train, validation, test),)


def _held_out(table: Table, options: SplitOptions) -> Table:
    rows = _labelled(table)
    options = replace(options, stratify=(str(table.columns.target),))
    drawn = split_table(table.select(rows), options)
    column = str(drawn.columns.split)
    cells: list[str | None] = [None] * len(table)
    for row, part in zip(rows, drawn.texts(column), strict=True):
        cells[row] = part
    return replace(table.with_column(column, cells), columns=drawn.columns)


def _check_group(table: Table) -> None:
    """Raise TableError where the table lacks the group that the recipe names."""
    group = table.columns.group
    if group is not None and not table.has(group):
        raise TableError(
            f"{table.source} has no column {group!r}, which the recipe names as the group that may "
            "not straddle a split: add it, or name another in table.group (the id where every "
            "image stands for itself)."
        )


def _check_columns(table: Table, settings: Classification) -> None:
    """Raise TableError where the report would miss a column after hours of training."""
    named = {"levels": settings.levels, "strata": settings.strata, "box": settings.box or ()}
    for key, columns in named.items():
        for column in columns:
            if not table.has(column):
                have = list(map(str, table.frame.columns))
                meant = did_you_mean(column, have, "it has")
                raise TableError(
                    f"{table.source} has no column {column!r}, named in study.{key}: {meant}"
                )
    _check_boxes(table, settings.box or ())


def _check_boxes(table: Table, columns: Sequence[str]) -> None:
    """Raise TableError for a box in pixels, say: every figure about maps would be wrong."""
    cells = [table.texts(column) for column in columns]
    for place, box in enumerate(zip(*cells, strict=True)):
        if any(box) and not _is_box(box):
            raise TableError(
                f"{table.source}, row {table.row(place)}: {', '.join(columns)} are "
                f"{', '.join(box)}, which is no box in the image: give centre, width and "
                "height as shares from 0 to 1, or leave them empty."
            )


def _is_box(cells: Sequence[str]) -> bool:
    try:
        x, y, width, height = map(float, cells)
    except ValueError:
        return False
    return 0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1


def _check_classes(table: Table, classes: Sequence[str], rows: Rows, where: str) -> None:
    truth = encode_classes(table)[rows]
    for number, name in enumerate(classes):
        if not (truth == number).any():
            raise TableError(
                f"{table.source} has no row of the class {name!r}{where}: a classifier needs some "
                f"of each of {', '.join(map(repr, classes))}."
            )


def _require_clean(table: Table, report: LeakageReport) -> None:
    try:
        require_clean(table, report)
    except TableError as error:
        raise TableError(
            f"{error} Mend it, or set study.allow_leakage=true, which the report will repeat."
        ) from error


def _labelled(table: Table) -> list[int]:
    """The rows with a class that is learnt."""
    return [int(row) for row in np.flatnonzero(encode_classes(table) >= 0)]


def _rows(table: Table, part: str) -> list[int]:
    """The rows whose split is `part`; none where the table has no split."""
    if not table.has(table.columns.split):
        return []
    cells = table.texts(str(table.columns.split))
    return [row for row, cell in enumerate(cells) if cell == part]


def _array(rows: Sequence[int]) -> Rows:
    return np.array(rows, dtype=np.int64)
