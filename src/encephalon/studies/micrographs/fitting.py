# SPDX-License-Identifier: Apache-2.0
"""Train one network on some rows of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.errors import RecipeError
from encephalon.experiments.folds import Fold, Rows, with_fold
from encephalon.explanation.gradcam import find_layer
from encephalon.io.files import expanded
from encephalon.models.fitted import LAST_STAGE
from encephalon.networks import build_network
from encephalon.networks.export import half_precision
from encephalon.networks.image_classifier import show_attention
from encephalon.networks.registry import meta_network, output_shape
from encephalon.recipes import dump_recipe
from encephalon.recipes.schema import Recipe, Training, class_names
from encephalon.studies.micrographs.data import ImageDataset, Scaling
from encephalon.studies.micrographs.settings import (
    MicrographSettings,
    micrograph_settings,
    network_options,
)
from encephalon.studies.micrographs.task import (
    ATTENTION_LOSS,
    DatasetView,
    MicrographTask,
    class_weights,
    compute_logits,
    make_attention_supervision,
)
from encephalon.tables.reading import table_text
from encephalon.training.loop import Loop, make_fabric
from encephalon.training.runs import Means, RunFolder
from encephalon.training.transfer import load_encoder, start_from

__all__ = ["FittedClassifier", "fit"]

#: The loss that knows weights of classes.
WEIGHED_LOSS = "class-cross-entropy"


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

    @property
    def covariates(self) -> NDArray[np.float32]:
        """(N, W) of the whole table, as the network takes them."""
        return self.view.covariates.numpy()

    def inputs(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Pictures (B, C, S, S) and covariates (B, W) of these rows, where the network computes."""
        return self.view.inputs(rows, self.device)

    def logits(self, rows: Rows) -> dict[int, NDArray[np.float32]]:
        """The logits (classes) of each of these rows."""
        if not len(rows):
            return {}
        repeats = micrograph_settings(self.recipe).repeats_of_image
        found = compute_logits(self.network, self.view, rows, self.device, repeats)
        return dict(zip(rows.tolist(), found, strict=True))


def fit(
    recipe: Recipe, dataset: ImageDataset, fold: Fold, run: RunFolder, means: Means
) -> FittedClassifier:
    """Train on `fold.train`, judged by `fold.validation` if there is any, in the folder `run`.

    A run that was killed goes on exactly where it was; a finished one gives its network again.
    """
    settings, classes = micrograph_settings(recipe), class_names(recipe)
    table = table_text(with_fold(dataset.table, fold).frame)
    (run.reopen if means.resume else run.begin)(dump_recipe(recipe), table)
    scaling = dataset.scaling(fold.train)
    view = DatasetView(dataset, dataset.covariates(scaling))
    training = _completed(recipe, dataset.truth[fold.train], len(classes))
    torch.manual_seed(training.seed)
    network = build_network(recipe.network.name, network_options(recipe))
    layer = _layer(settings, network)
    if not run.checkpoint.exists():
        _start(network, recipe)
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
    fabric = make_fabric(means.device, training.precision)
    still = settings.freeze_statistics
    loop = Loop(task, network, training, run, fabric, means.report, freeze_statistics=still)
    if means.resume:
        loop.resume()
    state = loop.fit()
    rounded = {name: torch.from_numpy(value) for name, value in half_precision(state).items()}
    network.load_state_dict(rounded)
    show_attention(network, False)
    return FittedClassifier(recipe, network.eval(), view, scaling, layer)


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the network of `recipe` can be built and suits its study.

    UsageError for a layer to take maps from that it does not have.
    """
    settings, options = micrograph_settings(recipe), network_options(recipe)
    network = meta_network(recipe.network.model_copy(update={"options": options}))
    _layer(settings, network)
    # As preprocessing makes pictures of either mode.
    image = (3, 224, 224) if recipe.mode == "published" else (1, settings.size, settings.size)
    found = output_shape(network, recipe.name, (2, *image), (2, options["covariates"]))
    classes = len(class_names(recipe))
    if found is not None and found != (2, classes):
        raise RecipeError(
            f"{recipe.name}: the network is to tell {classes} classes apart, but gives "
            f"{list(found[1:])} numbers: change network."
        )


def _completed(recipe: Recipe, truth: NDArray[np.int64], classes: int) -> Training:
    """The settings, with what the losses must know of the classes `truth` (N,) of the fold."""
    known: dict[str, dict[str, Any]] = {
        WEIGHED_LOSS: {"columns": classes},
        ATTENTION_LOSS: {"columns": classes},
    }
    if micrograph_settings(recipe).balanced:
        known[WEIGHED_LOSS]["weights"] = class_weights(truth, classes)
    losses = [
        loss.model_copy(update={"options": {**known.get(loss.name, {}), **loss.options}})
        for loss in recipe.training.losses
    ]
    return recipe.training.model_copy(update={"losses": tuple(losses)})


def _layer(settings: MicrographSettings, network: nn.Module) -> str | None:
    """Where maps are taken from; raises UsageError for a layer that the network does not have."""
    if settings.inputs == "covariates":
        return None
    if settings.explain_layer is not None:
        find_layer(network, settings.explain_layer)
        return settings.explain_layer
    layer: str | None = getattr(network, "map_layer", LAST_STAGE)
    return layer if layer in dict(network.named_modules()) else None


def _start(network: nn.Module, recipe: Recipe) -> None:
    weights = micrograph_settings(recipe).encoder_weights
    if weights:
        load_encoder(network, expanded(weights))
    if recipe.training.start_from:
        start_from(network, recipe.training.start_from)
