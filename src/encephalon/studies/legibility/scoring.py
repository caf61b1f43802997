# SPDX-License-Identifier: Apache-2.0
"""Score a loaded model on a table of people whose targets are known.

Each set of inputs is scored on the people who have all of it; besides, everybody is scored on
whatever there is. Who has none of the inputs that are used is left out, which is said; who cannot
be read is listed as failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encephalon.errors import TableError, listed
from encephalon.evaluation.cases import Case, labelled_table
from encephalon.evaluation.report import METRICS
from encephalon.evaluation.run import CaseResult, EvaluationResult, Scorable
from encephalon.experiments.folds import Fold, contamination
from encephalon.reports.batch import model_facts, model_name
from encephalon.reports.blocks import StatCard, note, stat_cards
from encephalon.reports.format import (
    Html,
    capitalised,
    format_estimate,
    format_interval,
    format_number,
)
from encephalon.reports.page import Page
from encephalon.statistics.intervals import Interval
from encephalon.studies.legibility.data import People, known_targets
from encephalon.studies.legibility.evaluation import Evaluation, evaluate
from encephalon.studies.legibility.evaluation_page import target_blocks
from encephalon.studies.legibility.input_sets import has_all, visible_sets
from encephalon.studies.legibility.predictions import MODEL, WHATEVER, Predicted, set_name
from encephalon.studies.legibility.predictor import NothingGivenError
from encephalon.studies.legibility.reading import Answered
from encephalon.tables.samples import table_samples

if TYPE_CHECKING:
    from encephalon.studies.legibility.predictor import PeoplePredictor

__all__ = ["PeopleEvaluation"]

Row = dict[str, Any]


class PeopleEvaluation(Scorable[Case, Evaluation]):
    """A loaded model on a table with known targets; of a table that was split its part "test".

    Raises TableError for a table without any of the targets, and for a cell that is none.
    """

    tables = ("predictions.csv", "scores.csv", "coverage.csv")

    def __init__(self, model: Any, path: str | Path) -> None:
        self.predictor: PeoplePredictor = model.predictor
        people = labelled_table(Path(path), self.predictor.columns)
        cohort = self.predictor.cohort
        columns = {name: one.column or name for name, one in cohort.targets.items()}
        named = ", ".join(map(repr, columns.values()))
        if not any(people.has(column) for column in columns.values()):
            raise TableError(f"{people.source} has none of the targets {named}: add their columns.")
        truth = known_targets(people, cohort)
        if not any(np.isfinite(one).any() for one in truth.values()):
            raise TableError(
                f"{people.source}: of nobody any of the targets {named} is known: fill them in."
            )
        subgroups = tuple(name for name in cohort.subgroups if people.has(name))
        self.people = People(
            people,
            cohort.model_copy(update={"subgroups": subgroups}),
            np.zeros((len(people), len(cohort.inputs)), bool),
            truth=truth,
        )
        self._warning = contamination(self.predictor.path, people, "people")
        self._cases = [Case(sample, sample.id) for sample in table_samples(people)]
        self._places = {case.name: place for place, case in enumerate(self._cases)}
        self._done: dict[int, dict[str, list[Answered]]] = {}
        self._left_out: list[str] = []

    def cases(self) -> Sequence[Case]:
        """Each row of the table."""
        return self._cases

    def score(self, case: Case) -> CaseResult:
        """Predict one person; all are scored together, but who has nothing."""
        predictor = self.predictor
        try:
            person = predictor.read(case.sample)
        except NothingGivenError:
            self._left_out.append(case.name)
            return CaseResult([])
        found = predictor.predict(person)
        place = self._places[case.name]
        self._done[place] = predictor.by_set(person)
        self.people.present[place] = [name in person.given for name in predictor.cohort.inputs]
        truth = {
            f"true_{target.column or name}": case.sample.row.get(target.column or name)
            for name, target in predictor.cohort.targets.items()
        }
        row: Row = {"id": case.sample.id, **truth, **found.values}
        if found.quality is not None:
            row |= {"quality": found.quality.status, "reasons": "; ".join(found.quality.reasons)}
        return CaseResult([row])

    def summarise(self, rows: list[Row]) -> Evaluation | None:
        """Every metric of each target from each set of inputs, with its interval."""
        if len(self._left_out) == len(self._cases):
            used = ", ".join(self.predictor.used)
            raise TableError(
                f"{self.people.table.source}: nobody has any of the inputs {used}: fill them in."
            )
        if not rows:
            return None
        done = np.array(sorted(self._done), np.int64)
        people, nobody = self.people.select(done), np.array([], np.int64)
        fold = Fold(0, nobody, nobody, np.arange(len(done)))
        alpha = self.predictor.settings.alpha
        return evaluate(people, [fold], self._predicted(people, done), alpha)

    def _predicted(self, people: People, done: Any) -> Iterator[Predicted]:
        for target in people.cohort.targets:
            sets, known = list(visible_sets(people.cohort, target)), people.truth[target]
            has = has_all(people.cohort, sets, people.present)
            # The last is of whatever there is.
            for place, inputs in enumerate([*map(set_name, sets), WHATEVER]):
                answered = _stacked([self._done[row][target][place] for row in done])
                there = np.isfinite(known) & answered.known
                there &= inputs == WHATEVER or has[:, place]
                yield Predicted(target, inputs, MODEL, there, answered)

    def lines(self, summary: Evaluation) -> Iterator[str]:
        """The main metric of each target, from whatever there is, and who is left out."""
        for row in summary.scores:
            if row["inputs"] == WHATEVER and row["n"]:
                found = format_estimate(Interval.of_cells(row, row["main"]))
                yield f"{row['target']}: {row['main']} {found}, n = {row['n']}"
        if self._left_out:
            yield self._said_left_out

    @property
    def _said_left_out(self) -> str:
        who = "person has" if len(self._left_out) == 1 else "people have"
        return (
            f"{len(self._left_out)} {who} none of the inputs that are used, and nothing is said of "
            f"them: {listed(self._left_out)}."
        )

    def told(self, summary: Evaluation) -> Mapping[str, Any]:
        """The scores, how often intervals held the truth, and who is left out."""
        said = {"scores": summary.scores, "coverage": summary.coverage}
        return {**said, "left_out": self._left_out}

    def record(self, result: EvaluationResult[Evaluation]) -> Mapping[str, Any]:
        """The model, what is known of it, and what failed."""
        model = self.predictor.describe()
        return {"model": model, **result.told, "failures": result.failures}

    def rows(self, result: EvaluationResult[Evaluation]) -> Mapping[str, Sequence[Row]]:
        """predictions.csv has the people who failed behind the others."""
        failed = [{"id": each["id"], "error": each["message"]} for each in result.failures]
        summary = result.summary
        return {
            "predictions.csv": [*result.rows, *failed],
            "scores.csv": summary.scores,
            "coverage.csv": summary.coverage,
        }

    def page(self, result: EvaluationResult[Evaluation], failures: Sequence[Html]) -> Page:
        """Of each target its sets of inputs, and what the answers are like."""
        about, summary = self.predictor.describe(), result.summary
        count = len(summary.people)
        who = "person" if count == 1 else "people"
        page = Page("People with known answers", lead=f"{model_name(about)} on {count} {who}.")
        page.add(stat_cards(_stat_cards(summary.scores)))
        if self._warning:
            page.add(note(self._warning, "fail"))
        if self._left_out:
            page.add(note(self._said_left_out))
        page.add(*failures)
        for target in summary.people.cohort.targets:
            page.section(capitalised(target), *target_blocks(summary, target))
        page.add(note(_HOW))
        return page.section("Model", model_facts(about))


_HOW = (
    "Each set of inputs is scored on the people who have all of it, with 95 % bootstrap intervals "
    "over people or their groups."
)


def _stat_cards(scores: Sequence[Row]) -> list[StatCard]:
    return [
        StatCard(
            format_number(row[row["main"]], 3),
            f"{METRICS[row['main']]}, {row['target']}",
            format_interval(Interval.of_cells(row, row["main"])),
        )
        for row in scores
        if row["inputs"] == WHATEVER and row["n"]
    ]


def _stacked(each: Sequence[Answered]) -> Answered:
    return Answered(*(np.concatenate([vars(one)[k] for one in each]) for k in vars(each[0])))
