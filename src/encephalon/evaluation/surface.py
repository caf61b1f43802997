# SPDX-License-Identifier: Apache-2.0
"""Distances between the surfaces of two masks, in the unit of the spacing (mm for scans).

The surface of a mask is the set of its elements that have a face neighbour outside; beyond the
edge of the image is outside. Distances run between element centres and are exact for any spacing.
Two empty masks are 0 apart; an empty and a filled one are infinitely far apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import GeometryError
from encephalon.evaluation.overlap import as_mask, same_shape
from encephalon.geometry import bounding_box

__all__ = ["SurfaceDistances", "assd", "hd95", "surface_distances", "surface_points"]

_Distances = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of each surface element of one mask to the nearest one of the other.

    `to_reference` (N,) starts on the prediction, `to_prediction` (M,) on the reference.
    """

    to_reference: _Distances
    to_prediction: _Distances

    @property
    def hausdorff(self) -> float:
        """The largest distance in either direction."""
        return self.percentile(100.0)

    @property
    def hd95(self) -> float:
        """95th percentile of each direction, the larger of the two (as MONAI and DeepMind)."""
        return self.percentile(95.0)

    @property
    def assd(self) -> float:
        """Average symmetric surface distance: the mean over the elements of both surfaces."""
        if self._one_is_empty:
            return self._without_surface
        return float(np.concatenate([self.to_reference, self.to_prediction]).mean())

    def percentile(self, percent: float) -> float:
        """Percentile of each direction, the larger of the two."""
        if self._one_is_empty:
            return self._without_surface
        both = (self.to_reference, self.to_prediction)
        return max(float(np.percentile(distances, percent)) for distances in both)

    def share_within(self, tolerance: float) -> float:
        """Surface Dice: the share of both surfaces no farther than `tolerance` from the other."""
        both = np.concatenate([self.to_reference, self.to_prediction])
        return float((both <= tolerance).mean()) if both.size else 1.0

    @property
    def _one_is_empty(self) -> bool:
        return not (self.to_reference.size and self.to_prediction.size)

    @property
    def _without_surface(self) -> float:
        return float("inf") if self.to_reference.size or self.to_prediction.size else 0.0


def surface_distances(
    predicted: NDArray[Any], reference: NDArray[Any], spacing: ArrayLike | None = None
) -> SurfaceDistances:
    """Measure both masks, of one shape and any dimension, with one spacing per axis (default 1).

    Raises GeometryError for differing shapes or a spacing that does not fit them.
    """
    same_shape(predicted, reference)
    first = surface_points(predicted, spacing)
    second = surface_points(reference, spacing)
    return SurfaceDistances(_nearest(first, second), _nearest(second, first))


def hd95(
    predicted: NDArray[Any], reference: NDArray[Any], spacing: ArrayLike | None = None
) -> float:
    """95th percentile Hausdorff distance in mm; see `SurfaceDistances.hd95`."""
    return surface_distances(predicted, reference, spacing).hd95


def assd(
    predicted: NDArray[Any], reference: NDArray[Any], spacing: ArrayLike | None = None
) -> float:
    """Average symmetric surface distance in mm; see `SurfaceDistances.assd`."""
    return surface_distances(predicted, reference, spacing).assd


def surface_points(mask: NDArray[Any], spacing: ArrayLike | None = None) -> _Distances:
    """Return the centres (N, D) of the surface elements of a mask, scaled by the spacing (D,).

    Where the axes are not at right angles, `spacing` is the matrix (D, D) whose columns are the
    steps along them. Raises GeometryError for a spacing that is neither.
    """
    inside = as_mask(mask)
    steps = _checked_spacing(inside.ndim, spacing)
    place = bounding_box(inside)
    box, corner = inside[place], np.array([part.start for part in place], dtype=np.int64)
    padded = np.pad(box, 1, constant_values=False)
    deep = box.copy()
    for axis in range(box.ndim):
        for start in (0, 2):
            window = [slice(1, -1)] * box.ndim
            window[axis] = slice(start, start + box.shape[axis])
            deep &= padded[tuple(window)]
    return (np.argwhere(box & ~deep) + corner) @ steps.T


def _nearest(points: _Distances, others: _Distances) -> _Distances:
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(others, balanced_tree=False).query(points)
    return np.asarray(distances, dtype=np.float64)


def _checked_spacing(dimensions: int, spacing: ArrayLike | None) -> _Distances:
    """The steps along the axes as columns (D, D)."""
    steps = np.ones(dimensions) if spacing is None else np.asarray(spacing, dtype=np.float64)
    if steps.shape == (dimensions, dimensions) and np.linalg.det(steps):
        return steps
    if steps.shape != (dimensions,) or not bool(np.all((steps > 0) & np.isfinite(steps))):
        raise GeometryError(
            f"A spacing must be {dimensions} positive numbers, one per axis, but it is "
            f"{steps.tolist()}."
        )
    return np.diag(steps)
