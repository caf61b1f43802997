# SPDX-License-Identifier: Apache-2.0
"""Predict one sample after another: the model is loaded once, and a bad file stops nothing.

The next samples are read in threads of their own while the present one is computed; or workers do a
sample each, wherever they are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from encephalon.errors import OutputError, RunError, listed
from encephalon.inference.one_sample import (
    Failure,
    Loaded,
    OnPrediction,
    Outcome,
    Row,
    SampleWork,
    call,
    without_traceback,
)
from encephalon.inference.outputs import PlannedOutput, Work
from encephalon.inference.predictions_table import AGAIN, STATUS
from encephalon.inference.predictor import Prediction, Predictor
from encephalon.inference.workers import HERE, Workers, in_workers
from encephalon.inference.writing import sources

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample


Progress = Callable[[int, int, str], None]
"""Called after each sample with the number done, the number in all, and the sample's id."""


OnResult = Callable[["Sample", Row, Prediction | None], None]
"""Called after each sample with its row and what was predicted; None where it failed before, where
it was skipped (the row's "status" says so), and where another process did it."""


Again = Callable[[], tuple[Predictor, OnPrediction | None]]
"""Opens the predictor once more, and what is called with each prediction: in another process."""


logger = logging.getLogger(__name__)


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

    def raise_failures(self) -> None:
        """Raise RunError that says what failed, and why, if anything did."""
        if self.failures:
            why = listed((failure.message for failure in self.failures), 5, "; ")
            raise RunError(f"{len(self.failures)} failed: {why}")


def run_batch(
    predictor: Predictor,
    work: Work,
    *,
    progress: Progress | None = None,
    on_result: OnResult | None = None,
    on_prediction: OnPrediction | None = None,
    workers: Workers = HERE,
    again: Again | None = None,
) -> BatchResult:
    """Predict every sample and write its outputs, sidecars and row as `work` planned them.

    As many samples are read ahead as the predictor has `readers`, one where it does not say, and
    never more. What its method `check`, if it has one, raises on seeing all samples is the error of
    the whole batch. A sample that an earlier run finished (see `inference.resume`) is skipped,
    unless `overwrite`; one whose input, model or options changed is done again. A sample that
    cannot be read, computed or written, whose output exists and is not ours, whose mask is empty or
    whose quality is "fail" becomes a `Failure`, and the batch goes on. The table is kept up to date
    on the way; an interruption leaves whole files only, and the next run does the rest.

    Where `again` opens the predictor for them, `workers` do the samples, each a whole one, unless
    the predictor `divides` samples among them itself. Raises what `in_workers` raises,
    OutputError when the folder cannot be written to at all, and OutputExistsError when its
    predictions.csv is another kind of table.
    """
    check: Callable[[Sequence[Sample]], None] | None = getattr(predictor, "check", None)
    if check is not None:
        check(work.samples)
    work.prepare(predictor.describe())
    doing = SampleWork(predictor, work, on_prediction)
    run = _Record(work, doing, on_result)
    divides: Callable[[Sample], bool] | None = getattr(predictor, "divides", None)
    divided = divides is not None and any(map(divides, work.samples))
    if again is not None and workers.elsewhere and not divided:
        outcomes = _by_workers(work, workers, again)
    else:
        outcomes = _one_after_the_other(doing, work.planned, getattr(predictor, "readers", 1))
    try:
        for planned, outcome in outcomes:
            done = run.keep(planned, outcome)
            del outcome  # its image must be gone before the one after the next is read
            if progress is not None:
                progress(done, len(work.planned), planned.sample.id)
    finally:
        outcomes.close()
        run.close()
    return run.result


Outcomes = Generator[tuple[PlannedOutput, Outcome], None, None]


def _one_after_the_other(
    doing: SampleWork, planned: Sequence[PlannedOutput], readers: int
) -> Outcomes:
    todo = prefetch(doing.read, planned, lambda one: one.problem is not None, readers)
    try:
        for one, reading in todo:
            ready = partial(doing.timed, one) if reading is None else reading.result
            del reading
            outcome = doing.finish(one, ready)
            del ready
            yield one, outcome
            del outcome
    finally:
        todo.close()


def _by_workers(work: Work, workers: Workers, again: Again) -> Outcomes:
    job = _Job(uuid4().hex, again, replace(work, planned=[]))
    numbered = list(enumerate(work.planned))
    for number, outcome in in_workers(job, numbered, workers, "processes", job.lost):
        yield work.planned[number], outcome


@dataclass(frozen=True)
class _Job:
    """What a worker must know to do any of the samples of `work`, which come one by one."""

    key: str
    again: Again
    work: Work

    def __call__(self, numbered: tuple[int, PlannedOutput]) -> tuple[int, Outcome]:
        """Do that sample; the predictor stays open for the next one in this thread."""
        number, planned = numbered
        if getattr(_OPENED, "key", None) != self.key:
            predictor, on_prediction = self.again()
            _OPENED.doing, _OPENED.key = SampleWork(predictor, self.work, on_prediction), self.key
        doing: SampleWork = _OPENED.doing
        return number, doing.finish(planned, partial(doing.timed, planned)).sent()

    def lost(self, numbered: tuple[int, PlannedOutput], why: str) -> tuple[int, Outcome]:
        """What is said of a sample whose worker died again and again."""
        number, planned = numbered
        source = "; ".join(sources(planned.sample))
        failure = Failure(planned.sample.id, f"{source}: {why}", RunError(why))
        row = {"id": planned.sample.id, "source": source, STATUS: "failed"}
        return number, Outcome({**row, "error": failure.message}, failure=failure, kept=False)


_OPENED = threading.local()


class _Record:
    """Keeps what became of a batch, and its table."""

    def __init__(self, work: Work, doing: SampleWork, on_result: OnResult | None) -> None:
        self.result, self._done = BatchResult(), 0
        self._overwrite, self._on_result = work.overwrite, on_result
        self._table = doing.earlier.table
        self._place = {sample.id: place for place, sample in enumerate(work.samples)}

    def keep(self, planned: PlannedOutput, outcome: Outcome) -> int:
        """Keep one sample, tell of it, and return how many there were."""
        self._done += 1
        if outcome.failure is not None:
            self.result.failures.append(outcome.failure)
        if outcome.kept:
            self._keep(planned, outcome.row, outcome.written)
            lost = "was done, but on_result failed"
            call(self._on_result, lost, planned.sample, outcome.row, outcome.prediction)
        return self._done

    def close(self) -> None:
        """Put all in the order of the samples, and write the table a last time.

        A table that cannot be written is one more failure.
        """
        self.result.rows.sort(key=lambda row: self._place[row["id"]])
        self.result.failures.sort(key=lambda failure: self._place[failure.id])
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


Item = TypeVar("Item")


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
