# SPDX-License-Identifier: Apache-2.0
"""Bring intensities of any scanner to [0, 1]; NumPy alone, shared by training and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Percentiles of the voxels inside the field of view that become 0 and 1. The upper one is
#: below 100 so that a vessel or an artefact does not darken the rest.
NORMALISING_PERCENTILES = (1.0, 99.0)
#: Voxels that the percentiles are estimated from; more do not change them visibly.
SAMPLE = 100_000


def percentile_range(
    values: NDArray[Any], percentiles: tuple[float, float] = NORMALISING_PERCENTILES
) -> tuple[float, float]:
    """Both `percentiles` of those `values` that are above 0, or of all where none is."""
    bright = values[values > 0]
    low, high = np.percentile(bright if bright.size else values, percentiles)
    return float(low), float(high)


def normalise_percentiles(
    image: NDArray[np.float32], inside: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Map the 1st and 99th percentile of the voxels `inside` the field of view to 0 and 1.

    `image` has any shape; values beyond are clipped and voxels not `inside` become 0, so the
    result is in [0, 1]. A constant image becomes 0.
    """
    values = image[inside] if inside is not None and bool(inside.any()) else image.ravel()
    step = max(1, values.size // SAMPLE)
    low, high = np.percentile(values[::step], NORMALISING_PERCENTILES)
    # Relative to the values themselves: some maps are in tiny units (diffusivity in m²/s).
    span = np.float32(high - low) if high > low else np.float32(1)
    scaled = np.clip((image - np.float32(low)) / span, 0, 1)
    return scaled if inside is None else scaled * inside
