# SPDX-License-Identifier: Apache-2.0
"""Learn isotropic scans: batches of patches, and how an epoch is judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.recipes.schema import Network, Training
from encephalon.studies.isotropic.blocks import Blocks, prepare_blocks
from encephalon.studies.isotropic.data import (
    Patch,
    Subject,
    count_pairs,
    load_subjects,
    sample_patch,
)
from encephalon.studies.isotropic.reconstruction.network import (
    CHANNELS,
    PERCENTILES,
    NetworkMethod,
    expected_deviation,
)
from encephalon.studies.isotropic.settings import LARGEST_TRUST, IsotropicSettings
from encephalon.tables.schema import Table
from encephalon.training.dataset import TRAINING, VALIDATION, Mixture
from encephalon.training.run import Expected, Fitted, Learner, ModelFacts

#: Edge of the patch that proves the exported graph, voxels; every network's stride divides it.
EXAMPLE = 32


class IsotropicTask:
    """Batches of patches, drawn from the seed and the batch number alone."""

    def __init__(
        self,
        train: Sequence[Subject] | Sequence[Blocks],
        validation: Sequence[Subject] | Sequence[Blocks],
        settings: IsotropicSettings,
        training: Training,
    ) -> None:
        self.settings, self.training = settings, training
        heads: Sequence[Subject | Blocks] = train
        real, synthetic = ([head for head in heads if head.real is kind] for kind in (True, False))
        self.subjects = Mixture(real, synthetic, settings.real_share)
        self.validation: list[Subject | Blocks] = list(validation)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Features (B, 9, N, N, N), and truths with their weights (B, 2, N, N, N)."""
        rng = np.random.default_rng([self.training.seed, TRAINING, number])
        patches = []
        for _ in range(self.training.batch_size):
            patches.append(self._patch(rng, *self.subjects.draw(rng, 2)))
        features = np.stack([patch.features for patch in patches])
        target = np.stack([patch.target for patch in patches])
        return torch.from_numpy(features), torch.from_numpy(target)

    def validation_patches(self) -> Iterator[Patch]:
        """The patches that every epoch is judged by: the same ones each time."""
        heads = self.validation
        for index in range(self.settings.validation_samples):
            rng = np.random.default_rng([self.training.seed, VALIDATION, index])
            subject, other = (heads[(index + step) % len(heads)] for step in (0, 1))
            yield self._patch(rng, subject, other)

    def _patch(
        self, rng: np.random.Generator, head: Subject | Blocks, other: Subject | Blocks
    ) -> Patch:
        if isinstance(head, Blocks) or isinstance(other, Blocks):
            assert isinstance(head, Blocks)
            return head.sample(rng, self.settings.patch)
        return sample_patch(rng, head, other, self.settings.patch, self.settings.scanner)

    @torch.no_grad()
    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR in the foreground (dB) and its gain over the guided method, on fixed draws."""
        gains, scores, losses = [], [], []
        for patch in self.validation_patches():
            answer = network(torch.from_numpy(patch.features)[None].to(device))[0].cpu().numpy()
            truth, inside = patch.target[0], patch.target[1] == 1
            if inside.any():
                error = float(np.mean((answer[0] - truth)[inside] ** 2))
                start = patch.features[0] + patch.features[1]
                base = float(np.mean((start - truth)[inside] ** 2))
                losses.append(error)
                scores.append(-10 * np.log10(max(error, 1e-12)))
                gains.append(scores[-1] + 10 * np.log10(max(base, 1e-12)))
        means = {"psnr": scores, "gain": gains, "loss": losses}
        return {name: float(np.mean(values or [0.0])) for name, values in means.items()}


class IsotropicLearner(Learner[IsotropicSettings]):
    """Trains a network that corrects the guided estimate, by a recipe of mode "default"."""

    schema = IsotropicSettings

    @property
    def network(self) -> Network:
        """The network of the recipe with as many inputs as there are channels."""
        options = {**self.recipe.network.options, "inputs": len(CHANNELS)}
        return self.recipe.network.model_copy(update={"options": options})

    @property
    def expected(self) -> list[Expected]:
        """An image and its error, of every patch."""
        patch, multiple = (self.settings.patch,) * 3, NetworkMethod.multiple
        return [
            Expected(
                ((1, len(CHANNELS), *patch),),
                (1, 2, *patch),
                "give an image and its error",
                sides=(multiple,),
                said=f"scans are cut into multiples of {multiple}",
                widen="give network.options.channels fewer levels",
            )
        ]

    def build(self) -> nn.Module:
        """The network; convolutions of few channels are half as fast in the other memory order."""
        network = super().build()
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return network

    def prepare(
        self, part: Table, cache: Path, workers: int
    ) -> Sequence[Subject] | Sequence[Blocks]:
        """One head a row, or its blocks."""
        if self.settings.block:
            seed = self.recipe.training.seed
            return prepare_blocks(part, self.settings, seed, cache, workers)
        return load_subjects(part, workers)

    def task(
        self,
        train: Sequence[Subject] | Sequence[Blocks],
        validation: Sequence[Subject] | Sequence[Blocks],
    ) -> IsotropicTask:
        """Cubes of thick slices."""
        return IsotropicTask(train, validation, self.settings, self.recipe.training)

    def measure(self, fitted: Fitted) -> dict[str, float]:
        """How far the network can be trusted."""
        assert isinstance(fitted.task, IsotropicTask)
        found = measure(fitted.network, fitted.task, self.settings.largest_trust)
        names = ("trust", "deviation_scale", "deviation_scale_alone")
        return {name: round(value, 4) for name, value in zip(names, found, strict=True)}

    def facts(self, table: Table) -> ModelFacts:
        """What the network is shown."""
        low, high = PERCENTILES
        return ModelFacts(
            preprocessing={
                "intensity": f"percentiles {low:g} and {high:g} above 0 become 0 and 1",
                "channels": list(CHANNELS),
                "axes": "the slice axis is the last one",
            },
            training_data=count_pairs(table),
            example=(1, len(CHANNELS), *(EXAMPLE,) * 3),
            inputs=("features",),
        )


@torch.no_grad()
def measure(
    network: nn.Module, task: IsotropicTask, largest_trust: float = LARGEST_TRUST
) -> tuple[float, float, float]:
    """How much of the network's correction serves, and how much larger errors are than it says.

    The first is the least-squares share of the correction in what the guided estimate lacks, from 0
    to `largest_trust`; the others, with a T1w and without, the root of the mean squared error over
    that of the mean squared `expected_deviation`, of all patches where none is such. All in the
    foreground of the patches that validate, which are no training data.
    """
    network.eval()
    guided, alone = np.zeros((2, 4))
    for patch in task.validation_patches():
        answer = network(torch.from_numpy(patch.features)[None])[0].numpy()
        inside = patch.target[1] == 1
        start = patch.features[0] + patch.features[1]
        of_guided = patch.features[CHANNELS.index("standard deviation of the guided method")]
        correction, lacking = (answer[0] - start)[inside], (patch.target[0] - start)[inside]
        sums = guided if patch.features[CHANNELS.index("1 where there is a T1w")].any() else alone
        sums += [
            np.vdot(correction, lacking),
            np.vdot(correction, correction),
            np.vdot(lacking, lacking),
            np.sum(np.square(expected_deviation(answer[1], of_guided)[inside], dtype=np.float64)),
        ]
    every = guided + alone
    trust = float(np.clip(every[0] / max(every[1], 1e-12), 0, largest_trust))

    def scale(sums: NDArray[np.float64]) -> float:
        shared, power, missing, variance = sums if sums.any() else every
        left = missing - 2 * trust * shared + trust**2 * power
        return float(np.sqrt(max(left, 1e-12) / max(variance, 1e-12)))

    return trust, scale(guided), scale(alone)
