# SPDX-License-Identifier: Apache-2.0
"""An encoder that learns without labels: one view of a sample predicts another, or a neighbour.

BYOL (Grill et al. 2020, arXiv:2006.07733), MYOW (Azabou et al. 2021, arXiv:2102.10106) and the
merged MYOW of MTNeuro (Quesada et al. 2022). What is predicted comes from a target, whose
weights follow those of the encoder and of its projectors and are never trained.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.networks.encoders import feature_maps, representation
from encephalon.networks.layers import check_choice
from encephalon.networks.tile_classifier import build_tile_encoder


class SelfSupervised(nn.Module):
    """A representation of one image; the losses of two views, and of a pool to mine from.

    method                "byol"; "myow", where a sample predicts its neighbour through heads of
                          their own; or "myow-merged", where it is a third view, through the heads
                          that there are, both ways.
    encoder, encoder_options, in_channels, spatial_dims
                          As of a `TileClassifier`.
    projection, hidden    Widths of what is predicted, and of the one hidden layer of each head.
    mined_projection, mined_hidden, layout
                          The same for neighbours in "myow", whose projector sees what the first one
                          gives ("cascaded"), or what that sees ("parallel").
    neighbours            The neighbour is drawn among so many nearest of the pool, by cosine
                          distance.
    threshold             Neighbours farther than this, between 0 and 2, do not count.

    (B, in_channels, [Z,] Y, X) to (B, channels). Two views of this shape to (1,), the loss of BYOL;
    with a pool (P, in_channels, [Z,] Y, X) to (2,), that and the loss of neighbours.
    """

    def __init__(
        self,
        method: Literal["byol", "myow", "myow-merged"] = "byol",
        encoder: str = "resnet18",
        in_channels: int = 1,
        spatial_dims: int = 2,
        projection: int = 256,
        hidden: int = 4096,
        mined_projection: int = 256,
        mined_hidden: int = 4096,
        layout: Literal["cascaded", "parallel"] = "cascaded",
        neighbours: int = 1,
        threshold: float | None = None,
        encoder_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_choice("method", method, ("byol", "myow", "myow-merged"))
        check_choice("layout", layout, ("cascaded", "parallel"))
        if neighbours < 1:
            raise ValueError(f"neighbours must be 1 or more, not {neighbours}")
        self.merged, self.cascaded = method == "myow-merged", layout == "cascaded"
        self.neighbours, self.threshold = neighbours, threshold
        self.encoder = build_tile_encoder(encoder, in_channels, spatial_dims, encoder_options)
        features = cast(tuple[int, ...], self.encoder.channels)[-1]
        self.projector = _head(features, hidden, projection)
        self.predictor = _head(projection, hidden, projection)
        followed = {"encoder": self.encoder, "projector": self.projector}
        if method == "myow":
            seen = projection if self.cascaded else features
            self.mined_projector = _head(seen, mined_hidden, mined_projection)
            self.mined_predictor = _head(mined_projection, mined_hidden, mined_projection)
            followed["mined_projector"] = self.mined_projector
        self.target = nn.ModuleDict(copy.deepcopy(followed)).requires_grad_(False)

    def features(self, image: Tensor) -> Tensor:
        """The representation (B, channels) of an image."""
        return representation(feature_maps(self.encoder, image))

    def forward(
        self, image: Tensor, other: Tensor | None = None, pool: Tensor | None = None
    ) -> Tensor:
        """The representation of an image, or the losses of two views and a pool."""
        if other is None:
            return self.features(image)
        # It is not trained, but normalises by its own batches, as published.
        self.target.train(self.training)
        features = self.features(image)
        first, second = self._predicted(features), self._predicted(self.features(other))
        first_target, second_target = self._target(image), self._target(other)
        loss = prediction_error(first, second_target) + prediction_error(second, first_target)
        losses = [loss.mean() / 2]
        if pool is not None:
            candidates = self._target_features(pool)
            chosen, distance = mine(features.detach(), candidates, self.neighbours)
            if self.merged:
                errors = self._merged(first, first_target, pool[chosen])
            else:
                errors = self._mined(features, candidates[chosen])
            near = distance <= (2.0 if self.threshold is None else self.threshold)
            losses.append((errors * near).sum() / near.sum().clamp_min(1))
        return torch.stack(losses)

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move the target's weights, not its buffers, to 1 - `momentum` of the way to the rest."""
        for name, part in self.target.items():
            online = self.get_submodule(name).parameters()
            for followed, own in zip(part.parameters(), online, strict=True):
                followed.lerp_(own, 1 - momentum)

    def _predicted(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.predictor(self.projector(features)))

    @torch.no_grad()
    def _target_features(self, image: Tensor) -> Tensor:
        return representation(feature_maps(self.target["encoder"], image))

    @torch.no_grad()
    def _target(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.target["projector"](self._target_features(image)))

    def _merged(self, predicted: Tensor, target: Tensor, neighbour: Tensor) -> Tensor:
        """Errors (B,) of a view and its neighbour, each of which predicts the other."""
        there = prediction_error(predicted, self._target(neighbour))
        back = prediction_error(self._predicted(self.features(neighbour)), target)
        return (there + back) / 2

    def _mined(self, features: Tensor, neighbour: Tensor) -> Tensor:
        """Errors (B,) of the neighbours that the representations predict."""
        own = self.projector(features) if self.cascaded else features
        predicted = self.mined_predictor(self.mined_projector(own))
        with torch.no_grad():
            seen = self.target["projector"](neighbour) if self.cascaded else neighbour
            wanted = self.target["mined_projector"](seen)
        return prediction_error(predicted, wanted)


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, outputs, bias=False),
    )


def prediction_error(predicted: Tensor, target: Tensor) -> Tensor:
    """2 - 2 cos of the angle between each prediction and its target, both (B, C), of shape (B,)."""
    return 2 - 2 * nnf.cosine_similarity(predicted.float(), target.detach().float(), dim=1)


def mine(features: Tensor, pool: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """For each of `features` (B, C) one of its nearest in `pool` (P, C), and its distance (B,).

    Nearest by the cosine distance, 1 - cos; which of the `neighbours` is drawn from torch's
    generator on the CPU, so that a resumed run draws the same.
    """
    alike = nnf.normalize(features.float(), dim=1) @ nnf.normalize(pool.float(), dim=1).T
    nearest = (1 - alike).topk(min(neighbours, len(pool)), dim=1, largest=False)
    drawn = torch.randint(nearest.indices.shape[1], (len(features), 1)).to(features.device)
    return nearest.indices.gather(1, drawn)[:, 0], nearest.values.gather(1, drawn)[:, 0]
