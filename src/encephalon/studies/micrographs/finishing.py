# SPDX-License-Identifier: Apache-2.0
"""From a finished run to its model folder: weights, graph, description and card."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.evaluation.decision import Decision
from encephalon.experiments.crossval import Crossing
from encephalon.models.description import FIRST_VERSION, ModelDescription, package_versions
from encephalon.models.fitted import LAST_STAGE, Learned
from encephalon.models.folder import save_model
from encephalon.networks.export import export_graph, half_precision
from encephalon.recipes import recipe_data
from encephalon.statistics.intervals import Interval
from encephalon.studies.micrographs.fitting import Fitted
from encephalon.studies.micrographs.preprocessing import FACTS, Preprocessing
from encephalon.studies.micrographs.settings import class_names, micrograph_settings

__all__ = ["write_model"]

PACKAGES = ("encephalon", "torch", "lightning", "monai", "numpy", "scipy", "onnx")
#: Percentiles of the facts of the training images between which another image is like them.
USUAL = (1.0, 99.0)

Figures = Mapping[str, Interval]


def write_model(crossing: Crossing, shipped: Fitted, decision: Decision, figures: Figures) -> Path:
    """Write the model folder of a run and return its path.

    `shipped` is its network, whose logits `decision` reads; `figures` are what is known of both.
    """
    state = half_precision(shipped.network.state_dict())
    example = shipped.examples.inputs(crossing.plan.learnt[:2])
    description = _describe(crossing, shipped, decision, figures)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        export_graph(shipped.network, graph, example, ("image", "covariates"))
        save_model(crossing.run.model, description, state, graph, None, overwrite=True)
    return crossing.run.model


def _describe(
    crossing: Crossing, shipped: Fitted, decision: Decision, figures: Figures
) -> ModelDescription:
    recipe, classes = crossing.recipe, class_names(crossing.recipe)
    learned = Learned(
        classes=classes,
        covariates=tuple(recipe.table.covariates),
        scaling=shipped.scaling,
        calibration=decision.calibration,
        thresholds=decision.thresholds,
        score=decision.score,
        layer=shipped.layer or LAST_STAGE,
        ranges=_ranges(crossing),
        key=Preprocessing(micrograph_settings(recipe), recipe.mode).key,
    )
    return ModelDescription(
        name=recipe.name,
        version=FIRST_VERSION,
        study=recipe.study.name,
        task=recipe.task,
        mode=recipe.mode,
        title=recipe.title,
        licence=recipe.licence,
        citation=recipe.citation or "unknown",
        labels=dict(enumerate(classes)),
        recipe=recipe_data(shipped.recipe),
        preprocessing=learned.as_dict(),
        training_data=_training_data(crossing),
        scores={name: _figure(value) for name, value in figures.items()},
        versions=package_versions(PACKAGES),
        card=_card(crossing),
    )


def _card(crossing: Crossing) -> dict[str, str]:
    card = {"description": crossing.recipe.description}
    if not crossing.plan.audit.clean:
        findings = " ".join(crossing.plan.audit.sentences())
        card["caveats"] = f"The scores flatter the model, because its split leaks. {findings}"
    return card


def _training_data(crossing: Crossing) -> dict[str, Any]:
    """How many images the network has seen, of how many groups, and of which classes."""
    plan, table, seen = crossing.plan, crossing.cohort.table, crossing.seen
    counts = Counter(crossing.cohort.truth[seen].tolist())
    names = class_names(crossing.recipe)
    data: dict[str, Any] = {"images": len(seen), "folds": len(plan.folds)}
    data |= {f"images_{name}": counts[number] for number, name in enumerate(names)}
    if table.columns.group:
        owners = table.texts(table.columns.group)
        data["groups"] = len({owners[row] for row in seen})
    return data


def _ranges(crossing: Crossing) -> dict[str, tuple[float, float]]:
    """The range of each fact of the images that were learnt, where it is known of any."""
    ranges = {}
    facts = crossing.cohort.pictures.facts
    for name in FACTS:
        values = np.array([facts[row][name] for row in crossing.seen])
        known = values[np.isfinite(values)]
        if known.size:
            low, high = np.percentile(known, USUAL)
            ranges[name] = (float(low), float(high))
    return ranges


def _figure(value: Interval) -> dict[str, float | str]:
    """The value, and the interval with its name where there is one."""
    named = ("value",) if value.method == "none" else ("value", "low", "high")
    figures = {name: round(float(getattr(value, name)), 4) for name in named}
    return {**figures, "interval": value.method}
