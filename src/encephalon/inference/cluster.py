# SPDX-License-Identifier: Apache-2.0
"""Work on Dask: by workers of this machine, those of a scheduler elsewhere, or jobs of a queue.

A worker that dies costs what it was doing: that is done again by another. A copy that lives on may
finish too, so whatever is done must write to a place of its own and be put in its place at once.
Nothing of this listens to other machines but what a queue or a scheduler elsewhere needs, and there
is no dashboard unless the user's own scheduler has one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from encephalon import __version__
from encephalon.errors import RunError, UsageError, listed

if TYPE_CHECKING:
    from encephalon.inference.workers import Workers

__all__ = ["on_dask"]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Seconds in which a scheduler has to answer.
PATIENCE = 5
#: How long a task counts as if nothing is known of it: a queue then gets as many jobs as may be.
UNKNOWN = "1h"
#: What a job of a queue has unless its options or the configuration of dask-jobqueue say more.
JOB: Mapping[str, Any] = {"cores": 1, "processes": 1, "memory": "8GB"}
#: What a scheduler tells of itself is for this machine alone, and in no pages.
NO_DASHBOARD: Mapping[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
#: What Dask measures of itself, of which nobody is told here, takes seconds a minute of each
#: process; and giving all memory back to the system at once makes every scan ask for it again.
FRUGAL: Mapping[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    "distributed.diagnostics.nvml": False,
}
CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster"}

_log = logging.getLogger(__name__)


def on_dask(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: Workers,
    lost: Callable[[Item, str], Result] | None = None,
) -> Iterator[Result]:
    """As `in_workers`, on Dask."""
    distributed: Any = import_module("distributed")
    each = list(items)
    with _client(workers) as client:
        share = None if workers.gpu_share is None else {"GPU": workers.gpu_share}
        task = partial(_task, __version__, Path.cwd(), work)
        give = partial(client.map, task, pure=False, resources=share)
        futures = dict(zip(give(each), each, strict=True))
        pending = distributed.as_completed(list(futures))
        for future in pending:
            item = futures.pop(future)
            try:
                result = _result(future, item, lost)
            except (asyncio.CancelledError, CancelledError):
                # Its worker died with the result, or the way to the scheduler was broken off.
                _need_scheduler(client)
                (again,) = give([item])
                futures[again] = item
                pending.add(again)
                continue
            yield result


def _result(future: Any, item: Item, lost: Callable[[Item, str], Result] | None) -> Result:
    distributed: Any = import_module("distributed")
    try:
        found: Result = future.result()
    except distributed.KilledWorker as error:
        if lost is None:
            raise RunError(f"A part of the work cannot be done: {_died(error)}") from error
        return lost(item, _died(error))
    return found


def _need_scheduler(client: Any) -> None:
    """Wait a while for a connection that is made anew; raises RunError where there is none."""
    deadline = time.monotonic() + PATIENCE
    while client.status == "connecting" and time.monotonic() < deadline:
        time.sleep(0.05)
    if client.status != "running":
        raise RunError(
            f"{client.scheduler.address if client.scheduler else 'The scheduler'}: the Dask "
            "scheduler went away; what is done is kept: start it again, and give the same command."
        )


def _died(error: Any) -> str:
    worker = getattr(error.last_worker, "address", error.last_worker)
    times = error.allowed_failures + 1
    return (
        f"its worker died{f' {times} times' if times > 1 else ''}, at last {worker}: give it more "
        "memory, or look into the log of that worker."
    )


def _task(version: str, folder: Path, work: Callable[[Item], Result], item: Item) -> Result:
    """What a worker does, which may have joined after it was looked at.

    It works in `folder`, so that every path means there what it means here.
    """
    if version != __version__:
        raise UsageError(_other_version(f"a worker has version {__version__}", version))
    try:
        if Path.cwd() != folder:
            os.chdir(folder)
    except OSError as error:
        raise RunError(
            f"{folder} is not there on the machine of a worker ({error.strerror}): all must see "
            "the same files under the same paths."
        ) from error
    return work(item)


@contextmanager
def _client(workers: Workers) -> Iterator[Any]:
    """A client with workers to come, all of them gone at the end that were not there before."""
    distributed: Any = import_module("distributed")
    dask: Any = import_module("dask")
    settings = {
        "distributed.scheduler.allowed-failures": workers.retries,
        "distributed.scheduler.unknown-task-duration": UNKNOWN,
        # No more is given to a worker than it does, so that only that is lost with it.
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.comm.timeouts.connect": f"{PATIENCE}s",
        **FRUGAL,
    }
    with _silence(), dask.config.set(settings), ExitStack() as opened:
        if workers.address is None:
            start = _queue if workers.queue else _local
            where = opened.enter_context(start(workers))
        else:
            where = workers.address
        try:
            client = opened.enter_context(distributed.Client(where, timeout=PATIENCE))
        except (OSError, ValueError, TimeoutError) as error:
            raise RunError(
                f"{where}: no Dask scheduler answers there ({error}): start one by  dask "
                "scheduler, or mend the address."
            ) from error
        if workers.address is not None:
            _look_at(client, workers.address)
        yield client


@contextmanager
def _silence() -> Iterator[None]:
    """Let Dask write nothing here: what it has to say of a lost scheduler we say in a sentence."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _look_at(client: Any, address: str) -> None:
    """Raise UsageError where a worker has another version; says where there is none."""

    def version() -> str:  # by value: the other end may have none of ours
        try:
            from encephalon import __version__ as there
        except ImportError:
            return ""
        return there

    found: dict[str, str] = client.run(version)
    others = sorted(worker for worker, there in found.items() if there != __version__)
    if others:
        there = found[others[0]]
        has = f"has version {there}" if there else "has no Encephalon"
        raise UsageError(_other_version(f"the worker {listed(others, 1)} {has}", __version__))
    if not found:
        _log.warning("%s has no worker yet: start some by  dask worker %s", address, address)


def _other_version(found: str, wanted: str) -> str:
    return (
        f"All must have one version of Encephalon, but {found}, and this is {wanted}: install the "
        "same there, and start it anew."
    )


@contextmanager
def _local(workers: Workers) -> Iterator[Any]:
    """Workers of this machine, which nobody else reaches, and which end with this process."""
    distributed: Any = import_module("distributed")
    places = _gpus(workers)
    about = {
        "host": "127.0.0.1",
        "nthreads": 1,
        "memory_limit": 0,
        "silence_logs": logging.CRITICAL,
        "resources": {} if workers.gpu_share is None else {"GPU": workers.gpu_share},
    }
    each = [{**about, "env": {"CUDA_VISIBLE_DEVICES": one} if one else {}} for one in places]
    spec = {
        number: {"cls": distributed.Nanny, "options": options}
        for number, options in enumerate(each)
    }
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {
            **{"host": "127.0.0.1", "port": 0},
            **NO_DASHBOARD,
        },
    }
    with distributed.SpecCluster(spec, scheduler, silence_logs=logging.CRITICAL) as cluster:
        try:
            yield cluster
        except BaseException:
            cluster.sync(_kill, cluster.workers.values())
            raise


async def _kill(nannies: Iterable[Any]) -> None:
    """End workers in the middle of what they do, for which they are given seconds otherwise."""
    for nanny in nannies:
        nanny.close_gracefully()  # or it would begin another
        if nanny.pid:
            os.kill(nanny.pid, signal.SIGKILL)


def _gpus(workers: Workers) -> list[str]:
    """The GPU of each worker, or "" for all that there are; raises UsageError for too few."""
    share = workers.gpu_share
    if share is None:
        return [""] * workers.jobs
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        torch: Any = import_module("torch")
        named = ",".join(map(str, range(torch.cuda.device_count())))
    there = [one.strip() for one in named.split(",") if one.strip()]
    if not there:
        raise UsageError("This machine has no GPU that --gpu-share could share out: leave it out.")
    room = len(there) * math.floor(1 / share + 1e-9)
    if workers.jobs > room:
        raise UsageError(
            f"{workers.jobs} jobs with {share:g} of a GPU each do not fit into {len(there)} GPUs: "
            f"ask for at most {room} (--jobs), or a smaller --gpu-share."
        )
    return [there[number % len(there)] for number in range(workers.jobs)]


@contextmanager
def _queue(workers: Workers) -> Iterator[Any]:
    """Jobs of a queue, as many as there is work for; one that ends is replaced."""
    jobqueue: Any = import_module("dask_jobqueue")
    dask: Any = import_module("dask")
    name = str(workers.queue)
    configured = dask.config.get(f"jobqueue.{name}", {})
    options = {k: v for k, v in JOB.items() if configured.get(k) is None} | workers.queue_option
    if workers.gpu_share is not None:
        more = options.get("worker_extra_args", [])
        options["worker_extra_args"] = [*more, "--resources", "GPU=1"]
    options.setdefault(
        "scheduler_options", {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    )
    try:
        cluster = getattr(jobqueue, CLASSES[name])(**options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"A job of {name} cannot be described: {error}; mend --queue-option, or the file "
            "~/.config/dask/jobqueue.yaml."
        ) from error
    with cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=workers.jobs)
        yield cluster
