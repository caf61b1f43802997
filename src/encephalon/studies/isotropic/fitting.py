# SPDX-License-Identifier: Apache-2.0
"""`encephalon train` for the isotropic study: from a recipe and a table to a trained state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from encephalon.errors import RunError
from encephalon.networks import build_network
from encephalon.recipes import make_settings
from encephalon.recipes.schema import Recipe
from encephalon.studies.isotropic.cubes import Source, draw_cube
from encephalon.studies.isotropic.features import CHANNELS
from encephalon.studies.isotropic.settings import IsotropicSettings
from encephalon.studies.isotropic.sources import load_sources
from encephalon.studies.isotropic.training import VALIDATION, IsotropicTask
from encephalon.tables import Table
from encephalon.training.loop import Loop, Report, make_fabric
from encephalon.training.runs import RunFolder
from encephalon.training.transfer import start_from

__all__ = ["Fitted", "fit"]


@dataclass(frozen=True)
class Fitted:
    """What training leaves behind; `deviation_scale` is that of the settings, measured."""

    network: nn.Module
    state: dict[str, Tensor]
    history: list[dict[str, float]]
    deviation_scale: float = 1.0


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
    """Train the network of `recipe` on the "train" rows, judged by the "validation" rows.

    Raises RunError, TableError, RecipeError or ModelError for what cannot be trained.
    """
    settings = make_settings(IsotropicSettings, recipe.study.settings, recipe.name)
    torch.manual_seed(recipe.training.seed)
    network = build_network(
        recipe.network.name, {**recipe.network.options, "inputs": len(CHANNELS)}
    )
    # Convolutions of few channels are half as fast in the other order of memory.
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    train, validation = (load_sources(_part(table, name), workers) for name in _PARTS)
    task = IsotropicTask(train, validation, settings, recipe.training)
    if recipe.training.start_from and not (resume and run.checkpoint.exists()):
        start_from(network, recipe.training.start_from)
    fabric = make_fabric(device, recipe.training.precision, devices)
    loop = Loop(task, network, recipe.training, run, fabric, report)
    if resume:
        loop.resume()
    state = loop.fit()
    network.load_state_dict(state)
    scale = measure_deviation(network.cpu(), validation, settings, recipe.training.seed)
    return Fitted(network, state, loop.progress.history, scale)


_PARTS = ("train", "validation")


def _part(table: Table, name: str) -> Table:
    part = table.part(name)
    if not len(part):
        message = f"{table.source} has no row whose split is {name!r}: split the table first."
        raise RunError(message)
    return part


@torch.no_grad()
def measure_deviation(
    network: nn.Module, sources: Sequence[Source], settings: IsotropicSettings, seed: int
) -> float:
    """How many times larger the errors of `sources` scatter than the network says.

    The root of the mean squared error over that of the mean predicted variance, in the foreground;
    a Laplace distribution of scale b has the variance 2 b².
    """
    squares, variances = [], []
    network.eval()
    for index in range(settings.validation_samples):
        rng = np.random.default_rng([seed, VALIDATION, index])
        source, other = (sources[(index + step) % len(sources)] for step in (0, 1))
        cube = draw_cube(rng, source, other, settings.patch, settings.scanner)
        answer = network(torch.from_numpy(cube.features)[None])[0].numpy()
        inside = cube.target[1] == 1
        squares.append(np.sum((answer[0] - cube.target[0])[inside] ** 2))
        variances.append(np.sum(2 * np.exp(2 * answer[1][inside])))
    return float(np.sqrt(np.sum(squares) / max(float(np.sum(variances)), 1e-12))) or 1.0
