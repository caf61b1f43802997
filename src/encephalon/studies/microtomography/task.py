# SPDX-License-Identifier: Apache-2.0
"""Learn regions, structures or representations from tiles: batches, and how an epoch is judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.errors import RecipeError, TableError
from encephalon.io.volumes.opening import open_volume
from encephalon.metrics.classification import classification_scores
from encephalon.metrics.label_maps import ClassCounts, count_classes
from encephalon.models.catalogue import find_model
from encephalon.models.folder import WEIGHTS
from encephalon.networks.tile_classifier import FeaturesAndLogits
from encephalon.recipes.schema import Network, Training, class_names
from encephalon.studies.microtomography.data import (
    TileDataset,
    measure_intensity,
    normalised,
    prepare_tiles,
)
from encephalon.studies.microtomography.settings import (
    SELF_SUPERVISED,
    MicrotomographySettings,
    sees_volumes,
)
from encephalon.studies.microtomography.tiles import IGNORED
from encephalon.tables.schema import Table
from encephalon.training.dataset import TRAINING, shuffled
from encephalon.training.loop import Batch
from encephalon.training.losses import class_shares
from encephalon.training.run import PACKAGES, Expected, Fitted, Learner, ModelFacts
from encephalon.training.self_supervised import SelfSupervision
from encephalon.training.transfer import load_encoder
from encephalon.transforms.tiles import Tile, apply, draw

__all__ = ["TileLearner", "TileTask", "ViewsTask"]

#: Stream number that keeps the order of the tiles and their variation apart for every seed.
ORDER = 10
#: Side of a tile, voxels, that a network is tried with before the table is known.
TRIED = 64


class TileTask:
    """Batches drawn from the seed and the batch number alone; every tile once, then all anew."""

    def __init__(
        self,
        train: TileDataset,
        validation: TileDataset,
        settings: MicrotomographySettings,
        training: Training,
        classes: int,
        flat: bool,
    ) -> None:
        self.train, self.validation, self.classes, self.flat = train, validation, classes, flat
        self.settings, self.training = settings, training
        self.operations: Sequence[Any] = settings.augmentation
        self.intensity = measure_intensity(train, settings.intensity)

    def batch(self, number: int) -> Batch:
        """Tiles (B, 1, [Z,] Y, X), and shares of each class (B, classes) or (B, classes, ...)."""
        rng = np.random.default_rng([self.training.seed, TRAINING, number])
        tiles = self.varied(rng, [self.tile(self.train, row) for row in self.rows(number)])
        image = self.stacked(tiles)
        if self.settings.target == "region":
            return image, torch.from_numpy(np.stack([np.asarray(tile.shares) for tile in tiles]))
        masks = torch.from_numpy(np.stack([np.asarray(tile.mask) for tile in tiles]))
        masks = masks[:, 0] if self.flat else masks
        return image, class_shares(masks, self.classes, IGNORED)

    def rows(self, number: int) -> list[int]:
        """The tiles of a batch: the stream is one permutation of all tiles after another."""
        seed = (self.training.seed, ORDER)
        rows = shuffled(number, self.training.batch_size, len(self.train), seed)
        return [int(row) for row in rows]

    def tile(self, dataset: TileDataset, row: int) -> Tile:
        """One tile, its levels between 0 and 1."""
        image = dataset.levels(row, self.intensity)[None]
        if self.settings.target == "structure":
            return Tile(image, dataset.labels(row))
        if self.settings.target == "region":
            return Tile(image, shares=np.eye(self.classes, dtype=np.float32)[dataset.truth[row]])
        return Tile(image)

    def varied(self, rng: np.random.Generator, tiles: Sequence[Tile]) -> list[Tile]:
        """The tiles with the recipe's operations."""
        return apply(tiles, self.operations, draw(rng, self.operations, len(tiles)))

    def stacked(self, tiles: Sequence[Tile]) -> Tensor:
        """What the network sees of tiles: (B, 1, Z, Y, X), or single slices (B, 1, Y, X)."""
        sizes = {tile.image.shape for tile in tiles}
        if len(sizes) > 1:
            raise TableError(
                f"The tiles of a batch have the sizes {sorted(sizes)}, and must have one: set "
                "training.batch_size to 1, or cut tiles of one size."
            )
        images = torch.from_numpy(np.stack([normalised(t.image, self.intensity) for t in tiles]))
        return images[:, :, 0] if self.flat else images

    @torch.no_grad()
    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Scores of the validation tiles, whole and as they are."""
        if not len(self.validation):
            return {}

        def told(tile: Tile) -> Tensor:
            logits: Tensor = network(self.stacked([tile]).to(device)).float().cpu()
            return logits

        if self.settings.target == "region":
            rows = np.flatnonzero(self.validation.truth >= 0).tolist()
            logits = torch.cat([told(self.tile(self.validation, row)) for row in rows])
            probabilities = logits.double().softmax(dim=1).numpy()
            return classification_scores(self.validation.truth[rows], probabilities)
        tiles = (self.tile(self.validation, row) for row in range(len(self.validation)))
        judged = [self._judged(told(tile), tile) for tile in tiles]
        pooled = ClassCounts.stacked([counts for counts, _ in judged]).pooled
        means = {name: float(np.nanmean(pooled.metric(name)[0, 1:])) for name in ("f1", "iou")}
        return {"loss": float(np.mean([loss for _, losses in judged for loss in losses])), **means}

    def _judged(self, logits: Tensor, tile: Tile) -> tuple[ClassCounts, list[float]]:
        """The counts of the voxels of one tile, and its cross-entropy if any voxel is known."""
        mask = np.asarray(tile.mask).reshape(logits.shape[2:])
        known = mask != IGNORED
        counts = count_classes(logits[0].argmax(0), mask, self.classes, known)
        truth = torch.from_numpy(mask)[None].long()
        loss = nnf.cross_entropy(logits, truth, ignore_index=IGNORED)
        return counts, [float(loss)] if known.any() else []


class ViewsTask(SelfSupervision, TileTask):
    """Two views of each tile, and a pool of other tiles; nothing is judged until the last epoch."""

    def __init__(
        self,
        train: TileDataset,
        validation: TileDataset,
        settings: MicrotomographySettings,
        training: Training,
        flat: bool,
    ) -> None:
        TileTask.__init__(self, train, validation, settings, training, 0, flat)
        asked, steps = settings.self_supervision, training.steps_per_epoch
        SelfSupervision.__init__(
            self,
            training.epochs * steps,
            asked.momentum,
            asked.mined_weight,
            mined_ramp=asked.ramp_epochs * steps,
        )

    def batch(self, number: int) -> Batch:
        """Views (B, 1, [Z,] Y, X) twice and, of a method that mines, of the pool; no target."""
        rng = np.random.default_rng([self.training.seed, TRAINING, number])
        tiles = [self.tile(self.train, row) for row in self.rows(number)]
        views = [tiles, tiles]
        if self.settings.method != "byol":
            rows = rng.choice(len(self.train), self.settings.self_supervision.pool)
            views.append([self.tile(self.train, int(row)) for row in rows])
        return tuple(self.stacked(self.varied(rng, each)) for each in views), torch.zeros(1)

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Nothing: a representation has no truth to be judged by."""
        del network, device
        return {}


class TileLearner(Learner[MicrotomographySettings]):
    """Trains a network on tiles, by a recipe of either mode."""

    schema = MicrotomographySettings

    @property
    def network(self) -> Network:
        """Its outputs are the classes; its method is that of the study."""
        settings, network = self.settings, self.recipe.network
        if settings.method in SELF_SUPERVISED:
            known: dict[str, Any] = {"method": settings.method}
        else:
            known = {"classes": len(self.classes)} if self.classes else {}
        return network.model_copy(update={"options": {**network.options, **known}})

    @property
    def flat(self) -> bool:
        """Whether the network sees single slices."""
        return not sees_volumes(self.recipe.network)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of tiles or voxels, in order."""
        if self.settings.target == "region":
            return class_names(self.recipe)
        return self.settings.structures

    @property
    def expected(self) -> list[Expected]:
        """Logits of each class, of a tile or of its voxels."""
        if self.settings.target == "representation":
            return []
        sides = (TRIED, TRIED) if self.flat else (16, TRIED, TRIED)
        whole = sides if self.settings.target == "structure" else ()
        said = f"tell the {len(self.classes)} classes {', '.join(self.classes)}"
        return [Expected(((1, 1, *sides),), (1, len(self.classes), *whole), said)]

    def build(self) -> nn.Module:
        """The network, its encoder perhaps that of another model."""
        network = super().build()
        if self.settings.encoder_from is not None:
            encoder = getattr(network, "encoder", None)
            if encoder is None:
                raise RecipeError(
                    f"{self.recipe.name}: the network {self.network.name!r} has no encoder, which "
                    "study.encoder_from would fill: use a tile network, or training.start_from."
                )
            path = find_model(self.settings.encoder_from).path
            load_encoder(network, path / WEIGHTS if path.is_dir() else path)
        return network

    @property
    def models(self) -> dict[str, str | None]:
        """The model whose encoder is taken."""
        return {"study.encoder_from": self.settings.encoder_from}

    def prepare(self, part: Table, cache: Path, workers: int) -> TileDataset:
        """The tiles of a part; those without a region are left out where regions are learnt."""
        if self.settings.target == "region":
            target = str(part.columns.target)
            kept = [n for n, cell in enumerate(part.texts(target)) if cell]
            if not kept:
                raise TableError(
                    f"{part.source}: no tile to learn from has a {target!r}: give the benchmark "
                    "labels of regions, or choose a recipe that needs none."
                )
            part = part.select(kept)
        tiles = prepare_tiles(part, cache, workers, self.settings.structures)
        deep = [row for row, place in enumerate(tiles.places) if place.size[0] > 1]
        if self.flat and deep:
            raise TableError(
                f"{part.source}, row {part.row(deep[0])}: the tile has "
                f"{tiles.places[deep[0]].size[0]} slices, and the network sees one at a time: set "
                "network.options.spatial_dims to 3, or cut tiles of one slice."
            )
        return tiles

    def task(self, train: TileDataset, validation: TileDataset) -> TileTask:
        """Batches of tiles; raises TableError where all that train are of one region."""
        if self.settings.target == "region" and len(set(train.truth.tolist())) == 1:
            only = self.classes[int(train.truth[0])]
            raise TableError(
                f"{train.table.source}: all {len(train)} tiles that train are of the region "
                f"{only!r}, so there is nothing to tell apart: add tiles of another one, or choose "
                "a recipe that needs no regions, such as byol."
            )
        if self.settings.method in SELF_SUPERVISED:
            return ViewsTask(train, validation, self.settings, self.recipe.training, self.flat)
        count = len(self.classes)
        return TileTask(train, validation, self.settings, self.recipe.training, count, self.flat)

    def kept(self, state: dict[str, Any]) -> dict[str, Any]:
        """Of a self-supervised network the encoder alone."""
        if self.settings.method not in SELF_SUPERVISED:
            return state
        return {name: value for name, value in state.items() if name.startswith("encoder.")}

    def exported(self, network: nn.Module) -> nn.Module:
        """A classifier gives its representation before its logits."""
        classifier: Any = network
        return FeaturesAndLogits(classifier) if self.settings.target == "region" else network

    def measure(self, fitted: Fitted) -> dict[str, Any]:
        """How tiles are normalised."""
        task: Any = fitted.task
        return {"intensity": task.intensity.model_dump(mode="json", exclude_none=True)}

    def facts(self, table: Table) -> ModelFacts:
        """The classes, and what tiles look like."""
        sides = [int(table.numbers(f"size_{axis}")[0]) for axis in "zyx"]
        image = next(iter(table.columns.inputs.values()))
        spacing = open_volume(table.path(table.texts(image)[0])).spacing
        boxes = sorted(set(table.texts("box"))) if table.has("box") else []
        return ModelFacts(
            labels=dict(enumerate(self.classes)),
            preprocessing={
                "axes": "z, y, x",
                "tile": sides,
                "spacing": spacing,
                "classes": list(self.classes),
            },
            training_data={"boxes": boxes},
            example=(1, 1, *(sides[1:] if self.flat else sides)),
            packages=(*PACKAGES, "monai"),
        )
