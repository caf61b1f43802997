# SPDX-License-Identifier: Apache-2.0
"""Pooling by attention: a network says which places of its last map the answer rests on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["AttentionPooling"]

#: Log-odds of every place before training: most of an image is no answer. Our choice.
START = -2.0


class AttentionPooling(nn.Module):
    """The mean of a map's features, weighted by what the map itself says of each place.

    After the attention of multiple-instance learning (Ilse et al. 2018, arXiv:1802.04712), with a
    sigmoid in place of the softmax, so that weights mean the same for maps of any size. `gated`
    passes on the weighted map: explanations are taken from there.

    Shapes
    ------
    (B, F, rows, columns) to (B, F + rows * columns): the features, then the log-odds of each place.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(features, 1, kernel_size=1)
        nn.init.constant_(self.weigh.bias, START)  # type: ignore[arg-type]
        self.gated = nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Return the pooled features beside the log-odds of all places."""
        log_odds = self.weigh(features)
        weights = log_odds.sigmoid()
        total = self.gated(features * weights).sum(dim=(2, 3))
        # Where hardly anything is attended to, the mean shrinks to nothing, and does not explode.
        pooled = total / (weights.sum(dim=(2, 3)) + 1e-3)
        return torch.cat([pooled, log_odds.flatten(1)], dim=1)
