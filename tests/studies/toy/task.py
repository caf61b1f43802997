# SPDX-License-Identifier: Apache-2.0
"""Learn bright voxels: one weight and one bias."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from encephalon.io.reading import read_image, read_labels
from encephalon.recipes.schema import Section
from encephalon.tables.schema import Table
from encephalon.training.run import Learner, ModelFacts

Pair = tuple[Tensor, Tensor]


class BrightTask(NamedTuple):
    """One scan after the other, and how well a network tells the bright voxels."""

    train: Sequence[Pair]
    validation: Sequence[Pair]

    def batch(self, number: int) -> Pair:
        return self.train[number % len(self.train)]

    @torch.no_grad()
    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        right = [((network(x.to(device)).cpu() > 0) == (y > 0)) for x, y in self.validation]
        return {"accuracy": float(torch.cat(right).float().mean())}


class BrightLearner(Learner[Section]):
    """What the run of this study asks it."""

    schema = Section

    def prepare(self, part: Table, cache: Path, workers: int) -> list[Pair]:
        read = {"image": read_image, "mask": read_labels}
        volumes = [[read[name](part.path(x)).data for x in part.texts(name)] for name in read]
        tensors = [[torch.as_tensor(each)[None, None].float() for each in all_] for all_ in volumes]
        return list(zip(*tensors, strict=True))

    def task(self, train: Sequence[Pair], validation: Sequence[Pair]) -> BrightTask:
        return BrightTask(train, validation)

    def facts(self, table: Table) -> ModelFacts:
        return ModelFacts({0: "dark", 1: "bright"}, example=(1, 1, 4, 4, 4))
