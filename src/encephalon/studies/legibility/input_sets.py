# SPDX-License-Identifier: Apache-2.0
"""What a network says of people from each set of their inputs, and how sets are weighed.

Answers of a target are (N, sets, W): one number in its own unit, or the probability of each class;
NaN where a person has nothing of the set. The sets are those of `visible_sets`, where the inputs of
the target's own domain do not count.

A network that is given more may do worse, so the answer to a set can be made of those to its parts
too ("late fusion"): see `encephalon.statistics.stacking`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from encephalon.studies.legibility.settings import Cohort, Target

__all__ = [
    "InputSet",
    "answers_of",
    "has_all",
    "parts_of",
    "visible_sets",
    "what_people_have",
]

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
InputSet = tuple[str, ...]


def visible_sets(cohort: Cohort, target: str) -> dict[InputSet, int]:
    """The different sets that a target is told from, the smaller first, all its inputs last.

    Each has its place among `cohort.input_sets()`; where own-domain inputs make no difference, it
    is that of the smallest one.
    """
    hidden = cohort.hidden_from(target)
    found: dict[InputSet, int] = {}
    for place, inputs in enumerate(cohort.input_sets()):
        if seen := tuple(name for name in inputs if name not in hidden):
            found.setdefault(seen, place)
    return dict(sorted(found.items(), key=lambda one: len(one[0])))


def answers_of(
    flat: NDArray[np.floating], cohort: Cohort, natural: Callable[[str, Values], Values]
) -> dict[str, Values]:
    """Answers (N, visible sets, W) to each target, of a network's (N, sets * columns).

    Those of linear models, if the columns of each set are twice as many, follow as further sets.

    natural  makes of a continuous target's values, given its name, those in its own unit
    """
    widths = [_columns(one) for one in cohort.targets.values()]
    ends = np.cumsum([0, *widths])
    whole = np.asarray(flat, np.float64)
    whole = whole.reshape(len(flat), len(cohort.input_sets()), -1, int(ends[-1]))
    found = {}
    for place, (name, target) in enumerate(cohort.targets.items()):
        raw = whole[:, list(visible_sets(cohort, name).values()), :, ends[place] : ends[place + 1]]
        raw = raw.swapaxes(1, 2).reshape(len(flat), -1, raw.shape[-1])
        continuous = target.kind == "continuous"
        found[name] = natural(name, raw) if continuous else _probabilities(raw, target)
    return found


def has_all(cohort: Cohort, sets: Sequence[InputSet], present: Flags) -> Flags:
    """Who has all of each set, (N, sets), of who has which input, (N, inputs)."""
    places = [[cohort.inputs.index(name) for name in some] for some in sets]
    return np.stack([present[:, some].all(axis=1) for some in places], axis=1)


def what_people_have(cohort: Cohort, sets: Sequence[InputSet], present: Flags) -> NDArray[np.int64]:
    """Which of the sets is just what each person (N,) has of the largest, the last; else that."""
    used = [name in sets[-1] for name in cohort.inputs]
    exact = np.array([[name in some for name in cohort.inputs] for some in sets])
    same = ((present & used)[:, None] == exact).all(axis=2)
    return np.where(same.any(axis=1), same.argmax(axis=1), len(sets) - 1)


def parts_of(sets: Sequence[InputSet], whole: InputSet, answers: int) -> list[int]:
    """The places of a set and of its subsets among `answers`, to each set once or several times."""
    inside = [set(some) <= set(whole) for some in sets]
    return [place for place in range(answers) if inside[place % len(sets)]]


def _columns(target: Target) -> int:
    """Columns of the network's answer: see `networks.fusion.TARGET_KINDS`, which needs torch."""
    return {"multiclass": target.count, "ordinal": target.count - 1}.get(target.kind, 1)


def _probabilities(raw: Values, target: Target) -> Values:
    """Probabilities (N, S, classes) of a network's columns (N, S, C)."""
    if target.kind == "multiclass":
        powers = np.exp(raw - raw.max(axis=2, keepdims=True))
        return np.asarray(powers / powers.sum(axis=2, keepdims=True))
    # Of a binary target the one column is the log-odds of being above the first class.
    above: Values = 1 / (1 + np.exp(-raw))
    ends = np.ones_like(above[..., :1])
    steps = np.concatenate([ends, above, 0 * ends], axis=2)
    return np.asarray(np.maximum(steps[..., :-1] - steps[..., 1:], 0.0))
