# SPDX-License-Identifier: Apache-2.0
"""The pages of microtomography: of a batch of tiles, and of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encephalon.reports.batch import BatchReport, Column, Row, model_facts, model_name
from encephalon.reports.blocks import (
    StatCard,
    confusion_table,
    facts,
    figure,
    grid,
    note,
    stat_cards,
    table,
)
from encephalon.reports.clouds import cloud_charts
from encephalon.reports.format import (
    Html,
    format_estimate,
    format_interval,
    format_number,
    tag,
)
from encephalon.reports.label_maps import label_legend
from encephalon.reports.own_pages import file_links, write_own_page
from encephalon.reports.page import Page
from encephalon.reports.viewer import USE
from encephalon.studies.microtomography.embedding import HOW, cloud_of, colours_of, planes_of
from encephalon.studies.microtomography.images import ShownVolume
from encephalon.studies.microtomography.semantics import feature_heading

if TYPE_CHECKING:
    from encephalon.evaluation.run import EvaluationResult
    from encephalon.studies.microtomography.evaluation import TileEvaluation, TileSummary

__all__ = ["batch_report", "evaluation_page", "volume_page"]


def batch_report(about: Mapping[str, Any]) -> BatchReport:
    """The page of a batch of tiles; `about` is `Predictor.describe()`."""
    classes = tuple(about.get("classes", ()))
    structure = about.get("target") == "structure"
    prefix, factor = ("percent_", 1.0) if structure else ("p_", 100.0)
    columns = [Column(name, f"{prefix}{name}", "%", 1, factor) for name in classes]
    if not structure and classes:
        columns.insert(0, Column("Region", lambda row: row.get("predicted")))
    columns.append(Column("Time", "seconds", "s", decimals=2))
    title = "Structures" if structure else "Regions" if classes else "Representations"

    def pictures(row: Row, shown: Any, folder: Path) -> list[Html]:
        drawn = [figure(shown())]
        if isinstance(shown, ShownVolume) and shown.scrolled:
            page = volume_page(about, row, shown, drawn, columns)
            write_own_page(page, str(row["id"]), folder)
        return drawn

    return BatchReport(
        about,
        title=title,
        columns=columns,
        pictures=pictures,
        unit="tile",
        files=_FILES_OF,
        legend=label_legend(classes) if structure else (),
    )


_FILES_OF = {"source": "Image", "structures": "Structures", "regions": "Regions"}


def volume_page(
    about: Mapping[str, Any],
    row: Row,
    shown: ShownVolume,
    pictures: Sequence[Html],
    columns: Sequence[Column],
) -> Page:
    """The page of one volume, one HTML file by itself, with a viewer of its middle.

    about     the predictor's own description
    row       that of predictions.csv
    pictures  of the volume
    columns   what is said of it
    """
    classes = tuple(about.get("classes", ()))
    structure = about.get("target") == "structure"
    page = Page(
        title=str(row.get("id") or "Volume"),
        kicker="Encephalon · microtomography",
        lead=f"What {model_name(about)} made of it.",
        legend=label_legend(classes) if structure else (),
        batch_of=str((about.get("model") or {}).get("name")),
    )
    page.add(stat_cards([StatCard(each.words(row) or "–", each.heading) for each in columns]))
    z, y, x = shown.voxels.shape
    what = f"{USE} Shown are the middle {z} slices of {y} × {x} pixels (y, x), rows downwards."
    page.section("Slices", tag("p", what, class_="soft"), shown.viewer(classes))
    page.section("Picture", *pictures)
    back = tag("a", "The whole batch", href="../report.html")
    origin = facts(file_links(row, _FILES_OF, "../") | {"Batch": back})
    return page.section("Origin", origin, model_facts(about))


def evaluation_page(
    evaluation: TileEvaluation,
    result: EvaluationResult[TileSummary],
    failures: Sequence[Html],
) -> Page:
    """What a model of tiles reached."""
    summary, about = result.summary, evaluation.predictor.describe()
    tiles = "tile" if summary.tiles == 1 else "tiles"
    page = Page(
        title="Tiles against the truth",
        lead=f"{model_name(about)} on {summary.tiles} {tiles} of {evaluation.path.name}.",
        legend=label_legend(summary.classes) if summary.structures else (),
    )
    page.add(stat_cards(_stat_cards(summary)), *failures)
    if summary.without_region:
        page.add(note(f"{summary.without_region} tiles have no region and were not scored."))
    if summary.regions:
        rows = [
            {"how": each.how, **{k: format_estimate(v) for k, v in each.metrics.items()}}
            for each in summary.regions
        ]
        columns = {
            "how": "Classes by",
            "accuracy": "Accuracy",
            "balanced_accuracy": "Balanced accuracy",
            "f1": "F1",
        }
        confusions = [
            figure(confusion_table(summary.classes, each.matrix), each.how)
            for each in summary.regions
        ]
        classes = _class_table(summary)
        page.section("Regions", table(columns, rows), classes, grid(*confusions))
    if summary.structures:
        confusion = confusion_table(summary.classes, summary.confusion)
        page.section("Structures", _structure_table(summary), note(_HOW_STRUCTURES))
        page.section("Confusion", figure(confusion, "Voxels of all tiles that test."))
        page.section("Image, truth and prediction", note(_HOW_TILES), *evaluation.worst.rising())
    if summary.readouts:
        page.section("Read-out", _readout_table(summary), note(_HOW_READOUT))
    if evaluation.embedding:
        page.section("Embedding", note(f"{HOW} {_FILES}"), _embedding(evaluation.embedding))
    return page.section("Model", model_facts(about))


_HOW_STRUCTURES = (
    "Pooled metrics come from the voxels of all tiles together; per tile they are means over the "
    "tiles that have the class, in truth or prediction."
)
_HOW_TILES = (
    "Tiles with the lowest F1 come first: its mean over the structures that truth or prediction "
    "have there. Click a picture to see it larger."
)
_FILES = "The points are in embedding.csv, the features themselves in features.npz."
_HOW_READOUT = (
    "Ridge regression on frozen features, fitted on the tiles that train, its penalty chosen on "
    "those that validate. The floor is what shuffled answers reach. In-sample R² is least squares "
    "on the tiles that it was fitted on, as published, with its own floor."
)


def _embedding(rows: Sequence[Row]) -> Html:
    """Both planes of an embedding, coloured alike."""
    clouds = [
        cloud_of(rows, plane, f"{len(rows)} tiles by {title} of their features.")
        for plane, title in planes_of(rows).items()
    ]
    return cloud_charts(clouds, colours_of(rows), "embedding")


def _stat_cards(summary: TileSummary) -> list[StatCard]:
    cards = [StatCard(summary.tiles, "tiles")]
    for each in summary.regions[:2]:
        found = each.metrics["accuracy"]
        value = format_number(found.value, 3)
        cards.append(StatCard(value, f"accuracy, {each.how}", format_interval(found)))
    if summary.pooled:
        cards.append(StatCard(format_number(summary.pooled["f1"], 3), "mean F1, pooled"))
        cards.append(StatCard(format_number(summary.pooled["iou"], 3), "mean IoU, pooled"))
    for read in summary.readouts[:3]:
        value, label = format_number(read.r2.value, 3), f"R², {feature_heading(read.target)}"
        cards.append(StatCard(value, label, format_interval(read.r2)))
    return cards


def _class_table(summary: TileSummary) -> Html:
    columns = {
        "how": "Classes by",
        "name": "Region",
        "sensitivity": "Sensitivity",
        "precision": "Precision",
        "f1": "F1",
    }
    rows: list[Row] = [
        {"how": each.how, "name": name, **{k: of[n] for k, of in each.per_class.items()}}
        for each in summary.regions
        for n, name in enumerate(summary.classes)
    ]
    return table(columns, rows, digits=3)


def _structure_table(summary: TileSummary) -> Html:
    columns = {
        "name": "Structure",
        "f1": "F1, pooled",
        "f1_per_tile": "F1, per tile",
        "iou": "IoU, pooled",
        "iou_per_tile": "IoU, per tile",
        "accuracy": "Accuracy, pooled",
        "sensitivity": "Sensitivity",
        "precision": "Precision",
    }
    rows: list[Row] = [{"name": name, **each} for name, each in summary.structures.items()]
    return table(columns, [*rows, {"name": "mean", **summary.pooled}], digits=3)


def _readout_table(summary: TileSummary) -> Html:
    columns = {
        "target": "Feature",
        "r2": "R², held out",
        "floor": "Floor",
        "in_sample": "R², in-sample",
        "in_sample_floor": "Its floor",
        "tiles": "Tiles that test",
    }
    rows = [
        {
            **vars(read),
            "target": feature_heading(read.target),
            "r2": format_estimate(read.r2) if np.isfinite(read.r2.value) else None,
        }
        for read in summary.readouts
    ]
    return table(columns, rows, digits=3)
