# SPDX-License-Identifier: Apache-2.0
"""People whose targets are told by two of three blocks, and what simple models say of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge

from encephalon.experiments.folds import Fold
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.input_sets import visible_sets
from encephalon.studies.legibility.settings import Cohort
from encephalon.tables.schema import Table

WIDTHS = {"strong": 6, "weak": 6, "noise": 40}
#: What a number of each block adds to the targets.
EFFECTS = {"strong": 1.0, "weak": 0.6, "noise": 0.0}


def make_cohort(**changes: Any) -> Cohort:
    """Three blocks, a number and a class that they tell."""
    columns = {n: [f"{n}_{k}" for k in range(width)] for n, width in WIDTHS.items()}
    blocks = {name: {"columns": dict.fromkeys(some, "number")} for name, some in columns.items()}
    targets = {
        "age": {"kind": "continuous", "unit": "years"},
        "sex": {"kind": "binary", "classes": ["F", "M"]},
    }
    said = {"name": "planted", "blocks": blocks, "targets": targets, "subgroups": ["site"]}
    return Cohort.model_validate({**said, **changes})


def make_people(count: int, seed: int = 0, missing: float = 0.0, **changes: Any) -> People:
    """People with all blocks, or without a share of them each."""
    rng, cohort = np.random.default_rng(seed), make_cohort(**changes)
    score, values = rng.normal(size=count), dict[str, Any]()
    for name, width in WIDTHS.items():
        hidden = rng.normal(size=(count, 1))
        score += EFFECTS[name] * hidden[:, 0]
        values[name] = hidden * rng.normal(size=width) + rng.normal(size=(count, width))
    present = rng.random((count, len(WIDTHS))) >= missing
    present[~present.any(axis=1), 0] = True
    for place, name in enumerate(values):
        values[name][~present[:, place]] = np.nan
    frame = pd.DataFrame(
        {
            "id": [f"p{row:04d}" for row in range(count)],
            "site": [("east", "west", "north")[row % 3] for row in range(count)],
            "age": [f"{50 + 10 * one:.3f}" for one in score],
            "sex": ["M" if one > 0 else "F" for one in score],
            "head": [f"{1500 + 20 * one + 30 * rng.normal():.1f}" for one in score],
        },
        dtype=object,
    )
    table = Table(frame, cohort.columns(), Path())
    truth = {"age": 50 + 10 * score, "sex": (score > 0).astype(np.float64)}
    truth = {name: truth[name] for name in cohort.targets if name in truth}
    return People(table, cohort, present, values=values, truth=truth)


def make_folds(count: int, number: int = 5, seed: int = 0) -> list[Fold]:
    """Each person is tested once and validates once."""
    place = np.random.default_rng(seed).permutation(count) % number
    parts = [np.flatnonzero(place == k) for k in range(number)]
    return [
        Fold(k, np.setdiff1d(np.arange(count), [*validation, *test]), validation, test)
        for k, (test, validation) in enumerate(pairwise([*parts, parts[0]]))
    ]


def make_answers(people: People, folds: list[Fold], penalty: float = 1.0) -> list[dict[str, Any]]:
    """What a linear model of each set says, of the people that it did not learn from.

    With so little penalty it does worse for the noise, as a network may.
    """
    found = []
    for fold in folds:
        asked = np.concatenate([fold.validation, fold.test])
        said = {}
        for target, about in people.cohort.targets.items():
            sets, truth = list(visible_sets(people.cohort, target)), people.truth[target]
            said[target] = np.full((len(people), len(sets), about.count), np.nan)
            for place, inputs in enumerate(sets):
                features = np.nan_to_num(np.hstack([people.values[name] for name in inputs]))
                here = features[fold.train], truth[fold.train]
                if about.kind == "continuous":
                    answer = Ridge(penalty).fit(*here).predict(features[asked])[:, None]
                else:
                    model = LogisticRegression(C=1 / penalty, max_iter=500).fit(*here)
                    answer = model.predict_proba(features[asked])
                indices = [people.cohort.inputs.index(name) for name in inputs]
                has = people.present[asked][:, indices].any(axis=1, keepdims=True)
                said[target][asked, place] = np.where(has, answer, np.nan)
        found.append(said)
    return found
