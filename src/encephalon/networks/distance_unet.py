# SPDX-License-Identifier: Apache-2.0
"""A small U-Net that regresses signed distances, made to be fast on two CPU cores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.InstanceNorm3d(channels_out, affine=True),
        nn.LeakyReLU(0.1, inplace=True),
    )


class _Up(nn.Module):
    """Bring a coarse map to the grid of its skip connection and merge the two."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.reduce = nn.Conv3d(coarse, fine, 1)
        self.merge = nn.Sequential(_convolution(2 * fine, fine), _convolution(fine, fine))

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        raised = nn.functional.interpolate(self.reduce(coarse), scale_factor=2.0, mode="nearest")
        merged: Tensor = self.merge(torch.cat([skip, raised], dim=1))
        return merged


class DistanceUNet(nn.Module):
    """Signed distances (voxels of the working grid, positive inside) of each border.

    The first convolution halves the grid, so that no layer ever runs at full resolution, and
    the head writes the eight sub-voxels of each coarse voxel at once: a distance is smooth, so
    this loses nothing that a full-resolution decoder would have kept, at an eighth of its cost.

    channels  Width at strides 2, 4, 8, ... of the working grid.
    borders   Number of output channels, one per border that is regressed.

    (B, 1, I, J, K) to (B, borders, I, J, K); I, J and K are multiples of `multiple`.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 64, 96), borders: int = 2) -> None:
        super().__init__()
        self.multiple = 2 ** len(channels)
        self.borders = borders
        self.stem = nn.Sequential(
            _convolution(1, channels[0], stride=2), _convolution(channels[0], channels[0])
        )
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(fine, coarse, stride=2), _convolution(coarse, coarse))
            for fine, coarse in pairwise(channels)
        )
        self.up = nn.ModuleList(_Up(coarse, fine) for fine, coarse in pairwise(channels))
        self.head = nn.Conv3d(channels[0], 8 * borders, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        maps = [self.stem(image)]
        for down in self.down:
            maps.append(down(maps[-1]))
        raised = maps.pop()
        for up, skip in zip(reversed(self.up), reversed(maps), strict=True):
            raised = up(raised, skip)
        x: Tensor = self.head(raised)
        # (B, 8 * C, I, J, K) to (B, C, 2 I, 2 J, 2 K): a group of eight is one 2 x 2 x 2 block.
        b, _, i, j, k = x.shape
        blocks = x.view(b, self.borders, 2, 2, 2, i, j, k).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return blocks.reshape(b, self.borders, 2 * i, 2 * j, 2 * k)
