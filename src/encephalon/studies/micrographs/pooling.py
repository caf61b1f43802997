# SPDX-License-Identifier: Apache-2.0
"""What the networks of a run say together: honest predictions, and the decision that ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encephalon.recipes.schema import Recipe
from encephalon.studies.micrographs.decision import Decision, decide
from encephalon.studies.micrographs.outcome import Outcome
from encephalon.studies.micrographs.parting import Plan
from encephalon.studies.micrographs.preparing import Cohort, Rows
from encephalon.studies.micrographs.recipe import class_names, micrograph_settings
from encephalon.studies.micrographs.scored import Scored, concatenate

__all__ = ["Part", "Pooled", "pool"]


@dataclass(frozen=True, eq=False)
class Part:
    """Predictions of some rows of the table, in its order, and the light of each ("" for none)."""

    rows: Rows
    scored: Scored
    lights: list[str]


@dataclass(frozen=True, eq=False)
class Pooled:
    """All predictions of a run.

    decision    how the logits of the network that ships are read
    tested      each row by the network of the fold that tests it, read as this fold's own
                validation rows say; empty without test rows
    validated   each row by the network that it judged, read with `decision`, which it shaped
    held_out    rows that no fold knew, by the network that ships
    others      rows without a class that is learnt, by the same
    """

    decision: Decision
    tested: Part
    validated: Part
    held_out: Part
    others: Part

    @property
    def assessed(self) -> Part:
        """What the figures of the report are of: the test rows or, for want of them, those that
        validated, which flatters the model.
        """
        return self.tested if len(self.tested.rows) else self.validated


def pool(
    recipe: Recipe,
    plan: Plan,
    cohort: Cohort,
    outcomes: Sequence[Outcome],
    final: Outcome | None = None,
) -> Pooled:
    """Gather what the folds said of the rows of `cohort`, and the network that ships, if any."""
    scores = _Scores(recipe, cohort)
    folds = list(zip(plan.folds, outcomes, strict=True))
    judged = [scores.of(outcome, fold.validation, fold.number) for fold, outcome in folds]
    decision = scores.decide(judged)
    tested = [
        scores.part(scores.decide([own]), scores.of(outcome, fold.test, fold.number), fold.test)
        for (fold, outcome), own in zip(folds, judged, strict=True)
    ]
    validated = [
        scores.part(decision, own, fold.validation)
        for (fold, _), own in zip(folds, judged, strict=True)
    ]
    # Without a final network nobody knows of the other rows.
    rest = [rows if final else rows[:0] for rows in (plan.held_out, plan.others)]
    held_out, others = (
        scores.part(decision, scores.of(final or outcomes[0], rows, 0), rows) for rows in rest
    )
    return Pooled(decision, _join(tested), _join(validated), held_out, others)


class _Scores:
    """Makes predictions from logits."""

    def __init__(self, recipe: Recipe, cohort: Cohort) -> None:
        self.settings, self.classes = micrograph_settings(recipe), class_names(recipe)
        self.group, self.cohort = recipe.table.group, cohort
        self.ids, self.cells = cohort.table.ids, cohort.cells()

    def of(self, outcome: Outcome, rows: Rows, fold: int) -> Scored:
        """The predictions of these rows, with probabilities that are not read yet."""
        logits = outcome.of(rows, len(self.classes))
        return Scored(
            ids=[self.ids[row] for row in rows],
            classes=self.classes,
            logits=logits,
            probabilities=np.full_like(logits, np.nan),
            truth=self.cohort.truth[rows],
            rows=[self.cells[row] for row in rows],
            fold=np.full(len(rows), fold, np.int64),
        )

    def decide(self, validation: Sequence[Scored]) -> Decision:
        return decide(validation, self.settings, self.group)

    def part(self, decision: Decision, scored: Scored, rows: Rows) -> Part:
        read = decision.read(scored)
        return Part(rows, read, decision.lights(read.probabilities))


def _join(parts: Sequence[Part]) -> Part:
    """The parts as one, in the order of the table."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    lights = [light for part in parts for light in part.lights]
    scored = concatenate([part.scored for part in parts]).select(order)
    return Part(rows[order], scored, [lights[place] for place in order])
