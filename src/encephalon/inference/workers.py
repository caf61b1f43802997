# SPDX-License-Identifier: Apache-2.0
"""The same work on many things: in a loop, in threads or processes here, or on Dask anywhere."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process, get_context
from multiprocessing.connection import Connection
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import Field, model_validator

from encephalon.errors import RunError, require_extra
from encephalon.recipes.schema import Flag, Section

__all__ = ["HERE", "SampleWorkers", "Workers", "in_workers"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Pool = Literal["threads", "processes", "dask"]

QUEUES = ("slurm", "pbs", "sge")


class Workers(Section):
    """Who does long work: so many of this machine, those of a Dask scheduler, or jobs of a queue.

    jobs          how many things are done at a time; with a queue, of its jobs
    scheduler     what the workers of this machine are, "threads", "processes" or those of "dask";
                  or the address of a Dask scheduler, whose workers see the same files
    slurm, pbs, sge
                  whether workers are jobs of such a queue
    queue_option  of a job: the arguments of dask-jobqueue, beside what its configuration says
    gpu_share     part of a GPU that each thing takes, of which Dask workers offer GPU=1; with it,
                  those of this machine share its GPUs
    retries       how often a thing is tried again that failed by chance, or whose worker died
    """

    jobs: Annotated[
        int,
        Flag("-j --jobs", "How many at the same time; with a queue, the number of jobs.", "N"),
    ] = Field(default=1, ge=1)
    scheduler: Annotated[
        str | None,
        Flag("--scheduler", "A Dask scheduler at tcp://HOST:PORT whose workers do it.", "ADDRESS"),
    ] = None
    slurm: Annotated[bool, Flag("--slurm", "Let --jobs jobs of Slurm do it.")] = False
    pbs: Annotated[bool, Flag("--pbs", "Let jobs of PBS do it.")] = False
    sge: Annotated[bool, Flag("--sge", "Let jobs of Grid Engine do it.")] = False
    queue_option: Annotated[
        dict[str, Any],
        Flag(
            "--queue-option",
            "What a job asks the queue for, such as memory=16GB; may be repeated.",
            "KEY=VALUE",
        ),
    ] = Field(default_factory=dict)
    gpu_share: Annotated[
        float | None,
        Flag("--gpu-share", "Part of a GPU that each takes, such as 0.5: two at a time.", "SHARE"),
    ] = Field(default=None, gt=0, le=1)
    retries: Annotated[
        int, Flag("--retries", "How often to retry what failed by chance or lost its worker.", "N")
    ] = Field(default=2, ge=0)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        queues = [name for name in QUEUES if getattr(self, name)]
        if len(queues) + (self.address is not None) > 1:
            raise ValueError("takes one of a scheduler, slurm, pbs and sge: drop the others")
        if self.queue_option and not queues:
            raise ValueError("has options of a queue, and no queue: add slurm, pbs or sge")
        known = ("threads", "processes", "dask")
        if self.scheduler is not None and self.scheduler not in known and self.address is None:
            raise ValueError(
                f"has the scheduler {self.scheduler!r}, which must be threads, processes, dask, or "
                "the address of a Dask scheduler, such as tcp://HOST:8786"
            )
        if self.gpu_share is not None and self.scheduler in ("threads", "processes"):
            raise ValueError("shares GPUs between workers of Dask alone: leave out its scheduler")
        return self

    @property
    def address(self) -> str | None:
        """That of a Dask scheduler elsewhere."""
        there = self.scheduler is not None and "://" in self.scheduler
        return self.scheduler if there else None

    @property
    def queue(self) -> str | None:
        """The queue whose jobs are the workers."""
        return next((name for name in QUEUES if getattr(self, name)), None)

    @property
    def here(self) -> bool:
        """Whether the workers are of this machine, and share it."""
        return self.address is None and self.queue is None

    def threads_each(self, threads: int | None) -> int | None:
        """The threads of each worker: `threads`, or its share of those of this machine."""
        if threads is not None or not self.here or self.jobs < 2:
            return threads
        from encephalon.inference.runtimes import resolve_threads

        return max(1, resolve_threads() // self.jobs)

    @property
    def elsewhere(self) -> bool:
        """Whether others than this process do the work."""
        return self.jobs > 1 or not self.here or self.gpu_share is not None


#: This process alone.
HERE = Workers()


class SampleWorkers(Workers):
    """The same of work that knows no other workers."""

    jobs: Annotated[
        int,
        Flag(
            "-j --jobs --workers",
            "Samples done at the same time; with a queue, the number of jobs.",
            "N",
        ),
    ] = Field(default=1, ge=1)


def in_workers(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: Workers,
    pool: Pool = "threads",
    lost: Callable[[Item, str], Result] | None = None,
) -> Iterator[Result]:
    """What `work` says of each of the items, as they are done: in any order.

    pool  what several workers of this machine are, where `workers` does not say it
    lost  what is said of an item whose worker died once more than is tried, given a sentence

    Nothing is begun before the first is asked for, and what `work` raises ends it. Raises
    RunError for a Dask scheduler that does not answer, or went away; UsageError where its workers
    have another version of Encephalon; and MissingExtraError where Dask is needed and not
    installed.
    """
    if not workers.elsewhere or current_process().daemon:  # a worker of Dask has none of its own
        return map(work, items)
    kind = workers.scheduler or (pool if workers.gpu_share is None else "dask")
    if workers.here and kind in ("threads", "processes"):
        return _here(work, items, workers, kind, lost)
    for module in ("distributed", *["dask_jobqueue"] * (workers.queue is not None)):
        require_extra(module, "cluster", "Working with Dask")
    from encephalon.inference.cluster import on_dask

    return on_dask(work, items, workers, lost)


def _here(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: Workers,
    kind: str,
    lost: Callable[[Item, str], Result] | None,
) -> Iterator[Result]:
    apart = _Processes(work, workers.retries, lost) if kind == "processes" else None
    pool = ThreadPoolExecutor(workers.jobs)
    try:
        for future in as_completed([pool.submit(apart or work, item) for item in items]):
            yield future.result()
    finally:
        if apart is not None:
            apart.close()
        pool.shutdown(cancel_futures=True)


class _Processes(Generic[Item, Result]):
    """Does `work` in a process of its own for each thread that asks, once more where that dies.

    The processes hold one end of a pipe, and end at once when the other end is gone: when this is
    closed, and when this process dies, however it does.
    """

    def __init__(
        self,
        work: Callable[[Item], Result],
        retries: int,
        lost: Callable[[Item, str], Result] | None,
    ) -> None:
        self._work, self._tries, self._lost = work, retries + 1, lost
        self._end, self._alive = get_context("spawn").Pipe(duplex=False)
        self._begun: list[ProcessPoolExecutor] = []
        self._of_thread = threading.local()

    def __call__(self, item: Item) -> Result:
        for _ in range(self._tries):
            try:
                return self._process().submit(self._work, item).result()
            except BrokenProcessPool:
                del self._of_thread.process
                if self._alive.closed:
                    raise
        why = (
            f"its worker died {self._tries} time{'s' * (self._tries > 1)}: give it more memory, "
            "or fewer --jobs."
        )
        if self._lost is None:
            raise RunError(f"A part of the work cannot be done: {why}")
        return self._lost(item, why)

    def _process(self) -> ProcessPoolExecutor:
        if not hasattr(self._of_thread, "process"):
            self._of_thread.process = ProcessPoolExecutor(
                1, get_context("spawn"), initializer=_end_with, initargs=(self._end,)
            )
            self._begun.append(self._of_thread.process)
        found: ProcessPoolExecutor = self._of_thread.process
        return found

    def close(self) -> None:
        """End all of it, whatever is being done."""
        self._alive.close()
        for each in self._begun:
            each.shutdown(cancel_futures=True)
        self._end.close()


def _end_with(end: Connection) -> None:
    """End this process when the other end of the pipe is gone, which alone decides: no Ctrl-C."""

    def wait() -> None:
        end.poll(None)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait, daemon=True).start()
