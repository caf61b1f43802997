# SPDX-License-Identifier: Apache-2.0
"""What the networks of a run say together: honest predictions, and how new ones are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encephalon.evaluation.operating_point import OperatingPoint, fit_operating_point
from encephalon.evaluation.predictions import Predictions, concatenate
from encephalon.experiments.classifiers import ClassValidation
from encephalon.experiments.cross_validation import FoldResult
from encephalon.experiments.folds import Rows

__all__ = ["OutOfFold", "RowPredictions", "out_of_fold"]


@dataclass(frozen=True, eq=False)
class RowPredictions:
    """Predictions of some rows of the table, in its order, and what is decided of each ("" for
    nothing).
    """

    rows: Rows
    predictions: Predictions
    decided: list[str]


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """All predictions of a run, each by a network that did not learn its row.

    point       how the logits of the network that ships are read
    tested      each row by the network of the fold that tests it, read as this fold's own
                validation rows say; empty without test rows
    validated   each row by the network that it judged, read with `point`, which it shaped
    held_out    rows that no fold knew, by the network that ships
    others      rows without a class that is learnt, by the same
    """

    point: OperatingPoint
    tested: RowPredictions
    validated: RowPredictions
    held_out: RowPredictions
    others: RowPredictions

    @property
    def assessed(self) -> RowPredictions:
        """What the figures of the report are of: the test rows or, for want of them, those that
        validated, which flatters the model.
        """
        return self.tested if len(self.tested.rows) else self.validated


def out_of_fold(
    cv: ClassValidation, results: Sequence[FoldResult], final: FoldResult | None = None
) -> OutOfFold:
    """Gather what the folds said of the rows, and the network that ships, if any."""
    scores, splits = _Scores(cv), cv.splits
    folds = list(zip(splits.folds, results, strict=True))
    judged = [scores.of(result, fold.validation, fold.number) for fold, result in folds]
    point = scores.fit(judged)
    tested = [
        scores.read(scores.fit([own]), scores.of(result, fold.test, fold.number), fold.test)
        for (fold, result), own in zip(folds, judged, strict=True)
    ]
    validated = [
        scores.read(point, own, fold.validation)
        for (fold, _), own in zip(folds, judged, strict=True)
    ]
    # Without a final network nobody knows of the other rows.
    rest = [rows if final else rows[:0] for rows in (splits.held_out, splits.others)]
    held_out, others = (
        scores.read(point, scores.of(final or results[0], rows, 0), rows) for rows in rest
    )
    return OutOfFold(point, _join(tested), _join(validated), held_out, others)


class _Scores:
    """Makes predictions from logits."""

    def __init__(self, cv: ClassValidation) -> None:
        self.cv, self.classes = cv, cv.classes
        self.ids, self.cells = cv.dataset.table.ids, cv.dataset.cells()

    def of(self, result: FoldResult, rows: Rows, fold: int) -> Predictions:
        """The predictions of these rows, with probabilities that are not read yet."""
        logits = result.of(rows, len(self.classes))
        return Predictions(
            ids=[self.ids[row] for row in rows],
            classes=self.classes,
            logits=logits,
            y_prob=np.full_like(logits, np.nan),
            y_true=self.cv.dataset.truth[rows],
            rows=[self.cells[row] for row in rows],
            fold=np.full(len(rows), fold, np.int64),
        )

    def fit(self, judged: Sequence[Predictions]) -> OperatingPoint:
        group = self.cv.recipe.table.group
        return fit_operating_point(judged, self.cv.settings, group, self.cv.rule)

    def read(self, point: OperatingPoint, predictions: Predictions, rows: Rows) -> RowPredictions:
        known = point.read(predictions)
        return RowPredictions(rows, known, point.decide(known.y_prob))


def _join(parts: Sequence[RowPredictions]) -> RowPredictions:
    """The parts as one, in the order of the table."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    decided = [each for part in parts for each in part.decided]
    predictions = concatenate([part.predictions for part in parts]).select(order)
    return RowPredictions(rows[order], predictions, [decided[place] for place in order])
