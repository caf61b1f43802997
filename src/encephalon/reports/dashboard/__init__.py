# SPDX-License-Identifier: Apache-2.0
"""The page on which a grid is explored: one file that asks nobody for anything.

Plotly draws the charts and d3 the graph of targets. Their scripts come out of the packages that are
installed: plotly has its own; d3 version 7 (ISC licence) is in gravis, which the published study
used. Of all installable packages with a library of graphs it is the smallest, and d3 draws SVG, so
that nodes can be focused, read aloud, printed and saved, which a canvas cannot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from encephalon.errors import MissingExtraError, require_extra
from encephalon.io.files import is_file
from encephalon.reports.blocks import StatCard, stat_cards
from encephalon.reports.format import Html, tag
from encephalon.reports.page import Page

__all__ = ["dashboard_page", "need_scripts"]

#: Packages and the script in each.
PLOTLY = ("plotly", "plotly/package_data/plotly.min.js")
THIRD_PARTY = "gravis/_internal/plotting/third_party/d3"
D3 = ("gravis", f"{THIRD_PARTY}/d3.v7.min.def.js")
D3_LICENCE = ("gravis", f"{THIRD_PARTY}/ORIGINAL_LICENSE")
#: That of d3 is wrapped for a loader of modules; this one makes it the name `d3`.
LOADER = """var require = { defined: () => false };
var define = (name, needs, fill) => fill((window.d3 = {}));"""
#: Kinds of charts of the page beside "scatter", which Plotly always has; where its script says that
#: it takes a kind of chart, and where it takes up all of them.
CHARTS = ("bar", "heatmap")
KIND = 'moduleType:"trace",name:"{}"'
EVERY_KIND = re.compile(r"\.register\(\[((?:[\w$]+\(\),?)+)\]\)")
OWN = ("core.js", "charts.js", "heatmap.js", "graph.js", "main.js")
TOP = 60
FORMS = ("SVG", "PNG", "CSV")
TESTS = {"p_value": "p", "p_holm": "p after Holm", "p_fdr": "p after Benjamini and Hochberg"}


def dashboard_page(data: Mapping[str, Any], *, served: bool = False) -> Page:
    """The page of `experiments.dashboard.dashboard_data`.

    served  whether it comes from a server, which it then asks for news

    Raises MissingExtraError without the extra `grid`.
    """
    here = files("encephalon.reports.dashboard")
    own = [here.joinpath(name).read_text(encoding="utf-8") for name in OWN]
    licence = _script(*D3_LICENCE)
    page = Page(
        data["title"],
        kicker="Encephalon · grid",
        lead=data["lead"],
        scripts=[f"/* {licence} */\n{LOADER}", _script(*D3), *own, _plotly(), "ready();"],
        rules=here.joinpath("style.css").read_text(encoding="utf-8"),
        served=served,
        dated=False,
    )
    plain = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    cards = [StatCard(value, label) for label, value in data["cards"].items()]
    page.add(
        tag("div", id="status", class_="note", hidden=True),
        stat_cards(cards),
        _controls(),
        tag("div", id="said", class_="unseen", aria_live="polite"),
        tag("noscript", tag("p", "This page needs JavaScript; results.csv beside it does not.")),
    )
    _sections(page)
    page.add(
        tag("aside", id="details", role="dialog", aria_label="Details", tabindex="-1", hidden=True),
        tag("script", Html(plain.replace("<", "\\u003c")), type="application/json", id="data"),
    )
    return page


def need_scripts() -> None:
    """Raise MissingExtraError unless the scripts of the page are installed."""
    for package, name in (D3, PLOTLY):
        _script(package, name)


def _sections(page: Page) -> None:
    lead = "Of each target the best that the data you have allow."
    page.section("What can be told", _words(lead), _saving("answers"), tag("div", id="answers"))
    marks = tag(
        "div",
        tag("span", tag("span", class_="box"), " best of the target"),
        tag("span", tag("span", class_="mark"), " cannot be told from the best"),
        tag("span", id="scales", class_="choices"),
        class_="key",
    )
    lead = "A row is a set of inputs, whose members have a large dot; a column is a target."
    page.section("Every model", _words(lead), marks, tag("div", id="heatmaps"))
    page.section("Targets together", *_graph())
    method = _choice("effects-method", "By")
    test = _choice("effects-test", "Stars by", TESTS)
    note = "Stars: * below 0.05, ** below 0.01, *** below 0.001; bars are 95 % intervals."
    controls = tag("div", method, test, class_="choices", id="effects-controls")
    effects = tag("div", id="effects", class_="side")
    page.section("What each input adds", _words(note), controls, effects)
    by = tag("div", _choice("costs-by", "Sets told apart by"), class_="choices")
    page.section("What it cost", by, tag("div", id="costs", class_="side"))
    page.section("All results", _words("Every row that this page was made of."), _saving("all"))


def _controls() -> Html:
    """What is chosen for the whole page."""
    buttons = [
        tag("button", word, type="button", id=f"have-{word}", aria_label=f"{word} of the data")
        for word in ("all", "none")
    ]
    title = tag("legend", tag("span", "The data I have", class_="name"))
    have = tag("fieldset", title, tag("span", id="have"), *buttons)
    search = tag("input", type="search", id="search", list="targets", autocomplete="off")
    chosen = [
        _choice("metric-classification", "Classes by"),
        _choice("metric-regression", "Numbers by"),
        tag("label", "Find a target", search),
        tag("datalist", id="targets"),
    ]
    rows = tag("div", have, class_="choices"), tag("div", *chosen, class_="choices")
    return tag("div", *rows, class_="controls", role="region", aria_label="What is shown")


def _graph() -> Sequence[Html]:
    choices = {"measure": "Edges", "top": "", "width": "Width", "size": "Size"}
    choices |= {"label": "Labels", "colour": "Colour"}
    made = [_choice(f"graph-{name}", title) for name, title in choices.items() if title]
    made.insert(1, _slider("graph-top", "Heaviest", 1, 100, TOP))
    made += [
        _slider("graph-pull", "Edges pull", 0, 100, 0),
        _slider("graph-apart", "Apart", 4, 60, 13),
    ]
    signs = {"in": "+", "out": "−", "reset": "Reset", "full": "Full screen"}
    names = {"in": "Zoom in", "out": "Zoom out", "reset": "Put the graph back"}
    names["full"] = "Graph in full screen"
    made += [
        tag("button", sign, type="button", id=f"graph-{name}", aria_label=names[name])
        for name, sign in signs.items()
    ]
    lead = "Hover over a target for its best model; click it for all of them, the best first."
    return (
        _words(lead),
        tag("div", *made, _saving("graph", *FORMS), class_="choices", id="graph-controls"),
        tag("div", id="graph-key", class_="key"),
        tag("div", tag("div", id="tip", hidden=True), id="graph"),
    )


def _choice(name: str, title: str, entries: Mapping[str, str] | None = None) -> Html:
    options = [tag("option", words, value=value) for value, words in (entries or {}).items()]
    return tag("label", title, tag("select", *options, id=name))


def _slider(name: str, title: str, low: int, high: int, value: int) -> Html:
    slider = tag("input", type="range", id=name, min=low, max=high, step=1, value=value)
    return tag("label", title, slider, tag("output", id=f"{name}-said"))


def _saving(key: str, *forms: str) -> Html:
    buttons = [
        tag("button", form, type="button", data_save=key, aria_label=f"Save {key} as {form}")
        for form in forms or ("CSV",)
    ]
    return tag("div", *buttons, class_="tools")


def _words(words: str) -> Html:
    return tag("p", words, class_="soft")


def _plotly() -> str:
    """Plotly, which takes up the kinds of charts that there are on the page, and no maps or 3-D.

    That halves the time until it can draw. Where its script is made otherwise it is left whole.
    """
    script = _script(*PLOTLY)
    every = EVERY_KIND.search(script)
    if every is None:
        return script
    places = {script.find(f"var {call[:-2]}="): call for call in every[1].split(",")}
    kinds = [script.find(KIND.format(kind)) for kind in CHARTS]
    after = [min((each for each in places if each > kind), default=-1) for kind in kinds]
    if -1 in (*places, *kinds, *after):
        return script
    chosen = ",".join(places[each] for each in after)
    return script[: every.start(1)] + chosen + script[every.end(1) :]


def _script(package: str, name: str) -> str:
    """A script out of an installed package; raises MissingExtraError where it is not there."""
    require_extra(package, "grid", "A dashboard")
    path = Path(str(distribution(package).locate_file(name)))
    if not is_file(path):
        version = distribution(package).version
        raise MissingExtraError(
            f"A dashboard needs {name}, which is not in {package} {version}: "
            "run  pip install --force-reinstall 'encephalon[grid]'."
        )
    return path.read_text(encoding="utf-8")
