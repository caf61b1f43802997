# SPDX-License-Identifier: Apache-2.0
"""Predictions of another program, as a method beside ours on the same people and folds.

They come as a CSV file with a row a person: the column of ids, and a column for each target, with a
number of a continuous target, the probability of the second class of a binary one, or the name of a
class of any. They may be put right as a model's own are, as what learnt from another scanner or age
range is only then comparable; fold by fold, by people whom that fold does not test.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError, did_you_mean, either, listed
from encephalon.experiments.folds import Fold
from encephalon.io.text import read_records
from encephalon.metrics.calibration import fit_calibration, fit_line
from encephalon.statistics.stacking import SMALLEST
from encephalon.tables.encoding import as_number
from encephalon.tables.schema import FIRST_ROW

__all__ = ["External", "read_external", "recalibrated"]

Values = NDArray[np.float64]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class External:
    """What another program says.

    name         of the method
    answers      of each target that it tells, (N, 1) numbers or (N, classes) probabilities, NaN of
                 whom it says nothing of
    """

    name: str
    answers: Mapping[str, Values]


def read_external(
    path: Path,
    people: Sequence[str],
    targets: Mapping[str, Sequence[str]],
    *,
    column: str | None = "id",
    name: str = "",
    cells: Mapping[str, str] | None = None,
) -> External:
    """The predictions in a file, put in the order of `people`.

    targets  the classes of each, none for numbers; of two the second is the positive one
    column   of the ids; None where its rows are `people` in turn
    name     of the method; that of the file if ""
    cells    the column of each target, and none but these are read; those of their names by default

    A class that is named has the probability 1, an empty cell is no prediction. Who is in one of
    file and people alone is left out, which the log says. Raises TableError, naming row and column,
    for a file without ids, a column that is no target, a cell that is no prediction, a person with
    two rows, and a file about nobody of `people`; and the errors of `read_records`.
    """
    names, rows = read_records(path)
    for one in ([column] if column else []) + list((cells or {}).values()):
        if one not in names:
            what = ", of the ids of people" if one == column else ""
            meant = did_you_mean(one, names, "it has")
            raise TableError(f"{path} has no column {one!r}{what}; {meant}")
    if column is None and len(rows) != len(people):
        raise TableError(
            f"{path} has {len(rows)} rows, but there are {len(people)} to predict, and no ids: "
            "give each row its id, in both."
        )
    where = cells or {one: one for one in names if one != column}
    for one in where:
        if one not in targets:
            meant = did_you_mean(one, targets, "there are")
            raise TableError(
                f"{path}: the column {one!r} is no target; {meant} Rename it or leave it out."
            )
    each = {
        one: _answers(path, at, [row[at].strip() for row in rows], targets[one])
        for one, at in where.items()
    }
    ids = _ids(path, [row[column].strip() for row in rows] if column else people, people)
    order = np.array([ids.get(who, -1) for who in people])
    answers = {n: np.where(order[:, None] < 0, np.nan, one[order]) for n, one in each.items()}
    if not any(np.isfinite(values).any() for values in answers.values()):
        raise TableError(f"{path} predicts nothing: give it a column of {either(targets)}.")
    return External(name or path.stem, answers)


def recalibrated(
    answers: Values, truth: Values, folds: Sequence[Fold], groups: Sequence[str] | None = None
) -> Values:
    """Numbers (N, 1) or probabilities (N, C), put right by the people whom a fold does not test.

    Numbers by a straight line (`fit_line`), probabilities by a temperature and a bias of each class
    (`fit_calibration`); as they were where that does not pay, or few people are known. Rows that no
    fold tests are NaN.

    truth   (N,) the number, or that of the class; NaN where unknown
    groups  (N,) whose people are not independent
    """
    found = np.full_like(answers, np.nan)
    for fold in folds:
        rows = np.concatenate([fold.train, fold.validation])
        rows = rows[np.isfinite(answers[rows]).all(axis=1) & np.isfinite(truth[rows])]
        if answers.shape[1] == 1:
            intercept, slope = fit_line(answers[rows, 0], truth[rows])
            found[fold.test] = intercept + slope * answers[fold.test]
            continue
        logits = np.log(np.clip(answers, SMALLEST, 1.0))
        owners = groups and [groups[row] for row in rows]
        fitted = fit_calibration(logits[rows], truth[rows].astype(np.int64), owners)
        found[fold.test] = fitted.apply(logits[fold.test])
    return found


def _ids(path: Path, ids: Sequence[str], people: Sequence[str]) -> dict[str, int]:
    """The place in the file of everybody who is among `people`, and a word on all others."""
    place = dict[str, int]()
    for row, who in enumerate(ids):
        if not who or who in place:
            wrong = f"{who!r} has a row already: keep one of them" if who else "there is no id"
            raise TableError(f"{path}, row {FIRST_ROW + row}: {wrong}.")
        place[who] = row
    lacking = [who for who in people if who not in place]
    if len(lacking) == len(people):
        raise TableError(
            f"{path} has none of the {len(people)} people that are scored: use the ids of their "
            f"table, such as {people[0]!r}{f' in place of {ids[0]!r}' if ids else ''}."
        )
    if lacking:
        logger.warning(
            f"{path} lacks {len(lacking)} of the {len(people)} people, who do not count for it: "
            f"{listed(lacking)}."
        )
    known = set(people)
    if unknown := [who for who in ids if who not in known]:
        logger.warning(
            f"{path} has {len(unknown)} people who are not in the table, and are left out: "
            f"{listed(unknown)}."
        )
    return place


def _answers(path: Path, target: str, cells: Sequence[str], classes: Sequence[str]) -> Values:
    """What each cell says, (rows, 1) or (rows, classes), NaN for nothing.

    Of classes that are called by numbers a column of them is told from one of probabilities so:
    in it all cells are classes.
    """
    found = np.full((len(cells), max(len(classes), 1)), np.nan)
    named = all(cell in classes for cell in cells if cell)
    for row, cell in enumerate(cells):
        number = as_number(cell)
        if not cell:
            continue
        if named and classes:
            found[row] = np.eye(len(classes))[classes.index(cell)]
        elif not classes and np.isfinite(number):
            found[row] = number
        elif len(classes) == 2 and 0 <= number <= 1:
            found[row] = 1 - number, number
        else:
            wanted = either(classes) if classes else "a number"
            if len(classes) == 2:
                wanted += f", or throughout the probability of {classes[1]!r}, from 0 to 1"
            raise TableError(
                f"{path}, row {FIRST_ROW + row}: {target!r} must be {wanted}, or empty, but is "
                f"{cell!r}."
            )
    return found
