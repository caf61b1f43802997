# SPDX-License-Identifier: Apache-2.0
"""Predictions of another program, as a method beside ours on the same people and folds.

They come as a CSV file with the columns id, target and prediction: a number of a continuous target,
the probability of the second class of a binary one, or the name of a class of any. Numbers may be
mapped by a straight line, as a model of another scanner or age range is only then comparable; it is
fitted, fold by fold, to people whom that fold does not test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError, did_you_mean, either
from encephalon.experiments.folds import Fold
from encephalon.io.text import read_records
from encephalon.tables.encoding import as_number
from encephalon.tables.schema import FIRST_ROW

__all__ = ["External", "read_external", "recalibrated"]

COLUMNS = ("id", "target", "prediction")
#: People that a line is fitted to, at the least (ours).
FEWEST = 3

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class External:
    """What another program says.

    name         of the method: that of its file
    answers      of each target that it tells, (N,) numbers or (N, classes) probabilities, NaN of
                 whom it says nothing of
    """

    name: str
    answers: Mapping[str, Values]


def read_external(
    path: Path, people: Sequence[str], targets: Mapping[str, Sequence[str]]
) -> External:
    """The predictions in a file, put in the order of `people`; who is not among them is left out.

    targets  the classes of each, none for numbers; of two the second is the positive one

    A class that is named has the probability 1, an empty prediction is none. Raises TableError,
    naming the row, for a file without the columns, an unknown target, a prediction that is none, a
    person who is predicted twice, and a file about nobody of `people`; and the errors of
    `read_records`.
    """
    names, rows = read_records(path)
    for column in COLUMNS:
        if column not in names:
            meant = did_you_mean(column, names, "it has")
            raise TableError(f"{path} has no column {column!r}; {meant}")
    place, seen = {name: row for row, name in enumerate(people)}, set()
    said: dict[str, list[tuple[str, str, str]]] = {}
    for number, row in enumerate(rows, start=FIRST_ROW):
        who, name, cell = (row[column].strip() for column in COLUMNS)
        where = f"{path}, row {number}"
        if name not in targets:
            meant = did_you_mean(name, targets, "there are")
            raise TableError(f"{where}: there is no target {name!r}; {meant}")
        if (who, name) in seen:
            raise TableError(f"{where}: {name!r} of {who!r} is predicted twice: keep one of them.")
        seen.add((who, name))
        if cell and who in place:
            said.setdefault(name, []).append((who, cell, where))
    if not said:
        raise TableError(
            f"{path}: it predicts none of the {len(people)} people that are scored: use the ids of "
            f"their table, such as {people[0]!r}."
        )
    answers = {}
    for name, cells in said.items():
        classes = targets[name]
        named = all(cell in classes for _, cell, _ in cells)
        each = [_answer(cell, classes, named, where) for _, cell, where in cells]
        answers[name] = np.full((len(people), *each[0].shape), np.nan)
        answers[name][[place[who] for who, _, _ in cells]] = each
    return External(path.stem, answers)


def recalibrated(answers: Values, truth: Values, folds: Sequence[Fold]) -> Values:
    """Numbers (N,) by the straight line that fits the truth (N,) best, fitted off each fold's test.

    NaN in a fold with fewer than three people to fit to, or whose predictions are all alike.
    """
    found = np.full(len(answers), np.nan)
    for fold in folds:
        rows = np.concatenate([fold.train, fold.validation])
        known = rows[np.isfinite(answers[rows]) & np.isfinite(truth[rows])]
        if len(known) >= FEWEST and np.ptp(answers[known]) > 0:
            slope, intercept = np.polyfit(answers[known], truth[known], 1)
            found[fold.test] = slope * answers[fold.test] + intercept
    return found


def _answer(cell: str, classes: Sequence[str], named: bool, where: str) -> Values:
    """A number (), or the probability of each class (classes,); `named` if all cells are classes.

    Of classes that are called by numbers a column of them is told from one of probabilities so.
    """
    number = as_number(cell)
    if named and classes:
        return np.asarray(np.eye(len(classes))[classes.index(cell)])
    if not classes and np.isfinite(number):
        return np.array(number)
    if len(classes) == 2 and 0 <= number <= 1:
        return np.array([1 - number, number])
    wanted = either(classes) if classes else "a number"
    if len(classes) == 2:
        wanted += f", or throughout the probability of {classes[1]!r}"
    raise TableError(f"{where}: the prediction must be {wanted}, or empty, but is {cell!r}.")
