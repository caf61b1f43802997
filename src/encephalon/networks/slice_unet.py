# SPDX-License-Identifier: Apache-2.0
"""A small residual U-Net that adds to an interpolated scan what its thick slices lost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["SliceUNet"]

#: Range of the logarithm of the error: from 0.7 % of the scan's range, below which its noise lies
#: and the likelihood's slope would swamp that of the image, to more than all of it.
LOG_ERROR = (-5.0, 1.0)


class _Block(nn.Module):
    """Two convolutions whose sum with the input goes on.

    Batch normalisation keeps training steady and becomes part of the convolutions in the exported
    graph; unlike others it treats a voxel alike in whatever tile it lies.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.layers(x)
        return x + added


class SliceUNet(nn.Module):
    """The isotropic scan and how far it may be off, from the channels of the study.

    Full resolution from the first layer to the last, and the interpolated scan with what a method
    without weights adds to it (channels 0 and 1) as a skip around all of it: an untrained network
    returns their sum. Skips inside are added, not concatenated, which makes a full-resolution
    decoder affordable on two CPU cores.

    inputs    Number of channels given.
    channels  Width at full resolution, at strides 2, 4, ...

    (B, inputs, I, J, K) to (B, 2, I, J, K): image, and the logarithm of its mean absolute error; I,
    J and K are multiples of `multiple`.
    """

    def __init__(self, inputs: int = 9, channels: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        self.stem = nn.Conv3d(inputs, channels[0], 3, padding=1)
        self.down = nn.ModuleList(_Block(width) for width in channels)
        self.shrink = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(channels))
        self.grow = nn.ModuleList(
            nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in pairwise(channels)
        )
        self.up = nn.ModuleList(_Block(width) for width in channels[:-1])
        self.head = nn.Conv3d(channels[0], 2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            # An error of e^-3 = 5 % of the scan's range is about that of an interpolation.
            self.head.bias.copy_(torch.tensor([0.0, -3.0]))  # type: ignore[union-attr]

    def forward(self, features: Tensor) -> Tensor:
        x = self.stem(features)
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=False):
            x = block(x)
            skips.append(x)
            x = shrink(x)
        x = self.down[-1](x)
        for block, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = block(grow(x) + skips.pop())
        answer: Tensor = self.head(x)
        image = answer[:, :1] + features[:, :1] + features[:, 1:2]
        spread = answer[:, 1:]
        return torch.cat([image, spread.clamp(*LOG_ERROR)], dim=1)
