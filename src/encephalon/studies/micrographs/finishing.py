# SPDX-License-Identifier: Apache-2.0
"""From a finished run to its model folder: weights, graph, description and card."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.experiments.cross_validation import CrossValidation, FittedNetwork
from encephalon.experiments.report import CrossValidationResult
from encephalon.models.description import FIRST_VERSION, ModelDescription, package_versions
from encephalon.models.fitted import LAST_STAGE, FittedState
from encephalon.models.folder import save_model
from encephalon.networks.export import export_graph, half_precision
from encephalon.recipes import recipe_data
from encephalon.statistics.intervals import Interval
from encephalon.studies.micrographs.preprocessing import FACTS, Preprocessing
from encephalon.studies.micrographs.settings import micrograph_settings

__all__ = ["write_model"]

PACKAGES = ("encephalon", "torch", "lightning", "monai", "numpy", "scipy", "onnx")
#: Percentiles of the facts of the training images between which another image is like them.
USUAL = (1.0, 99.0)


def write_model(cv: CrossValidation, result: CrossValidationResult, shipped: FittedNetwork) -> Path:
    """Write the model folder of a run and return its path.

    `shipped` is its network, of which `result` is known.
    """
    state = half_precision(shipped.network.state_dict())
    example = tuple(each.cpu() for each in shipped.inputs(cv.splits.learnt[:2]))
    description = _describe(cv, result, shipped)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        export_graph(shipped.network, graph, example, ("image", "covariates"))
        save_model(cv.run.model, description, state, graph, None, overwrite=True)
    return cv.run.model


def _describe(
    cv: CrossValidation, result: CrossValidationResult, shipped: FittedNetwork
) -> ModelDescription:
    recipe, classes, point = cv.recipe, cv.classes, result.point
    pair = point.rule and point.rule.thresholds
    state = FittedState(
        classes=classes,
        covariates=tuple(recipe.table.covariates),
        scaling=shipped.scaling,
        calibration=point.calibration,
        thresholds=(pair.green, pair.amber) if pair else None,
        score=point.score,
        layer=shipped.layer or LAST_STAGE,
        ranges=_ranges(cv),
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
        preprocessing=state.as_dict(),
        training_data=_training_data(cv),
        scores={name: _figure(value) for name, value in result.assessment.figures.items()},
        versions=package_versions(PACKAGES),
        card=_card(cv),
    )


def _card(cv: CrossValidation) -> dict[str, str]:
    card = {"description": cv.recipe.description}
    if not cv.splits.audit.clean:
        findings = " ".join(cv.splits.audit.sentences())
        card["caveats"] = f"The scores flatter the model, because its split leaks. {findings}"
    return card


def _training_data(cv: CrossValidation) -> dict[str, Any]:
    """How many images the network has seen, of how many groups, and of which classes."""
    splits, table, seen = cv.splits, cv.dataset.table, cv.seen
    counts = Counter(cv.dataset.truth[seen].tolist())
    names = cv.classes
    data: dict[str, Any] = {"images": len(seen), "folds": len(splits.folds)}
    data |= {f"images_{name}": counts[number] for number, name in enumerate(names)}
    if table.columns.group:
        owners = table.texts(table.columns.group)
        data["groups"] = len({owners[row] for row in seen})
    return data


def _ranges(cv: CrossValidation) -> dict[str, tuple[float, float]]:
    """The range of each fact of the images that were learnt, where it is known of any."""
    ranges = {}
    facts = cv.dataset.facts
    for name in FACTS:
        values = np.array([facts[row][name] for row in cv.seen])
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
