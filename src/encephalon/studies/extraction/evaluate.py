# SPDX-License-Identifier: Apache-2.0
"""Score masks against reference masks, on the grid of each scan.

A scan whose mask could not be made counts with Dice 0 and an infinite distance: leaving failures
out would flatter the model. A scan or a reference that cannot be read is listed and not scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, GeometryError, InputError
from encephalon.evaluation import Summary, summarise_rows
from encephalon.evaluation.strata import strata as cut_strata
from encephalon.io.atomic import prove_writable, refuse_existing, write_json
from encephalon.io.image import Image
from encephalon.io.records import write_records
from encephalon.studies.extraction.cases import Case, read_cases
from encephalon.studies.extraction.scoring import (
    mask_of,
    read_reference,
    require_same_grid,
    score_mask,
)

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress, Row
    from encephalon.inference.predictor import Prediction, Predictor
    from encephalon.reports import Picture

    Show = Callable[[Row, Sequence[Picture]], None]

__all__ = ["METRICS", "Evaluation", "Part", "evaluate_cases", "evaluate_table"]

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
    from encephalon.studies.extraction.evaluation_page import EvaluationPage

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
    from encephalon.studies.extraction.report_parts import scan_pictures

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
        for part in cut_strata(scored, column)
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
    from encephalon.reports.markup import number

    figures = {
        "median": summary.median,
        "mean": summary.mean,
        "minimum": summary.minimum,
        "maximum": summary.maximum,
    }
    shown = ", ".join(f"{name} {number(value)}" for name, value in figures.items())
    return f"{label}: {shown} (n = {summary.n})"
