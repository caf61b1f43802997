# SPDX-License-Identifier: Apache-2.0
"""All that is computed of a table of results, once for tables and pages."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from encephalon.errors import MissingExtraError, UsageError
from encephalon.experiments.best_inputs import BestInputs, best_inputs
from encephalon.experiments.costs import CostOfSet, costs
from encephalon.experiments.curves import Answers, answers_of
from encephalon.experiments.input_effects import InputEffect, input_effects
from encephalon.experiments.results_table import ResultsTable
from encephalon.experiments.shared_people import shared_people
from encephalon.experiments.target_graph import TargetGraph, graph_of_targets

__all__ = ["Analyses", "analyse"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Analyses:
    """What is known of the results of a grid.

    graph    of the targets; None where there is none, and `no_graph` says why
    answers  of the models, where they lie beside them
    """

    results: ResultsTable
    best: tuple[BestInputs, ...]
    costs: tuple[CostOfSet, ...]
    effects: tuple[InputEffect, ...]
    graph: TargetGraph | None
    no_graph: str
    answers: Answers


def analyse(results: ResultsTable, *, people: int | None = None) -> Analyses:
    """All analyses of results; `people` were scored, where the results do not say it.

    Without the extra `grid` there are neither coefficients nor a graph, which is logged.
    """
    shared, answers = shared_people(results), answers_of(results)
    effects: tuple[InputEffect, ...] = ()
    graph, why = None, ""
    try:
        effects = tuple(input_effects(results, shared))
    except MissingExtraError as error:
        logger.warning("there are no coefficients: %s", error)
    try:
        graph = graph_of_targets(answers.truth, results)
    except (MissingExtraError, UsageError) as error:
        why = str(error)
    best, took = best_inputs(results, shared, people=people), costs(results)
    return Analyses(results, tuple(best), tuple(took), effects, graph, why, answers)
