# SPDX-License-Identifier: Apache-2.0
"""Encoders as somebody else would write them: one in a few lines, and some that are wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from encephalon.networks.encoders import AdaptedEncoder


class PlainEncoder(nn.Module):
    """Two maps, of strides 1 and 2."""

    channels = (4, 6)
    strides = (1, 2)

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.fine = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.coarse = nn.Conv2d(4, 6, 3, padding=1, stride=2)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 1, Y, X) to (B, 4, Y, X) and (B, 6, Y/2, X/2)."""
        fine = self.fine(image).relu()
        return [fine, self.coarse(fine).relu()]


class Tuple(PlainEncoder):
    def forward(self, image: Tensor) -> Any:
        return tuple(super().forward(image))


class OneMap(PlainEncoder):
    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image)[:1]


class WrongStride(PlainEncoder):
    strides = (1, 4)


class WrongOrder(PlainEncoder):
    strides = (2, 1)


class NoStrides(PlainEncoder):
    strides = None  # type: ignore[assignment]


class Forgetful(PlainEncoder):
    """Has a weight that no map depends on."""

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__(in_channels)
        self.idle = nn.Linear(2, 2)


class Random(PlainEncoder):
    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image + torch.rand_like(image))


class Sociable(PlainEncoder):
    """Normalises by the batch in evaluation too."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return super().forward(image - image.mean())


class Changeable(PlainEncoder):
    """Never stops following its batches."""

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__(in_channels)
        self.norm = nn.BatchNorm2d(in_channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        self.norm.train()
        return super().forward(self.norm(image))


class Patches(nn.Module):
    """A transformer's outside: tokens of 4 x 4 pixels behind a token of the class."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))

    def forward_features(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 3, Y, X) to the tokens (B, 1 + Y/4 * X/4, 8)."""
        tokens = self.embed(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(image), -1, -1), tokens], dim=1)
        return {"last_hidden_state": tokens}


def adapted(in_channels: int = 1) -> nn.Module:
    """A network of colour pictures from elsewhere."""
    return AdaptedEncoder(Patches(), (8,), (4,), call="forward_features", multiple=4)


def nothing(in_channels: int = 1) -> None:
    """A factory that forgot to return."""


def failing(in_channels: int = 1) -> None:
    raise RuntimeError("no weights at hand")


NUMBER = 3
