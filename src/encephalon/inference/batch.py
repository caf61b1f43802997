# SPDX-License-Identifier: Apache-2.0
"""Predict one sample after another: the model is loaded once, and a bad file stops nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from encephalon.errors import ContentError, OutputError, OutputExistsError
from encephalon.inference.failures import failure_sentence, without_traceback
from encephalon.inference.ledger import FIRST, LAST, Ledger
from encephalon.inference.outputs import OutputLayout, PlannedOutput
from encephalon.inference.predictor import Prediction, Predictor
from encephalon.inference.publish import empty_masks, publish
from encephalon.inference.reading import Loaded, read_ahead
from encephalon.inference.sidecar import sidecar, sources

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample

__all__ = ["BatchResult", "Failure", "OnResult", "Progress", "Row", "run_batch"]

Row = dict[str, Any]
Progress = Callable[[int, int, str], None]
"""Called after each sample with the number done, the number in all, and the sample's id."""
OnResult = Callable[["Sample", Row, Prediction | None], None]
"""Called after each sample with its row and what was predicted; None where it failed before."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """A sample that failed: its id, one sentence, and the error (without its traceback)."""

    id: str
    message: str
    error: BaseException | None = None


@dataclass
class BatchResult:
    """What became of a batch: one row for each sample that was tried, and what failed."""

    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when nothing failed, otherwise 1."""
        return 1 if self.failures else 0


def run_batch(
    predictor: Predictor,
    samples: Sequence[Sample],
    layout: OutputLayout,
    overwrite: bool = False,
    *,
    progress: Progress | None = None,
    on_result: OnResult | None = None,
) -> BatchResult:
    """Predict every sample and write its outputs, sidecars and row as `layout` names them.

    As many samples are read ahead as the predictor has `readers`, one where it does not say, and
    never more. What its method `check`, if it has one, raises on seeing all samples is the error of
    the whole batch. A sample that cannot be read, computed or written, whose output exists (unless
    `overwrite`), whose mask is empty or whose quality is "fail" becomes a `Failure`, and the batch
    goes on. The table is kept up to date on the way; an interruption leaves whole files only.
    Raises OutputError when the folder cannot be written to at all, and OutputExistsError when its
    predictions.csv is another kind of table.
    """
    check: Callable[[Sequence[Sample]], None] | None = getattr(predictor, "check", None)
    if check is not None:
        check(samples)
    run = _Run(predictor, layout, overwrite, on_result)
    planned = run.plan(samples)
    todo = read_ahead(
        lambda one: predictor.read(one.sample),
        planned,
        lambda one: one.problem is not None,
        getattr(predictor, "readers", 1),
    )
    try:
        for one, reading in todo:
            done = run.one(one, reading)
            del reading  # its image must be gone before the one after the next is read
            if progress is not None:
                progress(done, len(planned), one.sample.id)
    finally:
        todo.close()
        run.close()
    return run.result


class _Run:
    """The state of one batch."""

    def __init__(
        self,
        predictor: Predictor,
        layout: OutputLayout,
        overwrite: bool,
        on_result: OnResult | None,
    ) -> None:
        self.result = BatchResult()
        self._done = 0
        self._predictor = predictor
        self._kinds = dict(predictor.outputs)
        self._description = predictor.describe()
        self._layout = layout
        self._overwrite = overwrite
        self._on_result = on_result
        layout.prepare(self._description)
        self._ledger = Ledger(layout.table, overwrite=overwrite) if layout.table else None

    def plan(self, samples: Sequence[Sample]) -> list[PlannedOutput]:
        planned = self._layout.plan(samples, self._kinds, self._overwrite)
        return planned if self._kinds else [self._row_clash(one) for one in planned]

    def one(self, planned: PlannedOutput, reading: Future[Loaded] | None) -> int:
        """Finish one sample and return how many are done.

        All that is large is local here, so that it is gone when this ends.
        """
        self._done += 1
        sample = planned.sample
        row: Row = {"id": sample.id, "model": self._predictor.name}
        row["source"] = "; ".join(sources(sample))
        if reading is None:
            # Not a row of this run: the table may hold the one of the result that exists.
            self._fail(planned, {}, planned.problem or RuntimeError("it was not read"))
            return self._done
        prediction: Prediction | None = None
        try:
            loaded = reading.result()
            prediction, seconds = self._predict(loaded, row)
            self._write(planned, prediction, row, seconds)
        except OutputExistsError as error:
            # Another process was quicker, and the table holds its row.
            self._fail(planned, {}, error)
            return self._done
        except Exception as error:  # noqa: BLE001  whatever one sample does, the rest must be done
            self._fail(planned, row, error)
        self._keep(row)
        self._tell(sample, row, prediction)
        return self._done

    def close(self) -> None:
        """Write the table a last time. A table that cannot be written is one more failure."""
        try:
            if self._ledger is not None:
                self._ledger.save()
        except OutputError as error:
            self.result.failures.append(
                Failure("predictions.csv", str(error), without_traceback(error))
            )

    def _predict(self, loaded: Loaded, row: Row) -> tuple[Prediction, float]:
        begun = time.perf_counter()
        prediction = self._predictor.predict(loaded.content)
        seconds = loaded.seconds + time.perf_counter() - begun
        reserved = {*FIRST, *LAST, *self._kinds} & set(prediction.values)
        if reserved:
            message = f"The predictor's values must not be named {sorted(reserved)}."
            raise ValueError(message)
        row |= prediction.values
        row["seconds"] = round(seconds, 3)
        if prediction.quality is not None:
            row["quality"] = prediction.quality.status
            row["reasons"] = "; ".join(prediction.quality.reasons)
        return prediction, seconds

    def _write(
        self, planned: PlannedOutput, prediction: Prediction, row: Row, seconds: float
    ) -> None:
        empty = empty_masks(prediction)
        if empty:
            row["quality"] = "fail"
            why = row.get("reasons") or f"the {empty[0]} is empty"
            message = f"{row['source']}: nothing was found and nothing written ({why})."
            raise ContentError(message)
        records = {
            key: sidecar(planned.sample, kind, prediction, self._description, seconds)
            for key, kind in self._kinds.items()
        }
        paths = publish(planned, prediction, records, self._overwrite)
        row |= {key: self._layout.relative(path) for key, path in paths.items()}
        if row.get("quality") == "fail":
            where = next(iter(paths.values()), None)
            advice = f"look at {where} before using it" if where else "no image was written"
            message = f"{row['source']}: the quality check failed ({row['reasons']}); {advice}."
            row["error"] = message
            self.result.failures.append(Failure(planned.sample.id, message))

    def _fail(self, planned: PlannedOutput, row: Row, error: BaseException) -> None:
        message = failure_sentence(planned.sample, error)
        stale = [path for path in planned.images.values() if path.exists()]
        if stale and planned.problem is None:
            message += f" (The earlier {stale[0]} was left as it was.)"
        row["error"] = message
        logger.debug("%s failed", planned.sample.id, exc_info=error)
        self.result.failures.append(Failure(planned.sample.id, message, without_traceback(error)))

    def _keep(self, row: Row) -> None:
        self.result.rows.append(row)
        if self._ledger is not None:
            try:
                self._ledger.add(row)
            except OutputError as error:
                # Tried again after the next sample, and at the end, where it counts as a failure.
                logger.warning("%s", error)

    def _tell(self, sample: Sample, row: Row, prediction: Prediction | None) -> None:
        if self._on_result is None:
            return
        try:
            self._on_result(sample, row, prediction)
        except Exception as error:  # a report must not cost the results
            logger.warning("%s is missing from the report: %s", sample.id, error)
            logger.debug("the report failed", exc_info=error)

    def _row_clash(self, planned: PlannedOutput) -> PlannedOutput:
        """Without images, what must not be replaced is the row."""
        ledger, sample = self._ledger, planned.sample
        if planned.problem or self._overwrite or ledger is None:
            return planned
        if not ledger.has(sample.id, self._predictor.name):
            return planned
        message = (
            f"{self._layout.table} has a row of {sample.id!r} already: choose another folder, or "
            "replace it with --overwrite."
        )
        return replace(planned, problem=OutputExistsError(message))
