# SPDX-License-Identifier: Apache-2.0
"""Score methods of reconstruction on scans whose truth is known, trial by trial.

A T2w that is isotropic is its own truth: its thick slices are simulated for every axis and
thickness. One that was acquired with thick slices needs an isotropic reference. A row that cannot
be read is listed and not scored, and so is a trial whose method fails; the others go on. Finished
trials are kept in the folder `cells`, so that an evaluation that was broken off goes on.

The work of an evaluation: trial after trial, method after method, what is finished kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import EncephalonError, TableError, UsageError
from encephalon.inference.batch import failure_sentence
from encephalon.io.atomic import prove_writable, refuse_existing, write_json
from encephalon.io.records import write_records
from encephalon.studies.isotropic.cases import Case, read_cases, stranger_of
from encephalon.studies.isotropic.cells import Cell, Cells
from encephalon.studies.isotropic.evaluation.methods import CUBIC, Contender, contenders
from encephalon.studies.isotropic.evaluation.scoring import regions, score
from encephalon.studies.isotropic.evaluation.summary import (
    OTHERS,
    Mean,
    Part,
    Standing,
    overall,
    standings,
    stratified,
)
from encephalon.studies.isotropic.evaluation.trials import WRONG, Plan, Trial, Trials, plans
from encephalon.studies.isotropic.reconstruction.problem import Estimate
from encephalon.studies.isotropic.settings import NORMAL, EvaluationOptions, PredictOptions

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress
    from encephalon.reports.markup import Html

__all__ = ["Evaluation", "Work", "evaluate_table"]

_FILES = ("scores.csv", "summary.csv", "summary.json", "report.html")


# What stops one row or one method, and not the evaluation.
_STOPS = (EncephalonError, OSError, MemoryError)


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
    published model, which cannot be given native scans.
    """
    from encephalon.studies.isotropic.evaluation.report import write_page

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
    from encephalon.reports.format import format_number

    named = {
        "psnr_foreground": "PSNR dB",
        "ssim_foreground": "SSIM",
        "psnr_missing": "missing slices dB",
    }
    shown = ", ".join(
        f"{label} {format_number(standing.metrics[key].mean)}" for key, label in named.items()
    )
    return f"{standing.method}: {shown} (n = {standing.n})"


class Work:
    """The state of one evaluation.

    Attributes
    ----------
    options
        How the methods are put to the test.
    rows
        A row for each trial and method that there was an answer, or a failure, of.
    failures
        The ids and sentences of what was not scored.
    """

    def __init__(
        self, predictor: Any, cases: Sequence[Case], folder: Path, overwrite: bool
    ) -> None:
        self.options = getattr(predictor, "evaluation", None) or EvaluationOptions()
        self._asked = getattr(predictor, "options", None) or PredictOptions()
        self._cases = cases
        self._contenders = contenders(predictor)
        about = [predictor.describe(), self.options, [each.name for each in self._contenders]]
        plain = [each.model_dump() if hasattr(each, "model_dump") else each for each in about]
        self._cells = Cells(folder / "cells", plain, forget=overwrite)
        self._plans = plans(cases, self.options)
        self.rows: list[dict[str, Any]] = []
        self._pictures: dict[str, dict[str, Html]] = {}
        self.failures: list[dict[str, str]] = []

    @property
    def total(self) -> int:
        """How many trials there are."""
        return len(self._plans)

    def steps(self) -> Iterator[str]:
        """Make one trial after another, and yield the name of each."""
        for case in self._cases:
            trials = Trials(case, self._cases, self.options, self._asked)
            for plan in self._plans:
                if plan.case is case:
                    self._step(plan, trials)
                    yield plan.name

    @property
    def pictures(self) -> dict[str, Html]:
        """The pictures of the first case that has any, by the names of its trials."""
        return next(iter(self._pictures.values()), {})

    def require_scores(self) -> None:
        """Raise TableError where nothing was scored."""
        if not any("psnr_foreground" in row for row in self.rows):
            first = self.failures[0]["message"] if self.failures else "there is no trial."
            raise TableError(f"None of the {len(self._cases)} rows could be scored; first: {first}")

    def _step(self, plan: Plan, trials: Trials) -> None:
        files = self._files(plan)
        cell = self._cells.load(plan.name, files)
        if cell is None:
            try:
                cell = self._made(plan, trials.make(plan))
            except _STOPS as error:
                self._fail(plan, failure_sentence(plan.case.sample, error))
                return
            if cell.is_finished:
                self._cells.save(plan.name, files, cell)
        self.rows += [{**row, **plan.case.about} for row in cell.rows]
        for row in cell.rows:
            if "error" in row:
                self._fail(plan, f"{row['method']}: {row['error']}")
        if cell.picture:
            self._pictures.setdefault(plan.case.sample.id, {})[plan.name] = cell.picture

    def _made(self, plan: Plan, trial: Trial) -> Cell:
        """Every contender's answer to a trial, scored."""
        masks = regions(trial)
        rows, answers = [], dict[str, Estimate]()
        wanted = {self._contenders[0].name, CUBIC} if self._is_shown(plan) else set()
        for contender in self._contenders:
            if contender.takes_part(trial.problem, plan.condition):
                row, answer = self._row(trial, masks, contender)
                rows.append(row)
                if answer is not None and contender.name in wanted:
                    answers[contender.name] = answer
        return Cell(rows, self._picture(trial, answers))

    def _row(
        self, trial: Trial, masks: Mapping[str, Any], contender: Contender
    ) -> tuple[dict[str, Any], Estimate | None]:
        plan = trial.plan
        row: dict[str, Any] = {
            "id": plan.case.sample.id,
            "group": plan.case.group,
            "condition": plan.condition,
            "axis": trial.axis,
            "thickness": trial.thickness,
            "method": contender.name,
        }
        begun = time.perf_counter()
        try:
            answer = contender.method(trial.problem)
        except _STOPS as error:
            return {**row, "error": failure_sentence(plan.case.sample, error)}, None
        row["seconds"] = round(time.perf_counter() - begun, 3)
        return row | score(trial, dict(masks), answer), answer

    def _is_shown(self, plan: Plan) -> bool:
        """Whether a trial has a picture: normal ones do, of the middle one of the thicknesses."""
        thicknesses = sorted(self.options.thicknesses)
        typical = thicknesses[len(thicknesses) // 2]
        return plan.condition == NORMAL and (not plan.axis or plan.thickness == typical)

    def _picture(self, trial: Trial, answers: Mapping[str, Estimate]) -> Html | None:
        from encephalon.studies.isotropic.evaluation.images import trial_picture

        after = answers.get(self._contenders[0].name)
        if after is None or CUBIC not in answers:
            return None
        return trial_picture(trial, answers[CUBIC], after).html

    def _files(self, plan: Plan) -> list[Path]:
        files = [*plan.case.sample.inputs.values()]
        stranger = stranger_of(plan.case, self._cases) if plan.condition == WRONG else None
        for other in (plan.case.reference, stranger.sample.inputs["t1w"] if stranger else None):
            if other is not None:
                files.append(other)
        return files

    def _fail(self, plan: Plan, message: str) -> None:
        """List a failure, once where every trial of a case has the same one."""
        entry = {"id": plan.case.sample.id, "message": message}
        if entry not in self.failures:
            self.failures.append(entry)
