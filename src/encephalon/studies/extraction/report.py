# SPDX-License-Identifier: Apache-2.0
"""The page of a prediction batch: one card a scan, what needs a look first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine
from encephalon.reports import (
    Html,
    Overlay,
    Page,
    Picture,
    Tile,
    axial_series,
    badge,
    card,
    details,
    facts,
    figure,
    note,
    table,
    tag,
    three_planes,
    tiles,
)
from encephalon.reports.layers import AMBER
from encephalon.reports.page import Legend

__all__ = ["BatchReport", "model_facts", "scan_pictures", "write_report"]

# Characters of embedded pictures beyond which scans marked ok are listed without pictures: a page
# of this size still opens at once in any browser.
_PICTURE_BUDGET = 60_000_000
_ORDER = {"fail": 0, "check": 1, "ok": 3}


class BatchReport:
    """Collects the scans of a batch as they are done, and writes the page at the end.

    `about` is the predictor's own description (model, sha256, mode, device ...); `structure` names
    what is outlined. Pictures are compressed as they come in, so memory grows by about 150 kB a
    scan and stops growing for unremarkable scans once the page is large.
    """

    def __init__(self, about: Mapping[str, Any], structure: str = "brain") -> None:
        self.about = dict(about)
        self.structure = structure
        self._entries: list[tuple[Mapping[str, Any], list[Html]]] = []
        self._size = 0

    def add(self, row: Mapping[str, Any], shown: Any = None) -> None:
        """Add one scan: its row of predictions.csv, and what was predicted.

        `shown` is a `Prediction`, whose mask is drawn over the scan it came from, or pictures, the
        main one first, or a function that makes them, or None.
        """
        drawn: list[Html] = []
        if row.get("quality") != "ok" or self._size < _PICTURE_BUDGET:
            drawn = [picture.html for picture in pictures_of(shown)]
        self._size += sum(len(each) for each in drawn)
        self._entries.append((dict(row), drawn))

    def render(self, failures: Iterable[tuple[str, str]] = ()) -> str:
        """Return the page as text; `failures` are the ids and messages of scans without a mask."""
        return self._page(list(failures)).render()

    def write(
        self,
        path: str | Path,
        failures: Iterable[tuple[str, str]] = (),
        overwrite: bool = False,
    ) -> Path:
        """Write the page; raises OutputExistsError for an existing file unless `overwrite`."""
        return self._page(list(failures)).write(path, overwrite)

    def _page(self, failures: Sequence[tuple[str, str]]) -> Page:
        entries = sorted(self._entries, key=lambda entry: _ORDER.get(status(entry[0]), 2))
        rows = [row for row, _ in entries]
        count = len(rows) + len(failures)
        page = Page(
            title=f"{self.structure.capitalize()} masks",
            lead=f"{count} {'scan' if count == 1 else 'scans'}, {self._model_name()}.",
            legend=[Legend(LAYER, f"Outline of the {self.structure} mask", AMBER)],
        )
        page.add(tiles(self._tiles(rows, failures)))
        if failures:
            page.section("Without a mask", *(_failure(*each) for each in failures))
        if len(rows) > 1:
            page.section("Scans", self._table(rows))
        cards = [self._card(place, *entry) for place, entry in enumerate(entries)]
        if cards:
            page.section("Pictures", _hint(), *cards)
        return page.section("Model", model_facts(self.about))

    def _model_name(self) -> str:
        known = about_model(self.about)
        name, version = str(known.get("name", "unknown model")), known.get("version")
        return f"{name} {version}" if version else name

    def _tiles(
        self, rows: Sequence[Mapping[str, Any]], failures: Sequence[tuple[str, str]]
    ) -> list[Tile]:
        counts = Counter(status(row) for row in rows)
        counts["fail"] += len(failures)
        shown = [
            Tile(counts[status], label, status=status if counts[status] else None)
            for status, label in (("ok", "ok"), ("check", "to check"), ("fail", "failed"))
        ]
        volumes, seconds = numbers(rows, "volume_ml"), numbers(rows, "seconds")
        if volumes:
            label = f"{self.structure} volume" if len(volumes) == 1 else f"median {self.structure}"
            shown.append(Tile(f"{median(volumes):.0f} mL", label, spread(volumes)))
        if seconds:
            shown.append(Tile(f"{median(seconds):.1f} s", "per scan"))
        return shown

    def _table(self, rows: Sequence[Mapping[str, Any]]) -> Html:
        columns = {
            "id": "Scan",
            "quality": "Quality",
            "reasons": "Reasons",
            "volume_ml": "Volume, mL",
            "seconds": "Seconds",
        }
        return table(columns, [_table_row(place, row) for place, row in enumerate(rows)], digits=3)

    def _card(self, place: int, row: Mapping[str, Any], pictures: Sequence[Html]) -> Html:
        status = status(row)
        main = figure(tag("div", pictures[0], class_="frame")) if pictures else None
        more = None
        if len(pictures) > 1:
            frames = (tag("div", each, class_="frame") for each in pictures[1:])
            more = details("Axial slices", *frames)
        elif not pictures:
            more = note("Pictures of unremarkable scans are left out to keep this page small.")
        return card(
            str(row.get("id", "")),
            *(note(reason, status) for reason in reasons(row)),
            main,
            facts(self._facts(row)),
            more,
            status=status or None,
            anchor=f"scan-{place}",
        )

    def _facts(self, row: Mapping[str, Any]) -> dict[str, Any]:
        volume, seconds = number(row, "volume_ml"), number(row, "seconds")
        source = row.get("source") or row.get("input") or row.get("image")
        written = row.get("mask") or row.get("outputs")
        return {
            "Volume": None if volume is None else f"{volume:.1f} mL",
            "Time": None if seconds is None else f"{seconds:.1f} s",
            "Scan": file_name(source),
            "Mask": file_name(written),
        }


def write_report(
    rows: Iterable[Mapping[str, Any]],
    predictions: Mapping[str, Any],
    path: str | Path,
    *,
    about: Mapping[str, Any],
    structure: str = "brain",
    failures: Iterable[tuple[str, str]] = (),
    overwrite: bool = False,
) -> Path:
    """Write the page of a finished batch.

    `rows` are those of predictions.csv; `predictions` gives for an id what `BatchReport.add`
    takes. Raises OutputExistsError for an existing file unless `overwrite`.
    """
    report = BatchReport(about, structure)
    for row in rows:
        report.add(row, predictions.get(str(row.get("id"))))
    return report.write(path, failures, overwrite)


def _hint() -> Html:
    return tag(
        "p",
        "Slices run through the middle of the mask, the left side of the body on the left. "
        "Scans to look at come first.",
        class_="soft",
    )


def _failure(name: str, message: str) -> Html:
    return card(name, note(message, "fail"), status="fail")


def _table_row(place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    status = status(row)
    return {
        "id": tag("a", row.get("id", ""), href=f"#scan-{place}"),
        "quality": badge(status) if status else None,
        "reasons": " ".join(reasons(row)) or None,
        "volume_ml": number(row, "volume_ml"),
        "seconds": number(row, "seconds"),
    }


