# SPDX-License-Identifier: Apache-2.0
"""The page of a batch of images: their classes, how sure, the ends of certainty; thumbnails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.traffic_light import LIGHTS, NO_LIGHT, light_badge
from encephalon.experiments.folds import OVERLAP, overlap_warning
from encephalon.reports.batch import BatchReport, Column, Row
from encephalon.reports.blocks import (
    ExamplesByConfidence,
    StatCard,
    note,
    thumbnail_figure,
    thumbnail_gallery,
)
from encephalon.reports.format import Html, format_share, join

if TYPE_CHECKING:
    from encephalon.studies.micrographs.preprocessing import Picture
    from encephalon.studies.micrographs.settings import MicrographSettings

__all__ = ["PICTURED", "SIDE", "batch_report", "raw_thumbnail", "thumbnail"]

#: Images that are pictured at either end of certainty, and as many to check: our choice, so that
#: the page stays below some megabytes.
PICTURED = 60

SIDE = 256
"""Longest side of a thumbnail, pixels, which is shown smaller at first: 15 to 40 kB on a page."""


def batch_report(about: Mapping[str, Any]) -> BatchReport:
    """The page of a batch of images; `about` is `Predictor.describe()`."""
    classes: Sequence[str] = about.get("classes") or ()
    no_light = NO_LIGHT if about.get("thresholds") else None
    pair = classes if len(classes) == 2 else ()

    def light_of(row: Row) -> str | None:
        """The light of a row; an empty cell of the table is none, or the light of other models."""
        light = row.get("light")
        return no_light if light is None and "light" in row else light

    def light_cell(row: Row) -> Html | None:
        light = light_of(row)
        return None if light is None else light_badge(light or "none", pair)

    return BatchReport(
        about,
        title="Classes of images",
        unit="image",
        missing="Without a class",
        columns=(
            Column("Class", lambda row: row.get("predicted")),
            Column("Light", light_cell),
            *(Column(f"p({name})", f"p_{name}") for name in classes),
            Column("Learnt", lambda row: row.get(OVERLAP) or None),
        ),
        pictures=lambda row, shown, _folder: _thumbnail(row, shown, pair),
        gallery=_Extremes(),
        hint="Images by certainty",
        order="the least certain first",
        rank=certainty_of,
        stats=lambda rows: _cards(rows, classes, Counter(light_of(row) for row in rows)),
        notes=lambda rows: _notes(rows, about),
    )


class _Extremes:
    """The images at the ends of certainty, and some to check: memory does not grow with all."""

    def __init__(self) -> None:
        self._ends, self._to_check = ExamplesByConfidence(PICTURED), list[Html]()

    def offer(self, row: Row, draw: Callable[[], Sequence[Html]]) -> Sequence[Html]:
        """Draw and keep an image if it is one of those to be shown; what was drawn of it."""
        drawn: list[Html] = []

        def first() -> Html | None:
            drawn.extend(draw())
            return drawn[0] if drawn else None

        if row.get("quality") != "check":
            self._ends.offer(certainty_of(row), first)
        elif len(self._to_check) < PICTURED and (html := first()):
            self._to_check.append(html)
        return drawn

    def blocks(self) -> list[Html]:
        """Those to check, and the ends; all in one where there are few."""
        check = thumbnail_gallery("To check: unlike the training images", self._to_check)
        if self._ends.complete:
            whole = [*reversed(self._ends.falling())]
            return check + thumbnail_gallery("The least certain first", whole)
        return (
            check
            + thumbnail_gallery("The least certain", self._ends.hardest())
            + thumbnail_gallery("The most certain", self._ends.most_confident())
        )


def _thumbnail(row: Row, shown: Callable[[], Any], pair: Sequence[str]) -> list[Html]:
    """`shown` reads or draws the image, (rows, columns); None for one that cannot be read."""
    light = row.get("light")
    said = f"{row.get('predicted')} {certainty_of(row):.3f}"
    words = join(said, " ", light_badge(str(light), pair)) if light else said
    drawn = thumbnail_figure(shown(), str(row.get("id", "")), words, row.get("reasons"))
    return [drawn] if drawn else []


def _cards(
    rows: Sequence[Row], classes: Sequence[str], lights: Counter[str | None]
) -> list[StatCard]:
    """How many images have each class, and how many are undecided or without a light."""
    said = Counter(str(row.get("predicted")) for row in rows)
    shown = [StatCard(said[name], name) for name in classes]
    if any(lights[light] for light in LIGHTS):
        share = f"{format_share(lights['Amber'] / len(rows))} of the images"
        shown.append(StatCard(lights["Amber"], "amber: undecided", share))
    if lights[NO_LIGHT]:
        shown.append(StatCard(lights[NO_LIGHT], "no light", "unlike the training", "check"))
    return shown


def _notes(rows: Sequence[Row], about: Mapping[str, Any]) -> list[Html]:
    notes = []
    classes = tuple(map(str, about.get("classes") or ()))
    if any(row.get("light") for row in rows) and len(classes) == 2:
        negative, positive = classes
        words = (
            f"Lights stand for classes, and not for quality: green is surely {negative}, red "
            f"surely {positive}, amber undecided."
        )
        notes.append(note(words))
    if (about.get("model") or {}).get("mode") == "published":
        words = (
            "Published mode repeats the published steps, defects included: the network saw "
            "binary images of the foreground, and its likelihoods are not calibrated."
        )
        notes.append(note(words, "check"))
    elif not about.get("calibration"):
        notes.append(note("The probabilities of this model are not calibrated.", "check"))
    if count := sum(bool(row.get(OVERLAP)) for row in rows):
        notes.append(note(overlap_warning(count, len(rows)), "fail"))
    return notes


def certainty_of(row: Row) -> float:
    """The probability of the class that a row of predictions.csv names."""
    return float(row.get(f"p_{row.get('predicted')}") or 0.0)


def thumbnail(picture: Picture) -> NDArray[np.uint8]:
    """Draw what a network in default mode sees of an image (rows, columns), less padding."""
    from PIL import Image

    from encephalon.reports.images import fitted_size
    from encephalon.studies.micrographs.preprocessing import CENTRE, SPREAD

    # The part of the network's picture that lies in the raw one.
    view = picture.view
    top, bottom, left, right = view.seen
    corners = view.to_view(np.array([[top, left], [bottom - 1, right - 1]], dtype=np.float64))
    first, last = np.rint(corners).astype(int)
    rows, columns = (
        slice(max(0, low), min(size, high + 1))
        for low, high, size in zip(first, last, view.shape, strict=True)
    )
    plane = picture.image[0][rows, columns]
    levels = np.clip(255.0 * (SPREAD * plane + CENTRE), 0, 255)
    size = fitted_size(plane.shape, min(SIDE, max(plane.shape)))
    small = Image.fromarray(levels.astype(np.uint8)).resize(size, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8)


def raw_thumbnail(path: Path, settings: MicrographSettings) -> NDArray[np.uint8]:
    """Read an image again and draw it small (rows, columns)."""
    from encephalon.io.micrograph import read_micrograph
    from encephalon.reports.images import Heatmap

    raw = read_micrograph(path, page=settings.page, colour=settings.colour)
    return Heatmap.of(raw.data, None, SIDE).grey
