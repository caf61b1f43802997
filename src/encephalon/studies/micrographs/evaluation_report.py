# SPDX-License-Identifier: Apache-2.0
"""The page of an evaluation: the figures, and the most and the least certain images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports import Html, Page, note
from encephalon.studies.micrographs.extremes import (
    Extremes,
    drawn_thumbnail,
    thumbnail_gallery,
)
from encephalon.studies.micrographs.sections import (
    assessment_sections,
    assessment_tiles,
    comparison_table,
)
from encephalon.studies.micrographs.words import model_facts, model_name

if TYPE_CHECKING:
    from encephalon.studies.micrographs.evaluate import Evaluation

__all__ = ["EvaluationReport"]

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
        page.add(assessment_tiles(found))
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
