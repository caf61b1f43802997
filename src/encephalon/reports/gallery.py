# SPDX-License-Identifier: Apache-2.0
"""Galleries of small images: those that a model is most and least certain of, and no others."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.blocks import figure, gallery
from encephalon.reports.images import Picture
from encephalon.reports.markup import Html, join, tag

__all__ = ["ExamplesByConfidence", "thumbnail_figure", "thumbnail_gallery"]


@dataclass(frozen=True, order=True)
class _Kept:
    """One image of a page: how certain its class is, which number it had, and what is drawn."""

    certainty: float
    number: int
    html: Html = field(compare=False)


class ExamplesByConfidence:
    """The `count` most confident images and as many of the hardest, drawn as they come.

    Memory holds no more than these, however many are offered.
    """

    def __init__(self, count: int) -> None:
        self._count, self._offered = count, 0
        self._kept: list[_Kept] = []

    def offer(self, certainty: float, draw: Callable[[], Html | None]) -> None:
        """Keep one image if it is at one of the ends; only then is it drawn."""
        self._offered += 1
        full = len(self._kept) >= 2 * self._count
        place = bisect_left(self._kept, certainty, key=lambda one: one.certainty)
        if full and place == self._count:
            return
        html = draw()
        if html is None:
            return
        insort(self._kept, _Kept(certainty, self._offered, html))
        if full:
            del self._kept[self._count]

    @property
    def complete(self) -> bool:
        """Whether every image that was offered is kept."""
        return self._offered <= len(self._kept)

    def hardest(self) -> list[Html]:
        """The least certain ones, from the lowest certainty on."""
        return [one.html for one in self._kept[: self._half]]

    def most_confident(self) -> list[Html]:
        """The most certain ones, from the highest certainty on; none is in both lists."""
        return [one.html for one in reversed(self._kept[self._half :])]

    def falling(self) -> list[Html]:
        """The most certain ones and, if that makes it all that were offered, the others too."""
        return [*self.most_confident(), *(reversed(self.hardest()) if self.complete else ())]

    @property
    def _half(self) -> int:
        return min(self._count, (len(self._kept) + 1) // 2)


def thumbnail_figure(pixels: NDArray[np.uint8] | None, name: str, *words: Any) -> Html | None:
    """A thumbnail (rows, columns) with its name and what is said of it; None without pixels."""
    if pixels is None:
        return None
    caption = join(tag("strong", name), *(tag("div", each) for each in words if each))
    return figure(Picture(pixels, name), caption)


def thumbnail_gallery(title: str, shown: Sequence[Html]) -> list[Html]:
    """The images under a heading; nothing where there are none."""
    return [tag("h3", title), gallery(*shown)] if shown else []
