# SPDX-License-Identifier: Apache-2.0
"""How a benchmark times its work, how it tells its figures, and how far it is."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Spent", "progress", "tell", "timed"]


@dataclass(frozen=True)
class Spent:
    """Seconds of wall time and of processor time."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Spent:
        """Since some moment."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, then: Spent) -> Spent:
        """The difference."""
        return Spent(self.wall - then.wall, self.processor - then.processor)


def timed(work: Callable[[], Any]) -> tuple[Any, Spent]:
    """What `work` gives, and what it takes."""
    begun = Spent.now()
    given = work()
    return given, Spent.now().since(begun)


def tell(figures: Mapping[str, float], wishes: Mapping[str, str], file: Path | None) -> None:
    """Print each figure beside what is wished of it, and write them as JSON to `file`, if any.

    A wish is for every figure whose name contains its own.
    """
    width = 2 + max(map(len, figures))
    for key, value in figures.items():
        wish = next((words for part, words in wishes.items() if part in key), "")
        print(f"{key.replace('_', ' '):<{width}}{value:>10.4g}   {wish}".rstrip())
    if file is not None:
        file.write_text(json.dumps(dict(figures), indent=2) + "\n", encoding="utf-8")


def progress(done: int, total: int, what: str) -> None:
    """Say on stderr how far it is, and `what` the part is that was done or begun last."""
    print(f"{done} of {total}: {what}", file=sys.stderr, flush=True)
