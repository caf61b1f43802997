# SPDX-License-Identifier: Apache-2.0
"""The pages of microtomography: of a batch of tiles, and of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.batch import BatchReport, Column, Row, model_facts, model_name
from encephalon.reports.blocks import (
    StatCard,
    figure,
    gallery,
    grid,
    matrix,
    note,
    stat_cards,
    table,
)
from encephalon.reports.charts import Series, line_chart
from encephalon.reports.format import Html, format_estimate, format_interval, format_number, tag
from encephalon.reports.images import Layer, Picture, fitted_size, resize
from encephalon.reports.page import Page

if TYPE_CHECKING:
    from encephalon.evaluation.run import EvaluationResult
    from encephalon.studies.microtomography.evaluation import TileEvaluation, TileSummary

__all__ = ["batch_report", "evaluation_page", "label_picture"]

#: Colours of structures, the first of which is not drawn (Okabe & Ito).
COLOURS = ((0, 0, 0), (213, 94, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167))
#: Side of a picture, pixels, and tiles that the picture of an embedding shows.
SIDE, SHOWN = 320, 1500


def batch_report(about: Mapping[str, Any]) -> BatchReport:
    """The page of a batch of tiles; `about` is `Predictor.describe()`."""
    classes = tuple(about.get("classes", ()))
    structure = about.get("target") == "structure"
    prefix, factor = ("percent_", 1.0) if structure else ("p_", 100.0)
    columns = [Column(name, f"{prefix}{name}", "%", 1, factor) for name in classes]
    if not structure and classes:
        columns.insert(0, Column("Region", lambda row: row.get("predicted")))
    return BatchReport(
        about,
        title="Structures" if structure else "Regions" if classes else "Representations",
        columns=(*columns, Column("Time", "seconds", "s", decimals=2)),
        pictures=lambda _row, shown, _folder: [figure(shown())],
        unit="tile",
        files={"source": "Image", "structures": "Structures"},
        hint="Colours are structures." if structure else "",
    )


def label_picture(voxels: NDArray[Any], labels: NDArray[np.uint8] | None, alt: str) -> Picture:
    """The middle slice of a tile (z, y, x), its structures in colour where they are known."""
    plane = np.asarray(voxels[len(voxels) // 2], np.float32)
    low, high = np.percentile(plane, (0.5, 99.5))
    size = fitted_size(plane.shape, SIDE)
    grey = np.clip((resize(plane, size) - low) * 255 / max(high - low, 1e-6), 0, 255)
    layers = []
    if labels is not None:
        middle = labels[len(labels) // 2]
        rows = np.minimum(np.arange(size[1]) * middle.shape[0] // size[1], middle.shape[0] - 1)
        columns = np.minimum(np.arange(size[0]) * middle.shape[1] // size[0], middle.shape[1] - 1)
        shown = middle[np.ix_(rows, columns)]
        rgba = np.zeros((*shown.shape, 4), np.uint8)
        for number in range(1, int(shown.max(initial=0)) + 1):
            rgba[shown == number] = (*COLOURS[1 + (number - 1) % (len(COLOURS) - 1)], 150)
        layers.append(Layer("structures", rgba))
    return Picture(grey.astype(np.uint8), alt, tuple(layers))


def evaluation_page(
    evaluation: TileEvaluation,
    result: EvaluationResult[TileSummary],
    failures: Sequence[Html],
) -> Page:
    """What a model of tiles reached."""
    summary, about = result.summary, evaluation.predictor.describe()
    page = Page(
        title="Tiles against the truth",
        lead=f"{model_name(about)} on {summary.tiles} tiles of {evaluation.path.name}.",
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
        names = evaluation.classes or sorted({name for name in evaluation.regions if name})
        confusions = [
            figure(matrix(names, each.matrix, "true", "predicted"), each.how)
            for each in summary.regions
        ]
        page.section("Regions", table(columns, rows), grid(*confusions))
    if summary.structures:
        page.section("Structures", _structure_table(summary), note(_HOW_STRUCTURES))
    if summary.readouts:
        page.section("Read-out", _readout_table(summary), note(_HOW_READOUT))
    if evaluation.features:
        page.section("Embedding", grid(*_embedding(evaluation, result.rows)))
    if evaluation.pictures:
        shown = [figure(one.html, tag("strong", name)) for name, one in evaluation.pictures]
        page.section("Truth beside prediction", gallery(*shown, wide=True))
    return page.section("Model", model_facts(about))


_HOW_STRUCTURES = (
    "Pooled metrics come from the voxels of all tiles together; per tile they are means over the "
    "tiles that have the class, in truth or prediction."
)
_HOW_READOUT = (
    "Ridge regression on frozen features, fitted on the tiles that train, its penalty chosen on "
    "those that validate. The floor is what shuffled answers reach. In-sample R2 is least squares "
    "on the tiles that it was fitted on, as published, with its own floor."
)


def _heading(feature: str) -> str:
    """ "percent_vessel" as "Vessel, %", "cell_third_nearest" as "Cell third nearest"."""
    if feature.startswith("percent_"):
        return f"{feature.removeprefix('percent_').capitalize()}, %"
    return feature.replace("_", " ").capitalize()


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
        value, label = format_number(read.r2.value, 3), f"R2, {_heading(read.target)}"
        cards.append(StatCard(value, label, format_interval(read.r2)))
    return cards


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
        "r2": "R2, held out",
        "floor": "Floor",
        "in_sample": "R2, in-sample",
        "in_sample_floor": "Its floor",
        "tiles": "Tiles that test",
    }
    rows = [
        {
            **vars(read),
            "target": _heading(read.target),
            "r2": format_estimate(read.r2) if np.isfinite(read.r2.value) else None,
        }
        for read in summary.readouts
    ]
    return table(columns, rows, digits=3)


def _embedding(evaluation: TileEvaluation, rows: Sequence[Row]) -> list[Html]:
    """The first two principal components of the features, coloured by box, region and feature."""
    chosen = rows[:: max(1, len(rows) // SHOWN)]
    features = np.stack([evaluation.features[row["id"]] for row in chosen])
    spread = features.std(axis=0)
    centred = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    places = left[:, :2] * singular[:2]
    by: dict[str, list[int]] = {}
    for number, row in enumerate(chosen):
        by.setdefault(str(row.get("region") or row.get("box")), []).append(number)
    clouds = [
        Series(name, places[members, 0], places[members, 1], [chosen[n]["id"] for n in members])
        for name, members in sorted(by.items())
    ]
    chart = line_chart(clouds, "First component", "Second component")
    return [figure(chart, f"{len(chosen)} tiles by the principal components of their features.")]
