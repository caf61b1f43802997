# SPDX-License-Identifier: Apache-2.0
"""The U-Net of MTNeuro in two or three dimensions, whose weights bear their published names.

Unlike the usual order each convolution is followed by its activation, and that by normalisation;
kernels begin Xavier-uniform and biases at 0. With the published settings there are 1,971,620
weights in 2-D with 4 classes, and 5,646,275 in 3-D with 3 (MTNeuro's `models/unet.py`). 43,232 of
them are never used: `conv0`, which follows an interpolation, is there as well where the grid is
raised by a transposed convolution. It is kept, untrained, so that files fit either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.errors import ModelError
from encephalon.networks.layers import (
    BATCH_NORMS,
    CONVOLUTIONS,
    INSTANCE_NORMS,
    POOLING,
    RAISING,
    check_choice,
    middle,
    pad_to_multiple,
    resize,
)
from encephalon.networks.registry import fill_network

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": nnf.relu,
    "leaky": lambda x: nnf.leaky_relu(x, 0.1),
    "elu": nnf.elu,
}


class PublishedUNet(nn.Module):
    """Logits of each class at each voxel.

    classes, in_channels, spatial_dims
                          Channels out and in; 2 or 3.
    blocks, width         Levels, each of half the grid of the one before, and the channels of the
                          first; doubled by each level.
    activation            "relu", "leaky" (0.1) or "elu".
    norm                  "batch", "instance", "groupN" with N groups, or "none".
    padding               "same"; or "valid", which gives only the middle that was seen whole.
    up                    "transposed" convolution, or "interpolation", linear, and a convolution of
                          one voxel.

    (B, in_channels, [Z,] Y, X) to (B, classes, [Z,] Y, X); smaller sides with "valid".
    """

    head_parts = ("conv_final",)

    def __init__(
        self,
        classes: int = 4,
        in_channels: int = 1,
        spatial_dims: int = 2,
        blocks: int = 4,
        width: int = 32,
        activation: Literal["relu", "leaky", "elu"] = "relu",
        norm: str = "batch",
        padding: Literal["same", "valid"] = "same",
        up: Literal["transposed", "interpolation"] = "transposed",
    ) -> None:
        super().__init__()
        check_choice("activation", activation, tuple(_ACTIVATIONS))
        check_choice("padding", padding, ("same", "valid"))
        check_choice("up", up, ("transposed", "interpolation"))
        self.padded, self.multiple = padding == "same", 2 ** (blocks - 1)
        widths = [width * 2**level for level in range(blocks)]
        same: Any = {"dims": spatial_dims, "activation": activation, "norm": norm}
        same["padding"] = int(self.padded)
        self.down_blocks = nn.ModuleList(
            _Block(inputs, wide, **same) for inputs, wide in pairwise([in_channels, *widths])
        )
        self.up_blocks = nn.ModuleList(
            _UpBlock(coarse, fine, up, **same) for coarse, fine in pairwise(reversed(widths))
        )
        self.conv_final = CONVOLUTIONS[spatial_dims](width, classes, 1)
        self.pool = POOLING[spatial_dims](2)
        for module in self.modules():
            if isinstance(module, (*CONVOLUTIONS.values(), *RAISING.values())):
                nn.init.xavier_uniform_(cast(Tensor, module.weight))
                nn.init.zeros_(cast(Tensor, module.bias))

    def forward(self, tile: Tensor) -> Tensor:
        """(B, in_channels, [Z,] Y, X) to logits."""
        x = pad_to_multiple(tile, self.multiple) if self.padded else tile
        skips: list[Tensor] = []
        for block in self.down_blocks:
            x = block(self.pool(x) if skips else x)
            skips.append(x)
        for block, skip in zip(self.up_blocks, reversed(skips[:-1]), strict=True):
            x = block(x, skip)
        logits: Tensor = self.conv_final(x)
        return middle(logits, tile.shape[2:]) if self.padded else logits


class _Block(nn.Module):
    """Two convolutions, each followed by activation and normalisation."""

    def __init__(
        self, inputs: int, outputs: int, *, dims: int, activation: str, norm: str, padding: int
    ) -> None:
        super().__init__()
        self.act = _ACTIVATIONS[activation]
        self.conv1 = CONVOLUTIONS[dims](inputs, outputs, 3, padding=padding)
        self.norm1 = _norm(norm, outputs, dims)
        self.conv2 = CONVOLUTIONS[dims](outputs, outputs, 3, padding=padding)
        self.norm2 = _norm(norm, outputs, dims)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.act(self.conv1(x)))
        return cast(Tensor, self.norm2(self.act(self.conv2(x))))


class _UpBlock(_Block):
    """Raise the grid, join the skip, and convolve twice."""

    def __init__(self, coarse: int, fine: int, up: str, **same: Any) -> None:
        super().__init__(2 * fine, fine, **same)
        dims: int = same["dims"]
        self.up = RAISING[dims](coarse, fine, 2, stride=2) if up == "transposed" else None
        self.conv0 = CONVOLUTIONS[dims](coarse, fine, 1)
        self.conv0.requires_grad_(self.up is None)
        self.norm0 = _norm(same["norm"], fine, dims)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]
        if self.up is not None:
            raised = self.up(x)
        else:
            raised = self.conv0(resize(x, [2 * side for side in x.shape[2:]]))
        raised = self.norm0(self.act(raised))
        return super().forward(torch.cat([raised, middle(skip, raised.shape[2:])], dim=1))


def _norm(name: str, channels: int, dims: int) -> nn.Module:
    groups = name.removeprefix("group")
    if groups.isdigit():
        return nn.GroupNorm(int(groups), channels)
    check_choice("norm", name, ("batch", "instance", "none", "groupN"))
    kinds = {"batch": BATCH_NORMS, "instance": INSTANCE_NORMS}
    return kinds[name][dims](channels) if name in kinds else nn.Identity()


def build_published_unet(
    tensors: Mapping[str, NDArray[Any]], source: str, **choices: Any
) -> PublishedUNet:
    """The published network with the weights `tensors`.

    Dimensions, channels, levels, classes and what raises the grid are those of the weights;
    `choices` are options of which weights do not tell, where they are not the published ones.
    Raises ModelError, with `source` in it, for missing, unexpected and mis-shaped weights.
    """
    first, last = (tensors.get(f"{n}.weight") for n in ("down_blocks.0.conv1", "conv_final"))
    if first is None or last is None or first.ndim not in {4, 5}:
        example = next(iter(tensors), "nothing")
        raise ModelError(
            f"{source}: expected the weights of the MTNeuro U-Net, but there is no "
            f"'down_blocks.0.conv1' and 'conv_final' among these {len(tensors)} (the first is "
            f"{example!r}): this is another architecture."
        )
    network = PublishedUNet(
        classes=len(last),
        in_channels=first.shape[1],
        spatial_dims=first.ndim - 2,
        blocks=sum(name.endswith("conv1.weight") and name[:5] == "down_" for name in tensors),
        width=len(first),
        up="transposed" if "up_blocks.0.up.weight" in tensors else "interpolation",
        **choices,
    )
    return fill_network(network, tensors, source)
