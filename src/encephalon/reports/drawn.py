# SPDX-License-Identifier: Apache-2.0
"""What is drawn of samples for a page of many, and how much of it the page takes up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from encephalon.reports.format import Html

__all__ = ["Drawn", "Gallery", "PictureBudget"]

Row = Mapping[str, Any]

#: Characters of embedded pictures on one page: below 15 MB it opens at once in any browser. A
#: quarter is for samples that are well, one for the others, and half for thumbnails.
PICTURE_BUDGET = 13_000_000


class Gallery(Protocol):
    """Pictures without cards: a few of so many samples that no page could show all of them."""

    def offer(self, row: Row, draw: Callable[[], Sequence[Html]]) -> Sequence[Html]:
        """Draw and keep a sample if it is one of those to be shown; what was drawn of it."""
        ...

    def blocks(self) -> list[Html]:
        """Those that were kept."""
        ...


class PictureBudget:
    """Sees to it that a page with pictures does not become too large for a browser."""

    def __init__(self, share: float = 1.0) -> None:
        self.used, self._most = 0, share * PICTURE_BUDGET

    def draw(self, draw: Callable[[], Iterable[Html]]) -> list[Html] | None:
        """What `draw` returns; None once the budget is used up."""
        if self.used >= self._most:
            return None
        drawn = list(draw())
        self.used += sum(map(len, drawn))
        return drawn


@dataclass(frozen=True)
class Drawn:
    """What there is to see of a sample: its pictures, and the small one for the table."""

    pictures: Sequence[Html] = ()
    thumbnail: Html | None = None
