# SPDX-License-Identifier: Apache-2.0
"""The published training: one network for one target and one set of inputs.

An epoch is every person of the part that trains once, the larger class cut down to the smaller one
anew each time, without the last, smaller batch. The weights with the smallest loss of validation
are the result.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.errors import TableError, UsageError
from encephalon.experiments.folds import Fold, Rows, with_fold
from encephalon.io.text import write_records
from encephalon.networks.registry import build_network
from encephalon.recipes.loading import dump_recipe
from encephalon.recipes.schema import Loss, Recipe, Training
from encephalon.studies.legibility.data import Encoding, People, block_names
from encephalon.studies.legibility.published.data import PublishedInputs
from encephalon.studies.legibility.published.performance import (
    class_scores,
    file_name,
    performance_row,
    value_scores,
)
from encephalon.studies.legibility.published.preprocessing import (
    TargetScaling,
    metadata_codes,
    rescaled,
)
from encephalon.studies.legibility.published.settings import PublishedSettings, published_settings
from encephalon.tables.reading import table_text
from encephalon.training.loop import Batch
from encephalon.training.losses import WeightedLoss
from encephalon.training.run import fit_network, round_to_half
from encephalon.training.runs import RunFolder, TrainingContext
from encephalon.training.transfer import start_from
from encephalon.transforms.volume_augmentation import draw_variation, vary

__all__ = ["FittedPublished", "OfSources", "PublishedTask", "fit", "penalty"]

#: The weights that the penalty holds back most.
FIRST_OF_CONNECTIVITY = "connectivity.0.weight"
#: What keeps the draws of variations apart from those of epochs for every seed.
VARIED = 1
#: People that go through the network at once when nothing is learnt from them.
AT_ONCE = 32

Float = NDArray[np.float32]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PublishedTask:
    """Batches drawn from the seed and the batch number alone, and how an epoch is judged.

    given, encoding    what the network is given of people, and what those who train say of them
    train, validation  complete cases whose truth is known
    settings, training the `[study]` and `[training]` sections of the recipe
    devices            that share a batch
    """

    given: PublishedInputs
    encoding: Encoding
    train: Rows
    validation: Rows
    settings: PublishedSettings
    training: Training
    devices: int = 1

    @property
    def people(self) -> People:
        """Everybody."""
        return self.given.people

    @cached_property
    def truth(self) -> NDArray[np.float64]:
        """The class or value of everybody (N,), in its unit; NaN where unknown."""
        return np.asarray(self.people.truth[self.settings.target])

    @cached_property
    def scaling(self) -> TargetScaling | None:
        """How values are learnt; None for classes."""
        target = self.settings.target
        return TargetScaling.of(self.encoding, target) if target in self.encoding.targets else None

    def batch(self, number: int) -> Batch:
        """Inputs, and the target: one-hot classes (B, 2) or values (B, 1)."""
        size = self.training.batch_size // self.devices
        epoch, place = divmod(number, self.training.steps_per_epoch * self.devices)
        rows = self.epoch_rows(epoch)[place * size : (place + 1) * size]
        return self.varied(self.given(rows), rows, epoch), self.target(rows)

    def varied(self, given: tuple[Tensor, ...], rows: Rows, epoch: int) -> tuple[Tensor, ...]:
        """The inputs of these rows, their images varied as the recipe asks, all of a person alike.

        Of K copies epoch e sees copy e mod K.
        """
        ranges, count = self.settings.augmentation, len(self.given.images)
        if ranges is None or not count:
            return given
        copy = epoch % self.settings.copies if self.settings.copies else epoch
        seeds = [[self.training.seed, int(row), copy, VARIED] for row in rows]
        drawn = [draw_variation(np.random.default_rng(seed), ranges) for seed in seeds]
        images = vary(torch.cat(given[:count], dim=1), drawn)
        return (*images.chunk(count, dim=1), *given[count:])

    def inputs(self, rows: Rows, present: NDArray[np.bool_]) -> tuple[Tensor, ...]:
        """Each source and block of complete cases, as `OfSources` takes them, and who has which."""
        return (*self.given.sources(rows), torch.from_numpy(present))

    def epoch_rows(self, epoch: int) -> Rows:
        """The people of an epoch, in its order."""
        rng = np.random.default_rng([self.training.seed, epoch])
        rows = self.train
        if self.settings.class_balance == "undersample" and self.scaling is None:
            classes = [rows[self.truth[rows] == number] for number in (0, 1)]
            least = min(map(len, classes))
            rows = np.concatenate([rng.choice(each, least, replace=False) for each in classes])
        return np.asarray(rng.permutation(rows), np.int64)

    def target(self, rows: Rows) -> Tensor:
        """What the network is to say of these rows."""
        truth = self.truth[rows]
        if self.scaling is None:
            return torch.eye(2)[torch.from_numpy(truth.astype(np.int64))]
        learnt = self.scaling.learnt(self.encoding.scaled(self.settings.target, truth))
        return torch.from_numpy(learnt.astype(np.float32))[:, None]

    def loss(self, network: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the target, and the penalty on the weights."""
        del step
        given, target = batch
        named = dict(zip(self.settings.inputs, given, strict=True))
        data, terms = WeightedLoss(self.training.losses)(network(**named).float(), target)
        held = penalty(network, self.settings)
        return data + held, terms | {"penalty": held.detach()}

    def after_step(self, network: nn.Module, step: int) -> None:
        """Nothing: the optimiser does it all."""

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """The scores of those who validate."""
        return self.scores(network, device, self.validation, self.settings.cache_validation)

    def scores(
        self, network: nn.Module, device: torch.device, rows: Rows, keep: bool = False
    ) -> dict[str, float]:
        """The loss without the penalty, and the published scores, of these rows; {} of none."""
        if not len(rows):
            return {}
        said, truth = self.outputs(network, device, rows, keep), self.truth[rows]
        loss = WeightedLoss(self.training.losses)(said, self.target(rows))[0]
        if self.scaling is None:
            found = class_scores(truth.astype(np.int64), said.numpy())
        else:
            values = self.scaling.standardised(said[:, 0]).double().numpy()
            found = value_scores(truth, self.encoding.natural(self.settings.target, values))
        return {"loss": float(loss), **found}

    @torch.no_grad()
    def outputs(
        self, network: nn.Module, device: torch.device, rows: Rows, keep: bool = False
    ) -> Tensor:
        """What the network, in evaluation mode, says of complete cases, (B, outputs)."""
        found = []
        for start in range(0, len(rows), AT_ONCE):
            given = self.given(rows[start : start + AT_ONCE], keep)
            named = zip(self.settings.inputs, given, strict=True)
            found.append(network(**{n: one.to(device) for n, one in named}).float().cpu())
        return torch.cat(found)


def penalty(network: nn.Module, settings: PublishedSettings) -> Tensor:
    """The mean square of each tensor of weights, times what it counts, summed.

    All weights have it, also those of blocks that are passed over, as in `train.py`. On
    several devices every parameter must have a gradient, so that biases count for 0.
    """
    parts = []
    for name, weights in network.named_parameters():
        strength = settings.penalty if name.endswith("weight") else 0.0
        if name.endswith(FIRST_OF_CONNECTIVITY):
            strength = settings.connectivity_penalty
        parts.append(strength * weights.square().mean())
    return torch.stack(parts).sum()


@dataclass(frozen=True, eq=False)
class FittedPublished:
    """A trained network, in evaluation mode and rounded as it ships, with what it was shown.

    recipe  with the options of the network and the steps of an epoch as they were
    """

    recipe: Recipe
    network: nn.Module
    task: PublishedTask

    @property
    def encoding(self) -> Encoding:
        """What was fitted to the people who trained."""
        return self.task.encoding

    def answers(self, rows: Rows) -> dict[int, Float]:
        """What it says (1,) of each of these rows: a logit, or the standardised value.

        NaN of whoever has not all of its inputs. Of the logits of two classes it is half their
        difference: above 0 where the second is said, and the logit itself where both agree.
        """
        found = {int(row): np.full(1, np.nan, np.float32) for row in rows}
        complete = rows[self.task.given.complete[rows]]
        if len(complete):
            device = next(self.network.parameters()).device
            said = one_answer(self.task.outputs(self.network, device, complete), self.task.scaling)
            found |= dict(zip(complete.tolist(), said.numpy(), strict=True))
        return found

    @property
    def balance(self) -> dict[str, int]:
        """How many people train, in each class, and how many of them an epoch sees."""
        task = self.task
        seen = task.training.steps_per_epoch * task.training.batch_size
        classes = task.people.cohort.targets[task.settings.target].classes
        counts = np.bincount(task.truth[task.train].astype(int)) if classes else ()
        each = {
            f"people_that_train_{name}": int(n) for name, n in zip(classes, counts, strict=False)
        }
        return {"people_that_train": len(task.train), **each, "people_an_epoch": seen}

    @property
    def graph(self) -> OfSources:
        """The network as it is exported: it takes what one of the other mode does."""
        return OfSources(self.network, self.task)


class OfSources(nn.Module):
    """The published network, asked as that of many sources: sources, blocks, and who has which.

    Images (B, 1, side, side, side), connectivity (B, pairs) and the values of blocks (B, width) in
    the order of the cohort, and `present` (B, inputs), to the answer (B, 1): NaN of whoever has not
    all of it.
    """

    def __init__(self, network: nn.Module, task: PublishedTask) -> None:
        super().__init__()
        self.network, self.scaling = network, task.scaling
        self.words, self.cohort = task.settings.inputs, task.people.cohort
        codes = metadata_codes(self.cohort, task.settings.columns or 1)
        self.codes = nn.Buffer(torch.from_numpy(codes))

    def forward(self, *given: Tensor) -> Tensor:
        """The answer (B, 1)."""
        *sources, present = given
        here = dict(zip(self.cohort.inputs, sources, strict=True))
        of_kind = {source.kind: here[name] for name, source in self.cohort.sources.items()}
        named: dict[str, Tensor] = {}
        for word in self.words:
            if word == "connectivity":
                named[word] = of_kind[word]
            elif word == "metadata":
                none = present[:, :0].to(self.codes)  # of any batch, in a graph too
                values = torch.cat([none, *(here[name] for name in self.cohort.blocks)], dim=1)
                named[word] = values @ self.codes
            else:
                named[word] = rescaled(here[word])
        said = one_answer(self.network(**named), self.scaling)
        return torch.where(present.bool().all(dim=1, keepdim=True), said, torch.nan)


def one_answer(said: Tensor, scaling: TargetScaling | None) -> Tensor:
    """What the network says (B, outputs) as an answer of the study (B, 1)."""
    return (said[:, 1:] - said[:, :1]) / 2 if scaling is None else scaling.standardised(said)


def fit(
    recipe: Recipe, people: People, fold: Fold, run: RunFolder, context: TrainingContext
) -> FittedPublished:
    """Train on `fold.train`, judged by `fold.validation` if there is any, in the folder `run`.

    The scores of validation and test lie there then, as the published table has them. A run that
    was killed goes on exactly where it was; a finished one gives its network again.
    """
    table = table_text(with_fold(people.table, fold).frame)
    with run.opened(dump_recipe(recipe), table, resume=context.resume):
        task = _task(recipe, people, fold, context.devices)
        if not run.checkpoint.exists():
            _say_left_out(task, fold)
        pairs = 0 if task.given.connectivity is None else task.given.connectivity.shape[1]
        options = {**recipe.network.options, **task.settings.network_options(pairs)}
        torch.manual_seed(task.training.seed)
        network = build_network(recipe.network.name, options)
        if task.training.start_from and not run.checkpoint.exists():
            start_from(network, task.training.start_from, task.training.fresh or ())
        begun = time.monotonic()
        round_to_half(fit_network(network, task, task.training, run, context))
        minutes = (time.monotonic() - begun) / 60
        built = recipe.network.model_copy(update={"options": options})
        used = recipe.model_copy(update={"network": built, "training": task.training})
        fitted = FittedPublished(used, network.eval(), task)
        logger.info("%s: %s", run.path, fitted.balance)
        _write_performance(fitted, fold, run, minutes)
        return fitted


def _task(recipe: Recipe, people: People, fold: Fold, devices: int) -> PublishedTask:
    """The task of a fold, whose epochs have the steps that fill them.

    Raises TableError where nobody is left, and UsageError for a batch that devices cannot share.
    """
    settings, training = published_settings(recipe), recipe.training
    given = PublishedInputs(people, settings)
    train, validation = (
        usable(rows, given)[: settings.data_size] for rows in (fold.train, fold.validation)
    )
    if training.batch_size % devices:
        raise UsageError(
            f"{devices} devices cannot share a batch of {training.batch_size} evenly: set "
            "training.batch_size to a multiple of that."
        )
    if not len(train):
        raise TableError(
            f"{people.table.source}: nobody who trains is a complete case, which the published "
            f"study takes alone: use fewer inputs or metadata_blocks.{given.scarcest}"
        )
    loss = Loss(name="cross-entropy" if people.cohort.targets[settings.target].classes else "mse")
    training = training.model_copy(update={"losses": (loss,)})
    encoding = _encoding(people, train)
    task = PublishedTask(given, encoding, train, validation, settings, training, devices)
    count = len(task.epoch_rows(0))
    if count < training.batch_size:
        advice = f"set training.batch_size to {count} or less" if count > 1 else "add people"
        raise TableError(
            f"{people.table.source}: an epoch has {count} complete cases, of the classes as they "
            f"are balanced, which fill no batch of {training.batch_size}: {advice}."
            f"{given.scarcest}"
        )
    steps = count // training.batch_size
    return replace(task, training=training.model_copy(update={"steps_per_epoch": steps}))


def _say_left_out(task: PublishedTask, fold: Fold) -> None:
    asked, kept = len(fold.train) + len(fold.validation), len(task.train) + len(task.validation)
    if kept < asked and task.settings.data_size is None:
        logger.warning(
            "%d of %d people are left out of training and validation: they lack an input that is "
            "used, a column of it, or the target. The published study takes complete cases alone.",
            *(asked - kept, asked),
        )


def usable(rows: Rows, given: PublishedInputs) -> Rows:
    """Those of the rows that are complete cases whose target is known."""
    truth = given.people.truth[given.settings.target]
    return np.asarray(rows[(given.complete & np.isfinite(truth))[rows]], np.int64)


def _encoding(people: People, rows: Rows) -> Encoding:
    """What these people say of the target; metadata and connectivity stay as they are."""
    encoding = Encoding.fit(replace(people, connectivity={}, values={}), rows)
    widths = {name: len(block_names(block)) for name, block in people.cohort.blocks.items()}
    scaling = {name: ([0.0] * width, [1.0] * width) for name, width in widths.items()}
    return replace(encoding, scaling=scaling)


def _write_performance(fitted: FittedPublished, fold: Fold, run: RunFolder, minutes: float) -> None:
    """Write the rows of the published table, once: their minutes are those of the training."""
    task = fitted.task
    path = run.path / file_name(task.people.cohort, task.settings.inputs)
    if path.exists():
        return
    device = next(fitted.network.parameters()).device
    parts = {"Validation": task.validation, "Test": usable(fold.test, task.given)}
    about = task.people.cohort, task.settings.inputs
    rows = [
        performance_row(part, *about, task.scores(fitted.network, device, rows), minutes)
        for part, rows in parts.items()
        if len(rows)
    ]
    if rows:
        write_records(rows, path)
