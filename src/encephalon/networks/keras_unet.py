# SPDX-License-Identifier: Apache-2.0
"""The published Keras U-Net (brainy, ams) in torch, as it predicts and as it is trained.

Source: the U-Net of Nobrainer up to 1.2 (`nobrainer/models/unet.py`), as used by `brainy` (brain
mask) and `ams` (meningioma): 16 base filters, no batch normalisation, 4,768,289 parameters.
Differences from a textbook U-Net that matter for the published weights: no normalisation; the
transposed convolutions keep their channel count and have no activation; the skip is concatenated
before the upsampled tensor. In training it gives log-odds, so that losses see no saturated sigmoid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

from encephalon.errors import GeometryError, ModelError
from encephalon.networks.registry import fill_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "KerasUNet",
    "KerasUNetLogOdds",
    "build_published_keras_unet",
    "keras_unet_shapes",
    "log_odds",
    "published_shapes",
    "state_of_layers",
]

_UP = ("upsample.{}", "decoder.{}.0", "decoder.{}.2")
LAYERS = [f"encoder.{level}.{place}" for level in range(4) for place in (0, 2)]
LAYERS += [*(name.format(level) for level in range(3) for name in _UP), "head"]
"""The 18 layers that carry weights as `KerasUNet` calls them, in the order of the Keras graph."""


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
        self.multiple = 8  # three poolings by two
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
        # Keras's defaults, so that training from scratch starts where the published training did.
        for name in LAYERS:
            nn.init.xavier_uniform_(self.get_parameter(f"{name}.weight"))
            nn.init.zeros_(self.get_parameter(f"{name}.bias"))

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities (B, n_classes, I, J, K) for `x` (B, in_channels, I, J, K)."""
        logits = self.logits(x)
        return torch.sigmoid(logits) if self.n_classes == 1 else torch.softmax(logits, dim=1)

    def logits(self, x: Tensor) -> Tensor:
        """Return the head's output before its activation, (B, n_classes, I, J, K)."""
        sides = tuple(x.shape[2:])
        fits = len(sides) == 3 and x.shape[1] == self.in_channels
        if not fits or any(side == 0 or side % self.multiple for side in sides):
            raise GeometryError(
                f"The Keras U-Net expects an input (batch, {self.in_channels}, I, J, K) with I, J "
                f"and K multiples of {self.multiple}, but got {tuple(x.shape)}: pad it first."
            )
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(x if not skips else max_pool3d(skips[-1], 2))
            skips.append(x)
        skips.pop()
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            x = block(torch.cat([skips.pop(), upsample(x)], dim=1))
        out: Tensor = self.head(x)
        return out


def _double(first: int, middle: int, last: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(first, middle, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, last, 3, padding=1),
        nn.ReLU(inplace=True),
    )


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


def keras_unet_shapes(
    n_classes: int = 1, filters: int = 16, in_channels: int = 1
) -> list[dict[str, tuple[int, ...]]]:
    """The shapes of `kernel` and `bias` of each of the `LAYERS`, as Keras keeps them.

    A convolution's kernel is (kd, kh, kw, in, out); a transposed one's is (kd, kh, kw, out, in).
    """
    with torch.device("meta"):
        state = KerasUNet(n_classes, filters, in_channels).state_dict()
    return [
        {
            "kernel": tuple(state[f"{name}.weight"].permute(2, 3, 4, 1, 0).shape),
            "bias": tuple(state[f"{name}.bias"].shape),
        }
        for name in LAYERS
    ]


def published_shapes() -> list[dict[str, tuple[int | None, ...]]]:
    """The same of files of one channel and 16 base filters, of however many classes."""
    shapes: list[dict[str, tuple[int | None, ...]]] = [{**each} for each in keras_unet_shapes()]
    return [*shapes[:-1], {"kernel": (1, 1, 1, 32, None), "bias": (None,)}]


def build_published_keras_unet(tensors: Mapping[str, NDArray[Any]], source: str) -> KerasUNet:
    """The published network with the weights `tensors`, which tell the number of its classes.

    As Nobrainer builds it, one class ends in a sigmoid and several in a softmax over them all, the
    first of which is the background. Raises ModelError, with `source` in it, for weights that do
    not fit.
    """
    return fill_network(KerasUNet(n_classes=len(tensors["head.bias"])), tensors, source)


def state_of_layers(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, NDArray[Any]]:
    """The weights of `KerasUNet` by their names, from Keras arrays.

    `layers` are (name, {"kernel", "bias"}) in graph order, as `read_keras_h5` gives them. They are
    matched by order, as Keras numbers its layers differently in every session. Raises ModelError
    for a layer too many or too few, and one of another kind.
    """
    if len(layers) != len(LAYERS):
        raise ModelError(
            f"The network has {len(LAYERS)} layers with weights, but {len(layers)} were given: "
            "use the weights of the published U-Net."
        )
    state = {}
    for number, (ours, (name, arrays)) in enumerate(zip(LAYERS, layers, strict=True)):
        if set(arrays) != {"kernel", "bias"}:
            raise ModelError(
                f"Layer {number} ({name!r}) must have kernel and bias, not {sorted(arrays)}."
            )
        # One transposition serves both kinds: Keras puts (in, out) last in a convolution and
        # (out, in) last in a transposed one, torch (out, in) and (in, out) first. No flip.
        state[f"{ours}.weight"] = arrays["kernel"].transpose(4, 3, 0, 1, 2)
        state[f"{ours}.bias"] = arrays["bias"]
    return state
