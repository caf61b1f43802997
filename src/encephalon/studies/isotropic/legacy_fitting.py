# SPDX-License-Identifier: Apache-2.0
"""`encephalon train` by a legacy recipe: the published training of BABY-AI."""

from __future__ import annotations

import torch

from encephalon.networks import build_network
from encephalon.recipes import make_settings
from encephalon.recipes.schema import Recipe
from encephalon.studies.isotropic.fitting import Fitted
from encephalon.studies.isotropic.legacy_heads import load_heads
from encephalon.studies.isotropic.legacy_settings import LegacySettings, check_legacy_recipe
from encephalon.studies.isotropic.legacy_training import LegacyTask
from encephalon.tables import Table
from encephalon.training.loop import Loop, Report, make_fabric
from encephalon.training.parts import training_parts
from encephalon.training.runs import RunFolder
from encephalon.training.transfer import start_from

__all__ = ["fit_legacy"]


def fit_legacy(
    recipe: Recipe,
    table: Table,
    run: RunFolder,
    *,
    resume: bool,
    device: str,
    devices: int = 1,
    workers: int = 2,
    report: Report | None = None,
) -> Fitted:
    """Train as published: the weights with the smallest validation loss are the result.

    Raises RunError for a part without rows, and RecipeError, TableError, ContentError or ModelError
    for what cannot be trained.
    """
    check_legacy_recipe(recipe)
    settings = make_settings(LegacySettings, recipe.study.settings, recipe.name)
    train, validation = (load_heads(part, settings, workers) for part in training_parts(table))
    torch.manual_seed(recipe.training.seed)
    network = build_network(recipe.network.name, recipe.network.options)
    if recipe.training.start_from and not (resume and run.checkpoint.exists()):
        start_from(network, recipe.training.start_from)
    task = LegacyTask(train, validation, settings, recipe.training)
    fabric = make_fabric(device, recipe.training.precision, devices)
    loop = Loop(task, network, recipe.training, run, fabric, report)
    if resume:
        loop.resume()
    return Fitted(network, loop.fit(), loop.progress.history)
