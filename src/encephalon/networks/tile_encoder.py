# SPDX-License-Identifier: Apache-2.0
"""Representations of tiles without classes: an encoder alone, and linear factors (PCA, NMF)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.networks.encoders import feature_maps, representation
from encephalon.networks.tile_classifier import build_tile_encoder

__all__ = ["TileEncoder", "TileFactors"]

#: Multiplicative updates (Lee & Seung 2001); by then the weights of a tile hardly change.
UPDATES = 200


class TileEncoder(nn.Module):
    """The representation (B, channels) of a tile (B, in_channels, [Z,] Y, X), by any encoder."""

    def __init__(
        self,
        encoder: str = "resnet18",
        in_channels: int = 1,
        spatial_dims: int = 2,
        encoder_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = build_tile_encoder(encoder, in_channels, spatial_dims, encoder_options)

    def forward(self, tile: Tensor) -> Tensor:
        """The mean of the last feature map over its places."""
        return representation(feature_maps(self.encoder, tile))


class TileFactors(nn.Module):
    """The weights (B, components) of factors that make up a tile.

    A tile (B, 1, [Z,] Y, X) is averaged over its slices, and over squares of `pool` x `pool`
    pixels, which leaves `sides` (Y, X). PCA projects what differs from the mean on the
    factors; NMF finds the weights, none negative, that make up the tile best by least squares,
    of factors of length 1.
    `spatial_dims` tells only which tiles it is given.
    """

    factors: Tensor
    mean: Tensor

    def __init__(
        self,
        method: Literal["pca", "nmf"] = "pca",
        components: int = 256,
        sides: tuple[int, int] = (64, 64),
        pool: int = 1,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        del spatial_dims
        self.method, self.pool = method, pool
        self.register_buffer("factors", torch.zeros(components, sides[0] * sides[1]))
        self.register_buffer("mean", torch.zeros(sides[0] * sides[1]))

    def pixels(self, tile: Tensor) -> Tensor:
        """The tile as (B, Y * X) numbers."""
        flat = tile.mean(dim=2) if tile.dim() == 5 else tile
        return nnf.avg_pool2d(flat, self.pool).flatten(1)

    def forward(self, tile: Tensor) -> Tensor:
        """The weights of the factors."""
        pixels = self.pixels(tile)
        if self.method == "pca":
            return (pixels - self.mean) @ self.factors.T
        weights = wanted = pixels.clamp_min(0) @ self.factors.T
        for _ in range(UPDATES):
            # Not by the products of the factors, which a graph would keep, in half precision.
            weights = weights * wanted / (weights @ self.factors @ self.factors.T).clamp_min(1e-9)
        return weights
