# SPDX-License-Identifier: Apache-2.0
"""The page of a batch of images: their classes, how sure, and what needs a look first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.report import (
    Extremes,
    drawn_thumbnail,
    thumbnail_gallery,
)
from encephalon.experiments.contamination import OVERLAP, overlap_warning
from encephalon.reports.blocks import StatCard, note, skipped, stat_cards, status_badge, table
from encephalon.reports.format import model_facts, model_name
from encephalon.reports.markup import Html, join
from encephalon.reports.page import Page
from encephalon.studies.micrographs.traffic_light import LIGHTS, NO_LIGHT, light_badge

__all__ = ["BatchReport"]

Row = Mapping[str, Any]
Failures = Iterable[tuple[str, str]]
Draw = Callable[[], NDArray[np.uint8] | Sequence[Html] | None]

#: Images that are pictured at either end of certainty, and as many to check: our choice, so that
#: the page stays below some megabytes.
PICTURED = 60
#: Rows and failures that the page lists; predictions.csv has all of them.
LISTED = 2000


class BatchReport:
    """Collects images as they are predicted, and writes the page at the end.

    `about` is the predictor's own description. Pictures are kept at the ends of certainty only, so
    that memory does not grow with the number of images.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = dict(about)
        self.classes: list[str] = list(self.about.get("classes") or ())
        self._rows: list[Row] = []
        self._extremes = Extremes(PICTURED)
        self._to_check: list[Html] = []

    def draw(self, row: Row, shown: Draw | None, folder: Path) -> list[Html]:
        """The thumbnail as markup, to be kept for `add`; none of an image that no page shows."""
        del folder
        drawn: list[Html] = []
        self._offer(row, shown, drawn.append)
        return drawn

    def add(self, row: Row, shown: Draw | None = None) -> None:
        """Add one image: its row of predictions.csv, and what draws its thumbnail, or drew it."""
        if row.get("light", NO_LIGHT) is None:
            # A cell of the table: empty for no light, or because the column is of another model.
            light = {"light": NO_LIGHT} if self.about.get("thresholds") else {}
            row = {key: value for key, value in row.items() if key != "light"} | light
        self._rows.append(row)
        self._offer(row, shown)

    def _offer(
        self, row: Row, shown: Draw | None, kept: Callable[[Html], None] | None = None
    ) -> None:
        if shown is None:
            return

        def drawn() -> Html | None:
            html = self._drawn(row, shown)
            if html is not None and kept is not None:
                kept(html)
            return html

        if row.get("quality") != "check":
            self._extremes.offer(certainty_of(row), drawn)
        elif len(self._to_check) < PICTURED:
            html = drawn()
            self._to_check += [html] if html else []

    def render(self, failures: Failures = ()) -> str:
        """Return the page as text; `failures` are ids and messages of images without a class."""
        return self._page(list(failures)).render()

    def write(self, path: str | Path, failures: Failures = (), overwrite: bool = False) -> Path:
        """Write the page; raises OutputExistsError for an existing file unless `overwrite`."""
        return self._page(list(failures)).write(path, overwrite)

    def _page(self, failures: Sequence[tuple[str, str]]) -> Page:
        rows = sorted(
            self._rows, key=lambda row: (row.get("quality") != "check", certainty_of(row))
        )
        count = len(rows) + len(failures)
        page = Page(
            title="Classes of images",
            kicker="Encephalon · prediction",
            lead=f"{count} {'image' if count == 1 else 'images'}, {model_name(self.about)}.",
            batch_of=str((self.about.get("model") or {}).get("name")),
        )
        page.add(stat_cards(self._tiles(rows, failures)), *self._remarks(), *_overlap(rows))
        if failures:
            page.section("Without a class", *_failed(failures))
        pictures = self._pictures()
        if pictures:
            page.section("Images by certainty", *pictures)
        if rows:
            page.section("All images, the least certain first", *self._listed(rows))
        return page.section("Model", model_facts(self.about))

    def _tiles(self, rows: Sequence[Row], failures: Sequence[Any]) -> list[StatCard]:
        said = Counter(str(row.get("predicted")) for row in rows)
        shown = [StatCard(said[name], name) for name in self.classes]
        lights = Counter(row.get("light") for row in rows)
        if any(lights[light] for light in LIGHTS):
            share = f"{100 * lights['Amber'] / len(rows):.0f} % of the images"
            shown.append(StatCard(lights["Amber"], "amber: undecided", share))
        if lights[NO_LIGHT]:
            shown.append(StatCard(lights[NO_LIGHT], "no light", "unlike the training", "check"))
        check = sum(row.get("quality") == "check" for row in rows)
        shown.append(StatCard(check, "to check", status="check" if check else None))
        shown.append(StatCard(len(failures), "failed", status="fail" if failures else None))
        shown += skipped(rows)
        seconds = [float(row["seconds"]) for row in rows if row.get("seconds") is not None]
        if seconds:
            shown.append(StatCard(f"{1000 * median(seconds):.0f} ms", "per image", "median"))
        return shown

    def _remarks(self) -> list[Html]:
        model = self.about.get("model") or {}
        if model.get("mode") == "legacy":
            words = (
                "Legacy mode repeats the published steps, defects included: the network saw "
                "black-and-white silhouettes, and its likelihoods are not calibrated."
            )
            return [note(words, "check")]
        if not self.about.get("calibration"):
            return [note("The probabilities of this model are not calibrated.", "check")]
        return []

    def _drawn(self, row: Row, shown: Draw) -> Html | None:
        seen = shown()
        if not isinstance(seen, np.ndarray):
            return next(iter(seen or ()), None)
        light = row.get("light")
        said = f"{row.get('predicted')} {certainty_of(row):.3f}"
        words = join(said, " ", light_badge(str(light))) if light else said
        return drawn_thumbnail(seen, str(row.get("id", "")), words, row.get("reasons"))

    def _pictures(self) -> list[Html]:
        least, most = self._extremes.least(), self._extremes.most()
        check = thumbnail_gallery("To check: unlike the training images", self._to_check)
        if self._extremes.complete:
            whole = [*reversed(self._extremes.falling())]
            return check + thumbnail_gallery("The least certain first", whole)
        return (
            check
            + thumbnail_gallery("The least certain", least)
            + thumbnail_gallery("The most certain", most)
        )

    def _listed(self, rows: Sequence[Row]) -> list[Html]:
        columns = {"id": "Image", "predicted": "Class"}
        if any("light" in row for row in rows):
            columns["light"] = "Light"
        columns |= {f"p_{name}": f"p({name})" for name in self.classes}
        if any(row.get(OVERLAP) for row in rows):
            columns[OVERLAP] = "Learnt"
        columns |= {"quality": "Quality", "reasons": "Reasons"}
        shown = [_cells(row) for row in rows[:LISTED]]
        rest = len(rows) - len(shown)
        more = [note(f"{rest} more are in predictions.csv.")] if rest else []
        return [table(columns, shown, digits=3), *more]


def _overlap(rows: Sequence[Row]) -> list[Html]:
    count = sum(bool(row.get(OVERLAP)) for row in rows)
    return [note(overlap_warning(count, len(rows)), "fail")] if count else []


def certainty_of(row: Row) -> float:
    """The probability of the class that a row of predictions.csv names."""
    return float(row.get(f"p_{row.get('predicted')}") or 0.0)


def _cells(row: Row) -> dict[str, Any]:
    light = row.get("light")
    shapes = {
        "quality": status_badge(row),
        "light": None if light is None else light_badge(str(light or "none")),
    }
    return {**row, **shapes}


def _failed(failures: Sequence[tuple[str, str]]) -> list[Html]:
    rows = [{"id": name, "why": message} for name, message in failures[:LISTED]]
    rest = len(failures) - len(rows)
    more = [note(f"{rest} more are in predictions.csv.", "fail")] if rest else []
    return [table({"id": "Image", "why": "Why"}, rows), *more]
