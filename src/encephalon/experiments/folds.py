# SPDX-License-Identifier: Apache-2.0
"""Which rows of a table train, validate and test, the audit of that, and what was learnt of others.

Of a finished model it can be told whether an image, or a table to score it on, was in its training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, TableError, did_you_mean
from encephalon.explanation.location import box_of
from encephalon.recipes.schema import Classification, Recipe, class_names
from encephalon.tables.encoding import encode_classes
from encephalon.tables.leakage import LeakageReport, audit, require_clean
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns, Table
from encephalon.tables.splits import FOLD, SplitOptions, fold_table, split_table, use_fold
from encephalon.training.runs import RunFolder

__all__ = [
    "OVERLAP",
    "Fold",
    "Known",
    "Rows",
    "Splits",
    "contamination",
    "known_to",
    "make_splits",
    "overlap_warning",
    "with_fold",
]

OVERLAP = "training_overlap"
"""The column of predictions.csv that says what of an image the training knew."""
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
    _check_columns(table, settings)
    _check_classes(table, class_names(recipe), np.arange(len(table)), "")
    if settings.folds:
        used, folds = _cross_validated(table, settings.folds, recipe.training.seed)
    else:
        used, folds = _single(table, hold_out)
    known = {row: part for fold in folds for row, part in fold.split().items()}
    tested = np.intersect1d(_rows(used, "test"), _labelled(table))
    held_out = np.setdiff1d(tested, [*known])
    others = np.setdiff1d(np.arange(len(table)), [*known, *tested])
    if len(folds) > 1:
        known = {int(row): f"fold {fold.number}" for fold in folds for row in fold.test}
        known |= dict.fromkeys(held_out.tolist(), "test")
    report = audit(_with_split(used, known))
    if not settings.allow_leakage:
        try:
            require_clean(used, report)
        except TableError as error:
            raise TableError(
                f"{error} Mend it, or set study.allow_leakage=true, which the report will repeat."
            ) from error
    return Splits(used, folds, held_out, others, report)


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
    rows = np.setdiff1d(_labelled(table), _rows(table, "test"))
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
        drawn_from = _labelled(table).tolist()
        options = replace(hold_out, stratify=(str(table.columns.target),))
        drawn = split_table(table.select(drawn_from), options)
        cells = dict(zip(drawn_from, drawn.texts(str(drawn.columns.split)), strict=True))
        table = _with_split(replace(table, columns=drawn.columns), cells)
    train, validation, test = (
        np.intersect1d(_rows(table, name), _labelled(table))
        for name in ("train", "validation", "test")
    )
    for name, rows in (("train", train), ("validation", validation)):
        _check_classes(table, table.columns.target_kind, rows, f" in its part {name!r}")
    return table, (Fold(0, train, validation, test),)


def _check_columns(table: Table, settings: Classification) -> None:
    """Raise TableError where the table lacks the group that the recipe names, or where the report
    would miss a column, or a box, after hours of training.
    """
    group = table.columns.group
    if group is not None and not table.has(group):
        raise TableError(
            f"{table.source} has no column {group!r}, which the recipe names as the group that may "
            "not straddle a split: add it, or name another in table.group (the id where every "
            "image stands for itself)."
        )
    named = {"levels": settings.levels, "strata": settings.strata, "box": settings.box or ()}
    for key, columns in named.items():
        for column in columns:
            if not table.has(column):
                have = list(map(str, table.frame.columns))
                meant = did_you_mean(column, have, "it has")
                raise TableError(
                    f"{table.source} has no column {column!r}, named in study.{key}: {meant}"
                )
    named_box = settings.box or ()
    for place, cells in enumerate(zip(*map(table.texts, named_box), strict=True)):
        row = dict(zip(named_box, cells, strict=True))
        x, y, width, height = box_of(row, settings.box) or (-1, -1, -1, -1)
        inside = 0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1
        # Of a box in pixels, say, every figure about maps would be wrong.
        if any(cells) and not inside:
            raise TableError(
                f"{table.source}, row {table.row(place)}: {', '.join(named_box)} are "
                f"{', '.join(cells)}, which is no box in the image: give centre, width and "
                "height as shares from 0 to 1, or leave them empty."
            )


def _check_classes(table: Table, classes: Sequence[str], rows: Rows, where: str) -> None:
    truth = encode_classes(table)[rows]
    for number, name in enumerate(classes):
        if not (truth == number).any():
            raise TableError(
                f"{table.source} has no row of the class {name!r}{where}: a classifier needs some "
                f"of each of {', '.join(map(repr, classes))}."
            )


def _labelled(table: Table) -> Rows:
    """The rows with a class that is learnt."""
    return np.flatnonzero(encode_classes(table) >= 0)


def _rows(table: Table, part: str) -> Rows:
    """The rows whose split is `part`; none where the table has no split."""
    cells = table.texts(str(table.columns.split)) if table.has(table.columns.split) else []
    return np.array([row for row, cell in enumerate(cells) if cell == part], np.int64)


@dataclass(frozen=True)
class Known:
    """What a network was taught: ids of images, and the `group` column with its values."""

    ids: frozenset[str]
    group: str | None
    groups: frozenset[str]

    def overlap(self, name: str, row: Mapping[Any, Any]) -> str:
        """ "image" for one that was learnt, the group's column for its sister, "" for neither.

        The same id in a group that was not learnt is another image.
        """
        cell = str(row.get(self.group) or "") if self.group else ""
        if cell and cell not in self.groups:
            return ""
        return "image" if name in self.ids else str(self.group) if cell else ""


def known_to(model: Path, columns: Columns) -> Known | None:
    """What a model in the folder of its run has learnt; None where nothing is known of that."""
    path = RunFolder(model.parent).table
    if not path.is_file():
        return None
    try:
        used = read_table(path, replace(columns, split="split"))
    except EncephalonError:
        return None
    if used.has(FOLD):
        learnt = used.select([row for row, cell in enumerate(used.texts(FOLD)) if cell])
    elif used.has("split"):
        learnt = used.part("train")
    else:
        return None
    group = columns.group if learnt.has(columns.group) else None
    values = learnt.texts(group) if group else []
    return Known(frozenset(learnt.ids), group, frozenset(value for value in values if value))


def contamination(model: Path, table: Table) -> str:
    """A sentence on the rows of `table` that the model was trained on, or share its groups.

    Known where the model still lies in the folder of its run, beside the table as used; "" where
    nothing is known, or nothing is shared.
    """
    known = known_to(model, table.columns)
    rows = table.frame.to_dict(orient="records")
    pairs = zip(table.ids, rows, strict=True)
    count = sum(bool(known.overlap(name, row)) for name, row in pairs) if known else 0
    if not count:
        return ""
    return (
        f"{count} of {len(table)} images were part of the training, or share their group with it: "
        "these scores flatter the model, so look at those of its run instead."
    )


def overlap_warning(count: int, total: int) -> str:
    """A sentence on predictions of images that the model has learnt, or whose group it has."""
    return (
        f"{count} of {total} images were part of the training, or share their group with it: how "
        "sure the model is of these says nothing of new ones."
    )
