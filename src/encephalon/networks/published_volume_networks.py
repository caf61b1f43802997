# SPDX-License-Identifier: Apache-2.0
"""VNetLight and HighResNet as MTNeuro took them, whose weights bear their published names.

Both are those of MedicalZooPytorch (github.com/black0017/MedicalZooPytorch, `Vnet.py` and
`HighResNet3D.py`), built as the notebooks of github.com/im-a-jin/MTNeuro build them: VNetLight with
learnt slopes below 0, HighResNet with shortcuts that are padded with zeros. `vnet-light` and
`highresnet` are the networks of the same papers for models of one's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.errors import ModelError
from encephalon.networks.layers import check_choice, middle, pad_to_multiple
from encephalon.networks.registry import fill_network

Activation = Literal["prelu", "elu"]


class PublishedVNetLight(nn.Module):
    """A V-Net without its coarsest level (Milletari et al. 2016, arXiv:1606.04797).

    classes, in_channels  Channels out and in.
    width                 Channels of the first level, a multiple of `in_channels`; doubled by each.
    activation            "prelu", as published, or "elu".

    (B, in_channels, Z, Y, X) to (B, classes, Z, Y, X). Sides that are no multiple of 8 are padded
    by repeating the edges, and the logits cut to their size.
    """

    known_as = "vnet-light"
    head_parts = ("out_tr",)
    multiple = 8

    def __init__(
        self,
        classes: int = 4,
        in_channels: int = 1,
        width: int = 16,
        activation: Activation = "prelu",
    ) -> None:
        super().__init__()
        check_choice("activation", activation, ("prelu", "elu"))
        if width < 1 or width % in_channels:
            raise ValueError(f"width must be a multiple of in_channels ({in_channels}): {width}")
        self.in_tr = _Convolved(in_channels, width, activation)
        self.down_tr32 = _Down(width, 1, activation)
        self.down_tr64 = _Down(2 * width, 2, activation)
        self.down_tr128 = _Down(4 * width, 3, activation, dropout=0.5)
        self.up_tr128 = _Up(8 * width, 8 * width, 2, activation, dropout=0.5)
        self.up_tr64 = _Up(8 * width, 4 * width, 1, activation)
        self.up_tr32 = _Up(4 * width, 2 * width, 1, activation)
        self.out_tr = _Out(2 * width, classes, activation)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, in_channels, Z, Y, X) to logits."""
        x = pad_to_multiple(volume, self.multiple)
        entered = self.in_tr.convolve(x)
        copies = entered.shape[1] // x.shape[1]
        maps = [self.in_tr.relu1(entered + x.repeat(1, copies, 1, 1, 1))]
        for down in (self.down_tr32, self.down_tr64, self.down_tr128):
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up in (self.up_tr128, self.up_tr64, self.up_tr32):
            x = up(x, maps.pop())
        return middle(self.out_tr(x), volume.shape[2:])


def _activation(name: str, channels: int) -> nn.Module:
    return nn.PReLU(channels) if name == "prelu" else nn.ELU()


class _Convolved(nn.Module):
    """A convolution of five voxels that keeps the grid, normalised and then activated."""

    def __init__(self, inputs: int, outputs: int, activation: Activation) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 5, padding=2)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.relu1 = _activation(activation, outputs)

    def convolve(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.bn1(self.conv1(x)))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.relu1(self.convolve(x)))


class _Out(_Convolved):
    """What ends in logits."""

    def __init__(self, inputs: int, classes: int, activation: Activation) -> None:
        super().__init__(inputs, classes, activation)
        self.conv2 = nn.Conv3d(classes, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv2(super().forward(x)))


class _Level(nn.Module):
    """What the levels of both ways have in common: they change the grid, and then add to it."""

    def __init__(self, moved: int, wide: int, convolutions: int, activation: Activation) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm3d(moved)
        self.relu1 = _activation(activation, moved)
        self.relu2 = _activation(activation, wide)
        self.ops = nn.Sequential(*[_Convolved(wide, wide, activation) for _ in range(convolutions)])


class _Down(_Level):
    """Half the grid and twice the channels."""

    def __init__(
        self, fine: int, convolutions: int, activation: Activation, dropout: float = 0.0
    ) -> None:
        super().__init__(2 * fine, 2 * fine, convolutions, activation)
        self.down_conv = nn.Conv3d(fine, 2 * fine, 2, stride=2)
        self.do1 = nn.Dropout3d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        down = self.relu1(self.bn1(self.down_conv(x)))
        return cast(Tensor, self.relu2(self.ops(self.do1(down)) + down))


class _Up(_Level):
    """Twice the grid, half of whose channels are those of the skip."""

    def __init__(
        self,
        coarse: int,
        fine: int,
        convolutions: int,
        activation: Activation,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(fine // 2, fine, convolutions, activation)
        self.up_conv = nn.ConvTranspose3d(coarse, fine // 2, 2, stride=2)
        self.do1, self.do2 = nn.Dropout3d(dropout), nn.Dropout3d(0.5)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        raised = self.relu1(self.bn1(self.up_conv(self.do1(x))))
        joined = torch.cat([raised, self.do2(skip)], dim=1)
        return cast(Tensor, self.relu2(self.ops(joined) + joined))


_STAGES = (
    ("red_blocks", "conv_red", 1),
    ("dil2block", "conv_dil", 2),
    ("dil4block", "conv_dil", 4),
)
"""The three stages of HighResNet: what its blocks and their layers are called, and the dilation."""
_BLOCKS = [f"{stage}{number}" for stage, *_ in _STAGES for number in (1, 2, 3)]


class PublishedHighResNet(nn.Module):
    """Residual blocks of growing dilation on the full grid (Li et al. 2017, arXiv:1707.01992).

    Every block is given the sum of what the two before it gave; where those have fewer channels,
    as many of zeros are set before theirs as behind them.

    classes, in_channels  Channels out and in.
    width                 Channels of the first stage; the others have twice and four times as many,
                          and the layer before the logits five times.
    dropout               Share of the channels before the logits that training leaves out.

    (B, in_channels, Z, Y, X) to (B, classes, Z, Y, X), of any size.
    """

    known_as = "highresnet"
    head_parts = ("conv_out.2",)

    def __init__(
        self, classes: int = 4, in_channels: int = 1, width: int = 16, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.conv_init = nn.Module()
        self.conv_init.conv1 = nn.Conv3d(in_channels, width, 3, padding=1)
        self.conv_init.norm = nn.Sequential(nn.BatchNorm3d(width), nn.ReLU())
        inputs = width
        for stage, layer, dilation in _STAGES:
            outputs = width * dilation
            for number in (1, 2, 3):
                block = nn.Sequential(
                    _Before(layer, inputs, outputs, dilation),
                    _Before(layer, outputs, outputs, dilation),
                )
                self.add_module(f"{stage}{number}", block)
                inputs = outputs
        self.conv_out = nn.Sequential(
            nn.Conv3d(4 * width, 5 * width, 1),
            nn.Dropout3d(dropout),
            _Before("conv_dil", 5 * width, classes, kernel=1),
        )

    def forward(self, volume: Tensor) -> Tensor:
        """(B, in_channels, Z, Y, X) to logits."""
        first = cast(Tensor, self.conv_init.conv1(volume))  # type: ignore[operator]
        before = cast(Tensor, self.conv_init.norm(first))  # type: ignore[operator]
        now = cast(Tensor, self.get_submodule(_BLOCKS[0])(first))
        for name in _BLOCKS[1:]:
            block = self.get_submodule(name)
            before, now = now, cast(Tensor, block(_sum(now, before)))
        return cast(Tensor, self.conv_out(_sum(now, before)))


class _Before(nn.Module):
    """A layer that is normalised and rectified before it is convolved."""

    def __init__(
        self, name: str, inputs: int, outputs: int, dilation: int = 1, kernel: int = 3
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        convolution = nn.Conv3d(inputs, outputs, kernel, padding=padding, dilation=dilation)
        layers = nn.Sequential(nn.BatchNorm3d(inputs), nn.ReLU(), convolution)
        self.add_module(name, layers)

    def forward(self, x: Tensor) -> Tensor:
        (layers,) = self.children()
        return cast(Tensor, layers(x))


def _sum(now: Tensor, before: Tensor) -> Tensor:
    missing = (now.shape[1] - before.shape[1]) // 2
    return now + nn.functional.pad(before, [0, 0, 0, 0, 0, 0, missing, missing])


def build_published_volume_network(
    tensors: Mapping[str, NDArray[Any]], source: str
) -> PublishedVNetLight | PublishedHighResNet:
    """VNetLight or HighResNet with the weights `tensors`, as large as they are.

    Raises ModelError, with `source` in it, for missing, unexpected and mis-shaped weights.
    """
    first, last = (tensors.get(f"{name}.weight") for name in ("in_tr.conv1", "out_tr.conv2"))
    if first is not None and last is not None and first.ndim == 5:
        learnt: Activation = "prelu" if "in_tr.relu1.weight" in tensors else "elu"
        vnet = PublishedVNetLight(len(last), first.shape[1], len(first), learnt)
        return fill_network(vnet, tensors, source)
    names = ("conv_init.conv1", "conv_out.2.conv_dil.2")
    first, last = (tensors.get(f"{name}.weight") for name in names)
    if first is not None and last is not None and first.ndim == 5:
        highres = PublishedHighResNet(len(last), first.shape[1], len(first))
        return fill_network(highres, tensors, source)
    example = next(iter(tensors), "nothing")
    raise ModelError(
        f"{source}: expected the weights of VNetLight ('in_tr.conv1', 'out_tr.conv2') or of "
        f"HighResNet ('conv_init.conv1', 'conv_out.2.conv_dil.2'), but these {len(tensors)} begin "
        f"with {example!r}: this is another architecture."
    )
