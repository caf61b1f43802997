# SPDX-License-Identifier: Apache-2.0
"""Read the next samples in threads of their own while the present one is computed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

__all__ = ["Loaded", "prefetch"]

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
    pool = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="encephalon-read")
    ahead: deque[Future[Loaded] | None] = deque()
    coming = iter(items)
    try:
        for item in items:
            if not ahead:
                ahead.append(_start(pool, read, next(coming), skip))
            present = ahead.popleft()
            # Started only now: the caller has let go of the item before this one.
            ahead.extend(
                _start(pool, read, one, skip) for one in islice(coming, readers - len(ahead))
            )
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
