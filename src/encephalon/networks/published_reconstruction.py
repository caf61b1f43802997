# SPDX-License-Identifier: Apache-2.0
"""The published network of BABY-AI, and its weights under their published names.

It is MONAI's residual U-Net: 6 levels, 10 units of convolution and PReLU in each level on the way
down, 379,053,826 parameters in 221 tensors. Nothing joins its input to its output, and
nothing bounds what it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.errors import ModelError, require_extra
from encephalon.networks.registry import fill_network

__all__ = [
    "CHANNELS",
    "UNITS",
    "PublishedReconstruction",
    "build_published_reconstruction",
    "weight_shapes",
]

#: Of the published network, from the finest level to the coarsest.
CHANNELS = (32, 64, 128, 256, 512, 1024)
#: Of the published network: convolutions in each level on the way down.
UNITS = 10
_INPUTS, _OUTPUTS = 2, 1


class PublishedReconstruction(nn.Module):
    """A T2w (B, 1, I, J, K) from a T1w and an interpolated T2w (B, 2, I, J, K), in this order.

    Both are normalised to [0, 1], and the sides must be multiples of `multiple`. The first
    convolution already halves the grid.

    channels  Of each level, at least two; each level has half the grid of the one before.
    units     Convolutions in each level on the way down, at least 1.
    """

    #: What raises the features of the finest level to an image.
    head_parts = ("model.2",)

    def __init__(self, channels: Sequence[int] = CHANNELS, units: int = UNITS) -> None:
        require_extra("monai", "train", "The network 'published-reconstruction'")
        from monai.networks.nets.unet import UNet

        if len(channels) < 2 or min(channels) < 1 or units < 1:
            raise ValueError("there must be two or more levels with channels, and units in them")
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        no_normalisation: Any = None  # its own hints forget that there may be none
        whole = UNet(
            spatial_dims=3,
            in_channels=_INPUTS,
            out_channels=_OUTPUTS,
            channels=tuple(channels),
            strides=(2,) * (len(channels) - 1),
            num_res_units=units,
            norm=no_normalisation,
        )
        # All that the U-Net holds, under the name that it has in the published file.
        self.model = whole.model

    def forward(self, images: Tensor) -> Tensor:
        """The T2w (B, 1, I, J, K) of T1w and interpolated T2w (B, 2, I, J, K)."""
        answer: Tensor = self.model(images)
        return answer


def weight_shapes(
    channels: Sequence[int] = CHANNELS, units: int = UNITS
) -> dict[str, tuple[int, ...]]:
    """The published name and the shape of every weight, without the memory that they take."""
    state = _empty(channels, units).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


def build_published_reconstruction(
    tensors: Mapping[str, NDArray[Any]], source: str
) -> PublishedReconstruction:
    """Return the published network with the weights `tensors`, which bear their published names.

    Channels and units are those of the weights, so that a file of the user's own with this layout
    is as welcome. The network shares the memory of `tensors`. Raises ModelError, with `source` in
    it, for missing, unexpected and mis-shaped weights, by name.
    """
    if not set(tensors) & set(weight_shapes()):
        example = next(iter(tensors), "nothing")
        raise ModelError(
            f"{source}: expected the 221 weights of the published BABY-AI network, but none of "
            f"its names is among these {len(tensors)} (the first is {example!r}): this is another "
            "architecture."
        )
    layouts = [(CHANNELS, UNITS), *_found_layout(tensors)]
    found = {name: tuple(value.shape) for name, value in tensors.items()}.items()
    # The layout with the fewest names that are in one of the two only, or have another shape there.
    best = min(layouts, key=lambda layout: len(found ^ weight_shapes(*layout).items()))
    return fill_network(_empty(*best), tensors, source)


def _empty(channels: Sequence[int], units: int) -> PublishedReconstruction:
    with torch.device("meta"):
        return PublishedReconstruction(channels, units)


def _found_layout(tensors: Mapping[str, NDArray[Any]]) -> list[tuple[tuple[int, ...], int]]:
    """Channels and units as the weights have them; none where they have no such order."""
    channels, prefix = [], "model"
    while size := _outputs(tensors, f"{prefix}.0.residual.weight"):
        channels.append(size)
        prefix += ".1.submodule"
    bottom = _outputs(tensors, f"{prefix}.residual.weight")
    units = next(n for n in count() if f"model.0.conv.unit{n}.conv.weight" not in tensors)
    return [((*channels, bottom), units)] if channels and bottom and units else []


def _outputs(tensors: Mapping[str, NDArray[Any]], name: str) -> int:
    """How many channels a convolution makes; 0 where there is no such convolution."""
    kernels = tensors.get(name)
    return 0 if kernels is None or kernels.ndim != 5 else int(kernels.shape[0])
