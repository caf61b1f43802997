# SPDX-License-Identifier: Apache-2.0
"""Networks of whole volumes by their papers' names, made of MONAI's parts, for volumes of any size.

Both stand beside the U-Nets in MTNeuro's table of results (mtneuro.github.io).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from encephalon.errors import require_extra
from encephalon.networks.layers import middle, pad_to_multiple


class VNetLight(nn.Module):
    """A V-Net without its coarsest level (Milletari et al. 2016, arXiv:1606.04797).

    Three levels are left, so that a volume of 8 slices is seen; others are padded to a multiple of
    8 by repeating their edges, and the logits cut to their size.

    classes, in_channels  Channels out and in.
    dropout               Share of the features of the coarse levels that training leaves out.

    (B, in_channels, Z, Y, X) to (B, classes, Z, Y, X).
    """

    multiple = 8

    def __init__(self, classes: int = 4, in_channels: int = 1, dropout: float = 0.5) -> None:
        require_extra("monai", "train", "The network 'vnet-light'")
        from monai.networks.nets import vnet

        super().__init__()
        act: Any = ("elu", {"inplace": True})
        coarse: Any = {"dropout_prob": (dropout, 0.5)}
        self.enter = vnet.InputTransition(3, in_channels, 16, act)
        self.down = nn.ModuleList(
            [
                vnet.DownTransition(3, 16, 1, act),
                vnet.DownTransition(3, 32, 2, act),
                vnet.DownTransition(3, 64, 3, act, dropout_prob=dropout),
            ]
        )
        self.up = nn.ModuleList(
            [
                vnet.UpTransition(3, 128, 128, 2, act, **coarse),
                vnet.UpTransition(3, 128, 64, 1, act),
                vnet.UpTransition(3, 64, 32, 1, act),
            ]
        )
        self.head = vnet.OutputTransition(3, 32, classes, act)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, in_channels, Z, Y, X) to logits."""
        maps = [self.enter(pad_to_multiple(volume, self.multiple))]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up in self.up:
            x = up(x, maps.pop())
        return middle(self.head(x), volume.shape[2:])


class HighResNet(nn.Module):
    """Residual blocks of growing dilation on the full grid (Li et al. 2017, arXiv:1707.01992).

    classes, in_channels  Channels out and in.
    widths                Channels of the first convolution, of the three stages of three blocks
                          each with dilations 1, 2 and 4, and of the layer before the logits.
    dropout               Share of the last features that training leaves out.

    (B, in_channels, Z, Y, X) to (B, classes, Z, Y, X), of any size.
    """

    def __init__(
        self,
        classes: int = 4,
        in_channels: int = 1,
        widths: Sequence[int] = (16, 16, 32, 64, 80),
        dropout: float = 0.0,
    ) -> None:
        require_extra("monai", "train", "The network 'highresnet'")
        from monai.networks.nets.highresnet import HighResNet as Stages

        if len(widths) != 5:
            raise ValueError(f"widths must be five numbers, not {list(widths)}")
        super().__init__()
        first, *stages, last = widths
        blocks = [{"n_features": n, "kernels": (3, 3), "repeat": 3} for n in stages]
        # Its own last layer would be normalised and rectified, which no logits are.
        self.stages = Stages(
            in_channels=in_channels,
            out_channels=last,
            dropout_prob=dropout,
            layer_params=[
                {"n_features": first, "kernel_size": 3},
                *blocks,
                {"n_features": last, "kernel_size": 1},
                {"n_features": last, "kernel_size": 1},
            ],
        )
        self.head = nn.Conv3d(last, classes, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, in_channels, Z, Y, X) to logits."""
        logits: Tensor = self.head(self.stages(volume))
        return logits
