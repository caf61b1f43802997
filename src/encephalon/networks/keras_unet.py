# SPDX-License-Identifier: Apache-2.0
"""The published Keras U-Net (brainy, ams) in torch, as it predicts and as it is trained.

Differences from a textbook U-Net that matter for the published weights: no normalisation; the
transposed convolutions keep their channel count and have no activation; the skip is concatenated
before the upsampled tensor. In training it gives log-odds, so that losses see no saturated sigmoid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

from encephalon.errors import GeometryError
from encephalon.networks.keras_layout import STRIDE

__all__ = ["KerasUNet", "KerasUNetLogOdds", "log_odds"]


class KerasUNet(nn.Module):
    """U-Net of three poolings; 4,768,289 parameters with the default options.

    Input (B, in_channels, I, J, K) float, each side a multiple of 8 voxels; output
    (B, n_classes, I, J, K) in [0, 1]: a sigmoid for one class, a softmax over classes otherwise.
    Raises GeometryError for another input shape.
    """

    def __init__(self, n_classes: int = 1, filters: int = 16, in_channels: int = 1) -> None:
        super().__init__()
        if min(n_classes, filters, in_channels) < 1:
            raise ValueError("n_classes, filters and in_channels must be at least 1")
        f = filters
        self.n_classes = n_classes
        self.in_channels = in_channels
        self.encoder = nn.ModuleList(
            [
                _double(in_channels, f, 2 * f),
                _double(2 * f, 2 * f, 4 * f),
                _double(4 * f, 4 * f, 8 * f),
                _double(8 * f, 8 * f, 16 * f),
            ]
        )
        skips = ((8 * f, 16 * f), (4 * f, 8 * f), (2 * f, 4 * f))
        self.upsample = nn.ModuleList(nn.ConvTranspose3d(up, up, 2, 2) for _, up in skips)
        self.decoder = nn.ModuleList(_double(skip + up, skip, skip) for skip, up in skips)
        self.head = nn.Conv3d(2 * f, n_classes, 1)
        for layer in self.keras_order():
            _initialise_like_keras(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities (B, n_classes, I, J, K) for `x` (B, in_channels, I, J, K)."""
        logits = self.logits(x)
        return torch.sigmoid(logits) if self.n_classes == 1 else torch.softmax(logits, dim=1)

    def logits(self, x: Tensor) -> Tensor:
        """Return the head's output before its activation, (B, n_classes, I, J, K)."""
        self._check_shape(x)
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(x if not skips else max_pool3d(skips[-1], 2))
            skips.append(x)
        skips.pop()
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            x = block(torch.cat([skips.pop(), upsample(x)], dim=1))
        out: Tensor = self.head(x)
        return out

    def keras_order(self) -> Iterator[nn.Conv3d | nn.ConvTranspose3d]:
        """Yield the 18 layers that carry weights in the order of the Keras graph."""
        for block in self.encoder:
            yield from _convolutions(block)
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            yield from _convolutions(upsample)
            yield from _convolutions(block)
        yield self.head

    def _check_shape(self, x: Tensor) -> None:
        sides = tuple(x.shape[2:])
        fits = len(sides) == 3 and x.shape[1] == self.in_channels
        if not fits or any(side == 0 or side % STRIDE for side in sides):
            raise GeometryError(
                f"The Keras U-Net expects an input (batch, {self.in_channels}, I, J, K) with I, J "
                f"and K multiples of {STRIDE}, but got {tuple(x.shape)}: pad it first."
            )


def _double(first: int, middle: int, last: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(first, middle, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, last, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def _convolutions(module: nn.Module) -> Iterator[nn.Conv3d | nn.ConvTranspose3d]:
    for part in module.modules():
        if isinstance(part, nn.Conv3d | nn.ConvTranspose3d):
            yield part


def _bias(layer: nn.Conv3d | nn.ConvTranspose3d) -> Tensor:
    return cast("Tensor", layer.bias)  # every layer of this network has one


def _initialise_like_keras(layer: nn.Conv3d | nn.ConvTranspose3d) -> None:
    # Keras's defaults, so that training from scratch starts where the published training did.
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(_bias(layer))


class KerasUNetLogOdds(KerasUNet):
    """`KerasUNet` with the same weights under the same names, whose output is not squashed.

    Input (B, in_channels, I, J, K); output (B, n_classes, I, J, K), the sigmoid of which is what
    `KerasUNet` gives, also where that is a softmax over several classes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-odds (B, n_classes, I, J, K) of each class against the others."""
        return log_odds(self.logits(x))


def log_odds(logits: Tensor) -> Tensor:
    """Turn logits (B, C, ...) into the values whose sigmoid is their softmax over C.

    One class is left as it is: its logit is its log-odds already.
    """
    classes = logits.shape[1]
    if classes == 1:
        return logits
    others = [logits[:, [k for k in range(classes) if k != c]] for c in range(classes)]
    return logits - torch.stack([torch.logsumexp(rest, dim=1) for rest in others], dim=1)
