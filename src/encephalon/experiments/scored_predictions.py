# SPDX-License-Identifier: Apache-2.0
"""Score a file of predictions on a table of known classes: no model is there, or needed.

The file is predictions.csv of ours, with a column p_<class> for each class, or one of any other
program, with a column that has the class, or the probability of the second of two classes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from encephalon.errors import TableError, UsageError, listed
from encephalon.evaluation.assessment import assess
from encephalon.evaluation.classes import ClassScorable, ClassSummary
from encephalon.evaluation.predictions import (
    UNKNOWN_CLASS,
    Predictions,
    concatenate,
    prediction_rows,
    read_predictions,
)
from encephalon.evaluation.report import EvaluationReport
from encephalon.evaluation.run import CaseResult
from encephalon.evaluation.traffic_light import LIGHTS, TrafficLight, colours
from encephalon.experiments.external import External, read_external
from encephalon.io.text import read_records
from encephalon.recipes.schema import Section, ask
from encephalon.statistics.stacking import SMALLEST
from encephalon.tables.encoding import encode_target
from encephalon.tables.reading import read_table
from encephalon.tables.samples import Sample, table_samples
from encephalon.tables.schema import Columns
from encephalon.tables.splits import unseen_rows

__all__ = ["ScoredPredictions"]

logger = logging.getLogger(__name__)


def _parted(value: Any) -> Any:
    """Names between commas, which may hold blanks, as a tuple."""
    return tuple(one.strip() for one in value.split(",")) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_parted)]


class PredictionOptions(Section):
    """What the columns of the table and of the file of predictions mean.

    classes       in order, of two the positive one second; of our own files those of p_<class>
    target        the column of the table with the known class
    id            the column of ids in both; if neither has it, rows belong together in turn
    prediction    the column of the file with class or probability, where there is no p_<class>
    light         the column of the file with Green, Amber or Red
    green, amber  or the thresholds that make them of the probability
    group         the column of the table whose values are drawn whole for intervals
    strata        the columns of the table to cut the scores by
    """

    classes: Names = ()
    target: str = "class"
    id: str = "id"
    prediction: str | None = None
    light: str | None = None
    green: float | None = Field(default=None, ge=0, le=1)
    amber: float | None = Field(default=None, ge=0, le=1)
    group: str | None = None
    strata: Names = ()


Theirs = Callable[..., External]
"""What reads columns of the file, given the classes and the column of each."""


@dataclass(frozen=True)
class _Row:
    sample: Sample
    prediction: Predictions
    light: str | None

    @property
    def name(self) -> str:
        return self.sample.id


class ScoredPredictions(ClassScorable[_Row]):
    """A file of predictions beside a table; of a table that was split only its part "test".

    Raises UsageError for options that are none, or that leave open what is meant, and TableError
    for a file or a table that does not have what they name.
    """

    def __init__(self, predictions: Path, table: Path, options: Mapping[str, Any]) -> None:
        asked = ask(PredictionOptions, options, "a table of predictions")
        names = read_records(predictions)[0]
        classes = asked.classes or tuple(one[2:] for one in names if one.startswith("p_"))
        if len({*classes}) < max(2, len(classes)):
            raise UsageError(
                f"{predictions}: which classes are predicted? Name them, of two the positive one "
                "second, such as  --option classes=Young,Aged."
            )
        columns = Columns(asked.id, {}, target=asked.target, target_kind=classes, split="split")
        read = read_table(table, columns)
        read = read.select(unseen_rows(read, columns.split))
        for name in filter(None, (asked.target, asked.group, *asked.strata)):
            read.require(name)
        if not read.has(asked.id) and asked.id not in names:  # rows belong together in turn
            if "id" in options:
                raise UsageError(
                    f"Neither {predictions} nor {table} has the column {asked.id!r} of ids: name "
                    "the one that they share."
                )
            read = read.with_column(asked.id, [str(read.row(n)) for n in range(len(read))])
        name, count = Counter(read.ids).most_common(1)[0] if len(read) else ("", 0)
        if count > 1:
            raise TableError(
                f"{table}: the id {name!r} has {count} rows, so that a prediction of it would "
                "count as often: give each row an id of its own."
            )
        column = asked.id if asked.id in names else None
        theirs = partial(read_external, predictions, read.ids, column=column)
        y_prob = _probabilities(predictions, names, read.ids, asked, classes, theirs)
        told = zip(read.ids, y_prob, strict=True)
        if lacking := [one for one, p in told if not np.isfinite(p).all()]:
            logger.warning(
                f"{predictions} has no prediction of {len(lacking)} of {len(read)} rows, which are "
                f"not scored: {listed(lacking)}."
            )
        lights = _lights(asked, y_prob, theirs)
        self._asked, self._seen = asked, list[_Row]()
        self.report = EvaluationReport(
            {"model": {"name": predictions.stem, "path": predictions}, "classes": list(classes)}
        )
        truth = np.nan_to_num(encode_target(read, asked.target, classes), nan=UNKNOWN_CLASS)
        samples = table_samples(read)
        every = Predictions(
            ids=[one.id for one in samples],
            classes=classes,
            logits=np.log(np.clip(y_prob, SMALLEST, 1.0)),
            y_prob=y_prob,
            y_true=truth.astype(np.int64),
            rows=[one.row for one in samples],
            fold=np.zeros(len(samples), np.int64),
        )
        self._rows = [
            _Row(samples[place], every.select(np.array([place])), lights[place])
            for place in np.flatnonzero(np.isfinite(y_prob).all(axis=1))
        ]

    def cases(self) -> Sequence[_Row]:
        """Each row that is predicted."""
        return self._rows

    def score(self, case: _Row) -> CaseResult:
        """The row as predictions.csv has it; all are scored together."""
        one, asked = case.prediction, self._asked
        truth = None if one.y_true[0] == UNKNOWN_CLASS else one.classes[int(one.y_true[0])]
        self.report.add(case.name, one.y_prob[0], truth, lambda: None)
        self._seen.append(case)
        decided = {} if case.light is None else {TrafficLight.name: [case.light]}
        return CaseResult(
            prediction_rows(one, decided, [*filter(None, [asked.group]), *asked.strata])
        )

    def summarise(self, rows: list[dict[str, Any]]) -> ClassSummary | None:
        """The assessment of all rows."""
        if not rows:
            return None
        lights = [row.light for row in self._seen if row.light is not None]
        return ClassSummary(
            assess(
                concatenate([row.prediction for row in self._seen]),
                group=self._asked.group,
                strata=self._asked.strata,
                rule=TrafficLight() if lights else None,
                decided=lights or None,
            )
        )


def _probabilities(
    file: Path,
    names: Sequence[str],
    people: Sequence[str],
    asked: PredictionOptions,
    classes: Sequence[str],
    theirs: Theirs,
) -> NDArray[np.float64]:
    """(N, C) for each row of the table; NaN where nothing is predicted."""
    if asked.prediction is None and {f"p_{one}" for one in classes} <= {*names}:
        ours = read_predictions(file, classes)
        place = {name: row for row, name in enumerate(ours.ids)}
        nothing = np.full(len(classes), np.nan)
        return np.array([ours.y_prob[place[o]] if o in place else nothing for o in people])
    others = [one for one in names if one != asked.id]
    if asked.prediction is None and others != [asked.target]:
        raise UsageError(
            f"{file}: which of its columns has the predictions: {listed(others, 20)}? Name it, "
            "such as  --option prediction=likelihood."
        )
    cells = {asked.target: asked.prediction or asked.target}
    return np.asarray(theirs({asked.target: classes}, cells=cells).answers[asked.target])


def _lights(
    asked: PredictionOptions, y_prob: NDArray[np.float64], theirs: Theirs
) -> list[str] | list[None]:
    """The light of each row of the table, None where nobody asked for lights."""
    if asked.light is not None:
        shown = theirs({"light": LIGHTS}, cells={"light": asked.light}).answers["light"]
        return [LIGHTS[int(np.argmax(one))] if np.isfinite(one).all() else "" for one in shown]
    if asked.green is None or asked.amber is None:
        if asked.green != asked.amber:
            raise UsageError(
                "A traffic light has two thresholds: give the options green and amber."
            )
        return [None] * len(y_prob)
    if y_prob.shape[1] != 2:
        raise UsageError(
            "A traffic light is for two classes: leave out the options green and amber."
        )
    known = np.isfinite(y_prob).all(axis=1)
    return colours(np.where(known, y_prob[:, 1], 0.0), asked.green, asked.amber)
