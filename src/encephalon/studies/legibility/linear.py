# SPDX-License-Identifier: Apache-2.0
"""Linear models of every target from every set of inputs, beside the network.

Of few people, or of tables that are mostly noise, a straight line tells more than a network that
learns by steps. How much either counts is told by people whom both do not know, see `reading`.

Numbers are told by ridge regression. So is each class against the others, and what people are told
by all others becomes log-odds by a logistic regression (Platt 1999).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encephalon.networks.linear_sets import LinearSets
from encephalon.statistics.ridge import Ridge, fit_ridge
from encephalon.studies.legibility.predictions import groups_of
from encephalon.studies.legibility.settings import Cohort
from encephalon.studies.legibility.task import AT_ONCE, LegibilityTask, network_sources

__all__ = ["FittedLinear", "fit_linear", "linear_options"]

Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]
Values = NDArray[np.float64]
#: Principal components of a source at the most, and people by whom they are found (ours).
COMPONENTS, FOUND_BY = 256, 2000
#: What varies by less, in units of levels or correlations, is the same for everybody: the scale of
#: anything less is more than half precision holds (ours).
LEAST = 1e-4
#: People of each of two classes, without whom all are told how frequent they are (ours).
FEWEST = 5


def linear_options(cohort: Cohort, weights: Mapping[str, NDArray[Any]]) -> dict[str, Any] | None:
    """The option `linear` of the `MaskedFusion` that has these weights; None without any."""
    axes = {name: weights.get(f"linear.bases.{name}.axes") for name in cohort.sources}
    components = {name: one.shape[1] for name, one in axes.items() if one is not None}
    return _options(cohort, components) if "linear.weights" in weights else None


@dataclass(frozen=True, eq=False)
class FittedLinear:
    """models, and what each of the `rows` is told (n, sets, columns) by all but its group.

    NaN of whoever has no part in a model.
    """

    models: LinearSets
    rows: Rows
    left_out: NDArray[np.float32]

    def without(self, rows: Rows, said: NDArray[np.float32], present: Flags) -> None:
        """Give those of these rows that it has learnt from what all others tell them.

        said     (B, sets, columns) of the models, which is changed
        present  (B, inputs)
        """
        for place, inputs in enumerate(self.models.sets):
            here = self.models.place(torch.from_numpy(present) & inputs).numpy()
            for row in np.flatnonzero(np.isin(rows, self.rows)):
                other = self.left_out[np.searchsorted(self.rows, rows[row]), here[row]]
                said[row, place] = np.where(np.isnan(other), said[row, place], other)


def fit_linear(task: LegibilityTask, rows: Rows) -> FittedLinear:
    """The linear models that the people of these rows give, rounded as they ship."""
    rows = np.sort(rows)
    models = _reducing(task, rows)
    reduced = np.concatenate([_reduced(models, task, some) for some in _parts(rows)])
    cohort, present = task.cohort, task.people.present[rows]
    wanted = task.target[torch.from_numpy(rows)].double().numpy()
    owners, groups = np.array(groups_of(task.people) or task.people.table.ids)[rows], None
    plain, start = task.settings.class_balance == "none", 0
    left_out = np.full((len(rows), *models.intercepts.shape), np.nan, np.float32)
    for name, width in zip(cohort.targets, task.widths, strict=True):
        columns = slice(start, start := start + width)
        truth, number = wanted[:, columns], cohort.targets[name].kind == "continuous"
        for seen, places in _same_sets(cohort, name).items():
            inside = np.isin(cohort.inputs, seen)
            used = (present & inside).any(axis=1) & np.isfinite(truth).all(axis=1)
            here = np.flatnonzero(np.repeat(inside, models.widths))
            groups = owners[used].tolist()
            found = fit_ridge(reduced[used][:, here], truth[used], groups)
            if not number:
                found = _log_odds(found, truth[used], balanced=not plain)
            for place in places:
                models.weights[place, here, columns] = _half(found.weights)
                models.intercepts[place, columns] = _half(found.intercept)
                left_out[used, place, columns] = found.left_out
    return FittedLinear(models.eval(), rows, left_out)


def _reducing(task: LegibilityTask, rows: Rows) -> LinearSets:
    """Linear models that reduce what they are given, and tell nothing yet."""
    sources = network_sources(task.encoding)
    names = [name for name, about in sources.items() if about["kind"] != "table"]
    pairs = {name: _axes(_flat(task, rows, name, sources)) for name in names}
    components = {name: axes.shape[1] for name, (_, axes, _) in pairs.items()}
    models = LinearSets(sources, columns=sum(task.widths), **_options(task.cohort, components))
    for name, (centre, axes, scale) in pairs.items():
        basis: Any = models.bases[name]
        basis.centre.copy_(_half(centre))
        basis.axes.copy_(_half(axes))
        basis.scale.fill_(float(_half(scale)))
    return models


def _flat(
    task: LegibilityTask, rows: Rows, name: str, sources: Mapping[str, Any]
) -> NDArray[np.float32]:
    """A source (n, features) of those of the rows who have it, of as many as its axes need."""
    has = task.people.present[rows, task.cohort.inputs.index(name)]
    alone: Any = LinearSets({name: sources[name]}, {name: 1}, [[0]], 1)
    found = [torch.zeros(0, len(alone.bases[name].centre))]
    for some in _parts(rows[has][:FOUND_BY]):
        found.append(alone.flat(name, task.one_input(name, some, np.ones(len(some), bool))))
    return torch.cat(found).numpy()


def _axes(flat: NDArray[np.float32]) -> tuple[Values, Values, Values]:
    """The mean (F,) and the principal axes (F, K) of numbers (n, F), and what makes them one.

    That is by what their components are multiplied for a mean square of 1 over people.
    """
    from sklearn.decomposition import PCA

    people, features = flat.shape
    if people < 2:
        return flat.sum(axis=0), np.zeros((features, 1)), np.ones(1)
    found = PCA(min(COMPONENTS, people - 1, features), random_state=0).fit(flat)
    size = np.sqrt(found.explained_variance_.sum())
    return found.mean_, found.components_.T, np.array([1 / size if size > LEAST else 1.0])


@torch.no_grad()
def _reduced(models: LinearSets, task: LegibilityTask, rows: Rows) -> Values:
    *given, has = task.inputs(rows, task.people.present[rows])
    named = dict(zip(task.cohort.inputs, given, strict=True))
    return np.asarray(models.reduced(named, has).double().numpy())


def _same_sets(cohort: Cohort, target: str) -> dict[tuple[str, ...], list[int]]:
    """Of each of the `visible_sets` the places of all sets that are the same to the target."""
    hidden, found = cohort.hidden_from(target), dict[tuple[str, ...], list[int]]()
    for place, some in enumerate(cohort.input_sets()):
        seen = tuple(name for name in some if name not in hidden)
        if seen:
            found.setdefault(seen, []).append(place)
    return found


def _log_odds(found: Ridge, truth: Values, *, balanced: bool) -> Ridge:
    """The log-odds of classes (n, W), which are 0 or 1, by what a line tells of them.

    With `balanced`, as if either were as frequent.
    """
    slopes, shifts = np.zeros(truth.shape[1]), np.zeros(truth.shape[1])
    for column, came in enumerate(truth.T):
        many, told = (came > 0).sum(), found.left_out[:, column]
        if not balanced:
            shifts[column] = np.log((many + 1) / (len(came) - many + 1))
        if min(many, len(came) - many) >= FEWEST and found.weights[:, column].any():
            slope, shift = _logistic(told, came, balanced=balanced)
            if slope > 0:
                slopes[column], shifts[column] = slope, shift
    return Ridge(
        found.weights * slopes, found.intercept * slopes + shifts, found.left_out * slopes + shifts
    )


def _logistic(told: Values, came: Values, *, balanced: bool) -> tuple[float, float]:
    """Slope and intercept of the log-odds of classes (n,) over what is told of them (n,)."""
    from sklearn.linear_model import LogisticRegression

    middle, spread = told.mean(), told.std()
    model = LogisticRegression(class_weight="balanced" if balanced else None)
    model.fit((told[:, None] - middle) / spread, came)
    slope = float(model.coef_[0, 0]) / spread
    return slope, float(model.intercept_[0]) - slope * middle


def _options(cohort: Cohort, components: Mapping[str, int]) -> dict[str, Any]:
    places = {name: place for place, name in enumerate(cohort.inputs)}
    sets = [[places[name] for name in some] for some in cohort.input_sets()]
    return {"components": components, "sets": sets}


def _parts(rows: Rows) -> Sequence[NDArray[np.int64]]:
    return [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]


def _half(values: Any) -> Tensor:
    """As half precision holds it, in which weights ship."""
    return torch.from_numpy(np.asarray(values, np.float64)).half().float()
