# SPDX-License-Identifier: Apache-2.0
"""Train a network on the people of a fold, and solve for the linear models that stand beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from encephalon.experiments.folds import Fold, Rows, with_fold
from encephalon.models.catalogue import find_model
from encephalon.models.folder import WEIGHTS
from encephalon.networks.fusion import MaskedFusion
from encephalon.networks.registry import build_network
from encephalon.recipes.loading import dump_recipe
from encephalon.recipes.schema import Loss, Recipe, Training
from encephalon.studies.legibility.data import Encoding, People
from encephalon.studies.legibility.linear import FittedLinear, fit_linear
from encephalon.studies.legibility.modes import legibility_settings
from encephalon.studies.legibility.settings import LegibilitySettings
from encephalon.studies.legibility.task import LegibilityTask, network_options, target_widths
from encephalon.tables.reading import table_text
from encephalon.training.losses import class_weights
from encephalon.training.run import fit_network, round_to_half
from encephalon.training.runs import RunFolder, TrainingContext
from encephalon.training.transfer import load_encoder, start_from

__all__ = ["FittedPeople", "fit"]


@dataclass(frozen=True, eq=False)
class FittedPeople:
    """A trained network, in evaluation mode and rounded as it ships, with what it was shown."""

    recipe: Recipe
    trained: MaskedFusion
    task: LegibilityTask

    @cached_property
    def network(self) -> MaskedFusion:
        """It, with the linear models beside it where the parts of a set are weighed."""
        if self.linear is not None:
            self.trained.linear = self.linear.models.to(self.trained.queries.device)
        return self.trained

    @cached_property
    def linear(self) -> FittedLinear | None:
        """The linear models of all who are not tested: those who train and those who validate."""
        task = self.task
        stacked = task.settings.fusion == "stacked"
        return fit_linear(task, np.r_[task.train, task.validation]) if stacked else None

    @property
    def encoding(self) -> Encoding:
        """What was fitted to the people who trained."""
        return self.task.encoding

    @property
    def graph(self) -> nn.Module:
        """The network as it is exported."""
        return self.network

    def answers(self, rows: Rows) -> Mapping[int, NDArray[np.float32]]:
        """What it says of each of these people from each set of inputs, flat (sets * columns).

        Linear models have learnt from those who validate too, and say of each what all others tell.
        """
        device = next(self.network.parameters()).device
        found = self.task.answers(self.network, rows, device)
        if self.linear is not None:
            ours = found[:, :, found.shape[2] // 2 :]
            self.linear.without(rows, ours, self.task.people.present[rows])
        return dict(zip(rows.tolist(), found.reshape(len(rows), -1), strict=True))


def fit(
    recipe: Recipe, people: People, fold: Fold, run: RunFolder, context: TrainingContext
) -> FittedPeople:
    """Train on `fold.train`, judged by `fold.validation` if there is any, in the folder `run`.

    A run that was killed goes on exactly where it was; a finished one gives its network again.
    """
    table = table_text(with_fold(people.table, fold).frame)
    with run.opened(dump_recipe(recipe), table, resume=context.resume):
        # Who has none of the inputs that are used teaches nothing.
        fold = replace(fold, train=fold.train[people.present[fold.train].any(axis=1)])
        encoding, settings = Encoding.fit(people, fold.train), legibility_settings(recipe)
        training = _training(recipe, people, fold, settings)
        network = _network(recipe, encoding, settings, start=not run.checkpoint.exists())
        task = LegibilityTask(people, encoding, fold.train, fold.validation, settings, training)
        round_to_half(fit_network(network, task, training, run, context))
        return FittedPeople(recipe, network.eval(), task)


def _network(
    recipe: Recipe, encoding: Encoding, settings: LegibilitySettings, start: bool
) -> MaskedFusion:
    """The network as it is drawn from the seed; with `start`, from where the recipe says."""
    torch.manual_seed(recipe.training.seed)
    options = network_options(recipe, encoding)
    network = cast(MaskedFusion, build_network(recipe.network.name, options))
    if start:
        for name, source in settings.encoder_from.items():
            path = find_model(source).path
            load_encoder(
                network.encoders[network.encoder_of[name]],
                path / WEIGHTS if path.is_dir() else path,
            )
        if recipe.training.start_from:
            start_from(network, recipe.training.start_from, recipe.training.fresh or ())
    # Last: what a model that was started from knew of other people's inputs is of no use here.
    _fill(network, encoding)
    return network


def _training(recipe: Recipe, people: People, fold: Fold, settings: LegibilitySettings) -> Training:
    """How it is trained, with what the loss must know of the targets."""
    cohort = people.cohort
    known: dict[str, Any] = {
        "kinds": [target.kind for target in cohort.targets.values()],
        "columns": target_widths(cohort),
    }
    if settings.class_balance == "weights":
        here = people.select(fold.train).truth
        known["weights"] = [
            None if target.kind == "continuous" else class_weights(here[name], target.count)
            for name, target in cohort.targets.items()
        ]
    losses = tuple(_told(loss, known) for loss in recipe.training.losses)
    return recipe.training.model_copy(update={"losses": losses})


def _told(loss: Loss, known: Mapping[str, Any]) -> Loss:
    if loss.name != "targets":
        return loss
    return loss.model_copy(update={"options": {**known, **loss.options}})


def _fill(network: MaskedFusion, encoding: Encoding) -> None:
    """Give the network what was fitted to its inputs, which it keeps with its weights."""
    for name, centre in encoding.centres.items():
        encoder: Any = network.encoders[name]
        encoder.centre.copy_(torch.from_numpy(centre))
        encoder.spread.fill_(encoding.spreads[name])
        if name in encoding.spaces:
            reference = encoding.spaces[name].arrays()["reference"]
            encoder.reference.copy_(torch.from_numpy(reference))
    for name, (centre, spread) in encoding.coarse.items():
        line: Any = network.lines[name]
        line.centre.copy_(torch.from_numpy(centre))
        line.spread.fill_(spread)
