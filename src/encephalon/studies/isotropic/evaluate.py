# SPDX-License-Identifier: Apache-2.0
"""Score methods of reconstruction on scans whose truth is known, trial by trial.

A T2w that is isotropic is its own truth: its thick slices are simulated for every axis and
thickness. One that was acquired with thick slices needs an isotropic reference. A row that cannot
be read is listed and not scored, and so is a trial whose method fails; the others go on. Finished
trials are kept in the folder `cells`, so that an evaluation that was broken off goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import UsageError
from encephalon.io.atomic import prove_writable, refuse_existing, write_json
from encephalon.io.records import write_records
from encephalon.studies.isotropic.cases import Case, read_cases
from encephalon.studies.isotropic.differences import OTHERS
from encephalon.studies.isotropic.evaluation_options import EvaluationOptions
from encephalon.studies.isotropic.evaluation_work import Work
from encephalon.studies.isotropic.standings import (
    Mean,
    Part,
    Standing,
    overall,
    standings,
    stratified,
)

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress
    from encephalon.reports import Html

__all__ = ["Evaluation", "evaluate_table"]

_FILES = ("scores.csv", "summary.csv", "summary.json", "report.html")


@dataclass(frozen=True)
class Evaluation:
    """The outcome: a row for each trial and method, and what they say together.

    `standings` are the statistics of each condition, axis, thickness and method, `parts` those of
    the strata; `failures` are the ids and sentences of what was not scored; `pictures` shows one
    case, by the name of its trial.
    """

    folder: Path
    rows: list[dict[str, Any]]
    standings: list[Standing]
    parts: list[Part]
    failures: list[dict[str, str]]
    pictures: dict[str, Html] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """The main figures as a few lines of text."""
        lines = [_line(each) for each in overall(self.standings)]
        lines += [f"failed: {each['id']}: {each['message']}" for each in self.failures]
        return "\n".join([*lines, f"written to {self.folder}"])


def evaluate_table(
    model: Any,
    table: str | Path,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a loaded model, the guided method and the baselines on a table of scans.

    `model` has the `columns` of its recipe and a `predictor` with `describe()`, its `method` and,
    as far as there are any, its `options` and what is asked of an `evaluation`. The column
    `reference` names the isotropic truth of a T2w with thick slices. Of a table that was split only
    the part "test" is scored. Writes scores.csv, summary.csv, summary.json, report.html, and cells/
    for going on; `overwrite` begins anew. Raises TableError for a table that cannot be used, or of
    which nothing could be scored, and, before any work, OutputExistsError, and UsageError for a
    legacy model, which cannot be given native scans.
    """
    from encephalon.studies.isotropic.evaluation_page import write_page

    folder, predictor = Path(output), model.predictor
    if not hasattr(predictor, "method"):
        raise UsageError(
            f"The published model {predictor.name!r} works on its atlas grid alone, so it cannot "
            "be put to these trials: evaluate 'isotropic', whose page has its interpolation."
        )
    cases, columns = read_cases(Path(table), model.columns)
    for name in _FILES:
        refuse_existing(folder / name, overwrite)
    prove_writable(folder)
    work = Work(predictor, cases, folder, overwrite)
    for done, name in enumerate(work.steps(), start=1):
        if progress is not None:
            progress(done, work.total, name)
    work.require_scores()
    result = Evaluation(
        folder,
        work.rows,
        standings(work.rows),
        stratified(work.rows, columns),
        work.failures,
        work.pictures,
    )
    write_records(result.rows, folder / "scores.csv")
    write_records([_flat(each) for each in result.standings], folder / "summary.csv")
    about = predictor.describe()
    write_json(folder / "summary.json", _record(result, about, work.options, cases))
    write_page(folder / "report.html", result, about, work.options, overwrite)
    return result


def _flat(standing: Standing) -> dict[str, Any]:
    """One standing as a row of summary.csv."""
    row: dict[str, Any] = {
        "condition": standing.condition,
        "axis": standing.axis,
        "thickness": standing.thickness,
        "method": standing.method,
        "n": standing.n,
        "groups": standing.units,
    }
    for name, figures in standing.metrics.items():
        interval = figures.interval
        row |= {name: figures.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
    for each in standing.differences:
        name, mean = f"{each.metric} minus {each.other}", each.comparison.mean_difference
        row |= {name: mean.value, f"{name}, low": mean.low, f"{name}, high": mean.high}
        row |= {f"{name}, p": each.comparison.p_value, f"{name}, p (Holm)": each.corrected}
    return row


def _record(
    result: Evaluation, about: Mapping[str, Any], options: EvaluationOptions, cases: Sequence[Case]
) -> dict[str, Any]:
    units = len({row["group"] for row in result.rows})
    return {
        "model": about,
        "options": options.model_dump(),
        "rows": len(cases),
        "scored": len({row["id"] for row in result.rows if "psnr_foreground" in row}),
        "groups": units,
        "remark": "" if units > 1 else "All scans are of one person, so there are no intervals.",
        "level": 0.95,
        "compared_with": OTHERS,
        "overall": [_plain(each) for each in overall(result.standings)],
        "standings": [_plain(each) for each in result.standings],
        "strata": [{**vars(each), "metrics": _figures(each.metrics)} for each in result.parts],
        "failures": result.failures,
    }


def _plain(standing: Standing) -> dict[str, Any]:
    return {**vars(standing), "metrics": _figures(standing.metrics)}


def _figures(metrics: Mapping[str, Mean]) -> dict[str, dict[str, Any]]:
    """The figures that something was measured of."""
    return {
        name: {
            "n": one.n,
            "mean": one.mean,
            "interval": [one.interval.low, one.interval.high],
            "interval_method": one.interval.method,
            "sd": one.sd,
            "minimum": one.minimum,
            "maximum": one.maximum,
        }
        for name, one in metrics.items()
        if one.n
    }


def _line(standing: Standing) -> str:
    from encephalon.reports.markup import number

    named = {
        "psnr_foreground": "PSNR dB",
        "ssim_foreground": "SSIM",
        "psnr_missing": "missing slices dB",
    }
    shown = ", ".join(
        f"{label} {number(standing.metrics[key].mean)}" for key, label in named.items()
    )
    return f"{standing.method}: {shown} (n = {standing.n})"
