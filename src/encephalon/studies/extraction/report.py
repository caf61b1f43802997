# SPDX-License-Identifier: Apache-2.0
"""The page of a prediction batch: one card a scan, what needs a look first.

What the pages of this study share: pictures of scans, facts about models, cells of rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine
from encephalon.reports.blocks import (
    StatCard,
    card,
    details,
    facts,
    figure,
    note,
    skipped,
    stat_cards,
    status_badge,
    table,
)
from encephalon.reports.format import format_sentence
from encephalon.reports.images import AMBER, SKY
from encephalon.reports.markup import Html, tag
from encephalon.reports.page import Legend, Page
from encephalon.reports.pictures import Picture
from encephalon.reports.slices import Overlay, axial_series, three_planes

__all__ = [
    "PREDICTION",
    "REFERENCE",
    "BatchReport",
    "Row",
    "about_model",
    "file_name",
    "model_facts",
    "model_name",
    "number_of",
    "numbers_of",
    "picture_blocks",
    "pictures_of",
    "reasons_of",
    "scan_pictures",
    "status_of",
]

Failures = Iterable[tuple[str, str]]

# Characters of embedded pictures beyond which scans marked ok are listed without pictures: a page
# of this size still opens at once in any browser.
_PICTURE_BUDGET = 60_000_000


_ORDER = {"fail": 0, "check": 1, "ok": 3}


Row = Mapping[str, Any]
PREDICTION, REFERENCE = "prediction", "reference"
_FACTS = {
    "name": "Model",
    "version": "Version",
    "mode": "Mode",
    "runtime": "Runtime",
    "device": "Device",
    "border_mm": "Border, mm",
    "threshold": "Threshold",
    "licence": "Licence",
    "sha256": "SHA-256",
}


class BatchReport:
    """Draws the scans of a batch as they are done, and writes the page of them all.

    `about` is the predictor's own description (model, sha256, mode, device ...); `structure` names
    what is outlined. A page holds about 200 kB a scan, and no more for unremarkable scans once it
    is large.
    """

    def __init__(self, about: Mapping[str, Any], structure: str = "brain") -> None:
        self.about = dict(about)
        self.structure = structure
        self._entries: list[tuple[Row, list[Html] | None]] = []
        self._size = 0

    def draw(self, row: Row, shown: Any, folder: Path) -> list[Html]:
        """The pictures of a scan as markup, to be kept for `add`: `shown`, see there."""
        del row, folder
        return _markup(shown)

    def add(self, row: Row, shown: Any = None) -> None:
        """Add one scan: its row of predictions.csv, and what there is to see.

        `shown` are pictures or what was drawn of them, the main one first, or a function that
        makes them, or None.
        """
        drawn: list[Html] | None = None
        if status_of(row) != "ok" or self._size < _PICTURE_BUDGET:
            drawn = _markup(shown)
            self._size += sum(len(each) for each in drawn)
        self._entries.append((dict(row), drawn))

    def render(self, failures: Failures = ()) -> str:
        """Return the page as text; `failures` are ids and messages of scans without a mask."""
        return self._page(list(failures)).render()

    def write(self, path: str | Path, failures: Failures = (), overwrite: bool = False) -> Path:
        """Write the page; raises OutputExistsError for an existing file unless `overwrite`."""
        return self._page(list(failures)).write(path, overwrite)

    def _page(self, failures: Sequence[tuple[str, str]]) -> Page:
        entries = sorted(self._entries, key=lambda entry: _ORDER.get(status_of(entry[0]), 2))
        rows = [row for row, _ in entries]
        count = len(rows) + len(failures)
        page = Page(
            title=f"{self.structure.capitalize()} masks",
            lead=f"{count} {'scan' if count == 1 else 'scans'}, {model_name(self.about)}.",
            legend=[Legend(PREDICTION, f"Outline of the {self.structure} mask", AMBER)],
            batch_of=str(about_model(self.about).get("name")),
        )
        page.add(stat_cards(self._tiles(rows, failures)))
        if self.about.get("notice"):
            page.add(note(str(self.about["notice"]), "check"))
        if failures:
            page.section("Without a mask", *(_failure(*each) for each in failures))
        if len(rows) > 1:
            page.section("Scans", _table(rows))
        cards = [_card(place, *entry) for place, entry in enumerate(entries)]
        if cards:
            page.section("Pictures", _hint(len(cards)), *cards)
        return page.section("Model", model_facts(self.about))

    def _tiles(self, rows: Sequence[Row], failures: Sequence[tuple[str, str]]) -> list[StatCard]:
        counts = Counter(status_of(row) for row in rows)
        counts["fail"] += len(failures)
        shown = [
            StatCard(counts[status], label, status=status if counts[status] else None)
            for status, label in (("ok", "ok"), ("check", "to check"), ("fail", "failed"))
        ]
        shown += skipped(rows)
        good = [row for row in rows if status_of(row) != "fail"]
        volumes, seconds = numbers_of(good, "volume_ml"), numbers_of(rows, "seconds")
        if volumes:
            several = len(volumes) > 1
            label = f"median {self.structure}" if several else f"{self.structure} volume"
            spread = f"{min(volumes):.0f} to {max(volumes):.0f} mL" if several else None
            shown.append(StatCard(f"{median(volumes):.0f} mL", label, spread))
        if seconds:
            shown.append(StatCard(f"{median(seconds):.1f} s", "per scan"))
        return shown


def _markup(shown: Any) -> list[Html]:
    return [each if isinstance(each, Html) else each.html for each in pictures_of(shown)]


def _hint(count: int) -> Html:
    words = "Slices run through the middle of the mask, the left side of the body on the left."
    if count > 1:
        words += " Scans to look at come first."
    return tag("p", words, class_="soft")


def _failure(name: str, message: str) -> Html:
    return card(name, note(message, "fail"), status="fail")


def _table(rows: Sequence[Row]) -> Html:
    columns = {
        "id": "Scan",
        "quality": "Quality",
        "reasons": "Reasons",
        "volume_ml": "Volume, mL",
        "seconds": "Seconds",
    }
    return table(columns, [_table_row(place, row) for place, row in enumerate(rows)], digits=3)


def _table_row(place: int, row: Row) -> dict[str, Any]:
    return {
        "id": tag("a", row.get("id", ""), href=f"#scan-{place}"),
        "quality": status_badge(row),
        "reasons": " ".join(reasons_of(row)) or None,
        "volume_ml": number_of(row, "volume_ml"),
        "seconds": number_of(row, "seconds"),
    }


def _card(place: int, row: Row, pictures: Sequence[Html] | None) -> Html:
    status = status_of(row)
    main, more = picture_blocks(pictures or ())
    why = "are left out to keep this page small" if pictures is None else "were not kept"
    main = main or note(f"The pictures {why}.")
    return card(
        str(row.get("id", "")),
        *(note(reason, status) for reason in reasons_of(row)),
        main,
        facts(_facts(row)),
        more,
        status=status or None,
        anchor=f"scan-{place}",
    )


def _facts(row: Row) -> dict[str, Any]:
    volume, seconds = number_of(row, "volume_ml"), number_of(row, "seconds")
    return {
        "Volume": None if volume is None else f"{volume:.1f} mL",
        "Time": None if seconds is None else f"{seconds:.1f} s",
        "Scan": file_name(row.get("source")),
        "Mask": file_name(row.get("mask")),
    }


def scan_pictures(
    data: NDArray[Any],
    affine: Affine,
    mask: NDArray[Any],
    reference: NDArray[Any] | None = None,
) -> tuple[Picture, ...]:
    """Draw a scan (I, J, K) with the outline of its mask: three planes, and eight axial slices.

    A reference mask is outlined below it in a second colour.
    """
    overlays = [Overlay(np.asarray(mask), PREDICTION, AMBER)]
    if reference is not None:
        overlays.insert(0, Overlay(np.asarray(reference), REFERENCE, SKY))
    return three_planes(data, affine, overlays), axial_series(data, affine, overlays)


def pictures_of(shown: Any) -> Sequence[Picture]:
    """Return pictures as they are, and make them if `shown` is a function."""
    return list((shown() if callable(shown) else shown) or ())


def picture_blocks(pictures: Sequence[Html]) -> tuple[Html | None, Html | None]:
    """The main picture of a card, and the others folded away; None for what there is not."""
    framed = [tag("div", picture, class_="frame") for picture in pictures]
    main = figure(framed[0]) if framed else None
    return main, details("Axial slices", *framed[1:]) if framed[1:] else None


def model_facts(about: Mapping[str, Any]) -> Html:
    """Show what is known of the model: name, version, mode, runtime, device, hash."""
    known, shown = about_model(about), dict[str, Any]()
    for key, label in _FACTS.items():
        value = known.get(key)
        if value not in (None, ""):
            shown[label] = tag("code", value) if key == "sha256" else value
    return facts(shown)


def model_name(about: Mapping[str, Any]) -> str:
    """Name and version of the model."""
    known = about_model(about)
    name, version = str(known.get("name") or "unknown model"), known.get("version")
    return f"{name} {version}" if version else name


def about_model(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a predictor says of itself, the entry `model` opened if it holds several things."""
    model = about.get("model")
    inner = dict(model) if isinstance(model, Mapping) else {"name": model}
    return {**about, **inner}


def status_of(row: Row) -> str:
    """The quality status of a row, or nothing."""
    return str(row.get("quality") or "")


def reasons_of(row: Row) -> list[str]:
    """The reasons for the status, as sentences."""
    given = row.get("reasons") or ()
    parts = given.split("; ") if isinstance(given, str) else list(given)
    return [format_sentence(str(part)) for part in parts if part]


def number_of(row: Row, key: str) -> float | None:
    """A cell as a number; None where it is empty."""
    value = row.get(key)
    return None if value is None or value == "" else float(value)


def numbers_of(rows: Sequence[Row], key: str) -> list[float]:
    """The numbers of a column, without its empty cells."""
    return [value for row in rows if (value := number_of(row, key)) is not None]


def file_name(path: Any) -> Html | None:
    """The last part of a path."""
    return tag("code", Path(str(path)).name) if path else None
