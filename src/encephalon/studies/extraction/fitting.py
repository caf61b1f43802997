# SPDX-License-Identifier: Apache-2.0
"""`encephalon train` for the extraction study: from a recipe and a table to a trained state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from encephalon.errors import RecipeError
from encephalon.networks import build_network
from encephalon.networks.keras_unet import KerasUNet, KerasUNetLogOdds
from encephalon.networks.shape_inference import meta_network, output_shape
from encephalon.recipes import make_settings
from encephalon.recipes.schema import Recipe
from encephalon.studies.extraction.data import prepare_heads
from encephalon.studies.extraction.published.data import prepare_pairs
from encephalon.studies.extraction.published.task import PublishedSettings, PublishedTask
from encephalon.studies.extraction.settings import ExtractionSettings
from encephalon.studies.extraction.task import ExtractionTask
from encephalon.tables.schema import Table
from encephalon.training.loop import Loop, Task, make_fabric
from encephalon.training.parts import training_parts
from encephalon.training.runs import Means, RunFolder
from encephalon.training.transfer import start_from


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the network of `recipe` can be built and suits its study."""
    network = meta_network(recipe.network)
    if recipe.mode == "published":
        if not isinstance(network, KerasUNet):
            raise RecipeError(
                f"{recipe.name}: a recipe of mode 'published' trains the network 'keras-unet', not "
                f"{recipe.network.name!r}: change network.name or mode."
            )
        return
    settings = make_settings(ExtractionSettings, recipe.study.settings, recipe.name)
    multiple = getattr(network, "multiple", 1)
    for name, shape in (("coarse", settings.grids.coarse), ("fine", settings.grids.fine)):
        if any(size % multiple for size in shape):
            raise RecipeError(
                f"{recipe.name}: the {name} grid {list(shape)} does not suit the network, which "
                f"needs multiples of {multiple} voxels: change study.grids."
            )
        drawn = output_shape(network, recipe.name, (1, 1, *shape)) or (1, settings.borders, *shape)
        if drawn != (1, settings.borders, *shape):
            raise RecipeError(
                f"{recipe.name}: the target {settings.target!r} has {settings.borders} borders of "
                f"{list(shape)} voxels, but the network draws {drawn[1]} of {list(drawn[2:])}: set "
                f"network.options.borders to {settings.borders}, or change network."
            )


@dataclass(frozen=True)
class Fitted:
    """What training leaves behind."""

    network: nn.Module
    state: dict[str, Tensor]
    history: list[dict[str, float]]


def fit(
    recipe: Recipe,
    table: Table,
    run: RunFolder,
    means: Means,
) -> Fitted:
    """Train the network of `recipe` on the "train" rows, judged by the "validation" rows.

    The recipe's mode decides how: "default" learns distances, "published" repeats the published
    training. Raises RunError, TableError, RecipeError or ModelError for what cannot be trained.
    """
    parts = training_parts(table)
    torch.manual_seed(recipe.training.seed)
    network = build_network(recipe.network.name, recipe.network.options)
    make_task = _published_task if recipe.mode == "published" else _default_task
    task = make_task(recipe, network, parts, run.cache, means.workers)
    if recipe.training.start_from and not run.checkpoint.exists():
        start_from(network, recipe.training.start_from)
    fabric = make_fabric(means.device, recipe.training.precision, means.devices)
    loop = Loop(task, _trainable(recipe, network), recipe.training, run, fabric, means.report)
    if means.resume:
        loop.resume()
    return Fitted(network, loop.fit(), loop.progress.history)


def _default_task(
    recipe: Recipe, _network: nn.Module, parts: tuple[Table, Table], cache: Path, workers: int
) -> Task:
    settings = make_settings(ExtractionSettings, recipe.study.settings, recipe.name)
    train, validation = (prepare_heads(part, cache, workers, settings) for part in parts)
    return ExtractionTask(train, validation, settings, recipe.training)


def _published_task(
    recipe: Recipe, network: nn.Module, parts: tuple[Table, Table], cache: Path, workers: int
) -> Task:
    settings = make_settings(PublishedSettings, recipe.study.settings, recipe.name)
    classes, grid = cast(KerasUNet, network).n_classes, settings.conform
    train, validation = (prepare_pairs(part, cache, grid, classes, workers) for part in parts)
    return PublishedTask(train, validation, settings, recipe.training, classes)


def _trainable(recipe: Recipe, network: nn.Module) -> nn.Module:
    """The network as the loop trains it: the published one without its last activation."""
    if recipe.mode != "published":
        return network
    trained = KerasUNetLogOdds(**recipe.network.options)
    trained.load_state_dict(network.state_dict())
    return trained
