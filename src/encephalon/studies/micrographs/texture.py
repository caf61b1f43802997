# SPDX-License-Identifier: Apache-2.0
"""Texture features of a picture, for the classical baseline that a network has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import require_extra

__all__ = ["texture_features"]

#: Radii of the local binary patterns, each with 8 neighbours a pixel of radius (Ojala et al. 2002).
RADII = (1, 2, 3)
#: Distances, in pixels, and angles of the grey-level co-occurrence matrices (Haralick et al. 1973).
DISTANCES = (1, 2, 4)
ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
PROPERTIES = ("contrast", "homogeneity", "energy", "correlation")
#: Grey levels of the co-occurrence matrices and bins of the histogram: our choice.
LEVELS, BINS = 32, 16
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def texture_features(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    """Local binary patterns, co-occurrence properties and grey levels of a picture (rows, columns).

    Grey levels are stretched to their own range first. No feature knows of places, so that none
    can tell where in the picture something lies. Raises MissingExtraError without scikit-image.
    """
    require_extra("skimage", "train", "The texture baseline")
    low, high = float(picture.min()), float(picture.max())
    stretched = (picture - low) / max(high - low, 1e-6)
    levels = np.round(255 * stretched).astype(np.uint8)
    shares = np.histogram(stretched, BINS, (0, 1))[0] / stretched.size
    quantiles = np.quantile(stretched, QUANTILES)
    return np.concatenate([_patterns(levels), _co_occurrence(levels), shares, quantiles])


def _patterns(levels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Histograms of rotation-invariant uniform local binary patterns at every radius."""
    from skimage.feature import local_binary_pattern

    histograms = []
    for radius in RADII:
        points = 8 * radius
        codes = local_binary_pattern(  # type: ignore[no-untyped-call]
            levels, points, radius, "uniform"
        ).astype(int)
        histograms.append(np.bincount(codes.ravel(), minlength=points + 2) / codes.size)
    return np.concatenate(histograms)


def _co_occurrence(levels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Properties of the co-occurrence matrices, at every distance and angle."""
    from skimage.feature import graycomatrix, graycoprops

    coarse = (levels.astype(np.uint16) * LEVELS // 256).astype(np.uint8)
    matrices: Any = graycomatrix(  # type: ignore[no-untyped-call]
        coarse, DISTANCES, ANGLES, LEVELS, symmetric=True, normed=True
    )
    properties = [graycoprops(matrices, name) for name in PROPERTIES]  # type: ignore[no-untyped-call]
    return np.concatenate([each.ravel() for each in properties])
