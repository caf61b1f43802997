# SPDX-License-Identifier: Apache-2.0
"""A page: one HTML file with its style and pictures inside, for screen, dark screen and paper.

That of a training run has its curves, its best epoch and its last figures.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

from encephalon import __version__
from encephalon.errors import EncephalonError
from encephalon.io.atomic import refuse_existing, write_text
from encephalon.io.files import opened
from encephalon.reports.blocks import StatCard, facts, figure, grid, stat_cards, table
from encephalon.reports.charts import Series, line_chart
from encephalon.reports.format import Html, capitalised, tag
from encephalon.reports.images import Colour

__all__ = ["Legend", "Page", "batch_of", "curve_charts", "training_page"]

# Name of the mark that says of which model's predictions a page is; it is in the first bytes.
_OF_BATCH, _HEAD = "encephalon-batch", 4096
# The browser itself is told to refuse everything that is not in the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_RESEARCH_ONLY = "For research only; not a medical device and not for diagnosis or treatment."
_PARTS = {"train": "training", "val": "validation"}
# Blocks that come alive, by their mark in the markup, with the script and the style they need. No
# text of a user can hold a mark, as its quotation marks are escaped.
_LIVE = {
    'class="viewer"': "viewer/viewer",
    'class="scroll sortable"': "tables",
    'class="rate"': "tables",
    'class="chart': "charts",
}


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
    `scripts` run in their order when all blocks are there, after those of the blocks themselves,
    and the browser runs no others; `rules` are style beside that of every page. A page that is
    `served` may ask its server for more. One that is not `dated` is the same to the byte whenever
    it is made of the same.
    """

    title: str
    kicker: str = "Encephalon"
    lead: str | None = None
    legend: Sequence[Legend] = ()
    blocks: list[Html] = field(default_factory=list)
    batch_of: str | None = None
    scripts: Sequence[str] = ()
    rules: str = ""
    served: bool = False
    dated: bool = True

    def add(self, *blocks: Html) -> Page:
        """Append blocks and return the page."""
        self.blocks.extend(blocks)
        return self

    def section(self, title: str, *blocks: Any) -> Page:
        """Append a section with a heading and return the page."""
        return self.add(tag("section", tag("h2", title), *blocks))

    def render(self) -> str:
        """Return the whole page as text."""
        live = dict.fromkeys(
            name for mark, name in _LIVE.items() if any(mark in each for each in self.blocks)
        )
        rules = [_resource("style.css"), *(_resource(f"{name}.css") for name in live), self.rules]
        switches = []
        for entry in self.legend:
            box = tag("input", type="checkbox", id=f"show-{entry.layer}", checked=True)
            swatch = tag("span", class_="swatch", style=f"background:rgb{entry.colour}")
            switches.append(tag("label", box, swatch, entry.label))
            unchecked = f"body:has(#show-{entry.layer}:not(:checked))"
            rules.append(f"{unchecked} .layer-{entry.layer} {{ visibility: hidden; }}")
        own = [_resource(f"{name}.js") for name in live]
        scripts = [_plain_script(script) for script in (*own, *self.scripts)]
        policy = _policy(scripts, self.served)
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("meta", name="generator", content=f"Encephalon {__version__}"),
            None if self.batch_of is None else tag("meta", name=_OF_BATCH, content=self.batch_of),
            tag("title", self.title),
            tag("style", Html("\n".join(rules))),
        )
        header = tag(
            "header",
            tag("p", self.kicker, class_="kicker"),
            tag("h1", self.title),
            tag("p", self.lead, class_="lead") if self.lead else None,
            tag("div", *switches, class_="legend") if switches else None,
        )
        date = f", {datetime.now(UTC):%Y-%m-%d %H:%M UTC}" if self.dated else ""
        made = f"Encephalon {__version__}{date}."
        footer = tag("footer", tag("p", _RESEARCH_ONLY), tag("p", made))
        run = [tag("script", Html(script)) for script in scripts]
        body = tag("body", tag("main", header, *self.blocks, footer), *run)
        return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"

    def write(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the page atomically and return its path.

        Raises OutputExistsError for an existing file unless `overwrite`, and OutputError when it
        cannot be written.
        """
        refuse_existing(path, overwrite)
        return write_text(path, self.render())


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


def training_page(
    history: Sequence[Mapping[str, float]],
    title: str,
    *,
    best: Mapping[str, float] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Page:
    """Make the page of a run from its history: one row an epoch, numbers by column name.

    Columns `train_NAME` and `val_NAME` share the chart NAME; every other column but `epoch` has
    one of its own. `best` is the row of the epoch that was kept, if one was.
    """
    rows = [{"epoch": place, **row} for place, row in enumerate(history, start=1)]
    count = "1 epoch" if len(rows) == 1 else f"{len(rows)} epochs"
    page = Page(title=title, kicker="Encephalon · training", lead=f"{count}.")
    if best:
        page.lead = f"{count}, the best of them {best['epoch']:.0f}." if rows[1:] else page.lead
        kept = {name: value for name, value in best.items() if name.startswith("val_")}
        page.add(stat_cards([StatCard(value, _label(name)) for name, value in kept.items()]))
    page.section("Curves", grid(*_charts(rows)))
    if rows:
        columns = {name: _label(name) for name in rows[-1]}
        last = [{**row, "epoch": int(row["epoch"])} for row in rows[-10:]]
        page.section("Last epochs", table(columns, last))
    return page.section("Run", facts(about)) if about else page


def curve_charts(
    histories: Sequence[tuple[str, Sequence[Mapping[str, float]]]], columns: Mapping[str, str]
) -> list[Html]:
    """A chart of each column that some history has, with a curve for each run that has it.

    histories  of each run its name and its rows, one an epoch; runs of one name share a colour
    columns    what is drawn, key to title
    """
    charts = []
    for column, title in columns.items():
        series = [
            Series(
                name,
                [row.get("epoch", place) for place, row in enumerate(rows, start=1)],
                [row.get(column, float("nan")) for row in rows],
            )
            for name, rows in histories
            if any(column in row for row in rows)
        ]
        if series:
            charts.append(figure(line_chart(series, "epoch", capitalised(title), whole=True)))
    return charts


def _resource(name: str) -> str:
    return files("encephalon.reports").joinpath(name).read_text(encoding="utf-8")


def _plain_script(script: str) -> str:
    """The same program in the characters that a page keeps, and that do not end its element."""
    return script.replace("\r\n", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _policy(scripts: Sequence[str], served: bool) -> str:
    """What the browser may load and run: these scripts, by their hashes, and nothing else."""
    if not scripts:
        return _POLICY
    hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    runs = " ".join(f"'sha256-{each}'" for each in hashes)
    asks = "; connect-src 'self'" if served else ""
    return f"{_POLICY}; script-src {runs}{asks}"


def _charts(history: Sequence[Mapping[str, float]]) -> list[Html]:
    charts: dict[str, list[Series]] = {}
    epochs = [row["epoch"] for row in history]
    for name in dict.fromkeys(key for row in history for key in row if key != "epoch"):
        part, _, rest = name.partition("_")
        metric = rest if part in _PARTS and rest else name
        values = [row.get(name, float("nan")) for row in history]
        curve = Series(_PARTS.get(part, capitalised(_label(name))), epochs, values)
        charts.setdefault(metric, []).append(curve)
    return [
        figure(line_chart(series, "epoch", capitalised(_label(metric)), whole=True))
        for metric, series in charts.items()
    ]


def _label(name: str) -> str:
    part, _, rest = name.partition("_")
    words = f"{_PARTS[part]} {rest}" if part in _PARTS and rest else name
    return words.replace("_", " ")
