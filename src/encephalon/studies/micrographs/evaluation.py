# SPDX-License-Identifier: Apache-2.0
"""Score a loaded classifier on a table of images whose classes are known.

An image that cannot be read is listed and not scored; one without a class is predicted and not
scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encephalon.evaluation.assessment import assess, compare
from encephalon.evaluation.cases import labelled_table
from encephalon.evaluation.classes import ClassScorable, ClassSummary
from encephalon.evaluation.predictions import (
    UNKNOWN_CLASS,
    Predictions,
    concatenate,
    prediction_rows,
    read_predictions,
)
from encephalon.evaluation.report import EvaluationReport
from encephalon.evaluation.run import CaseResult, EvaluationResult
from encephalon.evaluation.traffic_light import TrafficLight
from encephalon.experiments.folds import contamination
from encephalon.inference.batch import prefetch
from encephalon.tables.encoding import encode_classes
from encephalon.tables.samples import table_samples

if TYPE_CHECKING:
    from encephalon.studies.micrographs.predictor import MicrographPredictor
    from encephalon.tables.samples import Sample

__all__ = ["ClassEvaluation"]

Row = dict[str, Any]


@dataclass(frozen=True)
class _Image:
    """An image of the table, and the number of its class."""

    sample: Sample
    truth: int

    @property
    def name(self) -> str:
        return self.sample.id


class ClassEvaluation(ClassScorable[_Image]):
    """A loaded model on a labelled table; of a table that was split only its part "test".

    Levels, strata and group are those of the model's recipe, as far as the table has them; the
    option `compare` of the model names predictions.csv of another model on the same images.
    """

    def __init__(self, model: Any, table: str | Path) -> None:
        self.predictor: MicrographPredictor = model.predictor
        self._table = labelled_table(Path(table), self.predictor.table_columns)
        other = self.predictor.options.compare
        self._other = read_predictions(Path(other), self.predictor.classes) if other else None
        warning = contamination(self.predictor.source, self._table)
        self.report = EvaluationReport(self.predictor.describe(), warning)
        samples, truths = table_samples(self._table), encode_classes(self._table).tolist()
        self._images = [_Image(*pair) for pair in zip(samples, truths, strict=True)]
        reading = self.predictor.read, samples, lambda _: False, self.predictor.readers
        self._reading = prefetch(*reading)
        self._done: list[Predictions] = []
        self._lights: list[str] = []

    def cases(self) -> Sequence[_Image]:
        """Each row of the table."""
        return self._images

    def score(self, case: _Image) -> CaseResult:
        """Predict one image; all are scored together."""
        predictor, sample = self.predictor, case.sample
        _, future = next(self._reading)  # which reads them in this order
        assert future is not None
        loaded = future.result().content
        logits = predictor.logits(loaded)
        one = Predictions(
            ids=[sample.id],
            classes=predictor.classes,
            logits=logits,
            y_prob=predictor.probabilities(logits),
            y_true=np.array([case.truth], np.int64),
            rows=[sample.row],
            fold=np.zeros(1, np.int64),
        )
        quality = predictor.check_quality(loaded)
        lights = predictor.lights(one.y_prob, [quality])
        truth = None if case.truth == UNKNOWN_CLASS else predictor.classes[case.truth]
        self.report.add(sample.id, one.y_prob[0], truth, lambda: predictor.thumbnail(loaded))
        self._done.append(one)
        self._lights += lights or []
        target = self._table.columns.target  # which the column "class" repeats
        told = [name for name in predictor.row_columns if name != target]
        decided = {} if lights is None else {TrafficLight.name: lights}
        (row,) = prediction_rows(one, decided, told)
        if quality is not None:
            row |= {"quality": quality.status, "reasons": "; ".join(quality.reasons)}
        return CaseResult([row])

    def take(self, result: CaseResult) -> list[Row]:
        """The row of an image."""
        return result.rows

    def summarise(self, rows: list[Row]) -> ClassSummary | None:
        """The assessment of all images, and the comparison with what another model said."""
        if not rows:
            return None
        settings, table, columns = self.predictor.settings, self._table, self._table.columns
        found = concatenate(self._done)
        found = replace(found, y_prob=self.predictor.probabilities(found.logits))
        group = columns.group if table.has(columns.group) else None
        wanted = settings.strata or tuple(columns.covariates)
        assessment = assess(
            found,
            group=group,
            levels=[name for name in settings.levels if table.has(name)],
            strata=[name for name in wanted if table.has(name)],
            rule=TrafficLight(),
            decided=self._lights or None,
        )
        comparison = None
        if self._other is not None:  # its classes are those of this table
            truth = dict(zip(found.ids, found.y_true.tolist(), strict=True))
            known = [truth.get(name, UNKNOWN_CLASS) for name in self._other.ids]
            other = replace(self._other, y_true=np.array(known, np.int64))
            comparison = compare(found, other, group)
        return ClassSummary(assessment, comparison)

    def rows(self, result: EvaluationResult[ClassSummary]) -> Mapping[str, Sequence[Row]]:
        """predictions.csv has the images that failed behind the others."""
        failed = [{"id": each["id"], "error": each["message"]} for each in result.failures]
        return {"predictions.csv": [*result.rows, *failed]}
