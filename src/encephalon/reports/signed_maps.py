# SPDX-License-Identifier: Apache-2.0
"""Pictures of what raises and what lowers an answer: places of an image, and edges of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.images import (
    MAP,
    WINDOW,
    Layer,
    Picture,
    enlarged,
    fitted_size,
    grey_levels,
    signed,
)

__all__ = ["LOWERS", "matrix_picture", "slices_picture", "strongest"]

LOWERS = "lowers"
"""The name of the layer of what lowers; that of what raises is MAP."""

#: Pixels of a row of slices, and of a matrix.
_WIDE, _MATRIX = 660, 320


def strongest(edges: NDArray[np.float64], count: int) -> list[dict[str, Any]]:
    """The edges (R, R) that add or take away the most, the strongest first, by their regions."""
    first, second = np.triu_indices(len(edges), 1)
    values = edges[first, second]
    order = np.argsort(-np.abs(values), kind="stable")[:count]
    return [
        {"region_a": int(first[at]), "region_b": int(second[at]), "adds": float(values[at])}
        for at in order
    ]


def matrix_picture(edges: NDArray[np.float64], alt: str) -> Picture:
    """Edges (R, R) as a square, the largest of them in full colour."""
    times = max(1, round(_MATRIX / len(edges)))
    whole = np.kron(_scaled(edges), np.ones((times, times), dtype=np.float32))
    return Picture(
        np.zeros(whole.shape, np.uint8), alt, _layers(whole, (len(whole), len(whole)), 1.0)
    )


def slices_picture(
    image: NDArray[Any], values: NDArray[np.float32], alt: str
) -> tuple[Picture, tuple[int, int, int]]:
    """Three planes (side, side, side), RAS, through the extreme of a map; and where they lie."""
    x, y, z = (int(at) for at in np.unravel_index(np.abs(values).argmax(), values.shape))

    def row(cube: NDArray[Any]) -> NDArray[np.float32]:
        planes = (cube[x], cube[:, y], cube[:, :, z])
        return np.concatenate([np.asarray(one, np.float32).T[::-1] for one in planes], axis=1)

    shown, size = row(image), fitted_size(row(image).shape, _WIDE)
    levels = enlarged(grey_levels(shown, *np.percentile(shown, WINDOW)), size)
    base = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return Picture(base, alt, _layers(row(_scaled(values)), size, 0.7)), (x, y, z)


def _layers(
    values: NDArray[np.float32], size: tuple[int, int], opacity: float
) -> tuple[Layer, ...]:
    """What raises and what lowers at `size` (width, height), each to be hidden by itself."""
    raised, lowered = values.clip(min=0), values.clip(max=0)
    return signed(raised, size, MAP, opacity), signed(lowered, size, LOWERS, opacity)


def _scaled(values: NDArray[Any]) -> NDArray[np.float32]:
    """From -1 to 1, 0 at its place."""
    most = float(np.abs(values).max(initial=0.0))
    return np.asarray(values / most if most > 0 else values, dtype=np.float32)
