# SPDX-License-Identifier: Apache-2.0
"""The page of a batch of people, and beside it a page of every person.

The page of a person has each target among the people who trained, what it was told from, how unlike
these people the person is in each input, and the scans as the network saw them; it lies in the
folder `report` beside that of the batch, so that it can be passed on by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.experiments.folds import OVERLAP, overlap_warning
from encephalon.geometry.resample import averaged
from encephalon.reports.batch import (
    BatchReport,
    Column,
    Row,
    model_facts,
    model_name,
    reasons_of,
    status_of,
)
from encephalon.reports.blocks import StatCard, facts, figure, grid, note, stat_cards, table
from encephalon.reports.charts import place_chart, share_chart
from encephalon.reports.format import Html, format_estimate, format_interval, format_number, tag
from encephalon.reports.images import AMBER
from encephalon.reports.own_pages import write_own_page
from encephalon.reports.page import Legend, Page
from encephalon.reports.slices import Overlay, three_planes
from encephalon.statistics.intervals import Interval
from encephalon.studies.legibility.fitted import Spread
from encephalon.studies.legibility.quality import Unlikeness
from encephalon.studies.legibility.reading import Answered
from encephalon.studies.legibility.settings import Target
from encephalon.transforms.template import brain_template, mni_grid

__all__ = ["PersonShown", "TargetShown", "batch_report", "person_page"]

TEMPLATE = "template"


@dataclass(frozen=True, eq=False)
class TargetShown:
    """A target of a person: from what it is told, in words, and how it is among who trained.

    by  which model tells it, where one was chosen of many
    """

    target: Target
    used: str
    answered: Answered
    truth: Spread
    by: str = ""

    @property
    def interval(self) -> Interval:
        """The number that is told, with its conformal ends; NaN for nothing."""
        told = self.answered
        value, low, high = map(float, (told.values[0, 0], told.low[0], told.high[0]))
        return Interval(value, low, high, 0.0, 0, "conformal")

    def title(self, name: str) -> str:
        """The name with the unit."""
        return f"{name}, {self.target.unit}" if self.target.unit else name


@dataclass(frozen=True, eq=False)
class PersonShown:
    """What is shown of a person: each target and input, and the scans (side, side, side)."""

    targets: Mapping[str, TargetShown]
    unlike: Mapping[str, Unlikeness]
    images: Mapping[str, NDArray[np.float32]]

    @property
    def told(self) -> dict[str, TargetShown]:
        """The targets that there is an answer of."""
        return {
            name: one
            for name, one in self.targets.items()
            if np.isfinite(one.answered.values).all()
        }


def batch_report(about: Mapping[str, Any]) -> BatchReport:
    """The page of a batch of people; `about` is `Predictor.describe()`."""

    def pictures(row: Row, shown: PersonShown, folder: Path) -> list[Html]:
        write_own_page(person_page(about, row, shown), str(row["id"]), folder)
        return [grid(*_charts(shown))]

    targets = about.get("targets", {})

    def used(row: Row) -> str:
        """All that any target is told from."""
        return max((str(row.get(f"{name}_used") or "") for name in targets), key=len, default="")

    return BatchReport(
        about,
        title="People",
        columns=(
            *(_column(name, one) for name, one in targets.items()),
            Column("From", used),
            Column("Unlike others", "novelty", "%", 0),
            Column("Learnt", lambda row: row.get(OVERLAP) or None),
        ),
        pictures=pictures,
        unit="person",
        units="people",
        hint=HOW,
        rank=lambda row: -float(row.get("novelty") or 0.0),
        order="the most unusual first",
        notes=_notes,
    )


HOW = (
    "Bars are the people who trained, the line is the value with its interval. Of classes, bars "
    "are probabilities, and the mark is the share among the people who trained."
)


def _column(name: str, about: Mapping[str, Any]) -> Column:
    heading = f"{name}, {about['unit']}" if about.get("unit") else name

    def told(row: Row) -> Any:
        value = row.get(name)
        if value in (None, ""):
            return None
        if about.get("kind") != "continuous":
            return f"{value} ({float(row[f'{name}_p']):.2f})"
        return format_estimate(Interval.of_cells(row, name))

    return Column(heading, told)


def _notes(rows: Sequence[Row]) -> list[Html]:
    count = sum(bool(row.get(OVERLAP)) for row in rows)
    return [note(overlap_warning(count, len(rows), "people"), "fail")] if count else []


def person_page(about: Mapping[str, Any], row: Row, shown: PersonShown) -> Page:
    """The page of one person, one HTML file by itself.

    `about` is the predictor's own description, and `row` the person's row of predictions.csv.
    """
    status = status_of(row)
    page = Page(
        title=str(row.get("id") or "Person"),
        kicker="Encephalon · one person",
        lead=f"What {model_name(about)} tells from {', '.join(shown.unlike)}.",
        legend=[Legend(TEMPLATE, "Brain of the template", AMBER)] if shown.images else [],
        batch_of=str((about.get("model") or {}).get("name")),
    )
    page.add(stat_cards(_stat_cards(shown, status)))
    page.add(*(note(reason, status) for reason in reasons_of(row)))
    if row.get(OVERLAP):
        page.add(note(_LEARNT, "fail"))
    page.section("Told", tag("p", HOW, class_="soft"), grid(*_charts(shown)))
    if silent := {n: one.used for n, one in shown.targets.items() if n not in shown.told}:
        page.section("Not told", facts(silent))
    page.section("How unlike the people who trained", note(_DISTANCE), _unlike_table(shown))
    if shown.images:
        page.section(
            "Scans as the network saw them", *(_scan(*one) for one in shown.images.items())
        )
    return page.section("Model", model_facts(about))


_LEARNT = (
    "The model has learnt from this person, or from another of the same group: how sure it is here "
    "says nothing of new people."
)
_DISTANCE = (
    "The distance is the root of the mean squared difference from the mean of the people who "
    "trained, in standard deviations. Who is further away than 99 % of them is to be checked."
)


def _stat_cards(shown: PersonShown, status: str) -> list[StatCard]:
    cards = [StatCard(status or "–", "quality", status=status or None)]
    for name, one in shown.told.items():
        values, told = one.answered.values[0], one.interval
        if one.target.kind == "continuous":
            ends = format_interval(told, named=False) or "no interval"
            cards.append(StatCard(format_number(told.value, 3), one.title(name), ends))
        else:
            place = int(values.argmax())
            cards.append(StatCard(one.target.classes[place], name, f"p = {values[place]:.2f}"))
    return cards


def _charts(shown: PersonShown) -> list[Html]:
    """Of each target that is told, where the person lies among those who trained."""
    drawn = []
    for name, one in shown.told.items():
        truth, title = one.truth, one.title(name)
        if one.target.kind == "continuous":
            chart = place_chart(truth.counts, (truth.low, truth.high), one.interval, title)
        else:
            total = max(1, sum(truth.counts))
            usual = [count / total for count in truth.counts]
            values = one.answered.values[0].tolist()
            chart = share_chart(one.target.classes, values, usual, title)
        by = f", by {one.by}" if one.by else ""
        drawn.append(figure(chart, f"{name}: from {one.used}{by}."))
    return drawn


def _unlike_table(shown: PersonShown) -> Html:
    columns = {"input": "Input", "distance": "Distance", "percentile": "Further away than, %"}
    rows = [{"input": name, **vars(each)} for name, each in shown.unlike.items()]
    return table(columns, rows, decimals={"distance": 2, "percentile": 0})


def _scan(name: str, image: NDArray[np.float32]) -> Html:
    brain = averaged(brain_template().data > 0, image.shape) >= 0.5
    planes = three_planes(image, mni_grid(len(image)).affine, [Overlay(brain, TEMPLATE)])
    return figure(tag("div", planes.html, class_="frame"), name)
