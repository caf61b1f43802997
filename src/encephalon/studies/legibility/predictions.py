# SPDX-License-Identifier: Apache-2.0
"""Honest answers to every person, each read from a network that knew nothing of them.

What is fitted after the network of a fold, such as the weights of a set's parts, is fitted on the
validation people of that fold alone. A set is scored on the people who have all of it; besides,
everybody is scored on whatever they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from encephalon.experiments.folds import Fold, Rows
from encephalon.statistics.summary import UNKNOWN, Row, in_thirds
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.input_sets import (
    Flags,
    InputSet,
    Values,
    has_all,
    visible_sets,
    what_people_have,
)
from encephalon.studies.legibility.reading import Answered, Reading, fit_readings, lowest_of
from encephalon.studies.legibility.settings import LegibilitySettings

__all__ = [
    "ATTENTION",
    "MODEL",
    "WHATEVER",
    "Predicted",
    "groups_of",
    "is_honest",
    "model_predictions",
    "scored_rows",
    "set_name",
    "shipped_readings",
    "subgroups_of",
    "unplaced",
]

WHATEVER = "whatever there is"
"""The inputs of the row in which everybody is answered from what they have."""
MODEL, ATTENTION = "model", "attention"
"""Methods: what ships, and what the network itself says of a set where its parts are weighed."""

Answers = Sequence[Mapping[str, Values]]
"""Of each fold, by target, what its network says of everybody (N, visible sets, W), in the own unit
or as probabilities: see `input_sets.answers_of`. NaN for who was not asked: those who train."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """What one method says of one target from one set of inputs.

    inputs  as `set_name` writes them, or WHATEVER
    scored  (N,) who has all of them, was tested, and has a known truth
    """

    target: str
    inputs: str
    method: str
    scored: Flags
    answered: Answered


def set_name(inputs: InputSet) -> str:
    """A set of inputs as it is written, such as "t1 + flair"."""
    return " + ".join(inputs)


def groups_of(people: People) -> list[str] | None:
    """What is drawn as a whole of each person; who has no group is one alone. None for no group."""
    column = people.cohort.group
    if not people.table.has(column or None):
        return None
    cells = zip(people.table.texts(column), people.table.ids, strict=True)
    return [cell or f"person {name}" for cell, name in cells]


def subgroups_of(people: People) -> dict[str, list[str]]:
    """Of each column that scores are cut by, the part of each person: thirds of many numbers."""
    found = {}
    for column in people.cohort.subgroups:
        cells: list[Row] = [{column: cell or UNKNOWN} for cell in people.table.texts(column)]
        found[column] = [str(row[column]) for row in in_thirds(cells, column)]
    return found


def is_honest(folds: Sequence[Fold]) -> bool:
    """Whether people were left for a test; if not, those who validate are scored."""
    return any(len(fold.test) for fold in folds)


def scored_rows(fold: Fold, folds: Sequence[Fold]) -> Rows:
    """The people of a fold who are scored: see `is_honest`."""
    return fold.test if is_honest(folds) else fold.validation


def model_predictions(
    people: People, folds: Sequence[Fold], answers: Answers, settings: LegibilitySettings
) -> Iterator[Predicted]:
    """What the networks of the folds say of each target and set: MODEL and, beside it, ATTENTION.

    The second is there where the first weighs the parts of a set (`settings.fusion`).
    """
    networks = _Networks(people, folds, answers, settings)
    stacked = settings.fusion == "stacked"
    for target in people.cohort.targets:
        yield from networks.predictions(target, MODEL, stacked)
        if stacked:
            yield from networks.predictions(target, ATTENTION, stacked=False)


def shipped_readings(
    people: People, folds: Sequence[Fold], answers: Answers, settings: LegibilitySettings
) -> dict[str, dict[InputSet, Reading]]:
    """How the answers of the model that ships are read, by target and set.

    Fitted on all validation people, each as the network of their fold answers. A person is read by
    the set that is just what they have; by the last, of all inputs, where there is no such set.
    """
    networks = _Networks(people, folds, answers, settings)
    rows = np.concatenate([fold.validation for fold in folds])
    found = {}
    for target in people.cohort.targets:
        parts = [given[target][fold.validation] for fold, given in zip(folds, answers, strict=True)]
        sets = visible_sets(people.cohort, target)
        readings = networks.fit(
            target, rows, np.concatenate(parts), settings.fusion == "stacked", _known(folds)
        )
        found[target] = dict(zip(sets, readings, strict=True))
    return found


@dataclass(frozen=True, eq=False)
class _Networks:
    """The networks of the folds by what they say of the people that they did not learn."""

    people: People
    folds: Sequence[Fold]
    answers: Answers
    settings: LegibilitySettings

    def predictions(self, target: str, method: str, stacked: bool) -> Iterator[Predicted]:
        """What is said from each set, and from whatever there is."""
        people, names = self.people, self._told_apart(target)
        sets = list(visible_sets(people.cohort, target))
        nothing = unplaced(len(people), people.cohort.targets[target].count)
        whole, known = [nothing] * len(sets), np.zeros(len(people), dtype=bool)
        for fold, given in zip(self.folds, self.answers, strict=True):
            tuned, rows = fold.validation, scored_rows(fold, self.folds)
            readings = self.fit(target, tuned, given[target][tuned], stacked, _known([fold]))
            apart = names and [names[row] for row in rows]
            said = [reading.read(given[target][rows], apart) for reading in readings]
            whole = [_placed(before, rows, new) for before, new in zip(whole, said, strict=True)]
            known[rows] = np.isfinite(people.truth[target][rows])
        has = has_all(people.cohort, sets, people.present)
        for place, inputs in enumerate(sets):
            there = known & has[:, place] & whole[place].known
            yield Predicted(target, set_name(inputs), method, there, whole[place])
        anybody = _chosen(whole, what_people_have(people.cohort, sets, people.present))
        yield Predicted(target, WHATEVER, method, known & anybody.known, anybody)

    def fit(
        self, target: str, rows: Rows, answers: Values, stacked: bool, known: Rows
    ) -> list[Reading]:
        """How each set is read, by the answers (n, sets, W) to these people.

        `known` are all who are not tested.
        """
        people, settings = self.people, self.settings
        groups, names = groups_of(people), self._told_apart(target)
        sets = list(visible_sets(people.cohort, target))
        return fit_readings(
            answers,
            people.truth[target][rows],
            has_all(people.cohort, sets, people.present[rows]),
            sets,
            stacked=stacked,
            alpha=settings.alpha,
            groups=groups and [groups[row] for row in rows],
            subgroups=names and [names[row] for row in rows],
            shift=settings.class_balance == "none",
            lowest=lowest_of(people.truth[target][known]),
        )

    def _told_apart(self, target: str) -> list[str] | None:
        """The subgroup of each person that may have a threshold of its own: see `Cohort.apart`.

        None for numbers, whose thirds a new person could not be told to be in.
        """
        column = self.people.cohort.apart(target)
        if column is None:
            return None
        parts = subgroups_of(self.people)[column]
        cells = {*self.people.table.texts(column), UNKNOWN}
        return ["" if one == UNKNOWN else one for one in parts] if cells >= {*parts} else None


def _known(folds: Sequence[Fold]) -> Rows:
    """Who trains or validates in any of the folds."""
    return np.unique(np.concatenate([np.r_[fold.train, fold.validation] for fold in folds]))


def unplaced(count: int, width: int) -> Answered:
    """No answer to anybody of N people."""
    nothing = np.full(count, np.nan)
    flags = np.zeros((count, width), dtype=bool)
    return Answered(np.full((count, width), np.nan), nothing, nothing, flags)


def _placed(whole: Answered, rows: Rows, found: Answered) -> Answered:
    fields = {}
    for name, known in vars(whole).items():
        fields[name] = known.copy()
        fields[name][rows] = getattr(found, name)
    return Answered(**fields)


def _chosen(whole: Sequence[Answered], place: Rows) -> Answered:
    """Of each person the answer at that place."""
    rows = np.arange(len(place))
    return Answered(
        **{
            name: np.stack([getattr(one, name) for one in whole])[place, rows]
            for name in vars(whole[0])
        }
    )
