# SPDX-License-Identifier: Apache-2.0
"""What a model tells of one person, from whatever there is of them; torch is not needed.

What a person does not have is absent, and nothing is filled in. The network sees each input once,
and answers for every set of them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, InputError, ModelError, UsageError, did_you_mean
from encephalon.experiments.folds import OVERLAP, Known, known_to, overlap_warning
from encephalon.inference.predictor import NetworkPredictor, OutputKind, Prediction, Value
from encephalon.io.bids import ANATOMICAL
from encephalon.models.folder import ModelFolder
from encephalon.statistics.conformal import EVERYONE
from encephalon.studies.base import OpenModel
from encephalon.studies.legibility.data import block_names
from encephalon.studies.legibility.fitted import FittedState, coarse, standardised
from encephalon.studies.legibility.given import Scans, block_numbers, place_of, scans_of
from encephalon.studies.legibility.input_sets import (
    InputSet,
    answers_of,
    visible_sets,
    what_people_have,
)
from encephalon.studies.legibility.modes import SETTINGS
from encephalon.studies.legibility.quality import Unlikeness, check_quality
from encephalon.studies.legibility.reading import Answered
from encephalon.studies.legibility.report import PersonShown, TargetShown
from encephalon.studies.legibility.settings import (
    Cohort,
    LegibilitySettings,
    PredictOptions,
    Target,
)
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Columns
from encephalon.transforms.connectivity_files import read_triangles

__all__ = [
    "NothingGivenError",
    "PeoplePredictor",
    "Person",
    "Told",
    "about_cohort",
    "bids_suffixes",
    "make_people_predictor",
    "warn_of_overlap",
]

Float = NDArray[np.float32]
Flags = NDArray[np.bool_]
Values = NDArray[np.float64]
#: Side of what stands in the place of an image that is absent: it is encoded, and not looked at.
BLANK = 32
logger = logging.getLogger(__name__)


class NothingGivenError(InputError):
    """A person has none of the inputs that are used."""


@dataclass(frozen=True, eq=False)
class Person:
    """One person as the network sees them, and how they compare with those who trained.

    given     of each input that there is what the network is shown, without its batch
    features  the same as it is compared
    doubts    on what was made of the scans
    """

    sample: Sample
    given: Mapping[str, Float]
    features: Mapping[str, Values]
    doubts: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Told:
    """What is told of one target; `used` are the inputs it is told from, none for no answer."""

    target: Target
    used: tuple[str, ...]
    answered: Answered


@dataclass(frozen=True)
class PeoplePredictor(NetworkPredictor[PredictOptions]):
    """A model of people.

    settings  what its recipe says
    fitted    what it needs to know beside
    columns   what a table of people means to it
    path      its folder
    """

    settings: LegibilitySettings
    fitted: FittedState = field(repr=False)
    columns: Columns
    path: Path

    @property
    def cohort(self) -> Cohort:
        """Its inputs and targets."""
        return self.fitted.encoding.cohort

    @property
    def kinds(self) -> Mapping[str, OutputKind]:
        """It writes no images."""
        return {}

    @cached_property
    def known(self) -> Known | None:
        """Who the model has learnt from; None where nothing is known of that."""
        return known_to(self.path, self.columns, "person")

    def describe(self) -> dict[str, Any]:
        """Beside what every predictor says: its inputs and targets."""
        told = about_cohort(self.cohort)
        return told | super().describe() | {"promised": 1 - self.settings.alpha}

    def check(self, samples: Sequence[Sample]) -> None:
        """Say in the log how many of the samples were part of the training."""
        warn_of_overlap(self.known, samples)

    @property
    def used(self) -> list[str]:
        """The inputs that are asked for, all by default."""
        return [name for name in self.cohort.inputs if name in (self.options.use or (name,))]

    def read(self, sample: Sample, scans: Scans | None = None) -> Person:
        """What there is of a person; raises InputError for what cannot be used, and for nothing.

        That is a NothingGivenError. What other models made of the scans is taken from `scans`, and
        what this one makes of them is left there.
        """
        sample.require_faultless()
        used = self.used
        known = {} if scans is None else scans
        found = scans_of(self.cohort, sample, used, self.settings.side, known)
        doubts = [f"{name}: {why}" for name, (_, notes) in found.items() for why in notes]
        given = {name: image[None] for name, (image, _) in found.items()}
        features = {name: coarse(image) for name, (image, _) in found.items()}
        for name in used:
            block = name in self.cohort.blocks
            if one := (self._block if block else self._connectivity)(name, sample):
                given[name], features[name] = one
        if self.model["mode"] == "published" and (lacking := set(self.cohort.inputs) - set(given)):
            raise InputError(
                f"{sample.id}: the published network takes complete cases alone, but there is no "
                f"{min(lacking)}, or not all of it: give it, or use a model of the default mode."
            )
        if not given:
            reasons = " ".join(sample.absent.values())
            raise NothingGivenError(
                f"{sample.id}: there is nothing to predict from: give at least one of "
                f"{', '.join(used)}. {reasons}".rstrip()
            )
        return Person(sample, given, features, doubts)

    def predict(self, loaded: Person) -> Prediction:
        """Each target with its interval or set, what it is told from, and how far to trust it."""
        sample, told = loaded.sample, self.tell(loaded)
        unlike = {
            name: Unlikeness(distance := usual.distance(seen), usual.percentile(distance))
            for name, seen in loaded.features.items()
            if (usual := self.fitted.usual.get(name)) is not None
        }
        values: dict[str, Value] = {}
        for name, one in told.items():
            values |= _values(name, one, self.cohort)
        percent = {name: round(each.percentile, 1) for name, each in unlike.items()}
        values["novelty"] = max(percent.values(), default=None)
        values |= {f"novelty_{name}": percent.get(name) for name in self.cohort.inputs}
        if self.known is not None:
            values[OVERLAP] = self.known.overlap(sample.id, sample.row)
        images = {n: seen[0] for n, seen in loaded.given.items() if seen.ndim == 4}
        targets = {
            name: TargetShown(
                one.target, _used(name, one, self.cohort), one.answered, self.fitted.truths[name]
            )
            for name, one in told.items()
        }
        return Prediction(
            values=values,
            quality=check_quality(unlike, loaded.doubts),
            pictures=PersonShown(targets, unlike, images),
        )

    def tell(self, person: Person) -> dict[str, Told]:
        """What is told of each target, by the set of inputs that is just what the person has."""
        has = np.array([[name in person.given for name in self.cohort.inputs]])
        found = {}
        for name, answers in self.answers(person).items():
            sets = list(visible_sets(self.cohort, name))
            place = int(what_people_have(self.cohort, sets, has)[0])
            answered = self._read(name, sets[place], answers, person)
            there = bool(np.isfinite(answered.values).all())
            used = tuple(one for one in sets[place] if one in person.given) if there else ()
            found[name] = Told(self.cohort.targets[name], used, answered)
        return found

    def by_set(self, person: Person) -> dict[str, list[Answered]]:
        """What is told of each target from each of its `visible_sets`, and from whatever there is.

        Of one set what the person has of it, NaN for nothing.
        """
        told = self.tell(person)
        return {
            name: [
                *(self._read(name, some, answers, person) for some in self.fitted.readings[name]),
                told[name].answered,
            ]
            for name, answers in self.answers(person).items()
        }

    def _read(self, name: str, inputs: InputSet, answers: Values, person: Person) -> Answered:
        """The answers (1, sets, W) read as of the person's subgroup, where their row tells it."""
        cell = person.sample.row.get(self.cohort.apart(name) or "")
        apart = [EVERYONE if cell is None else str(cell)]
        return self.fitted.readings[name][inputs].read(answers, apart)

    def answers(self, person: Person) -> dict[str, Values]:
        """Answers (1, sets, W) to each target, see `input_sets.answers_of`."""
        cohort = self.cohort
        inside = np.array([[n in some for n in cohort.inputs] for some in cohort.input_sets()])
        present = inside & [name in person.given for name in cohort.inputs]
        rows, where = np.unique(present, axis=0, return_inverse=True)
        # Who has nothing is refused by torch, and answered with no meaning by a graph.
        some = rows.any(axis=1)
        given = {name: self._network_input(name, person)[None] for name in cohort.inputs}
        said = self.runtime.run({**given, "present": rows[some].astype(np.float32)})[0]
        if not np.isfinite(said).all():
            raise ModelError("The network's answer is not finite: train or get the model again.")
        flat = np.zeros((len(rows), said.shape[1]))
        flat[some] = said
        whole = flat[where.ravel()].reshape(1, -1)
        found = answers_of(whole, cohort, self.fitted.encoding.natural)
        for name, answers in found.items():
            seen = [one not in cohort.hidden_from(name) for one in cohort.inputs]
            places = list(visible_sets(cohort, name).values())
            told: Flags = np.any(present[places] & seen, axis=1)
            answers[:, ~np.tile(told, answers.shape[1] // len(told))] = np.nan
        return found

    def _network_input(self, name: str, person: Person) -> Float:
        """What stands for an input: small where it is absent, as it is encoded for nothing."""
        if name in person.given:
            return person.given[name]
        if name in self.cohort.blocks:
            return np.full(len(block_names(self.cohort.blocks[name])), np.nan, np.float32)
        if self.cohort.sources[name].kind == "connectivity":
            centre = self.fitted.encoding.centres.get(name, ())
            return np.zeros(len(centre) or self.fitted.pairs[name], np.float32)
        return np.zeros((1, *[min(BLANK, self.settings.side)] * 3), np.float32)

    def _block(self, name: str, sample: Sample) -> tuple[Float, Values] | None:
        numbers = block_numbers(self.cohort.blocks[name], sample, self.model["mode"])
        if numbers is None:
            return None
        encoding = self.fitted.encoding
        seen = encoding.block(name, numbers)[0]
        published = self.model["mode"] == "published"
        given = seen if published else encoding.shown(name, numbers)[0]
        return given, seen.astype(np.float64)

    def _connectivity(self, name: str, sample: Sample) -> tuple[Float, Values] | None:
        source = self.cohort.sources[name]
        if source.kind == "image" or name not in sample.inputs:
            return None
        path, encoding = place_of(sample, name), self.fitted.encoding
        try:
            _, flat = next(read_triangles([path], [sample.id], source.triangle))
            if flat.size != (pairs := self.fitted.pairs[name]):
                raise ContentError(
                    f"The connectivity of {sample.id} has {flat.size} pairs of regions, but the "
                    f"model {self.name!r} knows {pairs}: use the regions that it was trained with."
                )
            seen = encoding.features(name, flat[None])[0]
        except ContentError as error:
            if str(path) in str(error):
                raise
            raise ContentError(f"{path}: {error}") from error
        compared = standardised(encoding, name, seen) if name in encoding.centres else seen
        return seen, np.asarray(compared, np.float64)


def _used(name: str, told: Told, cohort: Cohort) -> str:
    """From what a target is told, those of a unit held together: "t1 + flair, blood"."""
    if not told.used:
        return f"nothing: {', '.join(cohort.hidden_from(name))} would tell it from its own domain"
    units = ([one for one in unit if one in told.used] for unit in cohort.units)
    return ", ".join(" + ".join(unit) for unit in units if unit)


def about_cohort(cohort: Cohort) -> dict[str, Any]:
    """What descriptions say of inputs and targets."""
    targets = {
        name: target.model_dump(include={"kind", "classes", "unit"})
        for name, target in cohort.targets.items()
    }
    return {"inputs": list(cohort.inputs), "targets": targets}


def warn_of_overlap(known: Known | None, samples: Sequence[Sample]) -> None:
    """Say in the log how many of the samples were part of a training."""
    count = sum(bool(known.overlap(each.id, each.row)) for each in samples) if known else 0
    if count:
        logger.warning(overlap_warning(count, len(samples), "people"))


def bids_suffixes(cohort: Cohort) -> dict[str, tuple[str, ...]]:
    """The kind of BIDS image that each source of images is by its name: "t1" is a T1w."""
    words = {one.lower().removesuffix("w"): one for one in ANATOMICAL}
    named = {name: words.get(name.lower().removesuffix("w")) for name in cohort.sources}
    return {name: (kind,) for name, kind in named.items() if kind is not None}


def _values(name: str, told: Told, cohort: Cohort) -> dict[str, Value]:
    """The cells of a target; numbers in its own unit."""
    target, answered, used = told.target, told.answered, _used(name, told, cohort)
    if not told.used:
        return {name: None, f"{name}_used": used}
    if target.kind == "continuous":
        value, low, high = (
            float(one) for one in (answered.values[0, 0], answered.low[0], answered.high[0])
        )
        ends = {f"{name}_low": low, f"{name}_high": high} if np.isfinite(high - low) else {}
        return {name: value, **ends, f"{name}_used": used}
    place = int(answered.values[0].argmax())
    may_be = [one for one, there in zip(target.classes, answered.may_be[0], strict=True) if there]
    return {
        name: target.classes[place],
        f"{name}_p": float(answered.values[0, place]),
        f"{name}_set": " or ".join(may_be),
        f"{name}_used": used,
    }


def make_people_predictor(model: OpenModel) -> PeoplePredictor:
    """The predictor of a model folder; raises UsageError for inputs that it has not."""
    asked, settings, files = (
        model.asked(PredictOptions),
        model.settings(SETTINGS[model.recipe.mode]),
        model.files,
    )
    if not isinstance(files, ModelFolder):
        raise ModelError(
            f"{files.path}: weights alone do not say what people have, which target they tell, nor "
            "how it was scaled, so nothing can be predicted: start a training from them "
            f"(encephalon train legibility-published --from {files.path})."
        )
    if settings.cohort is None:
        raise ModelError(f"{files.path}: the model names no cohort: train it again.")
    cohort = settings.cohort
    for name in asked.use or ():
        if name not in cohort.inputs:
            meant = did_you_mean(name, cohort.inputs, "it has")
            raise UsageError(f"The model {model.name!r} has no input {name!r}; {meant}")
    return PeoplePredictor(
        files.describe(),
        model.runtime(),
        asked,
        settings,
        FittedState.from_dict(
            cohort, files.description.preprocessing, files.tensors(), f"the model {model.name!r}"
        ),
        replace(cohort.columns(), suffixes=bids_suffixes(cohort)),
        files.path,
    )
