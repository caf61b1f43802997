# SPDX-License-Identifier: Apache-2.0
"""The page of explanations: the checks, what inputs add over all people, and each person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.explanation.report import REPORT, Explanations, fill_page, sanity_block
from encephalon.io.atomic import make_folder
from encephalon.reports.batch import model_facts
from encephalon.reports.blocks import (
    StatCard,
    card,
    details,
    facts,
    figure,
    grid,
    note,
    paragraph,
    table,
)
from encephalon.reports.charts import bar_chart
from encephalon.reports.drawn import PictureBudget
from encephalon.reports.format import (
    Html,
    format_decimals,
    format_estimate,
    format_number,
    join,
    tag,
)
from encephalon.reports.images import AMBER, MAP, SKY
from encephalon.reports.own_pages import own_page, write_own_page
from encephalon.reports.page import Legend, Page
from encephalon.reports.signed_maps import LOWERS, matrix_picture, slices_picture, strongest
from encephalon.statistics.intervals import Interval
from encephalon.studies.legibility.explanation import ExplainedPerson, PeopleExplainer
from encephalon.studies.legibility.person_page import person_page
from encephalon.studies.legibility.settings import MOST_UNITS

__all__ = ["ExplanationPage"]

#: Rows of a table of edges and bars of columns on the page.
_SHOWN = 8
_CLOSE = 0.02  # a larger gap between shares and their sum is said aloud (ours)
_LEGEND = (
    Legend(MAP, "raises it", AMBER),
    Legend(LOWERS, "lowers it", SKY),
)
_HINT = (
    "What an input adds is its Shapley value: what the answer gains by it, on average over all "
    "orders in which the inputs could come; they sum to the answer less its base, which is what "
    "those who trained are like. Edges and columns are of the answer to all inputs, of the network "
    "and of the linear models as much as either counts, and say what makes this person's input "
    "differ from an average one (integrated gradients); maps say where in the image the network "
    "sees it (Grad-CAM, with its sign), each on a scale of its own."
)
_ALONE = (
    f" With more than {MOST_UNITS} inputs that are there or not, all of it is of the network's own "
    "answer, which differs from what is told."
)


class ExplanationPage:
    """Collects people as they are explained, and writes the page at the end.

    about   the predictor's own description
    folder  where the page will lie; those of single people are in `report` there
    """

    def __init__(self, about: Mapping[str, Any], explainer: PeopleExplainer, folder: Path) -> None:
        self._about, self._explainer = about, explainer
        self._folder = folder / Path(REPORT).stem
        self._cards: list[Html] = []
        self._budget = PictureBudget()
        self._adds: dict[str, list[float]] = defaultdict(list)
        self._columns: dict[str, list[float]] = defaultdict(list)
        self._edges: dict[str, list[Any]] = {}
        self._gap = 0.0

    def add(
        self,
        told: Mapping[str, Any],
        reasons: str,
        one: ExplainedPerson,
        images: Mapping[str, NDArray[Any]],
        columns: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add one person.

        told     what is predicted of the target, by its name
        reasons  to doubt that, in words
        images   that maps are drawn on
        columns  rows of columns.csv
        """
        for unit, added in one.adds.items():
            self._adds[unit].append(abs(added))
        for each in columns:
            self._columns[each["column"]].append(abs(each["adds"]))
        for name, edges in one.edges.items():
            count, total = self._edges.get(name, (0, 0.0))
            self._edges[name] = [count + 1, total + np.abs(edges)]
        self._gap = max(self._gap, one.gap)
        drawn = self._budget.draw(lambda: _pictures(one, images))
        link = self._own_page(one, images, drawn or []) if one.maps else None
        shown = [note("The pictures are left out to keep this page small.")]
        unit = one.question.unit
        known: dict[str, Any] = {
            "Told": _told(told, one),
            "Base": f"{format_number(one.base)} {unit}",
        }
        if one.question.target.classes:
            known["Answer"] = f"{format_number(one.answer)} {unit}"
        if link is not None:
            known["All slices"] = tag("a", "The page of this person", href=link)
        blocks = [facts(known), figure(bar_chart(one.adds, f"adds, {unit}"))]
        if some := _largest({each["column"]: each["adds"] for each in columns}):
            chart = bar_chart(some, f"adds, {unit}")
            blocks.append(figure(chart, "Columns that add or take away the most."))
        doubts = [note(reasons, "check")] if reasons else []
        pictures = shown if drawn is None else drawn
        content = grid(tag("div", *blocks), tag("div", *pictures)) if pictures else grid(*blocks)
        self._cards.append(card(one.id, *doubts, content))

    def _own_page(
        self, one: ExplainedPerson, images: Mapping[str, NDArray[Any]], drawn: Sequence[Html]
    ) -> str | None:
        """Write the page of a person, and say where it is."""
        make_folder(self._folder)
        write_own_page(
            person_page(one.id, self._about, images, one.maps, drawn), one.id, self._folder
        )
        return own_page(one.id, self._folder)

    def write(
        self,
        path: Path,
        result: Explanations,
        similarity: Mapping[str, Mapping[str, float]],
        overwrite: bool,
    ) -> Path:
        """Write the page; raises OutputExistsError for an existing file unless `overwrite`."""
        question = self._explainer.question
        page = Page(
            f"What tells {question.name}",
            "Encephalon · explanations",
            f"{len(self._cards)} people: what each input adds to the answer, and where it lies.",
            _LEGEND,
        )
        sections = {
            "Does it depend on what was learnt?": similarity and self._checks(similarity),
            "Over all people": self._population() if len(self._cards) > 1 else (),
            "People": self._cards,
        }
        layers = [f"Grad-CAM of {name}, {at}" for name, at in self._explainer.layers.items()]
        how = {"Target": question.name, "Maps": "; ".join(layers) or None}
        shown = [StatCard(len(self._cards), "explained")]
        many = len(self._explainer.encoding.cohort.units) > MOST_UNITS
        hint = _HINT + _ALONE if many else _HINT
        fill_page(page, result, shown, sections, model_facts(self._about, how), hint)
        return page.write(path, overwrite)

    def _checks(self, similarity: Mapping[str, Mapping[str, float]]) -> list[Html]:
        cohort, cards = self._explainer.encoding.cohort, []
        for name, stages in similarity.items():
            kind = cohort.sources[name].kind if name in cohort.sources else "table"
            what = {"image": "maps", "connectivity": "edges", "table": "columns"}[kind]
            verdict, *stages_of = sanity_block(stages, what, "input")
            last = format_decimals(list(stages.values())[-1], 2)
            words = f"Rank correlation with all weights shuffled: {last} (1 is the same)."
            folded = details("Stage by stage", *stages_of)
            cards.append(card(name, verdict, paragraph(words), folded))
        sums = f"What edges and columns add sums to the whole, but for {100 * self._gap:.2g} %."
        return [note(sums, "check" if self._gap > _CLOSE else "info"), grid(*cards)]

    def _population(self) -> list[Html]:
        """Means over the people who have an input of how much it adds, whichever way."""
        words = "Means, over those who have it, of how much it adds or takes away."
        target = self._explainer.question.target
        title = f"mean share, {'log-odds' if target.classes else target.unit or 'either way'}"
        charts = [figure(bar_chart(_means(self._adds), title), words)]
        if self._columns:
            chart = bar_chart(_largest(_means(self._columns)), title)
            charts.append(figure(chart, "The same of columns, the largest."))
        for name, (count, total) in self._edges.items():
            charts.append(_edges(name, total / count))
        return [grid(*charts)]


def _pictures(one: ExplainedPerson, images: Mapping[str, NDArray[Any]]) -> list[Html]:
    blocks = []
    for name, values in one.maps.items():
        words = f"{name} of {one.id}, and what in it raises and lowers the answer"
        drawn, at = slices_picture(images[name], values, words)
        where = f"{name}, from the left, the front and above, through the voxel {at} of the map's "
        blocks.append(figure(drawn, f"{where}extreme, counted from 0; left is left."))
    return blocks + [_edges(name, values) for name, values in one.edges.items()]


def _edges(name: str, values: NDArray[np.float64]) -> Html:
    columns = {"region_a": "Region", "region_b": "Region", "adds": "Adds"}
    drawn = figure(matrix_picture(values, f"What the edges of {name} add"))
    words = f"{name}: the strongest edges, by their regions counted from 0."
    listed = table(columns, strongest(values, _SHOWN), digits=3, caption=words)
    return join(drawn, listed)


def _told(told: Mapping[str, Any], one: ExplainedPerson) -> str:
    """What the model tells of the person."""
    name, unit = one.question.name, one.question.target.unit
    value, share = told.get(name), told.get(f"{name}_p")
    if isinstance(value, float):
        return f"{format_estimate(Interval.of_cells(told, name))} {unit}".rstrip()
    return f"{value}" if share is None else f"{value}, {share:.2f}"


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: float(np.mean(some)) for name, some in values.items()}


def _largest(values: Mapping[str, float]) -> dict[str, float]:
    order = sorted(values, key=lambda name: -abs(values[name]))
    return {name: values[name] for name in order[:_SHOWN]}
