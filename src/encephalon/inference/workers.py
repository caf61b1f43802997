# SPDX-License-Identifier: Apache-2.0
"""The same work on many things: in a loop, in threads or processes here, or on Dask elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from importlib import import_module
from multiprocessing import get_context
from typing import Any, TypeVar

from encephalon.errors import UsageError, require_extra

__all__ = ["in_workers"]

Item = TypeVar("Item")
Result = TypeVar("Result")

SCHEDULERS = ("threads", "processes")


def in_workers(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int = 1,
    scheduler: str | None = None,
) -> Iterator[Result]:
    """What `work` says of each of the items, as they are done: in any order.

    workers    of this machine; for 1 there is none but this one
    scheduler  of what kind they are: "threads" (by default) or "processes"; or the address of a
               Dask scheduler, such as tcp://HOST:8786, whose workers see the same files

    Nothing is begun before the first is asked for, and what `work` raises ends it. Raises
    UsageError for another scheduler, and MissingExtraError where Dask is needed and not installed.
    """
    if scheduler is not None and scheduler not in SCHEDULERS and "://" not in scheduler:
        raise UsageError(
            f"The scheduler is {scheduler!r}, but must be {' or '.join(SCHEDULERS)}, or the "
            "address of a Dask scheduler, such as tcp://HOST:8786."
        )
    if scheduler is not None and scheduler not in SCHEDULERS:
        require_extra("distributed", "cluster", f"Working on {scheduler}")
        return _elsewhere(work, items, scheduler)
    return map(work, items) if workers < 2 else _here(work, items, workers, scheduler)


def _elsewhere(
    work: Callable[[Item], Result], items: Iterable[Item], address: str
) -> Iterator[Result]:
    distributed: Any = import_module("distributed")
    with distributed.Client(address) as client:
        for future in distributed.as_completed(client.map(work, list(items), pure=False)):
            yield future.result()


def _here(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, kind: str | None
) -> Iterator[Result]:
    pool = (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        if kind == "processes"
        else ThreadPoolExecutor(workers)
    )
    try:
        for future in as_completed([pool.submit(work, item) for item in items]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
