# SPDX-License-Identifier: Apache-2.0
"""A program: train the tiny network in two processes and keep the weights of the first."""

from __future__ import annotations

import sys
from pathlib import Path

from encephalon.training.checkpoint import save_checkpoint
from tests.training.tiny import make_loop, seeded_network, training

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    settings = training(epochs=1)
    loop = make_loop(folder, settings, network=seeded_network(dropout=0.0), devices=2)
    best = loop.fit()
    if loop.fabric.is_global_zero:
        save_checkpoint(folder / "best", best)
