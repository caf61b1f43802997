# SPDX-License-Identifier: Apache-2.0
"""What every evaluation of classes says in the end, wherever the predictions came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from encephalon.evaluation.assessment import Assessment
from encephalon.evaluation.run import CaseT, EvaluationResult, Scorable
from encephalon.reports.format import format_estimate

if TYPE_CHECKING:
    from encephalon.evaluation.report import EvaluationReport
    from encephalon.reports.format import Html
    from encephalon.reports.page import Page

__all__ = ["ClassScorable", "ClassSummary"]


@dataclass(frozen=True)
class ClassSummary:
    """How good a classifier is, and the comparison with another one, if that was asked for."""

    assessment: Assessment
    comparison: Mapping[str, Any] | None = None


class ClassScorable(Scorable[CaseT, ClassSummary]):
    """An evaluation whose summary is an assessment of classes; it collects the page in `report`."""

    tables = ("predictions.csv",)
    report: EvaluationReport

    def lines(self, summary: ClassSummary) -> Iterator[str]:
        """The main metrics, what their intervals are, and of how many images."""
        found = summary.assessment
        for name, label in {"balanced_accuracy": "balanced accuracy", "roc_auc": "ROC AUC"}.items():
            yield f"{label}: {format_estimate(found.figures[name])}"
        if found.rule is not None and found.decision is not None:
            yield f"{found.rule.title.lower()}: {found.decision.line()}"
        if summary.comparison is not None:
            yield f"difference to the other: {format_estimate(summary.comparison['difference'])}"
        if found.units > 1:
            what = f"values of {found.group!r}" if found.group else "images"
            drawn = f"95 % percentile bootstrap over {found.units} {what}"
            yield f"intervals: {drawn}; none where all draws agree"
        yield f"n = {found.n}"

    def told(self, summary: ClassSummary) -> Mapping[str, Any]:
        """The assessment, and the comparison."""
        return {"assessment": summary.assessment.summary(), "comparison": summary.comparison}

    def record(self, result: EvaluationResult[ClassSummary]) -> Mapping[str, Any]:
        """The model, what is known of it, and what failed."""
        about = self.report.about
        return {"model": about, **self.told(result.summary), "failures": result.failures}

    def page(self, result: EvaluationResult[ClassSummary], failures: Sequence[Html]) -> Page:
        """The assessment, and the most and the least certain images."""
        return self.report.page(result.summary.assessment, result.summary.comparison, failures)
