# SPDX-License-Identifier: Apache-2.0
"""Which rows of a table train, validate and test, the audit of that, and what was learnt of others.

Of a finished model it can be told whether an image, or a table to score it on, was in its training.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, TableError
from encephalon.recipes.schema import Validated
from encephalon.tables.leakage import LeakageReport, audit, require_clean
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns, Table
from encephalon.tables.splits import (
    FOLD,
    SplitOptions,
    Targets,
    fold_table,
    split_table,
    use_fold,
)
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
logger = logging.getLogger(__name__)


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
    held_out   rows with a known target that no fold knows: the final model is tested on them
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
    table: Table,
    settings: Validated,
    targets: Targets,
    *,
    stratify: Sequence[str],
    seed: int,
    sites: str | None = None,
    hold_out: SplitOptions | None = None,
) -> Splits:
    """Draw the folds that `settings` ask for, or take the split of the table, and audit them.

    targets   columns that are learnt, and their kinds: a row in which none is known is of no fold
    stratify  columns whose mixture the folds share
    seed      of the folds
    sites     a column: no fold learns from a site that it is judged by
    hold_out  how a table without a split is split where there are no folds

    Raises TableError where there is no split and that is None, for a class that is missing where it
    is needed, too few groups, and, unless `study.allow_leakage`, for parts that know something of
    each other: rows of a group, one file, or rows of a site.
    """
    _check_group(table)
    _check_targets(table, targets, np.arange(len(table)), "")
    known = _known(table, targets)
    if settings.folds:
        drawn_by = replace(table, columns=replace(table.columns, group=sites)) if sites else table
        cells, folds = _cross_validated(drawn_by, known, settings.folds, targets, stratify, seed)
        used = table.with_column(FOLD, cells)
    else:
        used, folds = _single(table, known, targets, stratify, hold_out)
    taught = {row: part for fold in folds for row, part in fold.split().items()}
    tested = np.intersect1d(_rows(used, "test"), known)
    held_out = np.setdiff1d(tested, [*taught])
    others = np.setdiff1d(np.arange(len(table)), [*taught, *tested])
    if len(folds) > 1:
        taught = {int(row): f"fold {fold.number}" for fold in folds for row in fold.test}
        taught |= dict.fromkeys(held_out.tolist(), "test")
    audited = _with_split(used, taught)
    report = audit(audited)
    found = [report, audit(audited, group=sites, contents=False)] if sites else [report]
    if not settings.allow_leakage:
        try:
            for each in found:
                require_clean(used, each)
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


def _cross_validated(
    table: Table, known: Rows, count: int, targets: Targets, stratify: Sequence[str], seed: int
) -> tuple[list[str | None], tuple[Fold, ...]]:
    """Every known row, unless its split is "test", is in one of the folds: its cell says which."""
    rows = np.setdiff1d(known, _rows(table, "test"))
    numbered = fold_table(table.select(rows.tolist()), count, stratify, seed=seed, targets=targets)
    folds = []
    for number in range(count):
        used = use_fold(numbered, number, validation=(number + 1) % count)
        parts = [rows[_rows(used, name)] for name in ("train", "validation", "test")]
        folds.append(Fold(number, *parts))
    tested_in = {int(row): str(fold.number) for fold in folds for row in fold.test}
    return [tested_in.get(row) for row in range(len(table))], tuple(folds)


def _single(
    table: Table,
    known: Rows,
    targets: Targets,
    stratify: Sequence[str],
    hold_out: SplitOptions | None,
) -> tuple[Table, tuple[Fold, ...]]:
    """One fold: the table's own split, or `hold_out`."""
    if not table.has(table.columns.split):
        if hold_out is None:
            raise TableError(
                f"{table.source} has no split and study.folds is 0: split the table, or set "
                "study.folds to 5."
            )
        options = replace(hold_out, stratify=tuple(stratify))
        drawn = split_table(table.select(known.tolist()), options)
        parts = drawn.texts(str(drawn.columns.split))
        cells = dict(zip(known.tolist(), parts, strict=True))
        table = _with_split(replace(table, columns=drawn.columns), cells)
    train, validation, test = (
        np.intersect1d(_rows(table, name), known) for name in ("train", "validation", "test")
    )
    for name, rows in (("train", train), ("validation", validation)):
        if not _rows(table, name).size:
            raise TableError(
                f"{table.source} has no row whose {table.columns.split!r} is {name!r}: call some "
                "rows so, or set study.folds to 5."
            )
        _check_targets(table, targets, rows, f" in its part {name!r}")
    return table, (Fold(0, train, validation, test),)


def _check_group(table: Table) -> None:
    """Raise TableError where the table lacks the group that the recipe names."""
    group = table.columns.group
    if group is not None and not table.has(group):
        raise TableError(
            f"{table.source} has no column {group!r}, which the recipe names as the group that may "
            "not straddle a split: add it, or name another in table.group (the id where every "
            "image stands for itself)."
        )


def _check_targets(table: Table, targets: Targets, rows: Rows, where: str) -> None:
    """Raise TableError for a class that none of these rows has, and a number that never varies."""
    for column, kind in targets.items():
        if kind == "number":
            values = table.numbers(column)[rows]
            if len(np.unique(values[np.isfinite(values)])) < 2:
                raise TableError(
                    f"{table.source} has no two different numbers in {column!r}{where}: nothing "
                    "can be learnt of it; leave it out, or give rows whose value is known."
                )
            continue
        there = {table.texts(column)[row] for row in rows}
        for name in kind:
            if name not in there:
                raise TableError(
                    f"{table.source} has no row of the class {name!r}{where}: a classifier needs "
                    f"some of each of {', '.join(map(repr, kind))}."
                )


def _known(table: Table, targets: Targets) -> Rows:
    """The rows in which some target is known."""
    found = np.zeros(len(table), bool)
    for column, kind in targets.items():
        if kind == "number":
            found |= np.isfinite(table.numbers(column))
        else:
            found |= np.isin(table.texts(column), kind)
    return np.flatnonzero(found)


def _rows(table: Table, part: str) -> Rows:
    """The rows whose split is `part`; none where the table has no split."""
    cells = table.texts(str(table.columns.split)) if table.has(table.columns.split) else []
    return np.array([row for row, cell in enumerate(cells) if cell == part], np.int64)


@dataclass(frozen=True)
class Known:
    """What a network was taught: ids of images, and the `group` column with its values.

    `unit` is what an image is called.
    """

    ids: frozenset[str]
    group: str | None
    groups: frozenset[str]
    unit: str = "image"

    def overlap(self, name: str, row: Mapping[Any, Any]) -> str:
        """`unit` for one that was learnt, the group's column for its sister, "" for neither.

        The same id in a group that was not learnt is another image.
        """
        cell = str(row.get(self.group) or "") if self.group else ""
        if cell and cell not in self.groups:
            return ""
        return self.unit if name in self.ids else str(self.group) if cell else ""


def known_to(model: Path, columns: Columns, unit: str = "image") -> Known | None:
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
    groups = frozenset(value for value in values if value)
    return Known(frozenset(learnt.ids), group, groups, unit)


def contamination(model: Path, table: Table, units: str = "images") -> str:
    """A sentence on the rows of `table` that the model was trained on, or share its groups.

    It is said in the log too. Known where the model still lies in the folder of its run, beside
    the table as used; "" where nothing is known, or nothing is shared.
    """
    known = known_to(model, table.columns)
    rows = table.frame.to_dict(orient="records")
    pairs = zip(table.ids, rows, strict=True)
    count = sum(bool(known.overlap(name, row)) for name, row in pairs) if known else 0
    if not count:
        return ""
    found = (
        f"{count} of {len(table)} {units} were part of the training, or share their group with it: "
        "these scores flatter the model, so look at those of its run instead."
    )
    logger.warning(found)
    return found


def overlap_warning(count: int, total: int, units: str = "images") -> str:
    """A sentence on predictions of images that the model has learnt, or whose group it has."""
    return (
        f"{count} of {total} {units} were part of the training, or share their group with it: how "
        "sure the model is of these says nothing of new ones."
    )
