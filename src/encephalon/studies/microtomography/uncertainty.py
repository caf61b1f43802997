# SPDX-License-Identifier: Apache-2.0
"""Where a model of structures disagrees with itself: maps of 8 bits, tile by tile.

A tile is shown as it is and flipped along y, x and both; mean and variance of the probabilities run
along (`inference.uncertainty`), so that memory is that of one tile, however large the volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from encephalon.inference.uncertainty import entropy, flips, over_views

__all__ = ["MAPS", "disagreement", "in_bytes", "write_grey"]

Float = NDArray[np.float32]
Logits = Callable[[Float], Float]
#: Of a tile (z, y, x): the network's own neighbours along z stay where they are.
VIEWS = flips((-2, -1))

MAPS: Mapping[str, str] = {
    "variance": "Variance of the probability over flipped views, mean over classes; 255 is 0.25.",
    "entropy": "Entropy of the mean probability over flipped views; 255 knows nothing.",
}
"""The maps that can be written, and what their levels mean."""


def disagreement(logits: Logits, name: str, tile: Float) -> Float:
    """One of the `MAPS`, (1, z, y, x) between 0 and 1, of what `logits` says of a tile (z, y, x).

    `logits` gives (C, z, y, x).
    """
    seen = over_views(partial(_shares, logits), tile, VIEWS)
    if name == "variance":
        return np.asarray(4 * seen.variance.mean(axis=0, keepdims=True), np.float32)
    return entropy(seen.mean, 0)[None] / np.float32(np.log(len(seen.mean)))


def in_bytes(levels: Float) -> NDArray[np.uint8]:
    """(1, z, y, x) between 0 and 1 as (z, y, x) of 0 to 255."""
    return np.asarray(np.rint(255 * np.clip(levels[0], 0, 1)), np.uint8)


def write_grey(levels: NDArray[np.uint8], path: Path) -> None:
    """Write one slice, (1, y, x), as a grey picture of 8 bits."""
    from PIL import Image

    Image.fromarray(levels[0].astype(np.uint8)).save(path, format="PNG")


def _shares(logits: Logits, tile: Float) -> Float:
    shares: Float = softmax(logits(tile), axis=0)
    return shares
