# SPDX-License-Identifier: Apache-2.0
"""Train one network to tell classes: batches of varied pictures, and how an epoch is judged.

It may be told where to look, where the table knows it. An explanation cannot point at what the
network never learnt to look at: small sets of images can be told apart by their background just as
well. Boxes are used in training only, and only those of the training rows (after "right for the
right reasons", Ross et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.errors import RecipeError
from encephalon.experiments.folds import Fold, Rows, with_fold
from encephalon.explanation.gradcam import find_layer
from encephalon.explanation.location import Box, box_cover, box_of
from encephalon.io.files import expanded
from encephalon.metrics.classification import classification_scores
from encephalon.models.fitted import LAST_STAGE
from encephalon.networks.image_classifier import show_attention
from encephalon.networks.registry import build_network
from encephalon.recipes.loading import dump_recipe
from encephalon.recipes.schema import Recipe, Training, class_names
from encephalon.studies.micrographs.data import ImageDataset
from encephalon.studies.micrographs.settings import (
    MicrographSettings,
    micrograph_settings,
    network_options,
)
from encephalon.tables.encoding import Scaling
from encephalon.tables.reading import table_text
from encephalon.training.dataset import shuffled
from encephalon.training.losses import class_weights
from encephalon.training.run import Expected, fit_network, round_to_half
from encephalon.training.run import check_network as check_shapes
from encephalon.training.runs import RunFolder, TrainingContext
from encephalon.training.transfer import load_encoder, start_from
from encephalon.transforms.parameters import PlanarRanges
from encephalon.transforms.planar import Augmentation, augment, draw_augmentation, move
from encephalon.transforms.resize import View, stride_of

__all__ = [
    "ATTENTION_LOSS",
    "AttentionSupervision",
    "DatasetView",
    "FittedClassifier",
    "MicrographTask",
    "check_network",
    "compute_logits",
    "fit",
    "make_attention_supervision",
]

#: Stream numbers that keep the order of the samples and their variation apart for every seed.
ORDER, VARIATION = 0, 1
#: Pictures that go through the network at once when nothing is learnt from them.
AT_ONCE = 32
Logits = NDArray[np.float32]

#: The loss that knows weights of classes.
WEIGHED_LOSS = "class-cross-entropy"
#: The loss that compares attention with boxes.
ATTENTION_LOSS = "attention"
#: What an unknown target is, for that loss.
UNKNOWN = -1.0


@dataclass(frozen=True, eq=False)
class DatasetView:
    """What a network is shown of a dataset: its pictures, and covariates (N, W)."""

    dataset: ImageDataset
    covariates: Tensor

    def inputs(self, rows: Rows, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Pictures (B, C, S, S) and covariates (B, W) of these rows."""
        pictures = torch.from_numpy(self.dataset.pictures(rows))
        return pictures.to(device), self.covariates[torch.from_numpy(rows)].to(device)


@dataclass(frozen=True, eq=False)
class MicrographTask:
    """Batches drawn from the seed and the batch number alone; every row once, then all anew.

    `validation` may be empty: then nothing is judged, and the last epoch is the result.
    """

    view: DatasetView
    train: Rows
    validation: Rows
    training: Training
    augmentation: PlanarRanges
    classes: int
    repeats: int = 1
    supervision: AttentionSupervision | None = None

    def batch(self, number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Pictures (B, C, S, S) and covariates (B, W); shares of each class (B, classes).

        With supervision the attention it asks for (B, places) stands behind the classes.
        """
        rng = np.random.default_rng([self.training.seed, VARIATION, number])
        rows = self._rows(number)
        images, covariates = self.view.inputs(rows)
        augmentations = [draw_augmentation(rng, self.augmentation) for _ in rows]
        images = torch.stack([augment(*pair) for pair in zip(images, augmentations, strict=True)])
        target = torch.eye(self.classes)[torch.from_numpy(self.view.dataset.truth[rows])]
        if self.supervision is not None:
            target = torch.cat([target, self.supervision.targets(rows, augmentations)], dim=1)
        if self.augmentation.mixup == 0:
            return (images, covariates), target
        kept = float(rng.beta(self.augmentation.mixup, self.augmentation.mixup))
        partner = torch.from_numpy(rng.permutation(len(rows)))
        mixed = [one.lerp(one[partner], 1 - kept) for one in (images, covariates, target)]
        return (mixed[0], mixed[1]), mixed[2]

    def _rows(self, number: int) -> Rows:
        """The rows of a batch: the stream is one permutation of all rows after another."""
        seed = (self.training.seed, ORDER)
        return self.train[shuffled(number, self.training.batch_size, len(self.train), seed)]

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Scores of the validation rows; "loss" is the log loss, unweighted."""
        if not len(self.validation):
            return {}
        found = compute_logits(network, self.view, self.validation, device, self.repeats)
        logits = found[:, : self.classes]  # behind them stands the attention, if it is shown
        probabilities = torch.from_numpy(logits).double().softmax(dim=1).numpy()
        return classification_scores(self.view.dataset.truth[self.validation], probabilities)


@torch.no_grad()
def compute_logits(
    network: nn.Module, view: DatasetView, rows: Rows, device: torch.device, repeats: int = 1
) -> Logits:
    """What comes out of the network for these rows, (B, classes), and attention if it is shown.

    With 2 `repeats` the mean with that of the mirror images. The network must be in evaluation
    mode, and there must be a row.
    """
    found = []
    for start in range(0, len(rows), AT_ONCE):
        images, covariates = view.inputs(rows[start : start + AT_ONCE], device)
        logits = network(images, covariates).float()
        if repeats == 2:
            logits = (logits + network(images.flip(-1), covariates).float()) / 2
        found.append(logits.cpu().numpy())
    return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class AttentionSupervision:
    """Where the answer lies in each picture.

    boxes  (N) a box as shares of the network's picture, None where nobody knows
    size   side of the picture, pixels
    grid   side of the map of attention, places
    """

    boxes: Sequence[Box | None]
    size: int
    grid: int

    def targets(self, rows: Rows, augmentations: Sequence[Augmentation]) -> Tensor:
        """The attention (B, grid * grid) asked for of pictures varied so; -1 if unknown."""
        targets = torch.full((len(rows), self.grid**2), UNKNOWN)
        stride = stride_of(self.size, self.grid)
        for target, row, variation in zip(targets, rows.tolist(), augmentations, strict=True):
            if (box := self.boxes[row]) is not None:
                cover = torch.from_numpy(box_cover((self.size, self.size), box))[None]
                moved = move(cover, variation, "zeros")
                # Cell i of padded convolutions is centred at pixel stride * i, not stride / 2
                # further on.
                pooled = nnf.avg_pool2d(moved, stride, stride, padding=stride // 2)
                target[:] = pooled[:, : self.grid, : self.grid].flatten()
        return targets


def make_attention_supervision(
    recipe: Recipe, dataset: ImageDataset, network: nn.Module
) -> AttentionSupervision | None:
    """The supervision that `recipe` asks for, with `network` set to show its attention; or None.

    It asks for it by the loss "attention". Raises RecipeError where that cannot be.
    """
    if all(loss.name != ATTENTION_LOSS for loss in recipe.training.losses):
        return None
    settings = micrograph_settings(recipe)
    columns, fault = settings.box, None
    if columns is None:
        fault = "needs study.box, the columns that say where the answer lies"
    elif settings.augmentation.mixup:
        fault = "cannot look at two mixed pictures: set study.augmentation.mixup to 0"
    elif not show_attention(network, True):
        fault = 'needs a network that attends: set network.options.pooling to "attention"'
    if fault or columns is None:
        raise RecipeError(f"{recipe.name}: the loss 'attention' {fault}.")
    places = _places(network, dataset.shape) - len(recipe.table.classes)
    boxes = [box_of(row, columns) for row in dataset.cells()]
    seen = [box and _in_picture(box, view) for box, view in zip(boxes, dataset.views, strict=True)]
    return AttentionSupervision(seen, dataset.shape[-1], round(places**0.5))


@torch.no_grad()
def _places(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Columns that come out of `network`, whose weights and statistics stay as they are."""
    was = network.training
    covariates = torch.zeros(1, int(getattr(network, "covariates", 0)))
    columns = network.eval()(torch.zeros(1, *shape), covariates).shape[1]
    network.train(was)
    return int(columns)


def _in_picture(box: Box, view: View) -> Box:
    """A box in shares of the raw image, in shares of the network's picture."""
    (x, y, width, height), raw = box, np.array(view.raw_shape)
    centre = view.to_view(np.array([y, x]) * raw - 0.5) + 0.5
    extent = np.array([height, width]) * raw / view.scale
    (y, x), (height, width) = ((each / view.shape).tolist() for each in (centre, extent))
    return x, y, width, height


@dataclass(frozen=True, eq=False)
class FittedClassifier:
    """A trained network with what it was shown.

    Its weights are rounded to half precision, as they will ship. Maps are taken from `layer`; None
    for a network that has no map to give.
    """

    recipe: Recipe
    network: nn.Module
    view: DatasetView
    scaling: Scaling
    layer: str | None

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.network.parameters()).device

    def inputs(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Pictures (B, C, S, S) and covariates (B, W) of these rows, where the network computes."""
        return self.view.inputs(rows, self.device)

    def answers(self, rows: Rows) -> dict[int, NDArray[np.float32]]:
        """The logits (classes) of each of these rows."""
        repeats = micrograph_settings(self.recipe).repeats_of_image
        found = compute_logits(self.network, self.view, rows, self.device, repeats)
        return dict(zip(rows.tolist(), found, strict=True))


def fit(
    recipe: Recipe, dataset: ImageDataset, fold: Fold, run: RunFolder, context: TrainingContext
) -> FittedClassifier:
    """Train on `fold.train`, judged by `fold.validation` if there is any, in the folder `run`.

    A run that was killed goes on exactly where it was; a finished one gives its network again.
    """
    settings, classes = micrograph_settings(recipe), class_names(recipe)
    table = table_text(with_fold(dataset.table, fold).frame)
    (run.reopen if context.resume else run.begin)(dump_recipe(recipe), table)
    view = DatasetView(dataset, torch.from_numpy(dataset.encoded(fold.train)))
    # What the losses must know of the classes of the fold.
    known: dict[str, dict[str, Any]] = {
        name: {"columns": len(classes)} for name in (WEIGHED_LOSS, ATTENTION_LOSS)
    }
    if settings.balanced:
        known[WEIGHED_LOSS]["weights"] = class_weights(dataset.truth[fold.train], len(classes))
    losses = tuple(
        loss.model_copy(update={"options": {**known.get(loss.name, {}), **loss.options}})
        for loss in recipe.training.losses
    )
    training = recipe.training.model_copy(update={"losses": losses})
    torch.manual_seed(training.seed)
    network = build_network(recipe.network.name, network_options(recipe))
    layer = _layer(settings, network)
    if not run.checkpoint.exists():
        if settings.encoder_weights:
            load_encoder(network, expanded(settings.encoder_weights))
        if recipe.training.start_from:
            start_from(network, recipe.training.start_from, recipe.training.fresh or ())
    task = MicrographTask(
        view,
        fold.train,
        fold.validation,
        training,
        settings.augmentation,
        len(classes),
        settings.repeats_of_image,
        make_attention_supervision(recipe, dataset, network),
    )
    round_to_half(fit_network(network, task, training, run, context, settings.freeze_statistics))
    show_attention(network, False)
    return FittedClassifier(recipe, network.eval(), view, dataset.scaling(fold.train), layer)


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the network of `recipe` can be built and suits its study.

    UsageError for a layer to take maps from that it does not have.
    """
    settings, options = micrograph_settings(recipe), network_options(recipe)
    # As preprocessing makes pictures of either mode.
    image = (3, 224, 224) if recipe.mode == "published" else (1, settings.size, settings.size)
    classes = len(class_names(recipe))
    expected = Expected(
        inputs=((2, *image), (2, options["covariates"])),
        output=(2, classes),
        to=f"tell {classes} classes apart",
    )
    network = recipe.network.model_copy(update={"options": options})
    _layer(settings, check_shapes(recipe, network, [expected]))


def _layer(settings: MicrographSettings, network: nn.Module) -> str | None:
    """Where maps are taken from; raises UsageError for a layer that the network does not have."""
    if settings.inputs == "covariates":
        return None
    if settings.explain_layer is not None:
        find_layer(network, settings.explain_layer)
        return settings.explain_layer
    layer: str | None = getattr(network, "map_layer", LAST_STAGE)
    return layer if layer in dict(network.named_modules()) else None
