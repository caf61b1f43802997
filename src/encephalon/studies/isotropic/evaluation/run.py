# SPDX-License-Identifier: Apache-2.0
"""Score methods of reconstruction on scans whose truth is known, method after method.

A row that cannot be read is listed and not scored, and so is a case that a method fails on; the
others go on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import UsageError
from encephalon.evaluation.cases import read_cases
from encephalon.evaluation.run import STOPS, CaseResult, EvaluationResult, Scorable
from encephalon.inference.one_sample import failure_sentence
from encephalon.reports.format import format_number
from encephalon.studies.isotropic.evaluation.cases import (
    REFERENCE,
    WRONG,
    CaseSimulator,
    CaseVariant,
    SimulatedCase,
    case_variants,
    mismatched_subject,
)
from encephalon.studies.isotropic.evaluation.scoring import (
    CUBIC,
    compared_methods,
    regions,
    score,
)
from encephalon.studies.isotropic.evaluation.summary import (
    OTHERS,
    ReconstructionSummary,
    overall,
    summarise_methods,
    summarise_subgroups,
)
from encephalon.studies.isotropic.reconstruction.problem import Estimate
from encephalon.studies.isotropic.settings import NORMAL, EvaluationOptions, PredictOptions

if TYPE_CHECKING:
    from encephalon.reports.format import Html
    from encephalon.reports.page import Page

__all__ = ["ReconstructionEvaluation"]

Row = dict[str, Any]
Result = EvaluationResult[ReconstructionSummary]


class ReconstructionEvaluation(Scorable[CaseVariant, ReconstructionSummary]):
    """A loaded model, the guided method and the baselines on a table of scans.

    `model` has the `columns` of its recipe and a `predictor` with `describe()`, its `method`, its
    `options` and what is asked of an `evaluation`. The column
    `reference` names the isotropic truth of a T2w with thick slices. Of a table that was split only
    the part "test" is scored. Raises UsageError for a published model, which cannot be given native
    scans. `pictures` are those of each sample.
    """

    tables = ("scores.csv", "summary.csv")

    def __init__(self, model: Any, table: str | Path) -> None:
        predictor, columns = model.predictor, model.columns
        if not hasattr(predictor, "method"):
            raise UsageError(
                f"The published model {predictor.name!r} works on its atlas grid alone, so it "
                "cannot be put to these tests: evaluate 'isotropic', whose page has its "
                "interpolation."
            )
        self._table = read_cases(Path(table), columns, (REFERENCE,), required=False)
        self.about: Mapping[str, Any] = predictor.describe()
        self.options: EvaluationOptions = predictor.evaluation
        self._asked: PredictOptions = predictor.options
        self._methods = compared_methods(predictor)
        self._variants = case_variants(self._table.cases, self.options)
        names = [each.name for each in self._methods]
        self.kept_with = [self.about, self.options.model_dump(), names]
        self._simulator: CaseSimulator | None = None
        told = {self._table.group, columns.split, columns.target}
        self._about = {
            case.name: {name: cell for name, cell in case.about.items() if name not in told}
            for case in self._table.cases
        }
        self.pictures: dict[str, list[Html]] = {}

    def cases(self) -> Sequence[CaseVariant]:
        """Every variant of every row of the table."""
        return self._variants

    def files(self, case: CaseVariant) -> list[Path]:
        """The scans, the reference, and the T1w of another head where that is what goes wrong."""
        wrong = case.condition == WRONG
        other = mismatched_subject(case.case, self._table.cases) if wrong else None
        more = (case.case.reference, other.sample.inputs["t1w"] if other else None)
        return [*super().files(case), *(path for path in more if path is not None)]

    def score(self, case: CaseVariant) -> CaseResult:
        """The answers of all methods, each with its row and, if it fails, its sentence."""
        if self._simulator is None or self._simulator.case is not case.case:
            cases = self._table.cases
            self._simulator = CaseSimulator(case.case, cases, self.options, self._asked)
        simulated = self._simulator.make(case)
        masks = regions(simulated)
        rows, answers = list[Row](), dict[str, Estimate]()
        for compared in self._methods:
            if not compared.takes_part(simulated.problem, case.condition):
                continue
            row: Row = {
                "id": case.sample.id,
                "group": case.case.group,
                "condition": case.condition,
                "axis": simulated.axis,
                "thickness": simulated.thickness,
                "guide": simulated.guide,
                "method": compared.name,
            }
            rows.append(row)
            begun = time.perf_counter()
            try:
                answer = compared.method(simulated.problem)
            except STOPS as error:
                row["error"] = failure_sentence(case.sample, error)
                continue
            row["seconds"] = round(time.perf_counter() - begun, 3)
            row |= score(simulated, masks, answer)
            if compared.name in {self._methods[0].name, CUBIC}:
                answers[compared.name] = answer
        failed = tuple(f"{row['method']}: {row['error']}" for row in rows if "error" in row)
        return CaseResult(rows, failed, self._pictures(simulated, answers))

    def take(self, result: CaseResult) -> list[Row]:
        """The rows with the further cells of their scan."""
        if result.pictures:
            self.pictures.setdefault(result.rows[0]["id"], []).extend(result.pictures)
        return [{**row, **self._about[row["id"]]} for row in result.rows]

    def summarise(self, rows: list[Row]) -> ReconstructionSummary | None:
        """What is known of each method, and of each in every subgroup."""
        if not any("psnr_foreground" in row for row in rows):
            return None
        return ReconstructionSummary(
            summarise_methods(rows), summarise_subgroups(rows, self._table.subgroups)
        )

    def rows(self, result: Result) -> Mapping[str, Sequence[Row]]:
        """Every answer, and every method in each condition."""
        summaries = [each.flat() for each in result.summary.methods]
        return {"scores.csv": result.rows, "summary.csv": summaries}

    def lines(self, summary: ReconstructionSummary) -> Iterator[str]:
        """The main metrics of each method over all normal cases."""
        named = {
            "psnr_foreground": "PSNR dB",
            "psnr_whole": "whole volume dB",
            "ssim_foreground": "SSIM",
            "psnr_missing": "missing slices dB",
        }
        for each in overall(summary.methods):
            shown = ", ".join(
                f"{label} {format_number(each.metrics[key].mean)}" for key, label in named.items()
            )
            yield f"{each.method}: {shown} (n = {each.n})"

    def told(self, summary: ReconstructionSummary) -> Mapping[str, Any]:
        """The methods in each condition, and in the subgroups."""
        return {
            "standings": [each.plain() for each in summary.methods],
            "parts": [each.plain() for each in summary.subgroups],
        }

    def record(self, result: Result) -> Mapping[str, Any]:
        """The model, how many scans were scored, what is known of each method, and what failed."""
        units = len({row["group"] for row in result.rows})
        remark = "" if units > 1 else "All scans are of one person, so there are no intervals."
        found = self.told(result.summary)
        return {
            "model": self.about,
            "options": self.options.model_dump(),
            "rows": len(self._table.cases),
            "scored": len({row["id"] for row in result.rows if "psnr_foreground" in row}),
            "groups": units,
            "remark": remark,
            "level": 0.95,
            "compared_with": OTHERS,
            "overall": [each.plain() for each in overall(result.summary.methods)],
            "standings": found["standings"],
            "strata": found["parts"],
            "failures": result.failures,
        }

    def page(self, result: Result, failures: Sequence[Html]) -> Page:
        """Who is best where, by how much, how sure, and one case to look at."""
        from encephalon.studies.isotropic.evaluation.report import evaluation_page

        pictures = next(iter(self.pictures.values()), [])
        return evaluation_page(self.about, self.options, result, pictures, failures)

    def _pictures(self, case: SimulatedCase, answers: Mapping[str, Estimate]) -> tuple[Html, ...]:
        """The picture of a normal case, of the middle one of the thicknesses."""
        from encephalon.reports.blocks import figure
        from encephalon.studies.isotropic.images import case_picture

        variant, own = case.variant, answers.get(self._methods[0].name)
        thicknesses = self.options.thicknesses
        typical = sorted(thicknesses)[len(thicknesses) // 2]
        shown = variant.condition == NORMAL and (not variant.axis or variant.thickness == typical)
        if not shown or own is None or CUBIC not in answers:
            return ()
        return (figure(case_picture(case, answers[CUBIC], own), variant.name),)
