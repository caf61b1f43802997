# SPDX-License-Identifier: Apache-2.0
"""Read the next sample in a second thread while the present one is computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Loaded", "read_ahead"]

Item = TypeVar("Item")


@dataclass(frozen=True)
class Loaded:
    """What a predictor's `read` returned, and how long it took, seconds."""

    content: Any
    seconds: float


def read_ahead(
    read: Callable[[Item], Any], items: Sequence[Item], skip: Callable[[Item], bool]
) -> Generator[tuple[Item, Future[Loaded] | None], None, None]:
    """Yield each item with the future of what `read` makes of it, or None where it is skipped.

    While the caller works on one item the next is read, and no more: at any time at most two are
    in memory. An error of `read` is raised by the future's `result`.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encephalon-read")
    try:
        following = _start(pool, read, items[0], skip) if items else None
        for number, item in enumerate(items):
            present = following
            # Started only now: the caller has let go of the item before this one.
            coming = items[number + 1 : number + 2]
            following = _start(pool, read, coming[0], skip) if coming else None
            yield item, present
            del present
    finally:
        # Not waited for: after Ctrl-C the process should end, not finish reading.
        pool.shutdown(wait=False, cancel_futures=True)


def _start(
    pool: ThreadPoolExecutor,
    read: Callable[[Item], Any],
    item: Item,
    skip: Callable[[Item], bool],
) -> Future[Loaded] | None:
    return None if skip(item) else pool.submit(_timed, read, item)


def _timed(read: Callable[[Item], Any], item: Item) -> Loaded:
    begun = time.perf_counter()
    content = read(item)
    return Loaded(content, time.perf_counter() - begun)
