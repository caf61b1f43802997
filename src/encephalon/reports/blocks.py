# SPDX-License-Identifier: Apache-2.0
"""The blocks a page is made of: stat cards, tables, facts, figures, cards, galleries and notes."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.format import Html, format_decimals, format_number, join, tag
from encephalon.reports.images import HEAT, Picture, jpeg_image

__all__ = [
    "ExamplesByConfidence",
    "StatCard",
    "badge",
    "card",
    "choice",
    "chosen_grid",
    "colour_key",
    "confusion_table",
    "details",
    "enlargeable",
    "facts",
    "figure",
    "gallery",
    "grid",
    "heat_key",
    "note",
    "panel",
    "panels",
    "paragraph",
    "stat_cards",
    "table",
    "thumbnail_figure",
    "thumbnail_gallery",
]

# Characters, less the tags between them, beyond which a fact takes a whole line.
_WIDE, _MARKUP = 60, re.compile("<[^>]*>")
# Characters beyond which a cell of a table is a sentence.
_WORDY = 40
# A shape beside each colour, for readers who do not see the colour and for grey paper.
_BADGES = {"ok": "●", "check": "▲", "fail": "■"}


@dataclass(frozen=True)
class StatCard:
    """One large figure with a label below and, smaller, a detail such as its interval."""

    value: Any
    label: str
    detail: str | None = None
    status: str | None = None


def stat_cards(entries: Sequence[StatCard]) -> Html:
    """Show a row of large figures."""
    cards = []
    for entry in entries:
        kind = f"stat-card status-{entry.status}" if entry.status else "stat-card"
        value = tag("div", entry.value, class_="stat-card-value")
        label = tag("div", entry.label, class_="stat-card-label")
        detail = tag("div", entry.detail, class_="stat-card-detail") if entry.detail else None
        cards.append(tag("div", value, label, detail, class_=kind))
    return tag("div", *cards, class_="stat-cards")


def table(
    columns: Mapping[str, str] | Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    caption: str | None = None,
    digits: int = 4,
    decimals: Mapping[str, int | None] = MappingProxyType({}),
) -> Html:
    """Show rows by the chosen columns (key to heading); numbers are aligned at their end.

    The reader can sort them, and filter many. Numbers have `digits` significant digits, or the
    `decimals` of their column. Cells may hold markup, such as a badge. A missing value is a dash,
    and a column of nothing else is left out.
    """
    named = columns if isinstance(columns, Mapping) else {name: name for name in columns}
    known = {key: [row[key] for row in rows if row.get(key) not in (None, "")] for key in named}
    kinds = {
        key: "number" if cells and all(isinstance(each, int | float) for each in cells) else None
        for key, cells in known.items()
        if cells or not rows
    }
    head = [tag("th", named[key], scope="col", class_=kind) for key, kind in kinds.items()]
    body = []
    for row in rows:
        cells = []
        for key, kind in kinds.items():
            value, places = row.get(key), decimals.get(key)
            if value is None or value == "":
                value = "–"
            elif isinstance(value, float) and places is not None:
                value = format_decimals(value, places)
            elif isinstance(value, float):
                value = format_number(value, digits)
            # Sentences have room, so that a row is not as high as a page.
            wordy = type(value) is str and len(value) > _WORDY
            cells.append(tag("td", value, class_="words" if wordy else kind))
        body.append(tag("tr", *cells))
    title = tag("caption", caption) if caption else None
    inner = tag("table", title, tag("thead", tag("tr", *head)), tag("tbody", *body))
    kind = "scroll sortable" if len(rows) > 1 else "scroll"
    return _scrolled(inner, kind, caption or "Table")


def facts(entries: Mapping[str, Any]) -> Html:
    """Show names and values in two columns; None values are left out."""
    pairs = []
    for name, value in entries.items():
        if value is not None:
            wide = "wide" if len(_MARKUP.sub("", str(value))) > _WIDE else None
            pairs.append(tag("div", tag("dt", name), tag("dd", value), class_=wide))
    return tag("dl", *pairs, class_="facts")


def figure(content: Picture | Html, caption: str | Html | None = None) -> Html:
    """Show a picture or chart with a caption."""
    inner = content.html if isinstance(content, Picture) else content
    return tag("figure", inner, tag("figcaption", caption) if caption else None)


def card(title: str, *blocks: Any, status: str | None = None, anchor: str | None = None) -> Html:
    """Show a titled box that is never torn over two printed pages."""
    mark = badge(status) if status else None
    head = tag("div", tag("h3", title), mark, class_="card-head")
    kind = f"card status-{status}" if status in _BADGES else "card"
    return tag("article", head, *blocks, class_=kind, id=anchor)


def badge(status: str) -> Html:
    """Show ok, check or fail as a word with a colour and a shape; other words plainly."""
    shape = tag("span", _BADGES[status], aria_hidden="true") if status in _BADGES else None
    return tag("span", shape, status, class_=f"badge badge-{status}" if shape else "badge")


def note(content: str | Html, kind: str = "info") -> Html:
    """Show a remark; `kind` is info, check or fail."""
    return tag("p", content, class_=f"note note-{kind}")


def paragraph(content: str | Html) -> Html:
    """Show a paragraph of text."""
    return tag("p", content)


def details(title: str, *blocks: Any) -> Html:
    """Show blocks that stay folded until the reader opens them."""
    return tag("details", tag("summary", title), *blocks)


def grid(*blocks: Any) -> Html:
    """Put blocks side by side where the page is wide enough."""
    return tag("div", *blocks, class_="grid")


def gallery(*figures: Html, wide: bool = False) -> Html:
    """Put many small figures side by side, as many in a row as fit; `wide` makes them larger."""
    return tag("div", *figures, class_="gallery wide" if wide else "gallery")


def panels(*figures: Html) -> Html:
    """Put pictures of one thing side by side; one that is clicked is as wide as the page."""
    return tag("div", *figures, class_="panels")


def panel(content: Picture | Html, caption: str) -> Html:
    """A picture for `panels`."""
    inner = content.html if isinstance(content, Picture) else content
    return figure(enlargeable(inner, caption), caption)


def enlargeable(picture: Html, name: str) -> Html:
    """A picture that is larger once it is clicked, where it stands beside others."""
    button = tag("input", type="checkbox", aria_label=f"{name}, larger")
    return tag("label", button, picture, class_="enlargeable")


def choice(title: str, options: Sequence[str], name: str) -> Html:
    """Options of which the reader chooses one, the first at first.

    Their buttons are NAME-0, NAME-1 ..., by which the style of a page shows what was chosen.
    """
    shown = []
    for place, words in enumerate(options):
        button = {"type": "radio", "name": name, "id": f"{name}-{place}", "checked": not place}
        shown.append(tag("label", tag("input", **button), words))
    return tag("fieldset", tag("legend", title), *shown, class_="choice")


def chosen_grid(items: Sequence[tuple[Html, Collection[str]]], name: str) -> Html:
    """Blocks side by side, of which the reader chooses a kind; each has those that it is of.

    name  of this choice, as no other on the page has it: letters, digits and hyphens
    """
    counts = Counter(kind for _, kinds in items for kind in kinds)
    if len(counts) < 2:
        return grid(*(html for html, _ in items))
    numbers = {kind: n for n, kind in enumerate(sorted(counts), start=1)}
    rules = [
        f"#{name}:has(#{name}-{n}:checked) .grid > :not(.kind-{n}) {{ display: none; }}"
        for n in numbers.values()
    ]
    shown = [
        tag("div", html, class_=" ".join(f"kind-{numbers[kind]}" for kind in kinds) or None)
        for html, kinds in items
    ]
    options = [f"all ({len(items)})", *(f"{kind} ({counts[kind]})" for kind in numbers)]
    style = tag("style", Html("\n".join(rules)))
    return tag("div", style, choice("Show", options, name), grid(*shown), id=name)


def heat_key(low: str, high: str) -> Html:
    """The scale of the colours of a map, from nothing to its most."""
    stops = ", ".join(f"rgb{colour}" for colour in HEAT)
    scale = tag("span", class_="scale", style=f"background:linear-gradient(to right, {stops})")
    return tag("div", low, scale, high, class_="key")


def colour_key(entries: Sequence[tuple[str, str]]) -> Html:
    """Say what colours mean: names and colours as a style sheet writes them."""
    named = [
        tag("span", tag("span", class_="dot", style=f"background:{colour}"), name)
        for name, colour in entries
    ]
    return tag("div", *named, class_="key")


def confusion_table(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    """Show a confusion matrix: true class down, predicted class across, each count with its share.

    It is that of the row; the larger it is, the darker the cell.
    """
    head = [tag("th", "true ↓ predicted →", scope="col")]
    head += [tag("th", name, scope="col", class_="number") for name in (*names, "all")]
    body = []
    for name, row in zip(names, counts, strict=True):
        total, cells = sum(row), []
        for count in row:
            share = f"{100 * count / total if total else 0.0:.0f}"
            words = tag("span", f"{share} %", class_="share")
            cells.append(tag("td", count, words, class_="number", style=f"--share:{share}%"))
        cells.append(tag("td", total, class_="number"))
        body.append(tag("tr", tag("th", name, scope="row"), *cells))
    inner = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_="matrix")
    return _scrolled(inner, "scroll", "Confusion matrix")


def _scrolled(inner: Html, kind: str, name: str) -> Html:
    """A table that is scrolled where it is too wide, with the keyboard as well."""
    return tag("div", inner, class_=kind, tabindex="0", role="group", aria_label=name)


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

    def rising(self) -> list[Html]:
        """The least certain ones and, if that makes it all that were offered, the others too."""
        more = reversed(self.most_confident()) if self.complete else ()
        return [*self.hardest(), *more]

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
    """A thumbnail (rows, columns) with its name and what is said of it; None without pixels.

    In a gallery it is small until it is clicked.
    """
    if pixels is None:
        return None
    caption = join(tag("strong", name), *(tag("div", each) for each in words if each))
    width = pixels.shape[1]
    picture = tag("div", jpeg_image(pixels, name), class_="picture", style=f"max-width:{width}px")
    return figure(enlargeable(picture, name), caption)


def thumbnail_gallery(title: str, shown: Sequence[Html]) -> list[Html]:
    """The images under a heading; nothing where there are none."""
    return [tag("h3", title), gallery(*shown)] if shown else []
