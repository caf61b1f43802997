# SPDX-License-Identifier: Apache-2.0
"""Which model of a grid tells a target of a person: the best one for what there is of them.

A model that answers to any set of inputs stands with its score for just the set that the person
has; one that answers complete cases alone stands where the person has all of its inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from encephalon.errors import listed
from encephalon.experiments.grid_choice import Choice, Scored, model_folder, preferred
from encephalon.experiments.grid_folder import CellState
from encephalon.experiments.results_table import MAIN, InputSet, inputs_of
from encephalon.io.atomic import sha256
from encephalon.io.cache import Note
from encephalon.models.folder import DESCRIPTION
from encephalon.recipes.loading import read_named
from encephalon.studies.legibility.given import block_numbers
from encephalon.studies.legibility.results import rows_of, scores_of
from encephalon.studies.legibility.settings import Cohort
from encephalon.tables.samples import Sample

__all__ = ["Candidate", "best_of", "candidate_of"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A finished cell.

    name     of its folder
    path     of its model
    mode     "published" for one that answers complete cases alone
    scores   the main score of each target from each set of inputs
    digest   SHA-256 of the model's description, which identifies it
    """

    name: str
    path: Path
    cohort: Cohort
    mode: str
    scores: Mapping[tuple[str, frozenset[str]], Scored] = field(repr=False)
    digest: str = field(repr=False)

    @cached_property
    def visible(self) -> dict[str, InputSet]:
        """The inputs that each target is told from."""
        return {
            target: tuple(n for n in self.cohort.inputs if n not in self.cohort.hidden_from(target))
            for target in self.cohort.targets
        }

    def has(self, sample: Sample, use: Sequence[str], known: dict[str, bool]) -> frozenset[str]:
        """The inputs that there are of a person, among `use`, as rows and names of files say.

        `known` remembers whether there is anything of a block.
        """
        found = [name for name in self.cohort.sources if name in sample.inputs]
        for name, block in self.cohort.blocks.items():
            key = f"{self.mode} {block!r}"
            if key not in known:
                known[key] = block_numbers(block, sample, self.mode) is not None
            found += [name] if known[key] else []
        return frozenset(found) & frozenset(use or found)

    def lacking(self, target: str, has: frozenset[str]) -> InputSet:
        """What a person must have besides, all of it if published and else any; () for nothing."""
        if self.mode == "published":
            return tuple(name for name in self.cohort.inputs if name not in has)
        return () if has & set(self.visible[target]) else self.visible[target]

    def scored(self, target: str, has: frozenset[str]) -> Scored:
        """How well the target is told from what there is."""
        return self.scores.get((target, has & frozenset(self.visible[target])), Scored())


def candidate_of(cell: CellState, note: Note) -> Candidate:
    """What a cell may tell, or what was noted of it; raises what reading its files raises."""
    model = model_folder(cell)
    recipe, scores = model.with_name("recipe.toml"), scores_of(cell)
    told = note(cell.folder.name, [recipe, scores, model / DESCRIPTION], partial(_told, cell))
    known = {
        (target, frozenset(inputs_of(inputs))): Scored.of(metric, ends, n)
        for target, inputs, metric, ends, n in told["scores"]
    }
    cohort = Cohort.model_validate(told["cohort"])
    return Candidate(cell.folder.name, model, cohort, told["mode"], known, told["digest"])


def _told(cell: CellState) -> dict[str, Any]:
    model = model_folder(cell)
    recipe = read_named(model.with_name("recipe.toml"), "recipe")[1]
    scores = []
    for row in rows_of(cell, recipe):
        main = MAIN[row["kind"]]
        ends = {"value": row.get(main), "low": row.get(f"{main}_low")}
        scores.append((row["target"], row["inputs"], main, ends, int(row["n"])))
    said = {"cohort": recipe["study"]["cohort"], "mode": recipe["mode"]}
    return {**said, "digest": sha256(model / DESCRIPTION), "scores": scores}


def best_of(
    candidates: Sequence[Candidate], target: str, has: Mapping[str, frozenset[str]]
) -> Choice | str:
    """The best candidate for a target, given what each of them may use of a person.

    Where none fits it is a sentence on the nearest, and what it lacks.
    """
    able = [one for one in candidates if target in one.cohort.targets]
    lacking = {one.name: one.lacking(target, has[one.name]) for one in able}
    fitting = [(one, one.scored(target, has[one.name])) for one in able if not lacking[one.name]]
    if fitting:
        best, scored = max(fitting, key=lambda pair: preferred(pair[1]))
        return Choice(best.name, scored, len(fitting))
    nearest = min(able, key=lambda one: len(lacking[one.name]) if one.mode == "published" else 1)
    needed = lacking[nearest.name]
    several = "" if nearest.mode == "published" or len(needed) == 1 else "one of "
    which = f"the nearest, {nearest.name}, needs {several}{listed(needed, 9)}"
    return f"no model fits what there is: {which}"
