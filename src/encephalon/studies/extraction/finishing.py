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
from encephalon.reports.page import Page
from encephalon.reports.training import training_page
from encephalon.studies.extraction.fitting import Fitted
from encephalon.studies.extraction.settings import ExtractionSettings
from encephalon.tables.schema import Table
from encephalon.training.runs import RunFolder, best_row
from encephalon.transforms.normalise import NORMALISING_PERCENTILES

PACKAGES = ("encephalon", "torch", "lightning", "numpy", "scipy", "onnx")


def finish(recipe: Recipe, table: Table, run: RunFolder, fitted: Fitted) -> Path:
    """Write `run.model` from the best weights, and `run.report`; return the model's path.

    Floating-point weights are rounded to half precision, in the tensors and in the graph alike, so
    that both compute the same; that halves the folder and moves no border visibly.
    """
    state: dict[str, NDArray[Any]] = half_precision(fitted.state)
    network = fitted.network.cpu()
    network.load_state_dict(
        {
            k: torch.from_numpy(v).float() if v.dtype == np.float16 else torch.from_numpy(v)
            for k, v in state.items()
        }
    )
    graph = None
    with tempfile.TemporaryDirectory() as folder:
        if recipe.mode == "default":
            graph = Path(folder) / "graph.onnx"
            export_graph(network, graph, (1, 1, *ExtractionSettings().grids.coarse))
        save_model(run.model, describe(recipe, table, fitted), state, graph, None, overwrite=True)
    _page(recipe, fitted).write(run.report, overwrite=True)
    return run.model


def _page(recipe: Recipe, fitted: Fitted) -> Page:
    settings = recipe.training
    return training_page(
        fitted.history,
        recipe.title,
        best=best_row(fitted.history, settings),
        about={"Recipe": recipe.name, "Mode": recipe.mode, "Seed": settings.seed},
    )


def describe(recipe: Recipe, table: Table, fitted: Fitted) -> ModelDescription:
    """What `model.toml` says of the trained network; the card is made from it."""
    best = best_row(fitted.history, recipe.training)
    lesion = recipe.study.settings.get("target") == "lesion"
    return ModelDescription(
        name=recipe.name,
        version=FIRST_VERSION,
        study=recipe.study.name,
        task=recipe.task,
        mode=recipe.mode,
        title=recipe.title,
        licence=recipe.licence,
        citation=recipe.citation or "unknown",
        labels={0: "background", 1: "tumour" if lesion else "brain"},
        recipe=recipe_data(recipe),
        preprocessing=_preprocessing(recipe),
        training_data=_training_data(table),
        scores={f"validation_{k[4:]}": round(v, 4) for k, v in best.items() if k[:4] == "val_"},
        versions=package_versions(PACKAGES),
        card={"description": recipe.description},
    )


def _preprocessing(recipe: Recipe) -> dict[str, Any]:
    """What is done to a scan before the network sees it."""
    if recipe.mode == "published":
        return {"settings": recipe.study.settings}
    grids = ExtractionSettings.model_validate(recipe.study.settings).grids
    return {
        "axes": "sorted to RAS, not turned",
        "intensity": "percentiles {:g} and {:g} of the field of view become 0 and 1".format(
            *NORMALISING_PERCENTILES
        ),
        "coarse_grid": list(grids.coarse),
        "fine_grid": list(grids.fine),
        "margin": grids.margin,
    }


def _training_data(table: Table) -> dict[str, Any]:
    split = str(table.columns.split)
    parts = Counter(table.texts(split))
    scans = table.texts(table.columns.inputs["image"]) if table.has("image") else []
    real = sum(1 for cell in scans if cell)
    return {
        "samples": len(table),
        "real_scans": real,
        "label_maps": len(table) - real,
        **{f"split_{name or 'none'}": count for name, count in sorted(parts.items())},
    }
