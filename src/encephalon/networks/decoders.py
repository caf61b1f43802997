# SPDX-License-Identifier: Apache-2.0
"""Decoders: the feature maps of any encoder, fine to coarse, become one map, and that a mask.

Each is a small version of its paper in two or three dimensions. A decoder is built with the number
of dimensions, the channels of the encoder's maps and a width; it gives a map of `out_channels` on
the grid of one of the maps. What has fewer maps than the paper's encoder loses the skips alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.errors import RecipeError, did_you_mean
from encephalon.networks.encoders import feature_maps
from encephalon.networks.layers import BATCH_NORMS, CONVOLUTIONS, POOLING, resize
from encephalon.networks.tile_classifier import build_tile_encoder


class TileSegmenter(nn.Module):
    """Logits of each class at each voxel of a tile of any size.

    classes               Number of logits.
    encoder, encoder_options
                          Name of an encoder, and what else it is built with.
    decoder, width        Name of a decoder, and the channels of its finest map.
    in_channels, spatial_dims
                          Channels of the tile, and 2 or 3.

    (B, in_channels, [Z,] Y, X) to (B, classes, [Z,] Y, X).
    """

    def __init__(
        self,
        classes: int = 4,
        encoder: str = "resnet18",
        decoder: str = "unet",
        in_channels: int = 1,
        spatial_dims: int = 2,
        width: int = 32,
        encoder_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if decoder not in DECODERS:
            meant = did_you_mean(decoder, DECODERS, "known decoders:")
            raise RecipeError(f"Unknown decoder {decoder!r}; {meant}")
        self.encoder = build_tile_encoder(encoder, in_channels, spatial_dims, encoder_options)
        channels = cast(tuple[int, ...], self.encoder.channels)
        self.decoder = DECODERS[decoder](spatial_dims, channels, width)
        self.head = CONVOLUTIONS[spatial_dims](self.decoder.out_channels, classes, 1)

    def forward(self, tile: Tensor) -> Tensor:
        """(B, in_channels, [Z,] Y, X) to logits."""
        return resize(self.head(self.decoder(feature_maps(self.encoder, tile))), tile.shape[2:])


def _layer(
    dims: int, inputs: int, outputs: int, kernel: int = 3, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution that keeps the grid, batch normalisation and ReLU."""
    padding = dilation * (kernel // 2)
    convolution = CONVOLUTIONS[dims](
        inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=False
    )
    return nn.Sequential(convolution, BATCH_NORMS[dims](outputs), nn.ReLU(inplace=True))


def _double(dims: int, inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_layer(dims, inputs, outputs), _layer(dims, outputs, outputs))


def _separable(dims: int, inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """A convolution of each channel alone, then one across channels (Chollet 2017)."""
    alone = _layer(dims, inputs, inputs, dilation=dilation, groups=inputs)[0]
    return nn.Sequential(alone, _layer(dims, inputs, outputs, kernel=1))


def _mean(image: Tensor) -> Tensor:
    """The mean over all places, with sides of 1."""
    return image.mean(dim=tuple(range(2, image.dim())), keepdim=True)


def _like(image: Tensor, other: Tensor) -> Tensor:
    return resize(image, other.shape[2:])


def _gate(dims: int, channels: int, reduced: int) -> nn.Sequential:
    """Weights of each channel from the mean of them all (squeeze and excitation, Hu et al. 2018).

    Without normalisation: a single tile has a single mean, which has no variance.
    """
    convolution = CONVOLUTIONS[dims]
    squeeze, excite = convolution(channels, reduced, 1), convolution(reduced, channels, 1)
    return nn.Sequential(squeeze, nn.ReLU(inplace=True), excite, nn.Sigmoid())


class _Decoder(nn.Module):
    out_channels: int

    def __call__(self, maps: list[Tensor]) -> Tensor:
        return cast(Tensor, super().__call__(maps))


class _UNet(_Decoder):
    """Raise, join the skip, convolve twice (Ronneberger et al. 2015, arXiv:1505.04597)."""

    def __init__(self, dims: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(len(channels))]
        self.bottom = _double(dims, channels[-1], widths[-1])
        self.up = nn.ModuleList(
            _double(dims, coarse + skip, fine)
            for (fine, coarse), skip in zip(pairwise(widths), channels, strict=False)
        )
        self.out_channels = width

    def forward(self, maps: list[Tensor]) -> Tensor:
        x: Tensor = self.bottom(maps[-1])
        for up, skip in zip(reversed(self.up), reversed(maps[:-1]), strict=True):
            x = up(torch.cat([_like(x, skip), skip], dim=1))
        return x


class _UNetPlusPlus(_Decoder):
    """Skips through nested, dense blocks (Zhou et al. 2018, arXiv:1807.10165).

    Block (i, j) sees every earlier block of its level i, and the block (i + 1, j - 1) raised.
    """

    def __init__(self, dims: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(len(channels))]
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                _double(dims, skip + (column - 1) * wide + coarse, wide)
                for column in range(1, len(channels) - level)
                for coarse in [widths[level + 1] if column > 1 else channels[level + 1]]
            )
            for level, (skip, wide) in enumerate(zip(channels, widths, strict=True))
        )
        self.out_channels = width if len(channels) > 1 else channels[0]

    def forward(self, maps: list[Tensor]) -> Tensor:
        known = [[one] for one in maps]
        for column in range(1, len(maps)):
            for level in range(len(maps) - column):
                raised = _like(known[level + 1][column - 1], maps[level])
                seen = torch.cat([*known[level], raised], dim=1)
                block = cast(nn.ModuleList, self.blocks[level])[column - 1]
                known[level].append(block(seen))
        return known[0][-1]


class _PositionAttention(nn.Module):
    """Each place of the coarsest map joined by what all others say, by their likeness."""

    def __init__(self, dims: int, channels: int, inner: int) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[dims]
        self.query, self.key = convolution(channels, inner, 1), convolution(channels, inner, 1)
        self.value = convolution(channels, channels, 3, padding=1)
        self.out = convolution(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        asked = (self.query, self.key, self.value)
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in asked)
        seen = nnf.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + cast(Tensor, self.out(seen.transpose(1, 2).reshape(x.shape)))


class _MANet(_Decoder):
    """Position attention, then gated joins of skips (Fan et al. 2020, MA-Net, IEEE Access)."""

    def __init__(self, dims: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(len(channels))]
        self.attend = _PositionAttention(dims, channels[-1], max(1, min(64, channels[-1] // 2)))
        self.bottom = _layer(dims, channels[-1], widths[-1])
        pairs = [(*pair, skip) for pair, skip in zip(pairwise(widths), channels, strict=False)]
        self.change = nn.ModuleList(_layer(dims, coarse, skip) for _, coarse, skip in pairs)
        self.of_coarse = nn.ModuleList(_gate(dims, s, max(4, s // 16)) for *_, s in pairs)
        self.of_skip = nn.ModuleList(_gate(dims, s, max(4, s // 16)) for *_, s in pairs)
        self.join = nn.ModuleList(_double(dims, 2 * skip, fine) for fine, _, skip in pairs)
        self.out_channels = width

    def forward(self, maps: list[Tensor]) -> Tensor:
        x: Tensor = self.bottom(self.attend(maps[-1]))
        for level in reversed(range(len(maps) - 1)):
            skip = maps[level]
            x = _like(self.change[level](x), skip)
            # One gate of the coarse map and one of the skip; both weigh what comes from below.
            gates = self.of_coarse[level](_mean(x)) + self.of_skip[level](_mean(skip))
            x = self.join[level](torch.cat([x * gates, skip], dim=1))
        return x


class _FPN(_Decoder):
    """A pyramid from the top down, whose levels are added (Lin et al. 2017, arXiv:1612.03144)."""

    def __init__(self, dims: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        inner = 2 * width
        self.lateral = nn.ModuleList(CONVOLUTIONS[dims](c, inner, 1) for c in channels)
        self.smooth = nn.ModuleList(_double(dims, inner, width) for _ in channels)
        self.out_channels = width

    def forward(self, maps: list[Tensor]) -> Tensor:
        sides = [lateral(one) for lateral, one in zip(self.lateral, maps, strict=True)]
        levels = list(accumulate(reversed(sides), lambda top, side: side + _like(top, side)))
        smooth = [layer(one) for layer, one in zip(self.smooth, reversed(levels), strict=True)]
        return torch.stack([_like(one, maps[0]) for one in smooth]).sum(dim=0)


class _PyramidAttention(nn.Module):
    """The coarsest map weighed by a small U of wide kernels, beside its mean."""

    def __init__(self, dims: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mean = CONVOLUTIONS[dims](inputs, outputs, 1)
        self.middle = _layer(dims, inputs, outputs, kernel=1)
        kernels = (7, 5, 3)
        convolution = CONVOLUTIONS[dims]
        # Without normalisation, as a small tile has a single place at the bottom of the U.
        self.down = nn.ModuleList(
            nn.Sequential(convolution(n, 1, k, padding=k // 2), nn.LeakyReLU(0.1))
            for n, k in zip((inputs, 1, 1), kernels, strict=True)
        )
        self.side = nn.ModuleList(convolution(1, 1, k, padding=k // 2) for k in kernels)
        self.pool = POOLING[dims](2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        down, levels = x, []
        for layer in self.down:
            down = layer(self.pool(down))
            levels.append(down)
        sides = [layer(one) for layer, one in zip(self.side, levels, strict=True)]
        *_, weights = accumulate(reversed(sides), lambda top, side: side + _like(top, side))
        middle: Tensor = self.middle(x)
        return middle * _like(weights, x) + cast(Tensor, self.mean(_mean(x)))


class _PAN(_Decoder):
    """Pyramid attention, then skips gated from above (Li et al. 2018, arXiv:1805.10180)."""

    def __init__(self, dims: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.pyramid = _PyramidAttention(dims, channels[-1], width)
        self.gates = nn.ModuleList(_gate(dims, width, width) for _ in channels[:-1])
        self.skips = nn.ModuleList(_layer(dims, c, width) for c in channels[:-1])
        self.out_channels = width

    def forward(self, maps: list[Tensor]) -> Tensor:
        x: Tensor = self.pyramid(maps[-1])
        for level in reversed(range(len(maps) - 1)):
            skip = self.skips[level](maps[level])
            x = _like(x, skip) + skip * self.gates[level](_mean(x))
        return x


class _PSPNet(_Decoder):
    """The coarsest map beside its means in 1, 2, 3 and 6 parts a side (arXiv:1612.01105)."""

    def __init__(self, dims: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        inner = max(1, channels[-1] // 4)
        self.bins = (1, 2, 3, 6)
        # A single mean of a single tile has no variance to be normalised by.
        self.parts = nn.ModuleList(
            nn.Sequential(CONVOLUTIONS[dims](channels[-1], inner, 1), nn.ReLU(inplace=True))
            for _ in self.bins
        )
        self.join = _layer(dims, channels[-1] + len(self.bins) * inner, 2 * width)
        self.out_channels = 2 * width

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        pooled = [
            _like(part(_part_means(x, bins)), x)
            for bins, part in zip(self.bins, self.parts, strict=True)
        ]
        joined: Tensor = self.join(torch.cat([x, *pooled], dim=1))
        return joined


def _part_means(image: Tensor, bins: int) -> Tensor:
    """(B, C, ...) averaged over `bins` parts of each side, as adaptive pooling does it.

    By sums of products, which a graph has for images of any size.
    """
    for axis in range(2, image.dim()):
        side = image.shape[axis]
        place = torch.arange(side, device=image.device)
        number = torch.arange(bins, device=image.device)[:, None]
        first, beyond = number * side // bins, ((number + 1) * side + bins - 1) // bins
        inside = ((place >= first) & (place < beyond)).to(image.dtype)
        weights = inside / inside.sum(dim=1, keepdim=True)
        image = (image.transpose(axis, -1) @ weights.T).transpose(axis, -1)
    return image


class _LinkNet(_Decoder):
    """Narrow raises whose skips are added (Chaurasia and Culurciello 2017, arXiv:1707.03718)."""

    def __init__(self, dims: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        inner = [max(1, coarse // 4) for coarse in channels[1:]]
        self.reduce = nn.ModuleList(
            _layer(dims, coarse, narrow, kernel=1)
            for coarse, narrow in zip(channels[1:], inner, strict=True)
        )
        self.widen = nn.ModuleList(
            nn.Sequential(_layer(dims, narrow, narrow), _layer(dims, narrow, fine, kernel=1))
            for fine, narrow in zip(channels, inner, strict=False)
        )
        self.last = _layer(dims, channels[0], width)
        self.out_channels = width

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for level in reversed(range(len(maps) - 1)):
            x = maps[level] + self.widen[level](_like(self.reduce[level](x), maps[level]))
        return cast(Tensor, self.last(x))


class _DeepLab(_Decoder):
    """Parallel dilations of the coarsest map, joined by a finer one (arXiv:1802.02611).

    The finer map is two levels up, a quarter of the stride, as in the paper.
    """

    def __init__(self, dims: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        inner, rates = 4 * width, (12, 24, 36)
        self.mean = nn.Sequential(CONVOLUTIONS[dims](channels[-1], inner, 1), nn.ReLU(inplace=True))
        self.near = _layer(dims, channels[-1], inner, kernel=1)
        self.far = nn.ModuleList(_separable(dims, channels[-1], inner, rate) for rate in rates)
        self.join = _layer(dims, (2 + len(rates)) * inner, inner, kernel=1)
        self.level = len(channels) - 3 if len(channels) > 2 else 0
        has_skip = len(channels) > 1
        self.low = _layer(dims, channels[self.level], 48, kernel=1) if has_skip else None
        self.last = _separable(dims, inner + 48 * has_skip, inner)
        self.out_channels = inner

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        far = [layer(x) for layer in self.far]
        mean = self.mean(_mean(x)).expand(-1, -1, *x.shape[2:])
        x = self.join(torch.cat([mean, self.near(x), *far], dim=1))
        if self.low is not None:
            low = self.low(maps[self.level])
            x = torch.cat([_like(x, low), low], dim=1)
        return cast(Tensor, self.last(x))


DECODERS: Mapping[str, Callable[[int, Sequence[int], int], _Decoder]] = {
    "deeplabv3+": _DeepLab,
    "fpn": _FPN,
    "linknet": _LinkNet,
    "manet": _MANet,
    "pan": _PAN,
    "pspnet": _PSPNet,
    "unet": _UNet,
    "unet++": _UNetPlusPlus,
}
