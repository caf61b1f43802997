# SPDX-License-Identifier: Apache-2.0
"""How self-supervised networks are trained: a task that makes its own loss and moves the target.

A study gives it views: `batch` returns (view, view) or (view, view, pool), each float32
(B, C, [Z,] Y, X), and whatever as the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from encephalon.networks.self_supervised import SelfSupervised
from encephalon.training.loop import Batch


@dataclass(eq=False)
class SelfSupervision:
    """What a task inherits that learns without labels: loss and target; lengths are in steps.

    total_steps           Of the run, over which the target comes to a rest.
    momentum              Of the target at the first step; 1 at the last.
    mined_weight          Weight of mined neighbours beside that of views, which is 1.
    mined_warmup, mined_ramp
                          Steps without neighbours, and then steps until they have their weight.
    """

    total_steps: int
    momentum: float = 0.996
    mined_weight: float = 0.1
    mined_warmup: int = 0
    mined_ramp: int = 0

    def loss(self, network: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """(BYOL + w * mined) / (1 + w), and each of them alone."""
        weight = mined_weight(step, self.mined_warmup, self.mined_ramp, self.mined_weight)
        # A pool is mined from at a weight of 0 too: on several devices every part must be used.
        losses: Tensor = network(*batch[0]).float()
        terms = dict(zip(("byol", "mined"), losses.detach(), strict=False))
        if len(losses) == 1:
            return losses[0], terms
        return (losses[0] + weight * losses[1]) / (1 + weight), terms

    def after_step(self, network: nn.Module, step: int) -> None:
        """Let the target follow the weights that the step has left."""
        momentum = target_momentum(step, self.total_steps, self.momentum)
        cast(SelfSupervised, network).follow(momentum)


def target_momentum(step: int, total_steps: int, start: float = 0.996) -> float:
    """Momentum of the target after a step: a cosine from `start` to 1 (arXiv:2006.07733)."""
    return 1 - (1 - start) * (1 + math.cos(math.pi * step / total_steps)) / 2


def mined_weight(step: int, warmup: int, ramp: int, most: float) -> float:
    """Weight of mined neighbours: 0 until `warmup`, then over `ramp` steps linearly to `most`."""
    if step < warmup:
        return 0.0
    return most * min(1.0, (step - warmup) / ramp) if ramp else most
