# SPDX-License-Identifier: Apache-2.0
"""What is done of one sample of a batch: read, predicted, judged, written, here or by a worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from encephalon.errors import ContentError, EncephalonError, OutputExistsError
from encephalon.inference.outputs import OutputLayout, PlannedOutput, Work
from encephalon.inference.predictions_table import AGAIN, MARK, RESERVED, STATUS
from encephalon.inference.predictor import Prediction, Predictor, stage
from encephalon.inference.resume import EarlierResults, Skipped, Todo
from encephalon.inference.writing import (
    FINGERPRINT,
    empty_masks,
    images_of,
    sidecar,
    sources,
    write_outputs,
)
from encephalon.io.files import exists

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample

__all__ = [
    "Failure",
    "Loaded",
    "OnPrediction",
    "Outcome",
    "Row",
    "SampleWork",
    "call",
    "failure_sentence",
    "sentence_on",
    "without_traceback",
]

Row = dict[str, Any]

OnPrediction = Callable[["Sample", Row, Prediction], None]
"""Called with each prediction and its row before anything of it is written."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """What failed: the id of a sample, one sentence, and the error (without its traceback).

    `of_sample` is False for what is of the whole batch, such as its table.
    """

    id: str
    message: str
    error: BaseException | None = None
    of_sample: bool = True


@dataclass(frozen=True)
class Loaded:
    """What a predictor's `read` returned, and how long it took, seconds."""

    content: Any
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What became of one sample.

    row         of the table
    prediction  None where it failed before, where it was skipped, and where another process did it
    failure     why it counts as failed, whether or not anything of it was written
    written     whether the row is that of a result which was written now, or lacked one
    kept        whether the table may have the row: not where it holds that of another's result
    """

    row: Row
    prediction: Prediction | None = None
    failure: Failure | None = None
    written: bool = False
    kept: bool = True

    def sent(self) -> Outcome:
        """The same without what is large, or cannot travel between processes."""
        failure = self.failure
        if failure is not None and failure.error is not None:
            try:
                deepcopy(failure.error)  # which is made anew as it is at the other end
            except Exception:  # noqa: BLE001  whatever an error of another library holds
                failure = replace(failure, error=None)
        return replace(self, prediction=None, failure=failure)


class _OvertakenError(Exception):
    """Another process finished the sample in the meantime."""

    def __init__(self, skipped: Skipped) -> None:
        super().__init__("another process was quicker")
        self.skipped = skipped


class SampleWork:
    """Does one sample after another as `work` says, of which the samples themselves are not asked.

    earlier        what earlier runs left, with the table that has their rows
    on_prediction  called with each prediction before anything of it is written
    """

    def __init__(
        self, predictor: Predictor, work: Work, on_prediction: OnPrediction | None = None
    ) -> None:
        self.earlier = EarlierResults(predictor, work)
        self._predictor = predictor
        self._kinds = dict(predictor.outputs)
        self._description = predictor.describe()
        self._layout: OutputLayout = work.layout
        self._on_prediction = on_prediction

    def read(self, planned: PlannedOutput) -> Skipped | tuple[Todo, Any]:
        """What the predictor reads of a sample, unless there is nothing to do."""
        if planned.problem is not None:
            raise planned.problem
        planned.sample.require_faultless()
        found = self.earlier.examine(planned)
        if isinstance(found, Skipped):
            return found
        return found, self._predictor.read(planned.sample)

    def timed(self, planned: PlannedOutput) -> Loaded:
        """The same, with the seconds that it took."""
        begun = time.perf_counter()
        content = self.read(planned)
        return Loaded(content, time.perf_counter() - begun)

    def finish(self, planned: PlannedOutput, reading: Callable[[], Loaded]) -> Outcome:
        """What becomes of a sample; `reading` returns what `timed` did, or raises what it raised.

        All that is large is local here, so that it is gone when this ends.
        """
        row: Row = {"id": planned.sample.id, "model": self._predictor.name}
        row["source"] = "; ".join(sources(planned.sample))
        prediction: Prediction | None = None
        stage("reading")
        try:
            loaded = reading()
            if isinstance(loaded.content, Skipped):
                raise _OvertakenError(loaded.content)
            todo, content = loaded.content
            prediction, seconds = self._predict(planned, content, loaded.seconds, row)
            failure = self._write(planned, prediction, row, todo, seconds)
        except _OvertakenError as overtaken:
            skipped = overtaken.skipped
            return Outcome(skipped.row, written=not skipped.in_table)
        except Exception as error:  # noqa: BLE001  whatever one sample does, the rest must be done
            return replace(self._failed(planned, row, error), prediction=prediction)
        return Outcome(row, prediction, failure, written=True)

    def _predict(
        self, planned: PlannedOutput, content: Any, read_for: float, row: Row
    ) -> tuple[Prediction, float]:
        begun = time.perf_counter()
        to: Callable[..., Prediction] | None = getattr(self._predictor, "predict_to", None)
        prediction = to(content, planned.images) if to else self._predictor.predict(content)
        seconds = read_for + time.perf_counter() - begun
        reserved = {*RESERVED, *self._kinds} & set(prediction.values)
        if reserved:
            raise ValueError(f"The predictor's values must not be named {sorted(reserved)}.")
        row |= prediction.values
        row["seconds"] = round(seconds, 3)
        if prediction.quality is not None:
            row["quality"] = prediction.quality.status
            row["reasons"] = "; ".join(prediction.quality.reasons)
        return prediction, seconds

    def _write(
        self, planned: PlannedOutput, prediction: Prediction, row: Row, todo: Todo, seconds: float
    ) -> Failure | None:
        empty = empty_masks(prediction)
        if empty:
            row["quality"] = "fail"
        paths = {} if empty else images_of(planned, prediction)
        row |= {key: self._layout.relative(path) for key, path in paths.items()}
        row[MARK] = str(todo.fingerprint) if todo.fingerprint else None
        lost = "is missing from the report"
        call(self._on_prediction, lost, planned.sample, row, prediction)
        if empty:
            why = row.get("reasons") or f"the {empty[0]} is empty"
            raise ContentError(f"{row['source']}: nothing was found and nothing written ({why}).")
        if paths:
            records = {
                key: {
                    **sidecar(planned.sample, kind, prediction, self._description, seconds),
                    FINGERPRINT: row[MARK],
                }
                for key, kind in self._kinds.items()
            }

            def may_replace(made: Mapping[str, str]) -> bool:
                """Whether files of ours stand there that may go; raises what forbids it."""
                found = self.earlier.decide(planned, todo.fingerprint, made)
                if isinstance(found, Skipped):
                    raise _OvertakenError(found)
                return found.replace

            write_outputs(planned, prediction, records, may_replace, self._layout.alone)
        row |= {STATUS: "done", **({AGAIN: todo.again} if todo.again else {})}
        if row.get("quality") == "fail":
            where = next(iter(paths.values()), None)
            advice = f"look at {where} before using it" if where else "no image was written"
            message = f"{row['source']}: the quality check failed ({row['reasons']}); {advice}."
            row |= {STATUS: "failed", "error": message}
            return Failure(planned.sample.id, message)
        return None

    def _failed(self, planned: PlannedOutput, row: Row, error: BaseException) -> Outcome:
        message = failure_sentence(planned.sample, error)
        stale = [path for path in planned.images.values() if exists(path)]
        if stale and not isinstance(error, OutputExistsError) and planned.problem is None:
            message += f" (The earlier {stale[0]} was left as it was.)"
        for key in self._kinds:
            row.pop(key, None)
        row |= {STATUS: "failed", "error": message}
        logger.debug("%s failed", planned.sample.id, exc_info=error)
        failure = Failure(planned.sample.id, message, without_traceback(error))
        # The table may hold the row of the result that exists.
        kept = planned.problem is None and not isinstance(error, OutputExistsError)
        return Outcome(row, failure=failure, kept=kept)


def call(function: Callable[..., None] | None, lost: str, sample: Sample, *about: Any) -> None:
    """Call what a caller gave; what it raises is said with `lost` and must not cost the results."""
    try:
        if function is not None:
            function(sample, *about)
    except Exception as error:
        logger.warning("%s %s: %s", sample.id, lost, error)
        logger.debug("%s failed", function, exc_info=error)


def failure_sentence(sample: Sample, error: BaseException) -> str:
    """One sentence on `error`, with the files of the sample where it does not name them itself."""
    return sentence_on(error, "; ".join(sources(sample)))


def sentence_on(error: BaseException, source: str) -> str:
    """One sentence on any error, with what it came of where it does not say that itself."""
    if isinstance(error, EncephalonError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{source}: there is not enough memory ({error}); use a smaller block or image."
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return (
            f"{source}: {error.strerror or error}{place}; check the file, its folder and the disk."
        )
    kind, reason = type(error).__name__, " ".join(str(error).split())
    return f"{source}: unexpected {kind} ({reason}); run it again with -vv and report the details."


def without_traceback(error: BaseException) -> BaseException:
    """Return the error without tracebacks, whose frames would keep every image in memory."""
    link: BaseException | None = error
    seen = set[int]()  # an error may be its own cause
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
