# SPDX-License-Identifier: Apache-2.0
"""The page of a batch of reconstructions, and beside it a page of every scan.

`report.html` lists the scans; the pages of the scans lie in the folder `report` beside it, so that
each can be passed on by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from encephalon.reports.blocks import (
    StatCard,
    card,
    facts,
    note,
    skipped,
    stat_cards,
    status_badge,
    table,
)
from encephalon.reports.format import format_sentence
from encephalon.reports.markup import Html, tag
from encephalon.reports.page import Page, batch_of
from encephalon.studies.isotropic.images import ScanPictures
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
    """A scan: its row, its pictures, and the address of its own page."""

    row: Row
    pictures: tuple[Html, ...]
    page: str | None

    @property
    def name(self) -> str:
        """The id of the scan."""
        return str(self.row.get("id", ""))

    @property
    def status(self) -> str:
        """The quality, or nothing."""
        return str(self.row.get("quality") or "")


class BatchReport:
    """Writes the page of each scan of a batch as it is done, and the page of them all.

    `about` is the predictor's own description. `report.html` has the pages `report/<id>.html`.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = dict(about)
        self._scans: list[tuple[Row, tuple[Html, ...]]] = []
        self._size = 0

    def draw(self, row: Row, shown: ScanPictures | None, folder: Path) -> list[Html]:
        """Write the page of a scan to `folder`; what the page of the batch shows, as markup.

        Raises OutputExistsError where another kind of page is in the way.
        """
        if shown is None:
            return []
        drawn = list(shown)
        place = folder / f"{row['id']}.html"
        page = scan_page(self.about, row, shown, drawn)
        page.write(place, overwrite=batch_of(place) is not None)
        return [framed(each) for each in drawn if each.key in _PICTURED]

    def add(self, row: Row, drawn: Callable[[], Iterable[Html]] | None = None) -> None:
        """Add one scan: its row of predictions.csv, and what returns what was drawn of it."""
        pictures: tuple[Html, ...] = ()
        if drawn and (row.get("quality") != "ok" or self._size < _PICTURE_BUDGET):
            pictures = tuple(drawn())
            self._size += sum(len(each) for each in pictures)
        self._scans.append((row, pictures))

    def render(self, failures: Failures = (), folder: Path = Path("report")) -> str:
        """The page of the batch as text, with links to the pages in `folder`."""
        return self._page(list(failures), folder).render()

    def write(self, path: str | Path, failures: Failures = (), overwrite: bool = False) -> Path:
        """Write the page of the batch, with links to the pages in the folder `report` beside it.

        Raises OutputExistsError for an existing file unless `overwrite`.
        """
        folder = Path(path).parent / "report"
        return self._page(list(failures), folder).write(path, overwrite)

    def _page(self, failures: Sequence[tuple[str, str]], folder: Path) -> Page:
        entries = [_Entry(row, shown, _address(row, folder)) for row, shown in self._scans]
        entries.sort(key=lambda one: _ORDER.get(one.status, 2))
        count = len(entries) + len(failures)
        page = Page(
            title="Isotropic T2w scans",
            kicker="Encephalon · isotropic T2w",
            lead=f"{count} {'scan' if count == 1 else 'scans'}, {model_name(self.about)}.",
            batch_of=str((self.about.get("model") or {}).get("name")),
        )
        notice = str(self.about.get("notice") or _GUESS)
        page.add(stat_cards(_tiles([one.row for one in entries], failures)), note(notice, "check"))
        if failures:
            failed = [card(name, note(why, "fail"), status="fail") for name, why in failures]
            page.section("Without a result", *failed)
        if entries:
            page.section("Scans", table(_COLUMNS, [_cells(one) for one in entries], digits=3))
            cards = [_card(place, one) for place, one in enumerate(entries)]
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


def _tiles(rows: Sequence[Row], failures: Sequence[Any]) -> list[StatCard]:
    counts = Counter(str(row.get("quality") or "") for row in rows)
    counts["fail"] += len(failures)
    shown = [
        StatCard(counts[status], label, status=status if counts[status] else None)
        for status, label in (("ok", "ok"), ("check", "to check"), ("fail", "failed"))
    ]
    guided = sum(row.get("guide") == "used" for row in rows)
    if rows:
        shown.append(StatCard(guided, "with a T1w", f"of {len(rows)}"))
    shown += skipped(rows)
    seconds = [value for row in rows if (value := _number(row, "seconds")) is not None]
    if seconds:
        shown.append(StatCard(f"{median(seconds):.1f} s", "per scan", "median"))
    return shown


def _cells(entry: _Entry) -> dict[str, Any]:
    row = entry.row
    return {
        "id": _link(entry, entry.name),
        "quality": status_badge(row),
        "guide": guide_words(row.get("guide")),
        "distance_mm": _rounded(_number(row, "distance_mm"), 2),
        "ratio": _rounded(_number(row, "ratio"), 2),
        "inconsistency": _rounded(_number(row, "inconsistency", 100), 2),
        "uncertain_share": _rounded(_number(row, "uncertain_share", 100), 1),
        "seconds": _rounded(_number(row, "seconds"), 1),
        "reasons": " ".join(_reasons(row)) or None,
    }


def _card(place: int, entry: _Entry) -> Html:
    kept = entry.pictures or (note("The pictures are on the scan's own page."),)
    whole = _link(entry, "The page of this scan") if entry.page else None
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


def _address(row: Row, folder: Path) -> str | None:
    """The address of a scan's own page, seen from beside `folder`, if it has one."""
    name = f"{row.get('id', '')}.html"
    return f"{quote(folder.name)}/{quote(name)}" if batch_of(folder / name) else None


def _link(entry: _Entry, words: str) -> Html | str:
    """A link to the page of the scan, if it has one."""
    return tag("a", words, href=entry.page) if entry.page else words


def _reasons(row: Row) -> list[str]:
    given = row.get("reasons") or ()
    parts = given.split("; ") if isinstance(given, str) else list(given)
    return [format_sentence(str(part)) for part in parts if part]


def _number(row: Row, key: str, factor: float = 1.0) -> float | None:
    value = row.get(key)
    return None if value is None or value == "" else factor * float(value)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
