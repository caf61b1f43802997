# SPDX-License-Identifier: Apache-2.0
"""The published U-Net as it is trained: log-odds out, so that losses see no saturated sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor

from encephalon.networks.keras_unet import KerasUNet

__all__ = ["KerasUNetLogOdds", "log_odds"]


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
