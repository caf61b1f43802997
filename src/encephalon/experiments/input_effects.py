# SPDX-License-Identifier: Apache-2.0
"""What each input adds to how well targets are told, over all models of a grid.

    published  a mixed model of each domain: scores by inputs, an intercept a target. It takes all
               models for independent, though they share sets of inputs and people, and its tests
               say more than is known; it is there to be compared with
    crossed    the same with an intercept for each set of inputs too, and for each seed and fold
               where there are several. An input is a property of sets, so there are as many
               observations of it as there are sets: t with sets - coefficients degrees of freedom
    paired     models that differ in nothing but the input, averaged in each target: t over targets.
               It takes targets for independent draws of a population that more could come from
    people     the same in one target, on the people whom all its models told something of: an
               interval over people, where their predictions lie beside the models. It says nothing
               of other targets or of other trainings

Each method's tests are corrected together, over all domains, by Holm (no false finding at all, with
95 %) and by Benjamini and Hochberg (no more than 5 % of the findings false). A distribution of the
largest statistic, which `statistics.selection` has of the sets of one target, asks for no less than
Holm here: effects of inputs hardly go together, and targets do not share their people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError
from encephalon.experiments.results_table import HAS, MAIN, MARGIN, ResultsTable, inputs_of
from encephalon.experiments.shared_people import SharedPeople, shared_people
from encephalon.statistics.comparison import false_discovery, holm
from encephalon.statistics.mixed_models import Coefficient, coefficient, fit_mixed

__all__ = ["InputEffect", "input_effects", "matched_pairs"]

REPLICATES = ("seed", "fold")


@dataclass(frozen=True)
class InputEffect:
    """What an input adds, by one method; see above.

    target        of "people"; "" for all of the domain
    unit          an input, or those that always go together
    models, targets
                  that it is told from
    p_holm, p_fdr the p value of `effect`, corrected for all tests of the method
    p_equivalent  small where the effect is surely less than the margin
    """

    method: str
    domain: str
    target: str
    metric: str
    unit: str
    models: int
    targets: int
    effect: Coefficient
    p_equivalent: float
    p_holm: float = nan
    p_fdr: float = nan

    def record(self) -> dict[str, Any]:
        """A row of a table."""
        own = asdict(self) | asdict(self.effect)
        return {name: own[name] for name in own if name not in {"effect", "name"}}


def input_effects(
    results: ResultsTable,
    shared: Mapping[str, SharedPeople] | None = None,
    *,
    margin: float = MARGIN,
) -> list[InputEffect]:
    """What each input adds to the main score, by every method that the results allow.

    shared  what `shared_people` says of the results, which is asked for if None

    A domain whose targets are all numbers is told in R²; one of numbers and classes in balanced
    accuracy where all its models have one, as published, and else apart. Raises MissingExtraError
    without the extra `grid`.
    """
    found = [
        each
        for part, metric in _parts(results)
        for each in (*_mixed(part, metric, margin), *_paired(part, metric, margin))
    ]
    known = shared_people(results) if shared is None else shared
    for name, people in known.items():
        found += _people(results.where(target=name), people, margin)
    corrected = []
    for method in dict.fromkeys(each.method for each in found):
        own = [each for each in found if each.method == method]
        tests = [each.effect.p_value for each in own]
        rows = zip(own, holm(tests), false_discovery(tests), strict=True)
        corrected += [replace(each, p_holm=one, p_fdr=two) for each, one, two in rows]
    return corrected


def matched_pairs(results: ResultsTable, added: Sequence[str]) -> NDArray[np.int64]:
    """Rows (P, 2) that differ in nothing but the inputs `added`: those with all, and with none.

    They have the same target, other inputs, seed and fold.
    """
    found: dict[Any, tuple[list[int], list[int]]] = {}
    names = ["target", "inputs", *REPLICATES]
    for place, row in enumerate(results.frame[names].to_dict("records")):
        inputs = inputs_of(row.pop("inputs"))
        rest = frozenset(inputs) - set(added)
        if (used := len(inputs) - len(rest)) in {0, len(added)}:
            found.setdefault((rest, *row.values()), ([], []))[not used].append(place)
    pairs = [pair for some, none in found.values() for pair in product(some, none)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _parts(results: ResultsTable) -> Iterator[tuple[ResultsTable, str]]:
    """The results of each domain, without those that have no score, and their common metric."""
    for domain in results.domains:
        here = results.where(domain=domain)
        common = MAIN["classification"]
        kinds = list(dict.fromkeys(here.frame["kind"]))
        scored = common in here.frame and bool(here.frame[common].notna().all())
        if len(kinds) > 1 and scored:
            yield here, common
            continue
        for kind in kinds:
            part, metric = here.where(kind=kind), MAIN[kind]
            if metric in part.frame:
                frame = part.frame.dropna(subset=metric).reset_index(drop=True)
                yield ResultsTable(frame, part.source), metric


def _mixed(part: ResultsTable, metric: str, margin: float) -> Iterator[InputEffect]:
    frame, units = part.frame, part.units()
    sets = frame["inputs"].nunique()
    if len(part.targets) < 2 or not units:
        return
    columns = {name: frame[f"{HAS}{first}"] for first, name in units.items()}
    crossing = ["target", "inputs", *(name for name in REPLICATES if frame[name].nunique() > 1)]
    for method, groups in (("published", crossing[:1]), ("crossed", crossing)):
        freedom = {"freedom": sets - len(units) - 1.0} if method == "crossed" else {}
        among = {name: list(frame[name]) for name in groups}
        try:
            fitted = fit_mixed(frame[metric], columns, among, **freedom)
        except UsageError:  # inputs that exclude each other, say: nothing can be told of them
            return
        for each in fitted.coefficients:
            yield _effect(part, method, metric, each, margin)


def _paired(part: ResultsTable, metric: str, margin: float) -> Iterator[InputEffect]:
    scores, targets = part.frame[metric].to_numpy(), part.frame["target"].to_numpy()
    for name in part.units().values():
        pairs = matched_pairs(part, inputs_of(name))
        apart, whose = scores[pairs[:, 0]] - scores[pairs[:, 1]], targets[pairs[:, 0]]
        means = [apart[whose == target].mean() for target in np.unique(whose)]
        if len(means) > 1:
            error = float(np.std(means, ddof=1)) / len(means) ** 0.5
            found = coefficient(name, float(np.mean(means)), error, len(means) - 1.0)
            about = _effect(part, "paired", metric, found, margin)
            yield replace(about, models=len(np.unique(pairs)), targets=len(means))


def _people(part: ResultsTable, shared: SharedPeople, margin: float) -> Iterator[InputEffect]:
    metric = MAIN[part.frame["kind"].iloc[0]]
    for name in part.units().values():
        pairs = matched_pairs(part, inputs_of(name))
        if len(pairs):
            some, none = pairs.T
            value = float((shared.scores[some] - shared.scores[none]).mean())
            drawn = (shared.draws[:, some] - shared.draws[:, none]).mean(axis=1)
            found = coefficient(name, value, float(np.nanstd(drawn)))
            about = _effect(part, "people", metric, found, margin)
            yield replace(about, target=part.targets[0], models=len(np.unique(pairs)))


def _effect(
    part: ResultsTable, method: str, metric: str, found: Coefficient, margin: float
) -> InputEffect:
    about = (part.frame["domain"].iloc[0], "", metric, found.name, len(part), len(part.targets))
    return InputEffect(method, *about, found, found.p_equivalent(margin))
