# SPDX-License-Identifier: Apache-2.0
"""The page of an evaluation: the figures, and the most and the least certain images.

The images that a model is most and least certain of, without keeping all of them.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.sections import assessment_cards, assessment_sections, comparison_table
from encephalon.reports.batch import model_facts, model_name
from encephalon.reports.blocks import figure, gallery, note
from encephalon.reports.markup import Html, join, tag
from encephalon.reports.page import Page
from encephalon.reports.pictures import Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encephalon.studies.micrographs.evaluation import Evaluation

__all__ = ["EvaluationReport", "Extremes", "drawn_thumbnail", "thumbnail_gallery"]

#: Images that are pictured in each of the three galleries: our choice.
PICTURED = 24

logger = logging.getLogger(__name__)

Draw = Callable[[], NDArray[np.uint8] | None]


class EvaluationReport:
    """Collects images while they are scored, and writes the page at the end.

    `about` is the predictor's own description. Few pictures are kept, however many there are.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = dict(about)
        self._right, self._wrong = Extremes(PICTURED), Extremes(PICTURED)
        self._warning = ""

    def warn(self, sentence: str) -> None:
        """Say on top of the page, and in the log, why the scores are not to be trusted."""
        self._warning = sentence
        if sentence:
            logger.warning(sentence)

    def add(
        self, name: str, probabilities: NDArray[np.float64], truth: str | None, draw: Draw
    ) -> None:
        """Add one image: its probabilities (C), its class (None: not known), its thumbnail."""
        said = str(self.about["classes"][int(np.argmax(probabilities))])
        certainty = float(probabilities.max())
        wrong = truth is not None and truth != said
        words = f"{said} {certainty:.3f}"

        def drawn() -> Html | None:
            return drawn_thumbnail(draw(), name, words, f"true: {truth}" if wrong else None)

        (self._wrong if wrong else self._right).offer(certainty, drawn)

    def write(self, path: Path, result: Evaluation, overwrite: bool = False) -> Path:
        """Write the page; raises OutputExistsError for an existing file unless `overwrite`."""
        return self._page(result).write(path, overwrite)

    def _page(self, result: Evaluation) -> Page:
        found = result.assessment
        page = Page(
            title="Classes against the truth",
            kicker="Encephalon · evaluation",
            lead=f"{model_name(self.about)} on {found.n} images with a known class.",
        )
        if self._warning:
            page.add(note(self._warning, "fail"))
        page.add(assessment_cards(found))
        page.add(*(note(f"{each['id']}: {each['message']}", "fail") for each in result.failures))
        if result.comparison is not None:
            compared = comparison_table({"the other model": result.comparison}, found.group)
            page.section("Beside another model", *compared)
        assessment_sections(page, found)
        pictures = [
            *thumbnail_gallery("Wrong, the most certain first", self._wrong.falling()),
            *thumbnail_gallery("The most certain", self._right.most()),
            *thumbnail_gallery("The least certain", self._right.least()),
        ]
        if pictures:
            page.section("Images", *pictures)
        return page.section("Model", model_facts(self.about))


@dataclass(frozen=True, order=True)
class _Shown:
    """One image of a page: how certain its class is, which number it had, and what is drawn."""

    certainty: float
    number: int
    html: Html = field(compare=False)


class Extremes:
    """The `count` images of the highest certainty and as many of the lowest, drawn as they come.

    Memory holds no more than these, however many are offered.
    """

    def __init__(self, count: int) -> None:
        self._count, self._offered = count, 0
        self._kept: list[_Shown] = []

    def offer(self, certainty: float, draw: Callable[[], Html | None]) -> None:
        """Keep one image if it is among the extremes; only then is it drawn."""
        self._offered += 1
        full = len(self._kept) >= 2 * self._count
        place = bisect_left(self._kept, certainty, key=lambda one: one.certainty)
        if full and place == self._count:
            return
        html = draw()
        if html is None:
            return
        insort(self._kept, _Shown(certainty, self._offered, html))
        if full:
            del self._kept[self._count]

    @property
    def complete(self) -> bool:
        """Whether every image that was offered is kept."""
        return self._offered <= len(self._kept)

    def least(self) -> list[Html]:
        """The least certain ones, from the lowest certainty on."""
        return [one.html for one in self._kept[: self._half]]

    def most(self) -> list[Html]:
        """The most certain ones, from the highest certainty on; none is in both lists."""
        return [one.html for one in reversed(self._kept[self._half :])]

    def falling(self) -> list[Html]:
        """The most certain ones and, if that makes it all that were offered, the others too."""
        return [*self.most(), *(reversed(self.least()) if self.complete else ())]

    @property
    def _half(self) -> int:
        return min(self._count, (len(self._kept) + 1) // 2)


def drawn_thumbnail(pixels: NDArray[np.uint8] | None, name: str, *words: Any) -> Html | None:
    """A thumbnail (rows, columns) with its name and what is said of it; None without pixels."""
    if pixels is None:
        return None
    caption = join(tag("strong", name), *(tag("div", each) for each in words if each))
    return figure(Picture(pixels, name), caption)


def thumbnail_gallery(title: str, shown: Sequence[Html]) -> list[Html]:
    """The images under a heading; nothing where there are none."""
    return [tag("h3", title), gallery(*shown)] if shown else []
