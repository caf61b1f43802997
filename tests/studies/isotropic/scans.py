# SPDX-License-Identifier: Apache-2.0
"""Small scans of thick slices, made on the spot: a smooth head, and the file that it lies in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image


def head(shape: tuple[int, int, int] = (24, 20, 10)) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A ball with bright inside (I, J, K) that fills the whole length of k, over noise."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = np.sqrt(axes[0] ** 2 + axes[1] ** 2 + (axes[2] / 2) ** 2)
    noise = np.random.default_rng(5).uniform(1, 9, shape)
    return (np.select([radius < 0.5, radius < 0.9], [900.0, 400.0], 5.0) + noise).astype(np.float32)


def scan(
    spacing: tuple[float, float, float] = (1.0, 1.0, 4.0),
    data: Any = None,
    source: Path | None = None,
    warnings: tuple[str, ...] = (),
) -> Image:
    """`head` with voxels of `spacing` mm, by default of 4 mm slices."""
    affine = Affine.from_spacing(spacing, (-11.0, 7.0, 3.0))
    return Image(head() if data is None else data, affine, source, None, warnings)
