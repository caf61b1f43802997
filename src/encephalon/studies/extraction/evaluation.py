# SPDX-License-Identifier: Apache-2.0
"""Score masks against reference masks, on the grid of each scan.

A scan whose mask could not be made counts with Dice 0 and an infinite distance: leaving failures
out would flatter the model. A scan or a reference that cannot be read is listed and not scored.

One predicted mask against its reference: the grid they share, and every score of the pair.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, EncephalonError, GeometryError, InputError
from encephalon.geometry import Affine, is_sheared
from encephalon.io.atomic import prove_writable, refuse_existing, write_json
from encephalon.io.image import Image, read_labels
from encephalon.io.records import write_records
from encephalon.metrics.segmentation import overlap, surface_distances, volume_error
from encephalon.statistics.subgroups import subgroups as cut_subgroups
from encephalon.statistics.summary import Summary, summarise_rows
from encephalon.studies.extraction.cases import Case, read_cases

if TYPE_CHECKING:
    from encephalon.inference.predictor import Prediction

__all__ = [
    "METRICS",
    "Evaluation",
    "Part",
    "evaluate_cases",
    "evaluate_table",
    "mask_of",
    "read_reference",
    "require_same_grid",
    "score_mask",
]

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress, Row
    from encephalon.inference.predictor import Prediction, Predictor
    from encephalon.reports.pictures import Picture

    Show = Callable[[Row, Sequence[Picture]], None]

METRICS = (
    "dice",
    "jaccard",
    "sensitivity",
    "precision",
    "hd95_mm",
    "assd_mm",
    "volume_error_ml",
    "volume_error_percent",
    "seconds",
)


_LEVEL = 0.95


_FILES = ("scores.csv", "summary.json", "report.html")


@dataclass(frozen=True)
class Part:
    """The scans whose `column` says `value`: `n` of `units` persons, and their metrics."""

    column: str
    value: str
    n: int
    units: int
    metrics: dict[str, Summary]


@dataclass(frozen=True)
class Evaluation:
    """The outcome: one row a scan, the statistics of each metric, and what was not scored.

    `strata` holds the statistics of each part of the table; `failures` are the ids and sentences
    of scans that were not scored or have no mask.
    """

    folder: Path
    rows: list[Row]
    summary: dict[str, Summary]
    strata: list[Part]
    failures: list[dict[str, str]]

    def __str__(self) -> str:
        """The main figures as a few lines of text."""
        names = {"dice": "Dice", "hd95_mm": "HD95 mm", "volume_error_percent": "volume error %"}
        lines = [_line(label, self.summary[key]) for key, label in names.items()]
        lines += [f"failed: {each['id']}: {each['message']}" for each in self.failures]
        return "\n".join([*lines, f"written to {self.folder}"])


def evaluate_table(
    model: Any,
    table: str | Path,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    strata: Sequence[str] | None = None,
) -> Evaluation:
    """Score a loaded model on a table of scans and reference masks.

    `model` has a `predictor` and the `columns` of its recipe. Reference masks stand in the column
    `mask`, or in the recipe's target. `strata` names the columns to cut by; without it every
    column of a few different words is one. Of a table that was split only the part "test" is
    scored. Writes scores.csv, summary.json and report.html.
    Raises TableError for a table that cannot be used and OutputExistsError before any work.
    """
    cases, columns, group = read_cases(Path(table), model.columns)
    return evaluate_cases(
        model.predictor,
        cases,
        Path(output),
        strata=columns if strata is None else strata,
        group=group,
        overwrite=overwrite,
        progress=progress,
    )


def evaluate_cases(
    predictor: Predictor,
    cases: Sequence[Case],
    output: Path,
    *,
    strata: Sequence[str] = (),
    group: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score every case; `group` is the column whose values are drawn as wholes for intervals."""
    from encephalon.studies.extraction.evaluation_report import EvaluationPage

    for name in _FILES:
        refuse_existing(output / name, overwrite)
    prove_writable(output)
    page = EvaluationPage(predictor.describe())
    rows, failures = [], []
    for done, case in enumerate(cases, start=1):
        row, message = _one(predictor, case, page.add)
        rows.append(row)
        if message:
            failures.append({"id": case.sample.id, "message": message})
        if progress is not None:
            progress(done, len(cases), case.sample.id)
    scored = [row for row in rows if "dice" in row]
    summary = summarise_rows(scored, METRICS, group=group, level=_LEVEL)
    result = Evaluation(output, rows, summary, _parts(scored, strata, group), failures)
    write_records(rows, output / "scores.csv")
    write_json(output / "summary.json", _record(result, predictor, group))
    page.write(output / "report.html", result, overwrite=overwrite)
    return result


def _one(predictor: Predictor, case: Case, show: Show) -> tuple[Row, str]:
    """Score one case; returns its row and, where something failed, a sentence."""
    row: Row = {"id": case.sample.id, **case.about}
    begun = time.perf_counter()
    try:
        loaded = predictor.read(case.sample)
        reading = time.perf_counter() - begun
        reference = read_reference(case)
    except InputError as error:
        return {**row, "error": str(error)}, str(error)
    begun, message = time.perf_counter(), ""
    try:
        prediction = predictor.predict(loaded)
        mask, scan = mask_of(prediction, case)
        require_same_grid(scan, reference, case)
        row["seconds"] = round(reading + time.perf_counter() - begun, 3)
        row |= _verdict(prediction)
    except GeometryError as error:
        return {**row, "error": str(error)}, str(error)
    except EncephalonError as error:
        message, scan, mask = str(error), None, np.zeros(reference.shape, dtype=bool)
    row |= score_mask(mask, reference.data, reference.affine)
    if not mask.any() and not message:
        message = f"{case.sample.inputs['image']}: nothing was found."
    if message:
        row["error"] = message
    show(row, _pictures(scan, mask, reference))
    return row, message


def _verdict(prediction: Prediction) -> dict[str, str]:
    quality = prediction.quality
    if quality is None:
        return {}
    return {"quality": quality.status, "reasons": "; ".join(quality.reasons)}


def _pictures(scan: Image | None, mask: NDArray[np.bool_], reference: Image) -> Sequence[Picture]:
    from encephalon.studies.extraction.report import scan_pictures

    if scan is None:
        return ()
    return scan_pictures(scan.data, scan.affine, mask, reference.data)


def _parts(scored: Sequence[Row], strata: Sequence[str], group: str | None) -> list[Part]:
    if not scored:
        return []
    columns = [*strata, "quality"] if any("quality" in row for row in scored) else strata
    return [
        Part(
            part.column,
            part.value,
            part.n,
            part.units(group) if group else part.n,
            summarise_rows(part.rows, METRICS, group=group, level=_LEVEL),
        )
        for column in columns
        for part in cut_subgroups(scored, column)
    ]


def _record(result: Evaluation, predictor: Predictor, group: str | None) -> dict[str, Any]:
    return {
        "model": predictor.describe(),
        "scans": len(result.rows),
        "scored": sum("dice" in row for row in result.rows),
        "level": _LEVEL,
        "drawn_by": group or "scan",
        "overall": result.summary,
        "strata": result.strata,
        "failures": result.failures,
    }


def _line(label: str, summary: Summary) -> str:
    from encephalon.reports.format import format_number

    figures = {
        "median": summary.median,
        "mean": summary.mean,
        "minimum": summary.minimum,
        "maximum": summary.maximum,
    }
    shown = ", ".join(f"{name} {format_number(value)}" for name, value in figures.items())
    return f"{label}: {shown} (n = {summary.n})"


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


def read_reference(case: Case) -> Image:
    """Read the reference mask; refuses label images, whose brain labels nobody has named."""
    image = read_labels(case.reference)
    found = np.unique(image.data)
    found = found[found > 0]
    if found.size > 1:
        raise ContentError(
            f"{case.reference}: a reference mask must hold 0 and one other value, but it holds "
            f"{found.size} labels: make a mask of those that count."
        )
    return replace(image, data=image.data > 0)


def mask_of(prediction: Prediction, case: Case) -> tuple[NDArray[np.bool_], Image | None]:
    output = next((each for each in prediction.images.values() if each.suffix == "mask"), None)
    if output is None:
        raise ContentError(
            f"{case.sample.id}: the model makes no mask, so there is nothing to score."
        )
    return np.asarray(output.data != 0), output.like


def require_same_grid(scan: Image | None, reference: Image, case: Case) -> None:
    """Raise GeometryError unless no corner of the two grids is half a voxel apart."""
    if scan is None:
        return
    apart = np.inf
    if scan.shape == reference.shape:
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in scan.shape])).reshape(3, -1).T
        shift = scan.affine.apply(corners) - reference.affine.apply(corners)
        apart = float(np.linalg.norm(shift, axis=1).max())
    if apart > 0.5 * min(scan.spacing):
        raise GeometryError(
            f"{case.reference}: the reference mask lies on another grid than its scan: resample "
            "it to the scan first."
        )
