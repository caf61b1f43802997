# SPDX-License-Identifier: Apache-2.0
"""Learn all targets from whatever people have: batches, how an epoch is judged, and the answers.

In training a person loses some of what they have (modality dropout), by units that are used
together, so that one network answers for every set of inputs. What it says of all sets of a person
costs little more than of one: each source is encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.experiments.folds import Rows
from encephalon.networks.fusion import TARGET_KINDS, MaskedFusion, drop_sources
from encephalon.recipes.schema import Recipe, Training
from encephalon.statistics.weighted_metric import r2_metric, roc_auc_metric
from encephalon.studies.legibility.data import COARSE, Encoding, People, block_names, load_image
from encephalon.studies.legibility.settings import Cohort, LegibilitySettings
from encephalon.training.dataset import shuffled
from encephalon.training.loop import Batch
from encephalon.training.losses import WeightedLoss, target_columns, targets
from encephalon.transforms.volume_augmentation import draw_variation, vary

__all__ = ["AT_ONCE", "LegibilityTask", "network_options", "network_sources", "target_widths"]

#: Stream numbers that keep the order of the people, what is left out and how images are varied
#: apart for every seed.
ORDER, DROPPED, VARIED = 20, 21, 22
#: People who go through the network at once when nothing is learnt from them.
AT_ONCE = 32

Answers = NDArray[np.float32]


def target_widths(cohort: Cohort) -> list[int]:
    """Columns of the network's answer for each target."""
    return [TARGET_KINDS[one.kind](one.count) for one in cohort.targets.values()]


def network_sources(encoding: Encoding) -> dict[str, dict[str, Any]]:
    """What a network is told of each input: see `MaskedFusion`."""
    cohort, sources = encoding.cohort, dict[str, dict[str, Any]]()
    for name, source in cohort.sources.items():
        sources[name] = {"kind": source.kind}
        if source.kind == "image":
            sources[name]["coarse"] = COARSE
        if source.kind == "connectivity":
            sources[name]["features"] = len(encoding.centres[name])
            if name in encoding.spaces:
                sources[name]["regions"] = len(encoding.spaces[name].arrays()["reference"])
    for name, block in cohort.blocks.items():
        sources[name] = {"kind": "table", "features": len(block_names(block))}
    return sources


def network_options(recipe: Recipe, encoding: Encoding) -> dict[str, Any]:
    """What the network is built with: what the recipe says, and what these people have."""
    cohort = encoding.cohort
    told = {
        name: {
            "kind": target.kind,
            "classes": target.count,
            "without": list(cohort.hidden_from(name)),
        }
        for name, target in cohort.targets.items()
    }
    return {**recipe.network.options, "sources": network_sources(encoding), "targets": told}


class LegibilityTask:
    """Batches drawn from the seed and the batch number alone; every person once, then all anew.

    `validation` may be empty: then nothing is judged, and the last epoch is the result.
    """

    def __init__(
        self,
        people: People,
        encoding: Encoding,
        train: Rows,
        validation: Rows,
        settings: LegibilitySettings,
        training: Training,
    ) -> None:
        self.people, self.encoding, self.cohort = people, encoding, people.cohort
        # Of whoever has nothing that is used, nothing can be learnt.
        self.train, self.validation = train[people.present[train].any(axis=1)], validation
        self.settings, self.training = settings, training
        self.widths = target_widths(self.cohort)
        self.weighted = WeightedLoss(training.losses)
        inputs = self.cohort.inputs
        self.units = [[inputs.index(name) for name in unit] for unit in self.cohort.units]
        self.sets = np.array(
            [[name in some for name in inputs] for some in self.cohort.input_sets()], dtype=bool
        )

    @cached_property
    def target(self) -> Tensor:
        """What is to be answered of everybody (N, columns), NaN where it is unknown."""
        return torch.cat(
            [
                target_columns(
                    torch.tensor(self.encoding.scaled(name, self.people.truth[name])),
                    target.kind,
                    target.count,
                )
                for name, target in self.cohort.targets.items()
            ],
            dim=1,
        )

    @cached_property
    def _tables(self) -> dict[str, NDArray[np.float32]]:
        """What is no image, of everybody, as the network is given it."""
        encoding, people = self.encoding, self.people
        found = {n: encoding.features(n, flat) for n, flat in people.connectivity.items()}
        return found | {n: encoding.shown(n, values) for n, values in people.values.items()}

    def batch(self, number: int) -> Batch:
        """The inputs of some people and who has which; what is to be answered (B, columns)."""
        rows = self.rows(number)
        has = torch.from_numpy(self.people.present[rows])
        of_units = torch.stack([has[:, unit].any(dim=1) for unit in self.units], dim=1)
        seed = self.training.seed + DROPPED
        kept = drop_sources(of_units, self.settings.modality_dropout, seed, number)
        for place, unit in enumerate(self.units):
            has[:, unit] &= kept[:, place : place + 1]
        return self.inputs(rows, has.numpy()), self.wanted(rows, has.numpy())

    def rows(self, number: int) -> Rows:
        """Who is in a batch, see `LegibilitySettings.class_balance`."""
        size, count, train = self.training.batch_size, len(self.train), self.train
        seed = (self.training.seed, ORDER)
        how, classes = self.settings.class_balance, self._classes
        if how in {"none", "weights"} or classes is None:
            return train[shuffled(number, size, count, seed)]
        members = [np.flatnonzero(classes == one) for one in np.unique(classes[classes >= 0])]
        if how == "sampler":
            rng = np.random.default_rng([*seed, number])
            chosen = rng.integers(len(members), size=size)
            return train[[int(rng.choice(members[one])) for one in chosen]]
        least = min(map(len, members))

        def draw(rng: np.random.Generator) -> NDArray[np.int64]:
            some = [rng.choice(each, least, replace=False) for each in members]
            return rng.permutation(np.concatenate(some))

        return train[shuffled(number, size, least * len(members), seed, draw)]

    @cached_property
    def _classes(self) -> NDArray[np.int64] | None:
        """The class of each person who trains of the first target that has any, -1 if unknown."""
        for name, target in self.cohort.targets.items():
            if target.kind != "continuous":
                return np.nan_to_num(self.people.truth[name][self.train], nan=-1).astype(np.int64)
        return None

    def inputs(self, rows: Rows, present: NDArray[np.bool_]) -> tuple[Any, ...]:
        """Each source of these people, None where nobody has it, and who has which (B, sources)."""
        given: list[Any] = []
        for place, name in enumerate(self.cohort.inputs):
            there = present[:, place]
            given.append(self.one_input(name, rows, there) if there.any() else None)
        return (*given, torch.from_numpy(present))

    def one_input(self, name: str, rows: Rows, there: NDArray[np.bool_]) -> Tensor:
        """An input of these people; an image of nothing where somebody is not `there`."""
        if name in self.people.images:
            return self._images(name, rows, there)
        return torch.from_numpy(self._tables[name][rows])

    def _images(self, name: str, rows: Rows, there: NDArray[np.bool_]) -> Tensor:
        side = self.settings.side
        images = torch.zeros(len(rows), 1, side, side, side)
        for place in np.flatnonzero(there).tolist():
            path = self.people.images[name][int(rows[place])]
            assert path is not None
            images[place, 0] = torch.from_numpy(load_image(path, side))
        return images

    def wanted(self, rows: Rows, present: NDArray[np.bool_]) -> Tensor:
        """What can be answered of these people from what is `present` (B, columns), else NaN."""
        answerable = torch.from_numpy(self.answerable(present))
        return torch.where(answerable, self.target[torch.from_numpy(rows)], torch.nan)

    def answerable(self, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which columns of the answer (B, columns) mean anything from what is `present`."""
        each = [self.people.answerable(name, present) for name in self.cohort.targets]
        return np.repeat(np.stack(each, axis=1), self.widths, axis=1)

    def loss(self, network: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What the recipe's losses say of a batch, all images of a person varied alike."""
        given, target = batch
        inputs, ranges = list(given), self.settings.augmentation
        if ranges is not None and self.people.images:
            rng = np.random.default_rng([self.training.seed, VARIED, step])
            variations = [draw_variation(rng, ranges) for _ in target]
            for place, name in enumerate(self.cohort.inputs):
                if name in self.people.images and inputs[place] is not None:
                    inputs[place] = vary(inputs[place], variations)
        return self.weighted(network(*inputs).float(), target)

    def after_step(self, network: nn.Module, step: int) -> None:
        """Nothing is changed beside what the optimiser does."""

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """The loss and the skill, means over all sets of inputs, and the skill of each target.

        The skill is R2 of numbers, at the least -1, and 2 AUC - 1 of classes: what nothing can tell
        has none, however sure a network grows of it, while its loss rises and would hide the rest.
        """
        rows = self.validation
        if not len(rows):
            return {}
        answers = self.answers(network, rows, device)
        wanted = self.target[torch.from_numpy(rows)]
        kinds = [one.kind for one in self.cohort.targets.values()]
        losses, skills = [], []
        for said in (torch.from_numpy(answers[:, place]) for place in range(len(self.sets))):
            known = torch.where(said.isnan(), torch.nan, wanted)
            if known.isfinite().any():
                losses.append(targets(said.nan_to_num(), known, kinds, self.widths).item())
                skills.append(self._skills(said.double().numpy(), known.double().numpy()))
        each = [_mean(some) for some in zip(*skills, strict=True)]
        told = {f"skill_{name}": one for name, one in zip(self.cohort.targets, each, strict=True)}
        return {"loss": float(np.mean(losses)), "skill": _mean(each), **told}

    def _skills(self, said: NDArray[np.float64], wanted: NDArray[np.float64]) -> list[float]:
        """The skill of each target in answers (B, columns), a mean over its columns."""
        start, found = 0, []
        for target, width in zip(self.cohort.targets.values(), self.widths, strict=True):
            some = range(start, start := start + width)
            found.append(_mean([_skill(target.kind, said[:, n], wanted[:, n]) for n in some]))
        return found

    @torch.no_grad()
    def answers(self, network: nn.Module, rows: Rows, device: torch.device | str) -> Answers:
        """What the network says of these people from each set of inputs (B, sets, columns).

        Where there are linear models beside it, their columns follow those of the network.

        NaN where a person has nothing of the set that the target is told from.
        """
        assert isinstance(network, MaskedFusion)
        width = network.width_of_answer
        found = np.full((len(rows), len(self.sets), width), np.nan, np.float32)
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            present = self.people.present[some]
            *given, has = self.inputs(some, present)
            named = zip(network.sources, given, strict=True)
            there = {name: one.to(device) for name, one in named if one is not None}
            has = has.to(device)
            seen = network.see(there, has)
            for place, inputs in enumerate(self.sets):
                here = present & inputs
                said = network.tell(seen, torch.from_numpy(here).to(device)).float().cpu()
                means = np.tile(self.answerable(here), width // sum(self.widths))
                found[start : start + len(some), place] = np.where(means, said.numpy(), np.nan)
        return found


def _skill(kind: str, said: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """What a column of answers (B,) tells; NaN where nobody's truth is known, or all is one."""
    known = np.isfinite(wanted)
    said, wanted = said[known], wanted[known]
    if kind == "continuous":
        return float(np.maximum(r2_metric(wanted, said).value, -1.0))
    return 2 * roc_auc_metric(wanted > 0, said).value - 1


def _mean(values: Sequence[float]) -> float:
    """Of those that there are; 0 of none."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else 0.0
