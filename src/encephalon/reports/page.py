# SPDX-License-Identifier: Apache-2.0
"""A page: one HTML file with its style and pictures inside, for screen, dark screen and paper."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

from encephalon import __version__
from encephalon.errors import EncephalonError
from encephalon.io.atomic import refuse_existing, write_text
from encephalon.io.files import opened
from encephalon.reports.images import Colour
from encephalon.reports.markup import Html, join, tag, text

__all__ = ["Legend", "Page", "batch_of"]

# Name of the mark that says of which model's predictions a page is; it is in the first bytes.
_OF_BATCH, _HEAD = "encephalon-batch", 4096

# The browser itself is told to refuse everything that is not in the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_RESEARCH_ONLY = "For research only; not a medical device and not for diagnosis or treatment."


@dataclass(frozen=True)
class Legend:
    """What a layer of the page's pictures shows; the reader can switch it off."""

    layer: str
    label: str
    colour: Colour


@dataclass
class Page:
    """A report under construction: add blocks, then write it.

    `kicker` is the small line above the title, `lead` the sentence below it, and `batch_of` the
    model whose predictions it shows, if that is what it is: such a page is brought up to date.
    """

    title: str
    kicker: str = "Encephalon"
    lead: str | None = None
    legend: Sequence[Legend] = ()
    blocks: list[Html] = field(default_factory=list)
    batch_of: str | None = None

    def add(self, *blocks: Html) -> Page:
        """Append blocks and return the page."""
        self.blocks.extend(blocks)
        return self

    def section(self, title: str, *blocks: Any, anchor: str | None = None) -> Page:
        """Append a section with a heading and return the page."""
        heading = tag("h2", title, id=anchor)
        return self.add(tag("section", heading, *blocks))

    def render(self) -> str:
        """Return the whole page as text."""
        head = join(
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            tag("meta", name="generator", content=f"Encephalon {__version__}"),
            None if self.batch_of is None else tag("meta", name=_OF_BATCH, content=self.batch_of),
            tag("title", self.title),
            tag("style", Html(self._style())),
        )
        body = tag("main", self._header(), *self.blocks, self._footer())
        document = tag("html", tag("head", head), tag("body", body), lang="en")
        return f"<!doctype html>\n{document}\n"

    def write(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the page atomically and return its path.

        Raises OutputExistsError for an existing file unless `overwrite`, and OutputError when it
        cannot be written.
        """
        refuse_existing(path, overwrite)
        return write_text(path, self.render())

    def _header(self) -> Html:
        lead = tag("p", self.lead, class_="lead") if self.lead else None
        return tag(
            "header",
            tag("p", self.kicker, class_="kicker"),
            tag("h1", self.title),
            lead,
            self._legend(),
        )

    def _legend(self) -> Html | None:
        if not self.legend:
            return None
        switches = []
        for entry in self.legend:
            box = tag("input", type="checkbox", id=f"show-{entry.layer}", checked=True)
            swatch = tag("span", class_="swatch", style=f"background:rgb{entry.colour}")
            switches.append(tag("label", box, swatch, entry.label))
        return tag("div", *switches, class_="legend")

    def _footer(self) -> Html:
        moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        made = f"Encephalon {__version__}, {moment}."
        return tag("footer", tag("p", text(_RESEARCH_ONLY)), tag("p", made))

    def _style(self) -> str:
        rules = [files("encephalon.reports").joinpath("style.css").read_text(encoding="utf-8")]
        for entry in self.legend:
            unchecked = f"body:has(#show-{entry.layer}:not(:checked))"
            rules.append(f"{unchecked} .layer-{entry.layer} {{ visibility: hidden; }}")
        return "\n".join(rules)


def batch_of(path: str | Path) -> str | None:
    """The model whose predictions the page shows, "" for no page, None for what is no such page."""
    if not os.path.lexists(path):
        return ""
    try:
        with opened(path) as stream:
            start = stream.read(_HEAD).decode("utf-8", "replace")
    except EncephalonError:
        return None
    found = re.search(rf'<meta name="{_OF_BATCH}" content="([^"]*)">', start)
    return unescape(found[1]) if found else None
