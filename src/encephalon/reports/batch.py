# SPDX-License-Identifier: Apache-2.0
"""The page of a batch of predictions: what needs a look first, and what model made it.

A study says what is its own with the fields of `BatchReport`: columns, stat cards, pictures. The
order, the counts, the failures, the links and the size of the page are the same for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from encephalon.reports.blocks import (
    StatCard,
    badge,
    card,
    facts,
    note,
    stat_cards,
    table,
)
from encephalon.reports.citation import cite
from encephalon.reports.drawn import Drawn, Gallery, PictureBudget
from encephalon.reports.format import TOGETHER, Html, format_decimals, format_sentence, tag
from encephalon.reports.own_pages import file_links, own_page, rating, rating_bar
from encephalon.reports.page import Legend, Page

__all__ = [
    "BatchReport",
    "Column",
    "model_facts",
    "model_name",
    "numbers_of",
    "reasons_of",
    "status_of",
]

Row = Mapping[str, Any]

#: Samples, and failures, that a page lists; predictions.csv has all of them.
LISTED = 2000

_ORDER = {"fail": 0, "check": 1, "ok": 3}
_COUNTED = {"ok": "ok", "check": "to check", "fail": "failed"}
_MODEL = {
    "name": "Model",
    "version": "Version",
    "mode": "Mode",
    "chosen": "Chosen",
    "method": "Method",
    "runtime": "Runtime",
    "device": "Device",
    "border_mm": "Border, mm",
    "threshold": "Threshold",
    "spacing": "Asked spacing, mm",
    "profile": "Slice profile",
    "registration": "Registration",
    "classes": "Classes",
    "score": "Score",
    "calibration": "Calibration",
    "thresholds": "Light",
    "licence": "Licence",
    "sha256": "SHA-256",
}
# How those entries are written that are more than a word or a number.
_WORDS: Mapping[str, Callable[[Any], Any]] = {
    "chosen": lambda told: told["note"],
    "classes": ", ".join,
    "calibration": lambda fitted: f"temperature {fitted['temperature']:.3f}",
    "thresholds": lambda pair: f"green up to {pair[0]:g}, red above {pair[1]:g}",
    "sha256": lambda digest: tag("code", digest),
}


@dataclass(frozen=True)
class Column:
    """What the table and the cards say of each sample.

    heading   its name
    value     the key of a number in the row, or a function of the row
    unit      of the number
    decimals  with which it is written
    factor    of the number, such as 100 for a share in percent
    """

    heading: str
    value: str | Callable[[Row], Any]
    unit: str = ""
    decimals: int | None = None
    factor: float = 1.0

    @property
    def title(self) -> str:
        """The heading with the unit, as it stands over a column."""
        return f"{self.heading},{TOGETHER}{self.unit}" if self.unit else self.heading

    def of(self, row: Row) -> Any:
        """What there is to say of a sample; None for nothing."""
        if not isinstance(self.value, str):
            return self.value(row)
        number = _number(row, self.value)
        return None if number is None else self.factor * number

    def words(self, row: Row) -> Any:
        """The same with its unit, as it stands in a list of facts."""
        value = self.of(row)
        if isinstance(value, float) and self.decimals is not None:
            value = format_decimals(value, self.decimals)
        return f"{value} {self.unit}" if value is not None and self.unit else value


@dataclass(frozen=True)
class _Entry:
    row: Row
    pictures: Sequence[Html] | None
    thumbnail: Html | None = None


@dataclass
class BatchReport:
    """Draws the samples of a batch as they are done, and writes the page of them all.

    about     the predictor's own description: `Predictor.describe()`
    title     of the page
    columns   what is said of each sample
    pictures  what is shown of a sample: of its row, of what its prediction has to draw from, and of
              the folder that may have a page of its own, <id>.html
    unit      what a sample is, and
    units     several of them, where an s would not do
    missing   heading of the samples that failed
    hint      what is to be seen on the pictures
    order     how samples of one quality are in order, in words
    rank      the number that they are in order by, the lowest first
    files     keys of a row that name a file, and what the file is
    stats     stat cards of all rows
    notes     notes on all rows, above everything else
    notice    what is said of a model whose description has no notice
    legend    the layers of the pictures
    gallery   chooses among the pictures, where they stand without cards
    thumbnail  what is small enough to stand in the table, of what its prediction has to draw from
    charts     of all rows and of the addresses of each, which come before their table
    rated      whether the reader is asked which samples are good and which are bad
    """

    about: Mapping[str, Any]
    title: str
    columns: Sequence[Column]
    pictures: Callable[[Row, Any, Path], Sequence[Html]]
    unit: str = "scan"
    units: str = ""
    missing: str = "Without a result"
    hint: str = ""
    order: str = ""
    rank: Callable[[Row], float] = lambda _: 0.0
    files: Mapping[str, str] = field(default_factory=dict)
    stats: Callable[[Sequence[Row]], Sequence[StatCard]] = lambda _: ()
    notes: Callable[[Sequence[Row]], Sequence[Html]] = lambda _: ()
    notice: str = ""
    legend: Sequence[Legend] = ()
    gallery: Gallery | None = None
    thumbnail: Callable[[Any], Html] | None = None
    charts: Callable[[Sequence[Row], Sequence[str | None]], Sequence[Html]] | None = None
    rated: bool = False
    _entries: list[_Entry] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Set out with nothing drawn."""
        self._well, self._doubtful = PictureBudget(0.25), PictureBudget(0.25)
        self._thumbnails = PictureBudget(0.5)

    def draw(self, row: Row, shown: Any, folder: Path) -> Drawn:
        """The pictures of a sample as markup, to be kept for `add`; `folder` is `report`."""
        if shown is None:
            return Drawn()
        if self.gallery is None:
            small = self.thumbnail(shown) if self.thumbnail else None
            return Drawn(self.pictures(row, shown, folder), small)
        return Drawn(self.gallery.offer(row, lambda: self.pictures(row, shown, folder)))

    def add(self, row: Row, drawn: Callable[[], Drawn] = Drawn) -> None:
        """Add one sample: its row of predictions.csv, and what returns that which `draw` drew."""
        if self.gallery is not None:
            self.gallery.offer(row, lambda: drawn().pictures)
            self._entries.append(_Entry(row, None))
            return
        once = cache(drawn)
        budget = self._well if status_of(row) == "ok" else self._doubtful
        kept, small = budget.draw(lambda: once().pictures), list[Html]()
        if self.thumbnail is not None:
            small = self._thumbnails.draw(lambda: filter(None, [once().thumbnail])) or []
        self._entries.append(_Entry(row, kept, small[0] if small else None))

    def page(self, failures: Sequence[tuple[str, str]] = (), folder: Path = Path("report")) -> Page:
        """The page; `failures` are ids and messages of samples without a result.

        Links lead to the pages of samples in `folder`, which lies beside it.
        """
        entries = sorted(
            self._entries, key=lambda one: (_ORDER.get(status_of(one.row), 2), self.rank(one.row))
        )
        rows = [each.row for each in entries]
        count = len(rows) + len(failures)
        page = Page(
            self.title,
            "Encephalon · prediction",
            f"{count} {self.unit if count == 1 else self._units}, {model_name(self.about)}.",
            self.legend,
            batch_of=str(_known(self.about).get("name")),
        )
        page.add(stat_cards(self._stats(rows, len(failures))))
        if notice := str(self.about.get("notice") or self.notice):
            page.add(note(notice, "check"))
        page.add(*self.notes(rows))
        if failures:
            columns = {"id": self.unit.capitalize(), "quality": "Quality", "why": "Why"}
            failed = [{"id": name, "quality": badge("fail"), "why": why} for name, why in failures]
            page.section(self.missing, table(columns, failed[:LISTED]), *_more(len(failed)))
        gallery = self.gallery.blocks() if self.gallery else []
        if gallery:
            page.section(self.hint, *gallery)
        if rows:
            title = ", ".join(filter(None, (self._units.capitalize(), self.order)))
            addresses = [self._address(place, row, folder) for place, row in enumerate(rows)]
            charts = self.charts(rows, addresses) if self.charts and rows[1:] else []
            bar = [rating_bar()] if self.rated else []
            page.section(title, *charts, *bar, *self._table(entries, addresses))
        cards = [
            self._card(place, each, folder)
            for place, each in enumerate(entries)
            if self.gallery is None and (each.pictures or not own_page(_id(each.row), folder))
        ]
        if cards:
            page.section("Pictures", *self._hint(len(entries), len(cards)), *cards)
        page.section("Model", model_facts(self.about))
        return page.section("How to cite", cite(_known(self.about), self.about).section())

    @property
    def _units(self) -> str:
        return self.units or f"{self.unit}s"

    def _stats(self, rows: Sequence[Row], failed: int) -> list[StatCard]:
        counts = Counter(status_of(row) for row in rows)
        counts["fail"] += failed
        # A study without verdicts counts what is done.
        judged = not rows or any(map(status_of, rows))
        titles = _COUNTED if judged else {"": "done", "fail": _COUNTED["fail"]}
        shown = [
            StatCard(counts[status], label, status=status if status and counts[status] else None)
            for status, label in titles.items()
        ]
        shown += self.stats(rows)
        if skipped := sum(row.get("status") == "skipped" for row in rows):
            shown.append(StatCard(skipped, "skipped", "done before"))
        if seconds := numbers_of(rows, "seconds"):
            half = median(seconds)
            words = f"{half:.1f} s" if half >= 1 else f"{1000 * half:.0f} ms"
            several = "median" if len(seconds) > 1 else None
            shown.append(StatCard(words, f"per {self.unit}", several))
        return shown

    def _address(self, place: int, row: Row, folder: Path) -> str | None:
        """Where more is to be seen of a sample: on its own page or in its card, if it has one."""
        return own_page(_id(row), folder) or (None if self.gallery else f"#sample-{place}")

    def _hint(self, count: int, shown: int) -> list[Html]:
        words = [self.hint]
        if shown < count:
            words.append(f"{shown} of {count} are shown; the table leads to the pages of all.")
        elif count > 1:
            words.append(f"{self._units.capitalize()} to look at come first.")
        return [tag("p", " ".join(words), class_="soft")]

    def _table(self, entries: Sequence[_Entry], addresses: Sequence[str | None]) -> list[Html]:
        columns = {"look": "Picture", "id": self.unit.capitalize(), "quality": "Quality"}
        columns |= {str(place): each.title for place, each in enumerate(self.columns)}
        columns |= {"reasons": "Reasons", "rating": "Rating"}
        shown = []
        for each, address in zip(entries[:LISTED], addresses, strict=False):
            row, name, quality = each.row, _id(each.row), status_of(each.row)
            marks = (
                badge(quality) if quality else None,
                "skipped" if row.get("status") == "skipped" else None,
            )
            small = each.thumbnail
            look = {"class_": "thumbnail", "href": address, "aria_label": f"Look at {name}"}
            shown.append(
                {
                    "look": tag("a", small, **look) if small and address else small,
                    "id": tag("a", name, href=address) if address else name,
                    "quality": Html(" ".join(filter(None, marks))),
                    **{str(number): each.of(row) for number, each in enumerate(self.columns)},
                    "reasons": " ".join(reasons_of(row)),
                    "rating": rating(name) if self.rated else None,
                }
            )
        decimals = {str(n): each.decimals for n, each in enumerate(self.columns)}
        return [table(columns, shown, digits=3, decimals=decimals), *_more(len(entries))]

    def _card(self, place: int, entry: _Entry, folder: Path) -> Html:
        row, pictures = entry.row, entry.pictures
        name, status, page = _id(row), status_of(row), own_page(_id(row), folder)
        if pictures is None:
            pictures = [note("The pictures are left out to keep this page small.")]
        elif not pictures and (self._well.used or self._doubtful.used):
            pictures = [note("The pictures were not kept.")]
        link = tag("a", f"The page of this {self.unit}", href=page) if page else None
        told = {each.heading: each.words(row) for each in self.columns}
        return card(
            name,
            *(note(reason, status) for reason in reasons_of(row)),
            *pictures,
            facts({"All of it": link, **told, **file_links(row, self.files)}),
            status=status or None,
            anchor=f"sample-{place}",
        )


def _more(count: int) -> list[Html]:
    return [note(f"{count - LISTED} more are in predictions.csv.")] if count > LISTED else []


def model_facts(about: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> Html:
    """What a predictor says of itself: name, version, mode, runtime, device, hash; and `more`."""
    known, shown = _known(about), dict[str, Any]()
    for key, label in _MODEL.items():
        value = known.get(key)
        if value not in (None, "", []):
            shown[label] = _WORDS[key](value) if key in _WORDS else value
    return facts(shown | dict(more or {}))


def model_name(about: Mapping[str, Any]) -> str:
    """Name and version of the model, of what a predictor says of itself."""
    known = _known(about)
    name, version = str(known.get("name") or "unknown model"), known.get("version")
    return f"{name} {version}" if version else name


def _known(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a predictor says of itself, the entry `model` opened if it holds several things."""
    model = about.get("model")
    return {**about, **(model if isinstance(model, Mapping) else {"name": model})}


def _id(row: Row) -> str:
    return str(row.get("id", ""))


def status_of(row: Row) -> str:
    """The quality status of a row, or nothing."""
    return str(row.get("quality") or "")


def reasons_of(row: Row) -> list[str]:
    """The reasons for the status, as sentences."""
    given = row.get("reasons") or ()
    parts = given.split("; ") if isinstance(given, str) else list(given)
    return [format_sentence(str(part)) for part in parts if part]


def numbers_of(rows: Sequence[Row], key: str) -> list[float]:
    """The numbers of a column, without its empty cells."""
    return [value for row in rows if (value := _number(row, key)) is not None]


def _number(row: Row, key: str) -> float | None:
    value = row.get(key)
    return None if value is None or value == "" else float(value)
