# SPDX-License-Identifier: Apache-2.0
"""The page of a leaderboard: tables, and what made the scores, to look at.

Of each method it shows its scores over seeds, its confusion, its predictions beside the truth, the
embedding of its features and how it learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from encephalon.io.files import is_file
from encephalon.reports.blocks import colour_key, confusion_table, figure, grid, note
from encephalon.reports.clouds import cloud_charts
from encephalon.reports.format import Html, join, tag
from encephalon.reports.images import embedded
from encephalon.reports.label_maps import beside, class_colour
from encephalon.reports.page import Page, curve_charts
from encephalon.studies.microtomography.embedding import (
    HOW,
    cloud_of,
    colours_of,
    planes_of,
    read_embedding,
)
from encephalon.studies.microtomography.evaluation import OWN, PICTURES

if TYPE_CHECKING:
    from encephalon.reports.score_tables import ScoreTable
    from encephalon.studies.microtomography.leaderboard import Run, TableKey

__all__ = ["leaderboard_page"]

#: Dots of one embedding at the most, so that a page with many opens at once.
DOTS = 500
#: Tasks that have a confusion.
CONFUSED = {"region", "structure"}
#: What models learn, whose losses are not each other's.
TARGETS = {"region": "Regions", "representation": "Representations", "structure": "Structures"}
CURVES = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "val_f1": "validation F1",
}


def leaderboard_page(tables: Mapping[TableKey, ScoreTable], runs: Sequence[Run]) -> Page:
    """The page of these tables, and of the evaluations that they were made of."""
    lead = f"{len(runs)} evaluations; mean and standard deviation over seeds, the best in bold."
    page = Page("Leaderboard", lead=lead, dated=False)
    for (mode, task, data), table in tables.items():
        mine = [run for run in runs if (run.mode, run.data) == (mode, data)]
        # Features that are read out are equals; of all else the first measure is the main one.
        measures = table.measures[: 1 if task in CONFUSED else None]
        shown = [table.html(), grid(*map(table.chart, measures))]
        if task in CONFUSED:
            shown += _confusions(task, mine)
        if task == "structure":
            shown += _overlays(mine)
        page.section(table.title, *shown)
    for data in dict.fromkeys(run.data for run in runs):
        clouds = _embeddings([run for run in runs if run.data == data], f"embedding-{data}")
        if clouds:
            page.section(f"Embeddings (tiles {data})", note(HOW), clouds)
    return page.section("Learning curves", *_curves(runs)).add(note(_HOW_TABLES))


_HOW_TABLES = (
    "A read-out is R² on tiles that were never fitted; in-sample R², as published, has a table of "
    "its own. Modes are never mixed, nor tables of tiles, which go by the first digits of their "
    "SHA-256."
)


def _confusions(task: str, runs: Sequence[Run]) -> Iterator[Html]:
    """The counts of each method over all its seeds, by its own classes or else a linear probe."""
    sums: dict[tuple[str, ...], Any] = {}
    for run in runs:
        classes, name = run.summary.get("classes", []), run.method
        counts = run.summary.get("confusion")
        if task == "region":
            first: Mapping[str, Any] = next(iter(run.summary["regions"]), {})
            counts, name = first.get("matrix"), run.by(first.get("how", OWN))
        if counts and len(counts) == len(classes):
            key = (name, *classes)
            sums[key] = sums.get(key, 0) + np.array(counts, np.int64)
    if sums:
        shown = (confusion_table(names, each.tolist()) for (_, *names), each in sums.items())
        yield tag("h3", "Confusion, summed over seeds")
        yield grid(*map(figure, shown, (name for name, *_ in sums)))


def _overlays(runs: Sequence[Run]) -> Iterator[Html]:
    """The tiles that evaluations of structures have pictures of, with what each method found."""
    first = _first([run for run in runs if run.summary["target"] == "structure"])
    if not first:
        return
    one, classes = first[0].folder / PICTURES, first[0].summary.get("classes", [])
    names = [path.name.removesuffix("_image.png") for path in sorted(one.glob("*_image.png"))]
    if names:
        yield tag("h3", "Image, truth and predictions")
        yield colour_key([(c, f"rgb{class_colour(n)}") for n, c in enumerate(classes) if n])
    for name in names:
        paths = {part: one / f"{name}_{part.lower()}.png" for part in ("Image", "Truth")}
        for run in first:
            paths[run.method] = run.folder / PICTURES / f"{name}_prediction.png"
        shown = {title: embedded(path, title) for title, path in paths.items() if is_file(path)}
        yield beside(name, "", shown)


def _embeddings(runs: Sequence[Run], name: str) -> Html | None:
    clouds, columns = [], dict[str, str]()
    for run in _first(runs):
        rows = read_embedding(run.folder)
        rows = rows[:: -(-len(rows) // DOTS) or 1]
        for plane, title in list(planes_of(rows).items())[-1:]:
            clouds.append(cloud_of(rows, plane, f"{run.method}, {title}"))
            columns |= colours_of(rows)
    return cloud_charts(clouds, columns, name) if clouds else None


def _curves(runs: Sequence[Run]) -> Iterator[Html]:
    learnt = [run for run in runs if run.summary.get("history")]
    for target, title in TARGETS.items():
        known = [run for run in learnt if run.summary["target"] == target]
        if known:
            histories = [(run.method, run.summary["history"]) for run in known]
            yield join(tag("h3", title), grid(*curve_charts(histories, CURVES)))
    missing = sorted({run.method for run in runs} - {run.method for run in learnt})
    if missing:
        yield note(
            f"Without a curve: {', '.join(missing)}. Factors are fitted at once, and a model has "
            "the curves of its run only where it was evaluated in the folder of that run."
        )


def _first(runs: Sequence[Run]) -> list[Run]:
    """One run of each method, that of its lowest seed."""
    first: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: (run.method, run.seed)):
        first.setdefault(run.method, run)
    return list(first.values())
