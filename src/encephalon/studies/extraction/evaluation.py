# SPDX-License-Identifier: Apache-2.0
"""Score masks, or label maps class by class, against references on the grid of each scan.

A scan whose mask could not be made counts with Dice 0 and an infinite distance: leaving failures
out would flatter the model. A scan or a reference that cannot be read is listed and not scored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, EncephalonError, GeometryError, InputError
from encephalon.evaluation.cases import Case, read_cases
from encephalon.evaluation.run import CaseResult, EvaluationResult, Scorable
from encephalon.geometry.affine import Affine, is_sheared
from encephalon.io.image import Image
from encephalon.io.reading import read_labels
from encephalon.metrics.segmentation import overlap, surface_distances, volume_error
from encephalon.reports.format import format_number
from encephalon.statistics.summary import (
    GroupedSummary,
    subgroups,
    summarise_rows,
    summarise_subgroup,
)
from encephalon.studies.extraction.images import scan_pictures
from encephalon.studies.extraction.report import HEADINGS, evaluation_page
from encephalon.tables.encoding import LabelRule, map_labels

if TYPE_CHECKING:
    from encephalon.inference.predictor import Prediction
    from encephalon.reports.format import Html
    from encephalon.reports.page import Page

__all__ = [
    "METRICS",
    "MaskEvaluation",
    "answer_of",
    "read_reference",
    "require_same_grid",
    "score_mask",
]

Row = dict[str, Any]

METRICS = tuple(HEADINGS)
# Scans whose pictures are shown, the worst first.
_PICTURED = 60


class MaskEvaluation(Scorable[Case, GroupedSummary]):
    """A loaded model on a table of scans and reference masks.

    `model` has a `predictor` and the `columns` of its recipe. Reference masks stand in the column
    `mask`, or in the recipe's target. Scores are cut by every column of a few different words. Of a
    table that was split only the part "test" is scored. `worst` holds rows of the lowest Dice with
    their pictures. A model that tells several classes has a row for each class of a scan; labels of
    the reference become classes by the rule of its recipe.
    """

    def __init__(self, model: Any, table: str | Path) -> None:
        self.predictor = model.predictor
        self.about: Mapping[str, Any] = self.predictor.describe()
        self.classes: Sequence[str] = self.about.get("classes", ())
        self.worst: list[tuple[Row, tuple[Html, ...]]] = []
        self._rule = model.columns.labels
        self._table = read_cases(Path(table), model.columns, ("mask", model.columns.target))

    def cases(self) -> Sequence[Case]:
        """Each row of the table."""
        return self._table.cases

    def score(self, case: Case) -> CaseResult:
        """Compare the mask of a scan with its reference; a failure has its row, too."""
        row: Row = {"id": case.sample.id, **case.about}
        begun = time.perf_counter()
        try:
            loaded = self.predictor.read(case.sample)
            reading = time.perf_counter() - begun
            reference = read_reference(case, self.classes, self._rule)
        except InputError as error:
            return CaseResult([{**row, "error": str(error)}], (str(error),))
        begun, message = time.perf_counter(), ""
        try:
            prediction = self.predictor.predict(loaded)
            found, scan = answer_of(prediction, case)
            require_same_grid(scan, reference, case)
            row["seconds"] = round(reading + time.perf_counter() - begun, 3)
            if prediction.quality is not None:
                row["quality"] = prediction.quality.status
                row["reasons"] = "; ".join(prediction.quality.reasons)
        except GeometryError as error:
            return CaseResult([{**row, "error": str(error)}], (str(error),))
        except EncephalonError as error:
            message, scan, found = str(error), None, np.zeros(reference.shape, np.uint8)
        if not found.any() and not message:
            message = f"{case.sample.inputs['image']}: nothing was found."
        if message:
            row["error"] = message
        drawn = scan_pictures(scan.data, scan.affine, found, reference.data) if scan else ()
        shown = tuple(picture.html for picture in drawn)
        rows = [row | one for one in self._scores(found, reference)]
        return CaseResult(rows, (message,) if message else (), shown)

    def _scores(self, found: NDArray[Any], reference: Image) -> Iterator[Row]:
        """The scores of a mask, or of each class but the background."""
        if not self.classes:
            yield score_mask(found > 0, reference.data, reference.affine)
        for number, name in enumerate(self.classes[1:], start=1):
            same = reference.data == number
            yield {"class": name} | score_mask(found == number, same, reference.affine)

    def take(self, result: CaseResult) -> list[Row]:
        """The rows of a scan; only the pictures of the worst ones stay in memory."""
        scored = _scored(result.rows)
        if scored:
            self.worst.append((min(scored, key=lambda row: row["dice"]), result.pictures))
        self.worst.sort(key=lambda entry: entry[0]["dice"])
        del self.worst[_PICTURED:]
        return result.rows

    def summarise(self, rows: list[Row]) -> GroupedSummary:
        """Statistics over the scans that were scored, cut also by the verdict on their quality."""
        scored, group = _scored(rows), self._group
        judged = ["quality"] if any("quality" in row for row in scored) else []
        cut = [*(["class"] if self.classes else []), *self._table.subgroups, *judged]
        parts = [part for name in cut if scored for part in subgroups(scored, name)]
        return GroupedSummary(
            summarise_rows(scored, METRICS, group=group),
            [summarise_subgroup(part, METRICS, group) for part in parts],
        )

    @property
    def _group(self) -> str | None:
        """The column of what is drawn for an interval: classes of one scan stay together."""
        return self._table.group or ("id" if self.classes else None)

    def lines(self, summary: GroupedSummary) -> Iterator[str]:
        """Dice, distance and volume error."""
        names = {"dice": "Dice", "hd95_mm": "HD95 mm", "volume_error_percent": "volume error %"}
        for key, label in names.items():
            found = summary.overall[key]
            shown = ", ".join(
                f"{name} {format_number(getattr(found, name))}"
                for name in ("median", "mean", "minimum", "maximum")
            )
            yield f"{label}: {shown} (n = {found.n})"
        for part in summary.subgroups:
            if part.column == "class":
                found = part.metrics["dice"]
                yield f"Dice of {part.value}: median {format_number(found.median)} (n = {found.n})"

    def told(self, summary: GroupedSummary) -> Mapping[str, Any]:
        """The statistics of all scans, and of the subgroups."""
        return {"summary": summary.overall, "strata": summary.subgroups}

    def record(self, result: EvaluationResult[GroupedSummary]) -> Mapping[str, Any]:
        """The model, how many scans were scored, their statistics, and what failed."""
        return {
            "model": self.about,
            "scans": len({row["id"] for row in result.rows}),
            "scored": len({row["id"] for row in _scored(result.rows)}),
            "level": 0.95,
            "drawn_by": self._table.group or "scan",
            "overall": result.summary.overall,
            "strata": result.summary.subgroups,
            "failures": result.failures,
        }

    def page(self, result: EvaluationResult[GroupedSummary], failures: Sequence[Html]) -> Page:
        """Main metrics, statistics, charts, subgroups, every scan and pictures of the worst."""
        return evaluation_page(self.about, result, self.worst, failures)


def _scored(rows: Sequence[Row]) -> list[Row]:
    """The rows of scans that were compared with their reference."""
    return [row for row in rows if "dice" in row]


def score_mask(
    predicted: NDArray[Any], reference: NDArray[Any], affine: Affine
) -> dict[str, float]:
    """Score one mask (I, J, K) against its reference on the same grid, placed by `affine`."""
    spacing = affine.matrix[:3, :3] if is_sheared(affine) else affine.spacing
    counts = overlap(predicted, reference)
    distances = surface_distances(predicted, reference, spacing)
    volumes = volume_error(predicted, reference, spacing)
    return {
        "dice": counts.dice,
        "jaccard": counts.jaccard,
        "sensitivity": counts.sensitivity,
        "precision": counts.precision,
        "hd95_mm": distances.hd95,
        "assd_mm": distances.assd,
        "volume_ml": volumes.predicted_ml,
        "reference_ml": volumes.reference_ml,
        "volume_error_ml": volumes.ml,
        "volume_error_percent": volumes.percent,
    }


def read_reference(case: Case, classes: Sequence[str] = (), rule: LabelRule = "keep") -> Image:
    """Read the reference: a mask, or the labels of `classes`, 0 the background, by the `rule`.

    Refuses label images for masks, whose labels nobody has named, and labels beyond the classes.
    """
    assert case.reference is not None
    image = read_labels(case.reference)
    if classes:
        labels = map_labels(image.data, rule)
        if int(labels.max(initial=0)) >= len(classes):
            raise ContentError(
                f"{case.reference}: the reference has the label {labels.max()}, but the model "
                f"tells {len(classes)} classes from 0: map the labels in [table] of its recipe."
            )
        return replace(image, data=labels)
    found = np.unique(image.data)
    found = found[found > 0]
    if found.size > 1:
        raise ContentError(
            f"{case.reference}: a reference mask must hold 0 and one other value, but it holds "
            f"{found.size} labels: make a mask of those that count."
        )
    return replace(image, data=image.data > 0)


def answer_of(prediction: Prediction, case: Case) -> tuple[NDArray[Any], Image | None]:
    """The mask or the label map of a prediction, and what it lies on."""
    made = prediction.images.values()
    output = next((each for each in made if each.suffix in {"mask", "dseg"}), None)
    if output is None:
        raise ContentError(
            f"{case.sample.id}: the model makes no mask, so there is nothing to score."
        )
    return np.asarray(output.data), output.like


def require_same_grid(scan: Image | None, reference: Image, case: Case) -> None:
    """Raise GeometryError unless no corner of the two grids is half a voxel apart."""
    if scan is None:
        return
    apart = np.inf
    if scan.shape == reference.shape:
        shift = scan.grid.corners - reference.grid.corners
        apart = float(np.linalg.norm(shift, axis=1).max())
    if apart > 0.5 * min(scan.spacing):
        raise GeometryError(
            f"{case.reference}: the reference mask lies on another grid than its scan: resample "
            "it to the scan first."
        )
