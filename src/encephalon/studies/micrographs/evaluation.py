# SPDX-License-Identifier: Apache-2.0
"""Score a loaded classifier on a table of images whose classes are known.

An image that cannot be read is listed and not scored; one without a class is predicted and not
scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, TableError
from encephalon.evaluation.assessment import Assessment, assess, compare
from encephalon.evaluation.predictions import (
    UNKNOWN_CLASS,
    Scored,
    prediction_rows,
    read_predictions,
)
from encephalon.experiments.contamination import contamination
from encephalon.inference.batch import failure_sentence
from encephalon.inference.prefetch import prefetch
from encephalon.io.atomic import prove_writable, refuse_existing, write_json
from encephalon.io.text import write_records
from encephalon.reports.format import format_estimate

if TYPE_CHECKING:
    from encephalon.evaluation.report import EvaluationReport
    from encephalon.inference.batch import Progress
    from encephalon.inference.predictor import Quality
    from encephalon.studies.micrographs.predictor import Loaded, MicrographPredictor
    from encephalon.tables.schema import Columns, Table

__all__ = ["Evaluation", "evaluate_table"]

_FILES = ("predictions.csv", "summary.json", "report.html")


@dataclass(frozen=True)
class Evaluation:
    """The outcome: what was assessed, the comparison asked for, and what was not scored.

    `failures` are the ids and sentences of images that could not be predicted.
    """

    folder: Path
    assessment: Assessment
    comparison: Mapping[str, Any] | None = None
    failures: list[dict[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        """The main figures as a few lines of text."""
        names = {"balanced_accuracy": "balanced accuracy", "roc_auc": "ROC AUC"}
        figures = self.assessment.figures
        lines = [f"{label}: {format_estimate(figures[name])}" for name, label in names.items()]
        if self.comparison is not None:
            lines.append(
                f"difference to the other: {format_estimate(self.comparison['difference'])}"
            )
        lines += [f"failed: {each['id']}: {each['message']}" for each in self.failures]
        if self.assessment.units > 1:
            lines.append(f"intervals: {self._drawn()}; none where all draws agree")
        return "\n".join([*lines, f"n = {self.assessment.n}, written to {self.folder}"])

    def _drawn(self) -> str:
        units, group = self.assessment.units, self.assessment.group
        what = f"{units} values of {group!r}" if group else f"{units} images"
        return f"95 % percentile bootstrap over {what}"


def evaluate_table(
    model: Any,
    table: str | Path,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a loaded model on a labelled table; of a table that was split only its part "test".

    Levels, strata and group are those of the model's recipe, as far as the table has them; the
    option `compare` of the model names predictions.csv of another model on the same images. Writes
    predictions.csv, summary.json and report.html. Raises TableError for a table that cannot be used
    and OutputExistsError before any work.
    """
    from encephalon.evaluation.report import EvaluationReport

    predictor: MicrographPredictor = model.predictor
    used, folder = labelled_rows(Path(table), predictor.table_columns), Path(output)
    other = predictor.options.compare
    recorded = read_predictions(Path(other), predictor.classes) if other else None
    for name in _FILES:
        refuse_existing(folder / name, overwrite)
    prove_writable(folder)
    page = EvaluationReport(predictor.describe())
    page.warn(contamination(predictor.source, used))
    work = _Work(predictor, used, page)
    for done, name in enumerate(work.steps(), start=1):
        if progress is not None:
            progress(done, len(used), name)
    return work.finish(folder, recorded, overwrite)


def labelled_rows(path: Path, columns: Columns) -> Table:
    """The rows of a table to score a model on, checked but for what fails image by image.

    Raises TableError for a table without the column of the classes, without any class, with faulty
    ids or classes, and for one whose split has no test part.
    """
    from encephalon.tables.checks import check_table, fault_message
    from encephalon.tables.reading import read_table
    from encephalon.tables.splits import unseen_rows

    table = read_table(path, columns)
    alone = {*columns.file_columns().values(), *columns.covariates}
    known = replace(columns, group=None, split=None, covariates={})
    faults = [
        fault
        for fault in check_table(replace(table, columns=known))
        if not fault.row or fault.column not in alone
    ]
    if faults:
        raise TableError(fault_message(table, faults))
    return table.select(unseen_rows(table, columns.split))


@dataclass(frozen=True)
class _Done:
    """One image that was predicted: its place in the table, its logits (C), its quality."""

    place: int
    logits: NDArray[np.float64]
    quality: Quality | None


class _Work:
    """The state of one evaluation."""

    def __init__(
        self, predictor: MicrographPredictor, table: Table, page: EvaluationReport
    ) -> None:
        from encephalon.tables.encoding import encode_classes
        from encephalon.tables.samples import table_samples

        self._predictor, self._table, self._page = predictor, table, page
        self._samples = table_samples(table)
        self._truth = encode_classes(table)
        self._done: list[_Done] = []
        self._failures: list[dict[str, str]] = []

    def steps(self) -> Iterator[str]:
        """Predict one image after another, and yield the id of each."""
        reading = prefetch(
            self._predictor.read, self._samples, lambda _: False, self._predictor.readers
        )
        for place, (sample, future) in enumerate(reading):
            try:
                assert future is not None
                self._one(place, future.result().content)
            except (EncephalonError, OSError) as error:
                self._failures.append({"id": sample.id, "message": failure_sentence(sample, error)})
            yield sample.id

    def finish(self, folder: Path, recorded: Scored | None, overwrite: bool) -> Evaluation:
        """Assess what was predicted, and write the files; TableError where nothing was."""
        if not self._done and self._failures:
            first, count = self._failures[0]["message"], len(self._failures)
            raise TableError(f"None of the {count} images could be predicted; the first: {first}")
        scored = self._scored()
        columns, settings = self._table.columns, self._predictor.settings
        group = columns.group if self._table.has(columns.group) else None
        lights = self._predictor.lights(scored.probabilities, [one.quality for one in self._done])
        wanted = settings.strata or tuple(columns.covariates)
        assessment = assess(
            scored,
            group=group,
            levels=[name for name in settings.levels if self._table.has(name)],
            strata=[name for name in wanted if self._table.has(name)],
            lights=lights,
        )
        comparison = _compared(scored, recorded, group)
        result = Evaluation(folder, assessment, comparison, self._failures)
        write_records(self._rows(scored, lights), folder / "predictions.csv")
        record = {
            "model": self._predictor.describe(),
            "assessment": assessment.summary(),
            "comparison": comparison,
            "failures": self._failures,
        }
        write_json(folder / "summary.json", record)
        self._page.write(folder / "report.html", result, overwrite=overwrite)
        return result

    def _one(self, place: int, loaded: Loaded) -> None:
        predictor = self._predictor
        logits = predictor.logits(loaded)
        self._done.append(_Done(place, logits[0], predictor.judge(loaded)))
        number = int(self._truth[place])
        truth = None if number == UNKNOWN_CLASS else predictor.classes[number]
        probabilities = predictor.probabilities(logits)[0]
        self._page.add(loaded.sample.id, probabilities, truth, lambda: predictor.thumbnail(loaded))

    def _scored(self) -> Scored:
        places = [one.place for one in self._done]
        classes = self._predictor.classes
        logits = np.array([one.logits for one in self._done]).reshape(-1, len(classes))
        return Scored(
            ids=[self._samples[place].id for place in places],
            classes=classes,
            logits=logits,
            probabilities=self._predictor.probabilities(logits),
            truth=self._truth[places],
            rows=[self._samples[place].row for place in places],
            fold=np.zeros(len(places), dtype=np.int64),
        )

    def _rows(self, scored: Scored, lights: Sequence[str] | None) -> list[dict[str, Any]]:
        target = self._table.columns.target  # which the column "class" repeats
        told = [name for name in self._predictor.row_columns if name != target]
        rows = prediction_rows(scored, lights, told)
        for row, one in zip(rows, self._done, strict=True):
            if one.quality is not None:
                row["quality"] = one.quality.status
                row["reasons"] = "; ".join(one.quality.reasons)
        return rows + [{"id": each["id"], "error": each["message"]} for each in self._failures]


def _compared(
    scored: Scored, recorded: Scored | None, group: str | None
) -> Mapping[str, Any] | None:
    """The comparison with what another model said, whose classes are those of this table."""
    if recorded is None:
        return None
    truth = dict(zip(scored.ids, scored.truth.tolist(), strict=True))
    known = [truth.get(name, UNKNOWN_CLASS) for name in recorded.ids]
    return compare(scored, replace(recorded, truth=np.array(known, dtype=np.int64)), group)
