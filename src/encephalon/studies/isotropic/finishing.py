# SPDX-License-Identifier: Apache-2.0
"""From a finished run to a model folder: weights, graph, description and card."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encephalon.models.description import FIRST_VERSION, ModelDescription, package_versions
from encephalon.models.folder import save_model
from encephalon.networks.export import export_graph, half_precision
from encephalon.recipes import recipe_data
from encephalon.recipes.schema import Recipe
from encephalon.reports.training import training_page
from encephalon.studies.isotropic.fitting import Fitted
from encephalon.studies.isotropic.reconstruction.network import CHANNELS, PERCENTILES
from encephalon.tables.schema import Table
from encephalon.training.runs import RunFolder, best_row

__all__ = ["describe", "finish"]

PACKAGES = ("encephalon", "torch", "lightning", "numpy", "scipy", "onnx")
#: Edge of the cube that proves the exported graph, voxels; every network's stride divides it.
EXAMPLE = 32


def finish(recipe: Recipe, table: Table, run: RunFolder, fitted: Fitted) -> Path:
    """Write `run.model` from the best weights, and `run.report`; return the model's path.

    Weights are rounded to half precision, in the tensors and in the graph alike, so that both
    compute the same.
    """
    state: dict[str, NDArray[Any]] = half_precision(fitted.state)
    network = fitted.network.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.load_state_dict(
        {name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()}
    )
    with tempfile.TemporaryDirectory() as folder:
        graph = None
        if recipe.mode == "default":
            graph = Path(folder) / "graph.onnx"
            export_graph(network, graph, (1, len(CHANNELS), *(EXAMPLE,) * 3), ("features",))
        save_model(run.model, describe(recipe, table, fitted), state, graph, None, overwrite=True)
    settings = recipe.training
    page = training_page(
        fitted.history,
        recipe.title,
        best=best_row(fitted.history, settings),
        about={"Recipe": recipe.name, "Mode": recipe.mode, "Seed": settings.seed},
    )
    page.write(run.report, overwrite=True)
    return run.model


def describe(recipe: Recipe, table: Table, fitted: Fitted) -> ModelDescription:
    """What `model.toml` says of the trained network; the card is made from it."""
    best = best_row(fitted.history, recipe.training)
    data = recipe_data(recipe)
    if recipe.mode == "default":
        measured = {"trust": fitted.trust, "deviation_scale": fitted.deviation_scale}
        data["study"] |= {name: round(value, 4) for name, value in measured.items()}
    return ModelDescription(
        name=recipe.name,
        version=FIRST_VERSION,
        study=recipe.study.name,
        task=recipe.task,
        mode=recipe.mode,
        title=recipe.title,
        licence=recipe.licence,
        citation=recipe.citation or "unknown",
        recipe=data,
        preprocessing=_preprocessing(recipe),
        training_data=_training_data(table),
        scores={f"validation_{k[4:]}": round(v, 4) for k, v in best.items() if k[:4] == "val_"},
        versions=package_versions(PACKAGES),
        card={"description": recipe.description},
    )


def _preprocessing(recipe: Recipe) -> dict[str, Any]:
    low, high = PERCENTILES
    facts: dict[str, Any] = {
        "intensity": f"percentiles {low:g} and {high:g} above 0 become 0 and 1"
    }
    if recipe.mode == "default":
        facts["channels"] = list(CHANNELS)
        facts["axes"] = "the slice axis is the last one"
    return facts


def _training_data(table: Table) -> dict[str, Any]:
    parts = Counter(table.texts(str(table.columns.split)))
    column = table.columns.inputs.get("labels", "")
    maps = sum(map(bool, table.texts(column))) if table.has(column) else 0
    return {
        "samples": len(table),
        "label_maps": maps,
        "pairs": len(table) - maps,
        **{f"split_{name or 'none'}": count for name, count in sorted(parts.items())},
    }
