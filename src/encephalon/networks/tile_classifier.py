# SPDX-License-Identifier: Apache-2.0
"""A class of a tile: any encoder, the mean of its last map, and one linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from encephalon.networks.encoders import build_encoder, feature_maps, representation


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


class FeaturesAndLogits(nn.Module):
    """A classifier of tiles whose output (B, channels + classes) has its representation too."""

    def __init__(self, network: TileClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, tile: Tensor) -> Tensor:
        """Representation, then logits."""
        features = self.network.features(tile)
        return torch.cat([features, self.network.head(features)], dim=1)
