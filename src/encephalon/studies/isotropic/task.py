# SPDX-License-Identifier: Apache-2.0
"""Learn isotropic scans: batches of cubes, and how an epoch is judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from encephalon.recipes.schema import Training
from encephalon.studies.isotropic.data import Cube, Source, draw_cube
from encephalon.studies.isotropic.settings import IsotropicSettings

__all__ = ["IsotropicTask"]

#: Stream numbers that keep training and validation draws apart for every seed.
TRAINING, VALIDATION = 0, 1


class IsotropicTask:
    """Batches of cubes, drawn from the seed and the batch number alone."""

    def __init__(
        self,
        train: Sequence[Source],
        validation: Sequence[Source],
        settings: IsotropicSettings,
        training: Training,
    ) -> None:
        self.settings, self.training = settings, training
        self.painted = [source for source in train if source.scans is None]
        self.real = [source for source in train if source.scans is not None]
        self.validation = list(validation)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Features (B, 9, N, N, N), and truths with their weights (B, 2, N, N, N)."""
        rng = np.random.default_rng([self.training.seed, TRAINING, number])
        cubes = [self._cube(rng) for _ in range(self.training.batch_size)]
        return _stacked([c.features for c in cubes]), _stacked([c.target for c in cubes])

    def _cube(self, rng: np.random.Generator) -> Cube:
        real = self.real and (not self.painted or rng.random() < self.settings.real_share)
        sources = self.real if real else self.painted
        source, other = (sources[int(rng.integers(len(sources)))] for _ in range(2))
        return draw_cube(rng, source, other, self.settings.patch, self.settings.scanner)

    def validation_cubes(self) -> Iterator[Cube]:
        """The cubes that every epoch is judged by: the same ones each time."""
        heads = self.validation
        for index in range(self.settings.validation_samples):
            rng = np.random.default_rng([self.training.seed, VALIDATION, index])
            source, other = (heads[(index + step) % len(heads)] for step in (0, 1))
            yield draw_cube(rng, source, other, self.settings.patch, self.settings.scanner)

    @torch.no_grad()
    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR in the foreground (dB) and its gain over the guided method, on fixed draws."""
        gains, scores, losses = [], [], []
        for cube in self.validation_cubes():
            answer = network(torch.from_numpy(cube.features)[None].to(device))[0].cpu().numpy()
            truth, inside = cube.target[0], cube.target[1] == 1
            if inside.any():
                error = float(np.mean((answer[0] - truth)[inside] ** 2))
                start = cube.features[0] + cube.features[1]
                base = float(np.mean((start - truth)[inside] ** 2))
                losses.append(error)
                scores.append(-10 * np.log10(max(error, 1e-12)))
                gains.append(scores[-1] + 10 * np.log10(max(base, 1e-12)))
        means = {"psnr": scores, "gain": gains, "loss": losses}
        return {name: float(np.mean(values or [0.0])) for name, values in means.items()}


def _stacked(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
