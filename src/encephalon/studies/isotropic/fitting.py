# SPDX-License-Identifier: Apache-2.0
"""`encephalon train` for the isotropic study: from a recipe and a table to a trained state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from encephalon.errors import RecipeError
from encephalon.networks import build_network
from encephalon.networks.shape_inference import meta_network, output_shape
from encephalon.recipes import make_settings
from encephalon.recipes.schema import Network, Recipe
from encephalon.studies.isotropic.data import load_sources
from encephalon.studies.isotropic.reconstruction.network import CHANNELS, NetworkMethod
from encephalon.studies.isotropic.settings import IsotropicSettings
from encephalon.studies.isotropic.task import IsotropicTask
from encephalon.tables.schema import Table
from encephalon.training.loop import Loop, make_fabric
from encephalon.training.parts import training_parts
from encephalon.training.runs import Means, RunFolder
from encephalon.training.transfer import start_from

__all__ = ["Fitted", "fit"]

#: Largest share of a network's correction that is used. Painted heads ask for all of it, but a real
#: scan that was itself resampled from thick slices became worse than the guided estimate with more
#: than half of it, by 0.1 dB with all (patient07 of Lesjak et al. 2017, axial slices of 4 mm).
MOST_TRUST = 0.4


@dataclass(frozen=True)
class Fitted:
    """What training leaves behind; `trust` and `deviation_scale` are those of the settings."""

    network: nn.Module
    state: dict[str, Tensor]
    history: list[dict[str, float]]
    trust: float = 1.0
    deviation_scale: float = 1.0


def fit(
    recipe: Recipe,
    table: Table,
    run: RunFolder,
    means: Means,
) -> Fitted:
    """Train the network of `recipe` on the "train" rows, judged by the "validation" rows.

    Raises RunError, TableError, RecipeError or ModelError for what cannot be trained.
    """
    settings = make_settings(IsotropicSettings, recipe.study.settings, recipe.name)
    torch.manual_seed(recipe.training.seed)
    asked = _with_channels(recipe)
    network = build_network(asked.name, asked.options)
    # Convolutions of few channels are half as fast in the other order of memory.
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    train, validation = (load_sources(part, means.workers) for part in training_parts(table))
    task = IsotropicTask(train, validation, settings, recipe.training)
    if recipe.training.start_from and not run.checkpoint.exists():
        start_from(network, recipe.training.start_from)
    fabric = make_fabric(means.device, recipe.training.precision, means.devices)
    loop = Loop(task, network, recipe.training, run, fabric, means.report)
    if means.resume:
        loop.resume()
    state = loop.fit()
    network.load_state_dict(state)
    measured = measure(network.cpu(), task)
    return Fitted(network, state, loop.progress.history, *measured)


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the network of `recipe` can be built and suits its study."""
    if recipe.mode == "published":
        meta_network(recipe.network)
        return
    settings = make_settings(IsotropicSettings, recipe.study.settings, recipe.name)
    network = meta_network(_with_channels(recipe))
    multiple = getattr(network, "multiple", 1)
    if NetworkMethod.multiple % multiple:
        raise RecipeError(
            f"{recipe.name}: the network needs multiples of {multiple} voxels, but scans are cut "
            f"into multiples of {NetworkMethod.multiple}: give network.options.channels fewer "
            "levels."
        )
    cube = (settings.patch,) * 3
    found = output_shape(network, recipe.name, (1, len(CHANNELS), *cube)) or (1, 2, *cube)
    if found != (1, 2, *cube):
        raise RecipeError(
            f"{recipe.name}: the network is to give an image and its error, (2, {settings.patch}, "
            f"...), but gives {found[1:]}: change network."
        )


def _with_channels(recipe: Recipe) -> Network:
    """The network of `recipe` with as many inputs as there are channels."""
    options = {**recipe.network.options, "inputs": len(CHANNELS)}
    return recipe.network.model_copy(update={"options": options})


@torch.no_grad()
def measure(network: nn.Module, task: IsotropicTask) -> tuple[float, float]:
    """How much of the network's correction serves, and how much larger errors are than it says.

    The first is the least-squares share of the correction in what the guided estimate lacks, from 0
    to `MOST_TRUST`; the second the root of the mean squared error over that of the mean predicted
    variance (a Laplace distribution of scale b has the variance 2 b²). Both in the foreground of
    the cubes that validate, which are no training data.
    """
    network.eval()
    sums = np.zeros(4)
    for cube in task.validation_cubes():
        answer = network(torch.from_numpy(cube.features)[None])[0].numpy()
        inside = cube.target[1] == 1
        start = cube.features[0] + cube.features[1]
        correction, lacking = (answer[0] - start)[inside], (cube.target[0] - start)[inside]
        sums += [
            np.vdot(correction, lacking),
            np.vdot(correction, correction),
            np.vdot(lacking, lacking),
            np.sum(2 * np.exp(2 * answer[1][inside])),
        ]
    shared, power, missing, variance = sums
    trust = float(np.clip(shared / max(power, 1e-12), 0, MOST_TRUST))
    left = missing - 2 * trust * shared + trust**2 * power
    return trust, float(np.sqrt(max(left, 1e-12) / max(variance, 1e-12)))
