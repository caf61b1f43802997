# SPDX-License-Identifier: Apache-2.0
"""`encephalon train` for the extraction study: from a recipe and a table to a trained state."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from encephalon.errors import RunError
from encephalon.networks import build_network
from encephalon.recipes import make_settings
from encephalon.recipes.schema import Recipe
from encephalon.studies.extraction.heads import prepare_heads
from encephalon.studies.extraction.options import ExtractionSettings
from encephalon.studies.extraction.training import ExtractionTask
from encephalon.tables import Table
from encephalon.training.loop import Loop, Report, make_fabric
from encephalon.training.runs import RunFolder


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
    *,
    resume: bool,
    device: str,
    devices: int = 1,
    workers: int = 2,
    report: Report | None = None,
) -> Fitted:
    """Train the sound network of `recipe` on the "train" rows, judged by the "validation" rows."""
    import torch

    settings = make_settings(ExtractionSettings, recipe.study.settings, recipe.name)
    parts = {name: table.part(name) for name in ("train", "validation")}
    for name, part in parts.items():
        if not len(part):
            message = f"{table.source} has no row whose split is {name!r}: split the table first."
            raise RunError(message)
    heads = {name: prepare_heads(part, run.cache, workers) for name, part in parts.items()}
    task = ExtractionTask(heads["train"], heads["validation"], settings, recipe.training)
    torch.manual_seed(recipe.training.seed)
    network = build_network(recipe.network.name, recipe.network.options)
    fabric = make_fabric(device, recipe.training.precision, devices)
    loop = Loop(task, network, recipe.training, run, fabric, report)
    if resume:
        loop.resume()
    state = loop.fit()
    return Fitted(network, state, loop.progress.history)
