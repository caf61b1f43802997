# SPDX-License-Identifier: Apache-2.0
"""A class of a tile: any encoder, the mean of its last map, and one linear layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.errors import ModelError
from encephalon.networks.encoders import build_encoder, feature_maps, representation
from encephalon.networks.registry import fill_network

#: What an MTNeuro encoder calls the children of torchvision's ResNet that it keeps in a sequence.
_SEQUENCE = {"0": "conv1", "1": "bn1", "3": "layer1", "4": "layer2", "5": "layer3", "6": "layer4"}


class TileClassifier(nn.Module):
    """Logits of each class of a tile.

    classes               Number of logits.
    encoder, encoder_options
                          Name of an encoder, and what else it is built with.
    in_channels, spatial_dims
                          Channels of the tile, and 2 or 3.

    (B, in_channels, [Z,] Y, X) to (B, classes).
    """

    def __init__(
        self,
        classes: int = 4,
        encoder: str = "resnet18",
        in_channels: int = 1,
        spatial_dims: int = 2,
        encoder_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = build_tile_encoder(encoder, in_channels, spatial_dims, encoder_options)
        self.head = nn.Linear(self.encoder.channels[-1], classes)  # type: ignore[index, arg-type]

    def features(self, tile: Tensor) -> Tensor:
        """The representation (B, channels) that the classes are told from."""
        return representation(feature_maps(self.encoder, tile))

    def forward(self, tile: Tensor) -> Tensor:
        """(B, in_channels, [Z,] Y, X) to logits."""
        logits: Tensor = self.head(self.features(tile))
        return logits


def build_tile_encoder(
    name: str, in_channels: int, spatial_dims: int, options: Mapping[str, Any] | None
) -> nn.Module:
    """The encoder of a network of tiles; one from elsewhere need not know of `spatial_dims` 2."""
    dims = {"spatial_dims": spatial_dims} if spatial_dims != 2 else {}
    return build_encoder(name, in_channels=in_channels, **dims, **dict(options or {}))


def from_published_encoder(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of an MTNeuro run by the names of a `TileClassifier`.

    A supervised run holds `encoder.*` and `classifier.*`; a self-supervised one `online_encoder.*`
    beside projectors, predictors and a target, which are left out. The encoder's own names are
    torchvision's, or the places of its layers in a sequence, `f.0` to `f.6`.
    """
    online = any(name.startswith("online_encoder.") for name in tensors)
    prefixes = {"online_encoder.": "encoder."} if online else {"encoder.": "encoder."}
    prefixes |= {"classifier.": "head."} if not online else {}
    found = {}
    for name, value in tensors.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if old is not None:
            inner = re.sub(r"^f\.([0-6])\.", _place, name[len(old) :])
            found[prefixes[old] + inner] = value
    return found


def _place(match: re.Match[str]) -> str:
    return _SEQUENCE.get(match[1], match[1]) + "."


def build_published_tile_classifier(
    tensors: Mapping[str, NDArray[Any]], source: str
) -> TileClassifier:
    """The classifier of a published run, or its encoder with a head that knows nothing.

    Block, channels and classes are those of the weights. Raises ModelError, with `source` in it,
    for missing, unexpected and mis-shaped weights.
    """
    found = from_published_encoder(tensors)
    stem, head = found.get("encoder.conv1.weight"), found.get("head.weight")
    if stem is None or stem.ndim not in {4, 5}:
        example = next(iter(tensors), "nothing")
        raise ModelError(
            f"{source}: expected the weights of an MTNeuro encoder, 'online_encoder.*' or "
            f"'encoder.*', but found none of its first layer among these {len(tensors)} (the first "
            f"is {example!r}): this is another architecture."
        )
    network = TileClassifier(
        classes=4 if head is None else len(head),
        encoder="resnet50" if "encoder.layer1.0.conv3.weight" in found else "resnet18",
        in_channels=stem.shape[1],
        spatial_dims=stem.ndim - 2,
        encoder_options={"width": len(stem)},
    )
    if head is None:
        network.head.weight.data.zero_()
        network.head.bias.data.zero_()
        found |= {f"head.{k}": v.detach().numpy() for k, v in network.head.named_parameters()}
    return fill_network(network, found, source)
