# SPDX-License-Identifier: Apache-2.0
"""Learn bright voxels: one weight and one bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from encephalon.io.reading import read_image, read_labels
from encephalon.recipes.schema import Training
from encephalon.tables.schema import Table
from encephalon.training.dataset import TRAINING, VALIDATION, in_threads
from encephalon.training.run import Expected, Learner, ModelFacts
from tests.studies.toy.study import Settings

Pair = tuple[np.ndarray, np.ndarray]


def one_convolution() -> nn.Module:
    """The network: how bright a voxel is decides."""
    return nn.Conv3d(1, 1, 1)


@dataclass
class BrightTask:
    """Voxels of scans, and how well a network tells the bright ones."""

    train: Sequence[Pair]
    validation: Sequence[Pair]
    voxels: int
    training: Training

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.training.seed, TRAINING, number])
        return self._drawn(rng, self.train[int(rng.integers(len(self.train)))])

    @torch.no_grad()
    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        rng = np.random.default_rng([self.training.seed, VALIDATION])
        drawn = [self._drawn(rng, pair) for pair in self.validation]
        right = [((network(x.to(device)).cpu() > 0) == (y > 0)).float().mean() for x, y in drawn]
        return {"accuracy": float(np.mean(right))}

    def _drawn(self, rng: np.random.Generator, pair: Pair) -> tuple[Tensor, Tensor]:
        places = rng.integers(pair[0].size, size=self.voxels)
        image, mask = (torch.from_numpy(each.ravel()[places]) for each in pair)
        return image.reshape(1, 1, -1, 1, 1), mask.reshape(1, 1, -1, 1, 1)


class BrightLearner(Learner[Settings]):
    """What the run of this study asks it."""

    schema = Settings

    @property
    def expected(self) -> list[Expected]:
        return [Expected(((1, 1, 4, 4, 4),), (1, 1, 4, 4, 4), "say how bright each voxel is")]

    def prepare(self, part: Table, cache: Path, workers: int) -> list[Pair]:
        def load(files: tuple[str, str]) -> Pair:
            image, mask = (part.path(cell) for cell in files)
            return read_image(image).data.astype("f4"), read_labels(mask).data.astype("f4")

        return in_threads(load, zip(part.texts("image"), part.texts("mask"), strict=True), workers)

    def task(self, train: Sequence[Pair], validation: Sequence[Pair]) -> BrightTask:
        return BrightTask(train, validation, self.settings.voxels, self.recipe.training)

    def facts(self, table: Table) -> ModelFacts:
        return ModelFacts({0: "dark", 1: "bright"}, example=(1, 1, 4, 4, 4))
