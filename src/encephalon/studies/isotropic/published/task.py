# SPDX-License-Identifier: Apache-2.0
"""`encephalon train` by a recipe of mode "published": the published training of BABY-AI.

It learns every patch of every downsampled volume, in the same order in each epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.recipes.schema import Training
from encephalon.studies.isotropic.data import count_pairs
from encephalon.studies.isotropic.published.data import (
    Head,
    decimated,
    load_heads,
    split_as_published,
)
from encephalon.studies.isotropic.published.preprocessing import cut_patches, patch_starts
from encephalon.studies.isotropic.published.settings import PublishedSettings
from encephalon.studies.isotropic.reconstruction.network import PERCENTILES
from encephalon.tables.schema import Table
from encephalon.training.losses import WeightedLoss
from encephalon.training.run import Learner, ModelFacts

Float = NDArray[np.float32]
logger = logging.getLogger(__name__)


class PublishedTask:
    """Batches of patches in the published order, and the loss over all validation patches.

    The volumes (every head, plane and factor) are shuffled once; then come all patches of the
    first in raster order, all of the second, and so on, and from the beginning again. A batch is
    therefore full of neighbours, mostly of one volume, as in BABY-AI's `scripts/training.py`.

    train, validation   The heads to learn from and to judge by.
    settings, training  The `[study]` and `[training]` sections of the recipe.

    steps  Batches that hold every patch once; the last of them may be smaller.
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
        loss, size = WeightedLoss(self.training.losses), self.training.batch_size
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
        patches = (cut_patches(volume, starts, self.settings.patch) for volume in (given, wanted))
        first, second = map(torch.from_numpy, patches)
        return first, second


class PublishedLearner(Learner[PublishedSettings]):
    """Trains as published: the weights with the smallest validation loss are the result."""

    schema = PublishedSettings

    def split(self, table: Table) -> Table:
        """The published split, unless the table has one."""
        return split_as_published(table)

    def prepare(self, part: Table, cache: Path, workers: int) -> list[Head]:
        """One head a row, on the disk."""
        del cache
        return load_heads(part, self.settings, workers)

    def task(self, train: Sequence[Head], validation: Sequence[Head]) -> PublishedTask:
        """Patches of decimated volumes."""
        return PublishedTask(train, validation, self.settings, self.recipe.training)

    def facts(self, table: Table) -> ModelFacts:
        """How intensities were scaled; there is no graph."""
        low, high = PERCENTILES
        return ModelFacts(
            preprocessing={"intensity": f"percentiles {low:g} and {high:g} above 0 become 0 and 1"},
            training_data=count_pairs(table),
        )
