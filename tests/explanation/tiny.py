# SPDX-License-Identifier: Apache-2.0
"""A network small enough to follow by hand, and pictures with a planted patch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

SIZE, PATCH = 24, 6


class TwoInputs(nn.Module):
    """Two channels (the picture and its negative), their means, one covariate: two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.rectify = nn.ReLU(inplace=True)
        self.head = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.conv.weight[:] = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
            self.head.weight[:] = torch.tensor([[0.0, 1.0, 0.0], [2.0, -1.0, 5.0]])

    def forward(self, image: Tensor, covariates: Tensor) -> Tensor:
        means = self.rectify(self.conv(image)).mean(dim=(2, 3))
        logits: Tensor = self.head(torch.cat([means, covariates], dim=1))
        return logits


class Patches(nn.Module):
    """Three small convolutions and a mean: learns in a second whether a patch is there."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            *(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(inplace=True)),
            *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(inplace=True)),
        )
        self.head = nn.Linear(16, 2)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(image).mean(dim=(2, 3)))
        return logits


def planted(
    rng: np.random.Generator, count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Noise (N, 1, SIZE, SIZE), whether an answer is in it, and the answer's corner (N, 2).

    The answer is a patch of stripes down the rows; every picture has a decoy whose stripes run
    the other way, as bright and as fine.
    """
    images = rng.normal(0, 0.5, (count, 1, SIZE, SIZE)).astype(np.float32)
    truth = (np.arange(count) % 2).astype(np.int64)
    stripes = np.resize([1.5, -1.5], PATCH)[None, :]
    corners = rng.integers(0, SIZE - PATCH + 1, (count, 2))
    decoys = (corners + rng.integers(PATCH, SIZE - 2 * PATCH, (count, 2))) % (SIZE - PATCH + 1)
    for image, there, corner, decoy in zip(images, truth, corners, decoys, strict=True):
        _patch(image, decoy)[:] += stripes.T
        _patch(image, corner)[:] += there * stripes
    return images, truth, corners


def _patch(image: NDArray[np.float32], corner: NDArray[np.int64]) -> NDArray[np.float32]:
    row, column = corner
    return image[0, row : row + PATCH, column : column + PATCH]


def trained(rng: np.random.Generator) -> Patches:
    """`Patches` after some seconds' worth of stripes."""
    torch.manual_seed(0)
    network = Patches()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(80):
        images, truth, _ = planted(rng, 32)
        loss = nn.functional.cross_entropy(network(torch.tensor(images)), torch.tensor(truth))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()
