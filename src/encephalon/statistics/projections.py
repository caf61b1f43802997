# SPDX-License-Identifier: Apache-2.0
"""Points of many dimensions as points of a plane, to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import require_extra

__all__ = ["FEWEST", "neighbour_plane", "principal_plane", "standardised"]

Values = NDArray[np.float64]

#: Points below which there are no neighbourhoods to keep.
FEWEST = 10
#: Neighbours that count (van der Maaten & Hinton 2008), and the seed that MTNeuro plots with.
_PERPLEXITY, _SEED = 30.0, 42


def standardised(points: Values, by: Values | None = None) -> Values:
    """Points (N, F) with mean 0 and deviation 1 in each dimension; one without spread is 0.

    With `by` they are those of these other points (M, F).
    """
    known = points if by is None else by
    spread = known.std(axis=0)
    scaled: Values = (points - known.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def principal_plane(points: Values) -> Values:
    """The first two principal components (N, 2) of points (N, F); 0 where there is but one."""
    left, singular, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    plane = np.zeros((len(points), 2))
    found = (left * singular)[:, :2]
    plane[:, : found.shape[1]] = found
    return plane


def neighbour_plane(points: Values) -> Values:
    """A plane (N, 2) in which points (N, F) that are near each other stay so, by t-SNE.

    Distances across it say little. NaN for fewer than `FEWEST` points.
    """
    if len(points) < FEWEST:
        return np.full((len(points), 2), np.nan)
    require_extra("sklearn", "train", "An embedding")
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    made = TSNE(2, perplexity=perplexity, init="pca", random_state=_SEED)
    plane: Values = made.fit_transform(points).astype(np.float64)
    return plane
