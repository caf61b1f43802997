# SPDX-License-Identifier: Apache-2.0
"""The work of an evaluation: trial after trial, method after method, what is finished kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import EncephalonError, TableError
from encephalon.inference.failures import failure_sentence
from encephalon.studies.isotropic.cases import Case, stranger_of
from encephalon.studies.isotropic.cells import Cell, Cells
from encephalon.studies.isotropic.contenders import CUBIC, Contender, contenders
from encephalon.studies.isotropic.evaluation_options import NORMAL, EvaluationOptions
from encephalon.studies.isotropic.problem import Estimate
from encephalon.studies.isotropic.scoring import regions, score
from encephalon.studies.isotropic.settings import PredictOptions
from encephalon.studies.isotropic.trials import WRONG, Plan, Trial, Trials, plans

if TYPE_CHECKING:
    from encephalon.reports import Html

__all__ = ["Work"]

# What stops one row or one method, and not the evaluation.
_STOPS = (EncephalonError, OSError, MemoryError)


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
        from encephalon.studies.isotropic.evaluation_pictures import trial_picture

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
