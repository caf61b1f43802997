# SPDX-License-Identifier: Apache-2.0
"""A study that scores how long words are, for tests of what every evaluation does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from encephalon.errors import ContentError
from encephalon.evaluation.cases import Case
from encephalon.evaluation.run import CaseResult, EvaluationResult, Scorable
from encephalon.reports.format import Html
from encephalon.reports.page import Page
from encephalon.tables.samples import Sample


class WordLengths(Scorable[Case, float]):
    """The mean length of words; one that is no word fails. `asked` are those that were scored."""

    def __init__(self, *words: str, kept_with: Any = None) -> None:
        self.words, self.kept_with = words, kept_with
        self.asked: list[str] = []

    def cases(self) -> Sequence[Case]:
        """A case a word."""
        return [Case(Sample(word, {}), word) for word in self.words]

    def score(self, case: Case) -> CaseResult:
        """Its length."""
        self.asked.append(case.name)
        if not case.name.isalpha():
            raise ContentError(f"{case.name} is no word.")
        return CaseResult([{"id": case.name, "length": len(case.name)}])

    def summarise(self, rows: list[dict[str, Any]]) -> float | None:
        """The mean of all."""
        return sum(row["length"] for row in rows) / len(rows) if rows else None

    def lines(self, summary: float) -> Iterable[str]:
        """The mean."""
        return [f"mean length: {summary:g}"]

    def told(self, summary: float) -> Mapping[str, Any]:
        """The mean."""
        return {"mean": summary}

    def record(self, result: EvaluationResult[float]) -> Mapping[str, Any]:
        """The mean and what failed."""
        return {"mean": result.summary, "failures": result.failures}

    def page(self, result: EvaluationResult[float], failures: Sequence[Html]) -> Page:
        """The failures alone."""
        return Page(title=f"Mean {result.summary:g}").add(*failures)
