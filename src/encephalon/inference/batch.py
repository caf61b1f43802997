# SPDX-License-Identifier: Apache-2.0
"""Predict one sample after another: the model is loaded once, and a bad file stops nothing.

The next samples are read in threads of their own while the present one is computed.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from encephalon.errors import ContentError, EncephalonError, OutputError, OutputExistsError
from encephalon.inference.outputs import PlannedOutput, Work
from encephalon.inference.predictions_table import AGAIN, MARK, RESERVED, STATUS
from encephalon.inference.predictor import Prediction, Predictor
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


Row = dict[str, Any]


Progress = Callable[[int, int, str], None]
"""Called after each sample with the number done, the number in all, and the sample's id."""


OnResult = Callable[["Sample", Row, Prediction | None], None]
"""Called after each sample with its row and what was predicted; None where it failed before, and
where it was skipped (the row's "status" says so)."""


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


@dataclass
class BatchResult:
    """What became of a batch: one row for each sample that was tried, and what failed.

    The "status" of a row is "done", "failed" or, of one that an earlier run had finished,
    "skipped"; "again" says what had changed since an earlier run, where that is why it was done.
    """

    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when nothing failed, otherwise 1."""
        return 1 if self.failures else 0


class _OvertakenError(Exception):
    """Another process finished the sample in the meantime."""

    def __init__(self, skipped: Skipped) -> None:
        super().__init__("another process was quicker")
        self.skipped = skipped


def run_batch(
    predictor: Predictor,
    work: Work,
    *,
    progress: Progress | None = None,
    on_result: OnResult | None = None,
    on_prediction: OnPrediction | None = None,
) -> BatchResult:
    """Predict every sample and write its outputs, sidecars and row as `work` planned them.

    As many samples are read ahead as the predictor has `readers`, one where it does not say, and
    never more. What its method `check`, if it has one, raises on seeing all samples is the error of
    the whole batch. A sample that an earlier run finished (see `inference.resume`) is skipped,
    unless `overwrite`; one whose input, model or options changed is done again. A sample that
    cannot be read, computed or written, whose output exists and is not ours, whose mask is empty or
    whose quality is "fail" becomes a `Failure`, and the batch goes on. The table is kept up to date
    on the way; an interruption leaves whole files only, and the next run does the rest. Raises
    OutputError when the folder cannot be written to at all, and OutputExistsError when its
    predictions.csv is another kind of table.
    """
    check: Callable[[Sequence[Sample]], None] | None = getattr(predictor, "check", None)
    if check is not None:
        check(work.samples)
    work.prepare(predictor.describe())
    run = _Run(predictor, work, on_result, on_prediction)
    readers = getattr(predictor, "readers", 1)
    todo = prefetch(run.read, work.planned, lambda one: one.problem is not None, readers)
    try:
        for one, reading in todo:
            done = run.one(one, reading)
            del reading  # its image must be gone before the one after the next is read
            if progress is not None:
                progress(done, len(work.planned), one.sample.id)
    finally:
        todo.close()
        run.close()
    return run.result


class _Run:
    """The state of one batch."""

    def __init__(
        self,
        predictor: Predictor,
        work: Work,
        on_result: OnResult | None,
        on_prediction: OnPrediction | None,
    ) -> None:
        self.result = BatchResult()
        self._done = 0
        self._predictor = predictor
        self._kinds = dict(predictor.outputs)
        self._description = predictor.describe()
        self._layout, self._overwrite = work.layout, work.overwrite
        self._on_result, self._on_prediction = on_result, on_prediction
        self._earlier = EarlierResults(predictor, work)
        self._table = self._earlier.table

    def read(self, planned: PlannedOutput) -> Skipped | tuple[Todo, Any]:
        """What the predictor reads of a sample, unless there is nothing to do."""
        planned.sample.require_faultless()
        found = self._earlier.examine(planned)
        if isinstance(found, Skipped):
            return found
        return found, self._predictor.read(planned.sample)

    def one(self, planned: PlannedOutput, reading: Future[Loaded] | None) -> int:
        """Finish one sample and return how many are done.

        All that is large is local here, so that it is gone when this ends.
        """
        self._done += 1
        row: Row = {"id": planned.sample.id, "model": self._predictor.name}
        row["source"] = "; ".join(sources(planned.sample))
        prediction: Prediction | None = None
        written = False
        try:
            if reading is None:
                raise planned.problem or RuntimeError("it was not read")
            loaded = reading.result()
            if isinstance(loaded.content, Skipped):
                raise _OvertakenError(loaded.content)
            todo, content = loaded.content
            prediction, seconds = self._predict(planned, content, loaded.seconds, row)
            self._write(planned, prediction, row, todo, seconds)
            written = True
        except _OvertakenError as overtaken:
            skipped, prediction = overtaken.skipped, None
            row, written = skipped.row, not skipped.in_table
        except Exception as error:  # noqa: BLE001  whatever one sample does, the rest must be done
            self._fail(planned, row, error)
            if reading is None or isinstance(error, OutputExistsError):
                return self._done  # the table may hold the row of the result that exists
        self._keep(planned, row, written)
        lost = "was done, but on_result failed"
        _call(self._on_result, lost, planned.sample, row, prediction)
        return self._done

    def close(self) -> None:
        """Write the table a last time. A table that cannot be written is one more failure."""
        reasons = Counter(row[AGAIN] for row in self.result.rows if row.get(AGAIN))
        for reason, count in reasons.items():
            noun = "sample was" if count == 1 else "samples were"
            logger.warning("%d %s done again: %s changed.", count, noun, reason)
        try:
            if self._table is not None:
                self._table.save()
        except OutputError as error:
            failure = Failure("predictions.csv", str(error), without_traceback(error), False)
            self.result.failures.append(failure)

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
    ) -> None:
        empty = empty_masks(prediction)
        if empty:
            row["quality"] = "fail"
        paths = {} if empty else images_of(planned, prediction)
        row |= {key: self._layout.relative(path) for key, path in paths.items()}
        row[MARK] = str(todo.fingerprint) if todo.fingerprint else None
        lost = "is missing from the report"
        _call(self._on_prediction, lost, planned.sample, row, prediction)
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
                found = self._earlier.decide(planned, todo.fingerprint, made)
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
            self.result.failures.append(Failure(planned.sample.id, message))

    def _fail(self, planned: PlannedOutput, row: Row, error: BaseException) -> None:
        message = failure_sentence(planned.sample, error)
        stale = [path for path in planned.images.values() if exists(path)]
        if stale and not isinstance(error, OutputExistsError) and planned.problem is None:
            message += f" (The earlier {stale[0]} was left as it was.)"
        for key in self._kinds:
            row.pop(key, None)
        row |= {STATUS: "failed", "error": message}
        logger.debug("%s failed", planned.sample.id, exc_info=error)
        self.result.failures.append(Failure(planned.sample.id, message, without_traceback(error)))

    def _keep(self, planned: PlannedOutput, row: Row, written: bool) -> None:
        self.result.rows.append(row)
        known = self._table.earlier(planned.sample.id, row["model"]) if self._table else None
        # What failed is no reason to lose the row of the result that is there.
        if self._table is None or (known and not written and not self._overwrite):
            return
        try:
            self._table.add(row)
        except OutputError as error:
            # Tried again after the next sample, and at the end, where it counts as a failure.
            logger.warning("%s", error)


def _call(function: Callable[..., None] | None, lost: str, sample: Sample, *about: Any) -> None:
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


Item = TypeVar("Item")


@dataclass(frozen=True)
class Loaded:
    """What a predictor's `read` returned, and how long it took, seconds."""

    content: Any
    seconds: float


def prefetch(
    read: Callable[[Item], Any],
    items: Sequence[Item],
    skip: Callable[[Item], bool],
    readers: int = 1,
) -> Generator[tuple[Item, Future[Loaded] | None], None, None]:
    """Yield each item with the future of what `read` makes of it, or None where it is skipped.

    While the caller works on one item the next `readers` are read, and no more: at any time at most
    `readers` + 1 are in memory. An error of `read` is raised by the future's `result`.
    """

    def start(item: Item) -> Future[Loaded] | None:
        return None if skip(item) else pool.submit(timed, item)

    def timed(item: Item) -> Loaded:
        begun = time.perf_counter()
        content = read(item)
        return Loaded(content, time.perf_counter() - begun)

    pool = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="encephalon-read")
    ahead: deque[Future[Loaded] | None] = deque()
    coming = iter(items)
    try:
        for item in items:
            if not ahead:
                ahead.append(start(next(coming)))
            present = ahead.popleft()
            # Started only now: the caller has let go of the item before this one.
            ahead.extend(map(start, islice(coming, readers - len(ahead))))
            yield item, present
            del present
    finally:
        # Not waited for: after Ctrl-C the process should end, not finish reading.
        pool.shutdown(wait=False, cancel_futures=True)
