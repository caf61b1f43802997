# SPDX-License-Identifier: Apache-2.0
"""Who of a cohort trains, validates and tests, and what the networks of all folds answer.

An answer of a row is what is said of the person from each set of inputs: all columns of all targets
from the first set, then from the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.experiments.cross_validation import CrossValidation, FoldResult
from encephalon.experiments.folds import Splits, make_splits
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.fitting import FittedPeople
from encephalon.studies.legibility.input_sets import answers_of
from encephalon.studies.legibility.published.task import FittedPublished
from encephalon.studies.legibility.settings import Cohort, LegibilitySettings, Target
from encephalon.tables.schema import Table
from encephalon.tables.splits import Targets

__all__ = ["Validation", "answer_names", "draw_splits", "fold_answers"]

#: Targets whose mixture the folds share: strata of more would hold hardly anybody (our choice).
STRATIFIED = 2
Fitted = FittedPeople | FittedPublished


@dataclass(frozen=True, eq=False)
class Validation(CrossValidation[People, Fitted]):
    """The cross-validation of a cohort."""

    settings: LegibilitySettings


def draw_splits(settings: LegibilitySettings, cohort: Cohort, table: Table, seed: int) -> Splits:
    """The folds of the people of a table, or its own split, as `make_splits` does it.

    They share the mixture of the first targets and of the sites.
    """
    kinds: Targets = {
        target.column or name: "number" if target.kind == "continuous" else target.classes
        for name, target in cohort.targets.items()
    }
    shared = list(kinds)[:STRATIFIED]
    if cohort.site and not settings.hold_out_sites:
        shared.append(cohort.site)
    sites = cohort.site if settings.hold_out_sites else None
    return make_splits(table, settings, kinds, stratify=shared, seed=seed, sites=sites)


def answer_names(cohort: Cohort, *, linear: bool = False) -> list[str]:
    """The name of each number of an answer, such as "t1+flair/age" and "t1+flair/sex=M".

    With `linear` also what linear models say, such as "t1+flair/linear age".
    """
    columns = [
        f"{name}{what}" for name, target in cohort.targets.items() for what in _columns(target)
    ]
    if linear:
        columns += [f"linear {column}" for column in columns]
    return [f"{'+'.join(some)}/{column}" for some in cohort.input_sets() for column in columns]


def _columns(target: Target) -> Sequence[str]:
    if target.kind == "continuous":
        return [""]
    if target.kind == "ordinal":
        return [f">{name}" for name in target.classes[:-1]]
    shown = target.classes[1:] if target.kind == "binary" else target.classes
    return [f"={name}" for name in shown]


def fold_answers(
    cv: Validation, results: Sequence[FoldResult]
) -> Sequence[Mapping[str, NDArray[np.float64]]]:
    """Of each fold, by target, what its network says of everybody (N, visible sets, W).

    NaN of those who train, who were not asked; see `input_sets.answers_of`.
    """
    people, found = cv.dataset, []
    for fold, result, fitted in zip(cv.splits.folds, results, cv.networks(), strict=True):
        asked = fold.unseen()
        flat = np.full((len(people), len(cv.outputs)), np.nan)
        flat[asked] = result.of(asked, len(cv.outputs))
        found.append(answers_of(flat, people.cohort, fitted.encoding.natural))
    return found
