# SPDX-License-Identifier: Apache-2.0
"""The decoders of `PublishedSegmenter`, by the names that segmentation_models_pytorch 0.3 has.

Each is built with the channels of five maps of an image, of strides 2 to 32, fine to coarse, and
turns them into one of `out_channels`, whose stride is another for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf


def _nearest(image: Tensor) -> Tensor:
    """Twice the sides, each pixel four times."""
    return nnf.interpolate(image, scale_factor=2.0, mode="nearest")


def enlarged(image: Tensor, factor: int) -> Tensor:
    """`factor` times the sides, linear between the corners."""
    return _fitted(image, [factor * side for side in image.shape[2:]])


def _fitted(image: Tensor, sides: Sequence[int]) -> Tensor:
    """(B, C, Y, X) with other sides, linear between the corners."""
    if list(image.shape[2:]) == list(sides):
        return image
    return nnf.interpolate(image, size=list(sides), mode="bilinear", align_corners=True)


def _mean(image: Tensor) -> Tensor:
    return image.mean(dim=(2, 3), keepdim=True)


def _layer(inputs: int, outputs: int, kernel: int = 3, norm: bool = True) -> nn.Sequential:
    """A convolution that keeps the grid, its normalisation and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not norm)
    normalised = nn.BatchNorm2d(outputs) if norm else nn.Identity()
    return nn.Sequential(convolution, normalised, nn.ReLU())


class PublishedDecoder(nn.Module):
    """The maps of an image, fine to coarse, to one (B, out_channels, Y, X)."""

    out_channels: int

    def __call__(self, maps: list[Tensor]) -> Tensor:
        return cast(Tensor, super().__call__(maps))


class _Joined(nn.Module):
    """The coarse map on twice the grid, beside what joins it there, convolved twice."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _layer(inputs, outputs), _layer(outputs, outputs)

    def forward(self, coarse: Tensor, *beside: Tensor) -> Tensor:
        joined = torch.cat([_nearest(coarse), *beside], dim=1)
        return cast(Tensor, self.conv2(self.conv1(joined)))


def _plan(channels: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Channels into, of the skip of, and out of the five steps of a U, from the bottom up."""
    out = [channels[-1] // 2**step for step in range(1, 6)]
    return [channels[-1], *out[:-1]], [*reversed(channels[:-1]), 0], out


class _UNetPlusPlus(PublishedDecoder):
    """Skips through nested, dense blocks (Zhou et al. 2018, arXiv:1807.10165).

    Block x_i_j, of the grid of step j, is given the block or map before it, i to j - 1, and beside
    it all later ones of its step and the skip.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        before, skips, out = _plan(channels)
        self.blocks = nn.ModuleDict()
        for step, skip in enumerate(skips[:-1]):
            for first in range(step + 1):
                coarse, wide = (skips[step - 1], skip) if first else (before[step], out[step])
                block = _Joined(coarse + skip * (step + 1 - first), wide)
                self.blocks[f"x_{first}_{step}"] = block
        self.blocks["x_0_4"] = _Joined(before[-1], out[-1])
        self.out_channels = out[-1]

    def forward(self, maps: list[Tensor]) -> Tensor:
        found: dict[str, Tensor] = {}
        coarsest_first = maps[::-1]
        for step, (below, skip) in enumerate(pairwise(coarsest_first)):
            for first in range(step, -1, -1):
                later = [found[f"x_{n}_{step}"] for n in range(first + 1, step + 1)]
                coarse = found[f"x_{first}_{step - 1}"] if first < step else below
                block = self.blocks[f"x_{first}_{step}"]
                found[f"x_{first}_{step}"] = block(coarse, *later, skip)
        return cast(Tensor, self.blocks["x_0_4"](found["x_0_3"]))


class _Position(nn.Module):
    """The attention of MAnet between places, as it was coded.

    It differs from its paper: the shares are of all pairs of places at once, so that they hardly
    move the map, and what they gather is read as channels where it is places.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.top_conv = nn.Conv2d(channels, inner, 1)
        self.center_conv = nn.Conv2d(channels, inner, 1)
        self.bottom_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.out_conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        layers = (self.center_conv, self.top_conv, self.bottom_conv)
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in layers)
        likeness = query @ key.transpose(1, 2)
        shares = likeness.flatten(1).softmax(dim=1).view_as(likeness)
        return cast(Tensor, self.out_conv(x + (shares @ value).reshape(x.shape)))


def _gate(channels: int) -> nn.Sequential:
    """Weights of the channels from their means."""
    inner = max(1, channels // 16)
    squeeze, excite = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), squeeze, nn.ReLU(), excite, nn.Sigmoid())


class _Gated(_Joined):
    """A step of MAnet: the coarse map is weighed by gates of its own and of the skip."""

    def __init__(self, coarse: int, skip: int, outputs: int) -> None:
        super().__init__(2 * skip, outputs)
        self.hl_conv = nn.Sequential(_layer(coarse, coarse), _layer(coarse, skip, kernel=1))
        self.SE_ll, self.SE_hl = _gate(skip), _gate(skip)

    def forward(self, coarse: Tensor, *beside: Tensor) -> Tensor:
        (skip,) = beside
        x = self.hl_conv(coarse)
        # The mean over the coarse grid is that over the raised one, of four times each pixel.
        return super().forward(x * (self.SE_hl(x) + self.SE_ll(skip)), skip)


class _MANet(PublishedDecoder):
    """Attention between places, then gated joins of skips (Fan et al. 2020, IEEE Access)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        before, skips, out = _plan(channels)
        self.center = _Position(channels[-1], channels[-1] // 8)
        steps = list(zip(before, skips, out, strict=True))
        self.blocks = nn.ModuleList(_Gated(*step) for step in steps[:-1])
        self.blocks.append(_Joined(before[-1], out[-1]))
        self.out_channels = out[-1]

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = self.center(maps[-1])
        for block, skip in zip(self.blocks, [*reversed(maps[:-1]), None], strict=True):
            x = block(x) if skip is None else block(x, skip)
        return cast(Tensor, x)


class _Smooth(nn.Module):
    """A convolution, normalised in 32 groups, whose map may get twice the grid."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.block = nn.Sequential(convolution, nn.GroupNorm(32, outputs), nn.ReLU())
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return enlarged(self.block(x), self.factor)


class _FPN(PublishedDecoder):
    """A pyramid from the top down, whose levels are added (Lin et al. 2017, arXiv:1612.03144)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        inner, outer = channels[-1] // 2, channels[-1] // 4
        self.p5 = nn.Conv2d(channels[-1], inner, 1)
        for name, skip in zip(("p4", "p3", "p2"), reversed(channels[1:-1]), strict=True):
            side = nn.Module()
            side.skip_conv = nn.Conv2d(skip, inner, 1)
            self.add_module(name, side)
        self.seg_blocks = nn.ModuleList(nn.Module() for _ in range(4))
        for raises, level in zip((3, 2, 1, 0), self.seg_blocks, strict=True):
            widths = [inner, *[outer] * max(1, raises)]
            layers = (_Smooth(*pair, factor=2 if raises else 1) for pair in pairwise(widths))
            level.block = nn.Sequential(*layers)
        self.dropout = nn.Dropout2d(0.2)
        self.out_channels = outer

    def forward(self, maps: list[Tensor]) -> Tensor:
        levels = [self.p5(maps[-1])]
        for name, skip in zip(("p4", "p3", "p2"), reversed(maps[1:-1]), strict=True):
            side = self.get_submodule(f"{name}.skip_conv")(skip)
            levels.append(_nearest(levels[-1]) + side)
        blocks: Any = self.seg_blocks
        smooth = [level.block(one) for level, one in zip(blocks, levels, strict=True)]
        return cast(Tensor, self.dropout(torch.stack(smooth).sum(dim=0)))


class _Normed(nn.Module):
    """A convolution with bias, normalised, and rectified if `active`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, active: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.bn, self.active = nn.BatchNorm2d(outputs), active

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return nnf.relu(x) if self.active else x


class _Pyramid(nn.Module):
    """The coarsest map weighed by a small U of wide kernels, beside its mean."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branch1 = nn.Sequential(nn.Identity(), _Normed(inputs, outputs, 1))
        self.mid = nn.Sequential(_Normed(inputs, outputs, 1))
        self.down1 = nn.Sequential(nn.MaxPool2d(2), _Normed(inputs, 1, 7))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), _Normed(1, 1, 5))
        self.down3 = nn.Sequential(nn.MaxPool2d(2), _Normed(1, 1, 3), _Normed(1, 1, 3))
        self.conv2, self.conv1 = _Normed(1, 1, 5), _Normed(1, 1, 7)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(first)
        third = _fitted(self.down3(second), second.shape[2:])
        second = _fitted(self.conv2(second) + third, first.shape[2:])
        weights = _fitted(self.conv1(first) + second, x.shape[2:])
        return cast(Tensor, weights * self.mid(x) + self.branch1(_mean(x)))


class _Attended(nn.Module):
    """A skip weighed by the mean of the coarse map, which is added to it."""

    def __init__(self, skip: int, outputs: int) -> None:
        super().__init__()
        weigh = _Normed(outputs, outputs, 1, active=False)
        self.conv1 = nn.Sequential(nn.Identity(), weigh, nn.Sigmoid())
        self.conv2 = _Normed(skip, outputs, 3)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        weighed = self.conv2(skip) * self.conv1(_mean(coarse))
        return _fitted(coarse, skip.shape[2:]) + cast(Tensor, weighed)


class _PAN(PublishedDecoder):
    """Pyramid attention, then skips weighed from above (Li et al. 2018, arXiv:1805.10180)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels[-1] // 16
        self.fpa = _Pyramid(channels[-1], self.out_channels)
        self.gau3 = _Attended(channels[-2], self.out_channels)
        self.gau2 = _Attended(channels[-3], self.out_channels)
        self.gau1 = _Attended(channels[-4], self.out_channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = self.fpa(maps[-1])
        for join, skip in zip((self.gau3, self.gau2, self.gau1), maps[-2:0:-1], strict=True):
            x = join(skip, x)
        return cast(Tensor, x)


_PARTS = (1, 2, 3, 6)


class _PSPNet(PublishedDecoder):
    """A map of stride 8 beside its means in 1, 2, 3 and 6 parts a side (arXiv:1612.01105)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        inputs, self.out_channels = channels[2], channels[-1]
        self.psp = nn.Module()
        self.psp.blocks = nn.ModuleList(nn.Module() for _ in _PARTS)
        for parts, block in zip(_PARTS, self.psp.blocks, strict=True):
            layer = _layer(inputs, inputs // len(_PARTS), 1, norm=parts > 1)
            block.pool = nn.Sequential(nn.AdaptiveAvgPool2d(parts), layer)
        self.conv = _layer(2 * inputs, self.out_channels, 1)
        self.dropout = nn.Dropout2d(0.2)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[2]
        blocks: Any = self.psp.blocks
        seen = [_fitted(block.pool(x), x.shape[2:]) for block in blocks]
        return cast(Tensor, self.dropout(self.conv(torch.cat([*seen, x], dim=1))))


PUBLISHED_DECODERS: Mapping[str, Callable[[Sequence[int]], PublishedDecoder]] = {
    "unet++": _UNetPlusPlus,
    "manet": _MANet,
    "fpn": _FPN,
    "pan": _PAN,
    "pspnet": _PSPNet,
}
