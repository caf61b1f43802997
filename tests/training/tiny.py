# SPDX-License-Identifier: Apache-2.0
"""A task that takes milliseconds; run as a program, it trains until it is killed at a step."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encephalon.recipes.schema import Training
from encephalon.training.loop import Loop, make_fabric
from encephalon.training.runs import Progress, RunFolder


class TinyTask:
    """Learn which of 4 x 4 x 4 voxels are bright; `planned` replaces the validation loss."""

    def __init__(self, planned: tuple[float, ...] = (), merge: int = 1) -> None:
        self.planned, self.merge = list(planned), merge
        self.seen: list[dict[str, Tensor]] = []

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Two samples; with `merge`, those of as many batches of the plain task at once."""
        numbers = range(number * self.merge, (number + 1) * self.merge)
        values = [np.random.default_rng([7, n]).normal(size=(2, 1, 4, 4, 4)) for n in numbers]
        image = torch.from_numpy(np.concatenate(values)).float()
        return image, (image > 0.3).float()

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        self.seen.append({k: v.clone() for k, v in network.state_dict().items()})
        image, target = self.batch(10**6)
        with torch.no_grad():
            loss = nn.functional.mse_loss(network(image.to(device)).cpu().sigmoid(), target)
        return {"loss": self.planned.pop(0) if self.planned else float(loss)}


class TinyNetwork(nn.Module):
    """Two convolutions, with dropout between them that needs torch's generator."""

    def __init__(self, width: int = 3, dropout: float = 0.2) -> None:
        super().__init__()
        self.down = nn.Conv3d(1, width, 3, padding=1)
        self.downsample = nn.Conv3d(width, width, 1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv3d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, I, J, K) to the same shape."""
        out: Tensor = self.head(self.dropout(torch.relu(self.downsample(self.down(x)))))
        return out


def training(**changes: Any) -> Training:
    """4 epochs of 5 steps, a checkpoint every 3 steps, everything switched on."""
    plain: dict[str, Any] = {
        "epochs": 4,
        "steps_per_epoch": 5,
        "checkpoint_every": 3,
        "optimiser": "adamw",
        "learning_rate": 0.02,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "warmup_steps": 3,
        "gradient_clip": 1.0,
        "ema": 0.9,
        "l2_to_start": 0.01,
        "losses": [{"name": "dice"}, {"name": "focal", "weight": 0.5}],
    }
    return Training.model_validate({**plain, **changes})


def seeded_network(**options: Any) -> TinyNetwork:
    """The same weights, and the same dropout afterwards, every time."""
    torch.manual_seed(5)
    return TinyNetwork(**options)


def make_loop(
    folder: Path,
    settings: Training | None = None,
    task: TinyTask | None = None,
    network: nn.Module | None = None,
    report: Any = None,
    devices: int = 1,
) -> Loop:
    """A loop on the CPU whose weights and dropout begin the same every time."""
    torch.set_num_threads(1)
    network = network or seeded_network()
    fabric = make_fabric("cpu", "32", devices)
    chosen = settings or training()
    return Loop(task or TinyTask(), network, chosen, RunFolder(folder), fabric, report)


def kill_at(step: int) -> Any:
    """A report that ends its own process at once, as a crash of the machine would."""

    def report(progress: Progress, _losses: Mapping[str, float]) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return report


if __name__ == "__main__":
    make_loop(Path(sys.argv[1]), report=kill_at(int(sys.argv[2]))).fit()
