# SPDX-License-Identifier: Apache-2.0
"""What the models of a grid tell of a person: each target by the best one for what there is.

It is chosen by the row and the names of files, before any is read: see `candidates`. Scans are
prepared once for all models, and each model that is chosen for anybody is opened once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from encephalon.errors import EncephalonError, UsageError, did_you_mean
from encephalon.experiments.folds import OVERLAP, known_to
from encephalon.experiments.grid_choice import (
    Choice,
    GridModels,
    none_left,
    note_on,
    passed_over,
)
from encephalon.experiments.grid_folder import TOLD
from encephalon.inference.predictor import OutputKind, Prediction, Value
from encephalon.io.cache import kept_notes
from encephalon.models.folder import open_model
from encephalon.studies.base import OpenModel
from encephalon.studies.legibility.candidates import Candidate, best_of, candidate_of
from encephalon.studies.legibility.fitted import Spread
from encephalon.studies.legibility.given import Scans
from encephalon.studies.legibility.predictor import (
    NothingGivenError,
    PeoplePredictor,
    Person,
    about_cohort,
    bids_suffixes,
    make_people_predictor,
    warn_of_overlap,
)
from encephalon.studies.legibility.quality import Unlikeness, check_quality
from encephalon.studies.legibility.reading import Answered
from encephalon.studies.legibility.report import PersonShown, TargetShown
from encephalon.studies.legibility.settings import Cohort, PredictOptions, Target
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Columns

__all__ = ["ChosenPeople", "make_choosing_predictor"]

#: The columns of a target, by what follows its name.
ENDS = ("", "_low", "_high", "_p", "_set", "_used")


@dataclass(frozen=True)
class Chosen:
    """A person as the models that were chosen see them; by target which that is, or why none."""

    sample: Sample
    choices: Mapping[str, Choice | str]
    people: Mapping[str, Person]


@dataclass(frozen=True)
class ChosenPeople:
    """The models of a grid as one predictor.

    opened  with what, and how, each of them is opened
    """

    grid: GridModels
    candidates: Sequence[Candidate]
    opened: OpenModel = field(repr=False)
    use: tuple[str, ...] = ()
    outputs: Mapping[str, OutputKind] = field(default_factory=dict)
    _predictors: dict[str, PeoplePredictor] = field(default_factory=dict, repr=False)
    _passed: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The name of the grid."""
        return self.grid.name

    @cached_property
    def cohort(self) -> Cohort:
        """All that any model is told from, and tells."""
        every = [one.cohort for one in self.candidates]
        parts = {
            part: {k: each for one in every for k, each in getattr(one, part).items()}
            for part in ("sources", "blocks", "targets")
        }
        return every[0].model_copy(update=parts)

    @cached_property
    def columns(self) -> Columns:
        """What a table of people means to any of the models."""
        own, every = self.cohort.columns(), [one.cohort.columns() for one in self.candidates]
        # A block may have other columns in another model.
        covariates = {k: v for one in every for k, v in one.covariates.items()}
        optional, suffixes = (*own.inputs, *covariates), bids_suffixes(self.cohort)
        return replace(own, covariates=covariates, optional=optional, suffixes=suffixes)

    def describe(self) -> dict[str, Any]:
        """The grid in place of a model, with the inputs and targets of all its models."""
        made_of = "".join(one.digest for one in self.candidates)
        count = len(self.candidates)
        note = note_on(f"Each target by the best of {count} for what a person has", count)
        model = {
            "name": self.name,
            "sha256": hashlib.sha256(made_of.encode()).hexdigest(),
            "study": self.grid.study,
            "chosen": {"candidates": count, "note": note},
        }
        asked = {"use": list(self.use)} if self.use else {}
        return {**about_cohort(self.cohort), "model": model, **asked}

    def check(self, samples: Sequence[Sample]) -> None:
        """Say in the log how many of the samples were part of the training of the first model."""
        warn_of_overlap(known_to(self.candidates[0].path, self.columns, "person"), samples)

    def choose(self, sample: Sample) -> dict[str, Choice | str]:
        """The best model for each target that can be opened, or a sentence on the nearest."""
        known: dict[str, bool] = {}
        has = {one.name: one.has(sample, self.use, known) for one in self.candidates}
        while True:
            left = [one for one in self.candidates if one.name not in self._passed]
            told = [t for t in self.cohort.targets if any(t in one.cohort.targets for one in left)]
            found = {target: best_of(left, target, has) for target in told}
            models = {one.model for one in found.values() if isinstance(one, Choice)}
            if not left:
                raise none_left(self.grid, next(iter(self._passed.values())))
            # One that cannot be opened is passed over, and the next best is chosen.
            if all(self._open(name) for name in sorted(models)):
                return found

    def read(self, sample: Sample) -> Chosen:
        """What there is of a person; raises InputError for nothing, and where no model fits."""
        sample.require_faultless()
        choices, scans = self.choose(sample), Scans()
        models = dict.fromkeys(one.model for one in choices.values() if isinstance(one, Choice))
        if not models:
            why = " ".join([f"{next(iter(choices.values()))}.", *sample.absent.values()])
            raise NothingGivenError(f"{sample.id}: {why}")
        people = {name: self._predictors[name].read(sample, scans) for name in models}
        return Chosen(sample, choices, people)

    def predict(self, loaded: Chosen) -> Prediction:
        """Each target with its interval or set, by which model, and what that one's score is."""
        made = {name: self._predictors[name].predict(one) for name, one in loaded.people.items()}
        values, shown = dict[str, Value](), dict[str, TargetShown]()
        for target, choice in loaded.choices.items():
            if isinstance(choice, str):
                values |= {target: None, f"{target}_used": f"nothing: {choice}"}
                shown[target] = _silent(self.cohort.targets[target], choice)
                continue
            own = made[choice.model]
            ends = [f"{target}{end}" for end in ENDS]
            values |= {name: own.values[name] for name in ends if name in own.values}
            values |= {f"{target}_{name}": cell for name, cell in choice.record().items()}
            shown[target] = replace(own.pictures.targets[target], by=str(choice))
        unlike: dict[str, Unlikeness] = {}
        for name, each in (pair for one in made.values() for pair in one.pictures.unlike.items()):
            unlike[name] = max(each, unlike.get(name, each), key=lambda one: one.percentile)
        images = {k: image for one in made.values() for k, image in one.pictures.images.items()}
        percent = {name: round(each.percentile, 1) for name, each in unlike.items()}
        values["novelty"] = max(percent.values(), default=None)
        values |= {f"novelty_{name}": percent.get(name) for name in self.cohort.inputs}
        learnt: list[Any] = [one.values[OVERLAP] for one in made.values() if OVERLAP in one.values]
        values |= {OVERLAP: next(filter(None, learnt), "")} if learnt else {}
        doubts = dict.fromkeys(why for one in loaded.people.values() for why in one.doubts)
        quality = check_quality(unlike, list(doubts))
        return Prediction({}, values, quality, PersonShown(shown, unlike, images))

    def _open(self, name: str) -> PeoplePredictor | None:
        """The predictor of a candidate, opened when it is first chosen; None where it cannot be."""
        if name not in self._predictors and name not in self._passed:
            one = next(one for one in self.candidates if one.name == name)
            use = tuple(each for each in one.cohort.inputs if each in self.use)
            options = {**self.opened.options, **({"use": use} if use else {})}
            try:
                files = open_model(one.path)
                opened = replace(self.opened, files=files, options=options, grid=None)
                self._predictors[name] = make_people_predictor(opened)
            except EncephalonError as error:
                self._passed[name] = passed_over(one.path, error)
        return self._predictors.get(name)


def _silent(target: Target, why: str) -> TargetShown:
    """A target that is not told."""
    nothing = np.full((1, max(1, target.count)), np.nan)
    answered = Answered(nothing, nothing[:, 0], nothing[:, 0], np.isfinite(nothing))
    return TargetShown(target, why, answered, Spread(()))


def make_choosing_predictor(model: OpenModel, grid: GridModels) -> ChosenPeople:
    """The predictor of a grid; raises UsageError for inputs that none of its models has.

    A cell whose model is gone is passed over. Raises ModelError where none is left.
    """
    use, found, why = model.asked(PredictOptions).use or (), list[Candidate](), list[str]()
    with kept_notes(grid.path / TOLD) as note:
        for cell in grid.cells:
            try:
                found.append(candidate_of(cell, note))
            except (EncephalonError, OSError, KeyError, ValueError) as error:
                why.append(passed_over(cell.folder, error))
    if not found:
        raise none_left(grid, why[0])
    made = ChosenPeople(grid, found, model, use)
    for name in use:
        if name not in made.cohort.inputs:
            meant = did_you_mean(name, made.cohort.inputs, "it has")
            raise UsageError(f"The grid {grid.name!r} has no input {name!r}; {meant}")
    return made
