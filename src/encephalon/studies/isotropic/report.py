# SPDX-License-Identifier: Apache-2.0
"""The page of a batch of reconstructions, and beside it a page of every scan.

`report.html` lists the scans; the pages of the scans lie in the folder `report` beside it, so that
each can be passed on by itself.
"""

from __future__ import annotations

import shutil
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote

from encephalon.io.atomic import refuse_existing, write_text
from encephalon.reports import Html, Page, Tile, badge, card, facts, note, table, tag, tiles
from encephalon.reports.markup import sentence
from encephalon.studies.isotropic.pictures import ScanPictures
from encephalon.studies.isotropic.scan_page import (
    framed,
    guide_words,
    model_facts,
    model_name,
    scan_page,
)

__all__ = ["BatchReport"]

Row = Mapping[str, Any]
Failures = Iterable[tuple[str, str]]

# Characters of embedded pictures beyond which scans marked ok are listed without pictures: a page
# of this size still opens at once in any browser. Their own pages have them.
_PICTURE_BUDGET = 40_000_000
_ORDER = {"fail": 0, "check": 1, "ok": 3}
#: The pictures that the page of the batch shows; that of the scan has all.
_PICTURED = ("before", "after")


@dataclass(frozen=True)
class _Entry:
    """A scan: its row, its pictures, and the file that holds its page until it has a place."""

    row: Row
    pictures: tuple[Html, ...]
    page: Path | None

    @property
    def name(self) -> str:
        """The id of the scan."""
        return str(self.row.get("id", ""))

    @property
    def status(self) -> str:
        """The quality, or nothing."""
        return str(self.row.get("quality") or "")


class BatchReport:
    """Collects the scans of a batch as they are done, and writes all pages at the end.

    `about` is the predictor's own description. The pages of the scans wait in a temporary folder,
    so that memory does not grow by a megabyte a scan.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = dict(about)
        self._entries: list[_Entry] = []
        self._size = 0
        self._spool: Path | None = None

    def add(self, row: Row, shown: ScanPictures | None = None) -> None:
        """Add one scan: its row of predictions.csv, and what its pages draw from."""
        if shown is None:
            self._entries.append(_Entry(dict(row), (), None))
            return
        drawn = list(shown)
        page = self._folder() / f"{len(self._entries)}.html"
        page.write_text(scan_page(self.about, row, shown, drawn).render(), encoding="utf-8")
        entry = _Entry(dict(row), (), page)
        if entry.status != "ok" or self._size < _PICTURE_BUDGET:
            pictures = tuple(framed(each) for each in drawn if each.key in _PICTURED)
            self._size += sum(len(each) for each in pictures)
            entry = _Entry(entry.row, pictures, page)
        self._entries.append(entry)

    def render(self, failures: Failures = (), folder: str = "report") -> str:
        """The page of the batch as text, with links into `folder`."""
        return self._page(list(failures), folder).render()

    def write(self, path: str | Path, failures: Failures = (), overwrite: bool = False) -> Path:
        """Write the page of the batch at `path`, and those of the scans in a folder of its name.

        `report.html` has the pages `report/<id>.html`. Raises OutputExistsError for any of them
        that exists, unless `overwrite`, before anything is written.
        """
        path = Path(path)
        folder = path.with_suffix("")
        pages = {folder / f"{one.name}.html": one.page for one in self._entries if one.page}
        for each in (path, *pages):
            refuse_existing(each, overwrite)
        for final, waiting in pages.items():
            write_text(final, waiting.read_text(encoding="utf-8"))
        return self._page(list(failures), folder.name).write(path, overwrite)

    def _folder(self) -> Path:
        """The temporary folder of the pages, gone when this object is."""
        if self._spool is None:
            self._spool = Path(mkdtemp(prefix="encephalon-report-"))
            weakref.finalize(self, shutil.rmtree, self._spool, ignore_errors=True)
        return self._spool

    def _page(self, failures: Sequence[tuple[str, str]], folder: str) -> Page:
        entries = sorted(self._entries, key=lambda one: _ORDER.get(one.status, 2))
        count = len(entries) + len(failures)
        page = Page(
            title="Isotropic T2w scans",
            kicker="Encephalon · isotropic T2w",
            lead=f"{count} {'scan' if count == 1 else 'scans'}, {model_name(self.about)}.",
        )
        notice = str(self.about.get("notice") or _GUESS)
        page.add(tiles(_tiles([one.row for one in entries], failures)), note(notice, "check"))
        if failures:
            failed = [card(name, note(why, "fail"), status="fail") for name, why in failures]
            page.section("Without a result", *failed)
        if entries:
            page.section(
                "Scans", table(_COLUMNS, [_cells(one, folder) for one in entries], digits=3)
            )
            cards = [_card(place, one, folder) for place, one in enumerate(entries)]
            page.section("Pictures", _HINT, *cards)
        return page.section("Model", model_facts(self.about))


_GUESS = (
    "What lies between the measured slices is an estimate and no measurement: look at the slices "
    "themselves before any finding is believed."
)
_HINT = tag(
    "p",
    "Three planes through the middle of the head, the left side of the body on the left. Scans to "
    "look at come first. The page of each scan has interpolation, uncertainty, residual, T1w and "
    "all facts.",
    class_="soft",
)
_COLUMNS = {
    "id": "Scan",
    "quality": "Quality",
    "guide": "T1w",
    "distance_mm": "Slices, mm",
    "ratio": "Ratio",
    "inconsistency": "Off the slices, %",
    "uncertain_share": "Uncertain, %",
    "seconds": "Seconds",
    "reasons": "Reasons",
}


def _tiles(rows: Sequence[Row], failures: Sequence[Any]) -> list[Tile]:
    counts = Counter(str(row.get("quality") or "") for row in rows)
    counts["fail"] += len(failures)
    shown = [
        Tile(counts[status], label, status=status if counts[status] else None)
        for status, label in (("ok", "ok"), ("check", "to check"), ("fail", "failed"))
    ]
    guided = sum(row.get("guide") == "used" for row in rows)
    if rows:
        shown.append(Tile(guided, "with a T1w", f"of {len(rows)}"))
    seconds = [value for row in rows if (value := _number(row, "seconds")) is not None]
    if seconds:
        shown.append(Tile(f"{median(seconds):.1f} s", "per scan", "median"))
    return shown


def _cells(entry: _Entry, folder: str) -> dict[str, Any]:
    row = entry.row
    return {
        "id": _link(entry, folder, entry.name),
        "quality": badge(entry.status) if entry.status else None,
        "guide": guide_words(row.get("guide")),
        "distance_mm": _rounded(_number(row, "distance_mm"), 2),
        "ratio": _rounded(_number(row, "ratio"), 2),
        "inconsistency": _rounded(_number(row, "inconsistency", 100), 2),
        "uncertain_share": _rounded(_number(row, "uncertain_share", 100), 1),
        "seconds": _rounded(_number(row, "seconds"), 1),
        "reasons": " ".join(_reasons(row)) or None,
    }


def _card(place: int, entry: _Entry, folder: str) -> Html:
    kept = entry.pictures or (note("The pictures are on the scan's own page."),)
    whole = _link(entry, folder, "The page of this scan") if entry.page else None
    output = entry.row.get("t2w")
    return card(
        entry.name,
        *(note(reason, entry.status) for reason in _reasons(entry.row)),
        *(kept if entry.page else ()),
        facts(
            {"All of it": whole, "Image": tag("code", Path(str(output)).name) if output else None}
        ),
        status=entry.status or None,
        anchor=f"scan-{place}",
    )


def _link(entry: _Entry, folder: str, words: str) -> Html | str:
    """A link to the page of the scan, if it has one."""
    if entry.page is None:
        return words
    return tag("a", words, href=f"{quote(folder)}/{quote(entry.name)}.html")


def _reasons(row: Row) -> list[str]:
    given = row.get("reasons") or ()
    parts = given.split("; ") if isinstance(given, str) else list(given)
    return [sentence(str(part)) for part in parts if part]


def _number(row: Row, key: str, factor: float = 1.0) -> float | None:
    value = row.get(key)
    return None if value is None or value == "" else factor * float(value)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
