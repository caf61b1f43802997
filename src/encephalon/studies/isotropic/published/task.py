# SPDX-License-Identifier: Apache-2.0
"""Learn as BABY-AI did: every patch of every decimated volume, in the same order in each epoch.

`encephalon train` by a recipe of mode "published": the published training of BABY-AI.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.networks import build_network
from encephalon.recipes import make_settings
from encephalon.recipes.schema import Recipe, Training
from encephalon.studies.isotropic.fitting import Fitted
from encephalon.studies.isotropic.published.data import Head, decimated, load_heads
from encephalon.studies.isotropic.published.preprocessing import cut_patches, patch_starts
from encephalon.studies.isotropic.published.settings import (
    PublishedSettings,
    check_published_recipe,
)
from encephalon.tables.schema import Table
from encephalon.training.loop import Loop, make_fabric
from encephalon.training.losses import weighted_loss
from encephalon.training.parts import training_parts
from encephalon.training.runs import Means, RunFolder
from encephalon.training.transfer import start_from

__all__ = ["PublishedTask", "fit_published"]

Float = NDArray[np.float32]

logger = logging.getLogger(__name__)


class PublishedTask:
    """Batches of patches in the published order, and the loss over all validation patches.

    The volumes (every head, plane and factor) are shuffled once; then come all patches of the
    first in raster order, all of the second, and so on, and from the beginning again. A batch is
    therefore full of neighbours, mostly of one volume (spec baby-ai, section 5).

    Parameters
    ----------
    train, validation
        The heads to learn from and to judge by.
    settings, training
        The `[study]` and `[training]` sections of the recipe.

    Attributes
    ----------
    steps
        Batches that hold every patch once; the last of them may be smaller.
    """

    def __init__(
        self,
        train: Sequence[Head],
        validation: Sequence[Head],
        settings: PublishedSettings,
        training: Training,
    ) -> None:
        self.settings, self.training = settings, training
        volumes = decimated(train, settings)
        order = np.random.default_rng(training.seed).permutation(len(volumes))
        self.volumes = [volumes[int(place)] for place in order]
        self.validation = decimated(validation, settings)
        self.starts = patch_starts(settings.padded, settings.patch, settings.stride)
        self.patches = len(self.volumes) * len(self.starts)
        self.steps = -(-self.patches // training.batch_size)
        self._held: tuple[int, Float, Float] | None = None
        if self.steps != training.steps_per_epoch:
            logger.warning(
                "An epoch has %d steps, but %d of them see every patch once, as published: set "
                "training.steps_per_epoch to that.",
                training.steps_per_epoch,
                self.steps,
            )

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """T1w and decimated T2w (B, 2, N, N, N), and the true T2w (B, 1, N, N, N)."""
        size = self.training.batch_size
        first = number % self.steps * size
        stop = min(first + size, self.patches)
        each = len(self.starts)
        pieces = []
        for place in range(first // each, -(-stop // each)):
            here = slice(max(first - place * each, 0), min(stop - place * each, each))
            pieces.append(self._cut(*self._volume(place), self.starts[here]))
        given, wanted = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        return given, wanted

    @torch.no_grad()
    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """The loss, as the mean over all patches of all validation volumes."""
        loss, size = weighted_loss(self.training), self.training.batch_size
        total, count = 0.0, 0
        for volume in self.validation:
            pair = volume.read(self.settings.padded)
            for first in range(0, len(self.starts), size):
                given, wanted = self._cut(*pair, self.starts[first : first + size])
                said = network(given.to(device)).float()
                total += float(loss(said, wanted.to(device))[0]) * len(given)
                count += len(given)
        return {"loss": total / count}

    def _volume(self, place: int) -> tuple[Float, Float]:
        """The volume at `place` in the shuffled order; the latest is kept, as it gives the next."""
        held = self._held
        if held is None or held[0] != place:
            self._held = held = (place, *self.volumes[place].read(self.settings.padded))
        return held[1], held[2]

    def _cut(self, given: Float, wanted: Float, starts: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        patch = self.settings.patch
        cut = (cut_patches(volume, starts, patch) for volume in (given, wanted))
        first, second = (torch.from_numpy(patches) for patches in cut)
        return first, second


def fit_published(
    recipe: Recipe,
    table: Table,
    run: RunFolder,
    means: Means,
) -> Fitted:
    """Train as published: the weights with the smallest validation loss are the result.

    Raises RunError for a part without rows, and RecipeError, TableError, ContentError or ModelError
    for what cannot be trained.
    """
    check_published_recipe(recipe)
    settings = make_settings(PublishedSettings, recipe.study.settings, recipe.name)
    parts, workers = training_parts(table), means.workers
    train, validation = (load_heads(part, settings, workers) for part in parts)
    torch.manual_seed(recipe.training.seed)
    network = build_network(recipe.network.name, recipe.network.options)
    if recipe.training.start_from and not run.checkpoint.exists():
        start_from(network, recipe.training.start_from)
    task = PublishedTask(train, validation, settings, recipe.training)
    fabric = make_fabric(means.device, recipe.training.precision, means.devices)
    loop = Loop(task, network, recipe.training, run, fabric, means.report)
    if means.resume:
        loop.resume()
    return Fitted(network, loop.fit(), loop.progress.history)
