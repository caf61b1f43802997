# SPDX-License-Identifier: Apache-2.0
"""What networks of two and of three dimensions share: layers by the dimension, and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

CONVOLUTIONS: Mapping[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
RAISING: Mapping[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
POOLING: Mapping[int, type[nn.MaxPool2d | nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BATCH_NORMS: Mapping[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORMS: Mapping[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raise ValueError unless the option `name` is one of those known."""
    if value not in set(known):
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def resize(image: Tensor, sides: Sequence[int]) -> Tensor:
    """(B, C, [Z,] Y, X) with other sides, linear between the centres of voxels."""
    if list(image.shape[2:]) == list(sides):
        return image
    mode = "bilinear" if image.dim() == 4 else "trilinear"
    return nnf.interpolate(image, size=tuple(sides), mode=mode, align_corners=False)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(B, C, ...) with its edges repeated, as evenly as can be, to multiples of `multiple`."""
    padding: list[int] = []
    for side in reversed(image.shape[2:]):
        missing = -side % multiple
        padding += [missing // 2, missing - missing // 2]
    # A graph is for images of any size, not for that one alone which it is traced with.
    padded = torch.onnx.is_in_onnx_export() or any(padding)
    return nnf.pad(image, padding, mode="replicate") if padded else image


def middle(image: Tensor, sides: Sequence[int]) -> Tensor:
    """The middle of (B, C, ...) with these sides; what `pad_to_multiple` added is cut off."""
    for axis, side in enumerate(sides, start=2):
        image = image.narrow(axis, (image.shape[axis] - side) // 2, side)
    return image
