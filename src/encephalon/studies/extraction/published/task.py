# SPDX-License-Identifier: Apache-2.0
"""Learn masks as the published networks did: moved volumes, standardised, cut into blocks.

Blocks are numbered through: a visit to a volume moves it once and gives all its blocks, in an
order of its own; every volume is visited once before any is visited again. What a block holds
depends on the seed and its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import RecipeError
from encephalon.studies.extraction.data import count_scans
from encephalon.studies.extraction.published.data import Pair, prepare_pairs
from encephalon.studies.extraction.published.preprocessing import z_score
from encephalon.studies.extraction.published.settings import PublishedSettings
from encephalon.studies.extraction.settings import LABELS
from encephalon.training.run import Learner, ModelFacts
from encephalon.transforms.spatial import draw_rigid, transform_pair

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from encephalon.recipes.schema import Network, Training
    from encephalon.tables.schema import Table

__all__ = ["PublishedSettings", "PublishedTask", "cut", "one_hot", "overlap"]

#: Stream numbers that keep the draws of visits and those of their order apart for every seed.
VISITS, ORDERS = 0, 1

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]


class PublishedTask:
    """Batches of blocks of conformed pairs, and how an epoch is judged.

    train, validation   The pairs to learn from and to judge by.
    settings, training  The `[study]` and `[training]` sections of the recipe.
    classes             Output channels of the network: 1 for a mask, more for classes that exclude
                        each other.
    """

    def __init__(
        self,
        train: Sequence[Pair],
        validation: Sequence[Pair],
        settings: PublishedSettings,
        training: Training,
        classes: int = 1,
    ) -> None:
        self.train, self.validation = list(train), list(validation)
        self.settings, self.training, self.classes = settings, training, classes
        sizes = zip(settings.conform.shape, settings.block, strict=True)
        self.blocks = int(np.prod([size // block for size, block in sizes]))
        self._visited: tuple[int, Float, Labels] | None = None

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Blocks (B, 1, I, J, K), standardised with their volume, and targets (B, C, I, J, K)."""
        import torch

        size = self.training.batch_size
        pairs = [self._block(index) for index in range(number * size, (number + 1) * size)]
        images, targets = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        return torch.from_numpy(images), torch.from_numpy(targets)

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Loss over blocks, Dice and Jaccard over whole masks; means over still volumes."""
        import torch

        from encephalon.training.losses import WeightedLoss

        loss = WeightedLoss(self.training.losses)
        scores: dict[str, list[float]] = {"loss": [], "dice": [], "jaccard": []}
        for pair in self.validation:
            image, labels = pair.read()
            common, total = np.zeros((2, self.classes), np.int64)
            truths = cut(labels, self.settings.block)
            for block, classes in zip(self._cut(image, pair), truths, strict=True):
                target = one_hot(classes, self.classes)
                with torch.no_grad():
                    said = network(torch.from_numpy(block[None, None]).to(device)).float().cpu()
                scores["loss"].append(float(loss(said, torch.from_numpy(target[None]))[0]))
                mask, truth = self._mask(said[0].sigmoid().numpy()), target > 0.5
                common += (mask & truth).sum(axis=(1, 2, 3))
                total += mask.sum(axis=(1, 2, 3)) + truth.sum(axis=(1, 2, 3))
            for name, value in overlap(common, total).items():
                scores[name].append(value)
        return {name: float(np.mean(values)) for name, values in scores.items()}

    def _block(self, index: int) -> tuple[Float, Float]:
        """Image (1, I, J, K) and target (C, I, J, K) of one block."""
        visit, place = divmod(index, self.blocks)
        visited = self._visited
        if visited is None or visited[0] != visit:
            self._visited = visited = (visit, *self._visit(visit))
        _, images, labels = visited
        return images[place][None], one_hot(labels[place], self.classes)

    def _visit(self, visit: int) -> tuple[Float, Labels]:
        """All blocks (N, I, J, K) of one volume, moved, in the order in which it gives them."""
        seed = self.training.seed
        turn, place = divmod(visit, len(self.train))
        order = np.random.default_rng([seed, ORDERS, turn]).permutation(len(self.train))
        rng = np.random.default_rng([seed, VISITS, visit])
        pair = self.train[int(order[place])]
        image, labels = transform_pair(*pair.read(), draw_rigid(rng, self.settings.augmentation))
        places = rng.permutation(self.blocks)
        return self._cut(image, pair)[places], cut(labels, self.settings.block)[places]

    def _cut(self, image: NDArray[Any], pair: Pair) -> Float:
        """The blocks (N, I, J, K) of a volume, standardised as a whole."""
        return cut(z_score(image, str(pair.path)), self.settings.block)

    def _mask(self, chance: Float) -> Mask:
        """Probabilities (C, I, J, K) as masks: one above the threshold, or the likeliest class."""
        if self.classes == 1:
            above: Mask = chance > self.settings.threshold
            return above
        likeliest = chance.argmax(axis=0)
        return np.stack([likeliest == label for label in range(self.classes)])


def cut(volume: NDArray[Any], block: tuple[int, int, int]) -> NDArray[Any]:
    """The blocks (N, i, j, k) of `volume` (I, J, K), which they fill, in C order."""
    counts = [size // edge for size, edge in zip(volume.shape, block, strict=True)]
    split = volume.reshape(counts[0], block[0], counts[1], block[1], counts[2], block[2])
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, *block)


def one_hot(labels: NDArray[Any], classes: int) -> Float:
    """Labels (I, J, K) as a float32 target (C, I, J, K); for one class, whether there is any."""
    if classes == 1:
        return np.asarray(labels != 0, np.float32)[None]
    return np.stack([labels == label for label in range(classes)]).astype(np.float32)


def overlap(common: Counts, total: Counts) -> dict[str, float]:
    """Mean Dice and Jaccard over the classes but a background, from voxels counted per class.

    `common` (C,) are the voxels in both masks, `total` (C,) the sum of both. Both empty is 1.
    """
    if len(total) > 1:
        common, total = common[1:], total[1:]
    empty = total == 0
    dice = np.where(empty, 1, 2 * common / np.maximum(total, 1))
    jaccard = np.where(empty, 1, common / np.maximum(total - common, 1))
    return {"dice": float(dice.mean()), "jaccard": float(jaccard.mean())}


class PublishedLearner(Learner[PublishedSettings]):
    """Trains a network as the published ones were trained, by a recipe of mode "published"."""

    schema = PublishedSettings

    @property
    def network(self) -> Network:
        """The published network, of any size."""
        asked = self.recipe.network
        if asked.name != "keras-unet":
            raise RecipeError(
                f"{self.recipe.name}: a recipe of mode 'published' trains the network "
                f"'keras-unet', not {asked.name!r}: change network.name or mode."
            )
        count, names = int(asked.options.get("n_classes", 1)), self.settings.classes
        if names and len(names) != max(2, count):
            raise RecipeError(
                f"{self.recipe.name}: study.classes names {len(names)} classes from the background "
                f"on, but network.options.n_classes is {count}: make them the same."
            )
        return asked

    @property
    def classes(self) -> int:
        """Output channels of the network."""
        return int(self.network.options.get("n_classes", 1))

    @property
    def names(self) -> tuple[str, ...]:
        """What the labels mean, from the background on."""
        if self.settings.classes:
            return self.settings.classes
        if self.classes <= 2:
            return ("background", LABELS[self.settings.target])
        return ("background", *(f"class {n}" for n in range(1, self.classes)))

    def build(self) -> nn.Module:
        """The network without its last activation."""
        from encephalon.networks.keras_unet import KerasUNetLogOdds

        drawn = super().build()
        trained = KerasUNetLogOdds(**self.network.options)
        trained.load_state_dict(drawn.state_dict())
        return trained

    def prepare(self, part: Table, cache: Path, workers: int) -> list[Pair]:
        """One conformed pair a row."""
        return prepare_pairs(part, cache, self.settings.conform, self.classes, workers)

    def task(self, train: Sequence[Pair], validation: Sequence[Pair]) -> PublishedTask:
        """Masks of blocks."""
        return PublishedTask(train, validation, self.settings, self.recipe.training, self.classes)

    def facts(self, table: Table) -> ModelFacts:
        """The settings, which are all of the preprocessing."""
        return ModelFacts(
            labels=dict(enumerate(self.names)),
            preprocessing={"settings": self.recipe.study.settings},
            training_data=count_scans(table),
        )
