# SPDX-License-Identifier: Apache-2.0
"""What is being done to a sample at this moment, for whoever shows it: one word or two a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TELL: ContextVar[Callable[[str], None] | None] = ContextVar("stage", default=None)


def stage(words: str) -> None:
    """Say that a stage begins, such as "registering"; nobody need listen."""
    if (tell := _TELL.get()) is not None:
        tell(words)


@contextmanager
def told(tell: Callable[[str], None]) -> Iterator[None]:
    """Have `tell` called with each stage that begins meanwhile, in this thread."""
    before = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(before)
