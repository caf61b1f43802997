# SPDX-License-Identifier: Apache-2.0
"""How well two masks agree: their overlap, the distances of their surfaces, their volumes in mL.

Overlap comes from the four counts of a confusion table. Two empty masks agree perfectly, so every
score is 1; a score whose denominator is otherwise zero is undefined and comes back as NaN, never as
a flattering number.

The surface of a mask is the set of its elements that have a face neighbour outside; beyond the
edge of the image is outside. Distances run between element centres, in the unit of the spacing (mm
for scans), and are exact for any spacing. Two empty masks are 0 apart; an empty and a filled one
are infinitely far apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import ContentError, GeometryError
from encephalon.geometry.affine import bounding_box

__all__ = [
    "Overlap",
    "SurfaceDistances",
    "VolumeError",
    "as_mask",
    "dice",
    "jaccard",
    "overlap",
    "same_shape",
    "surface_distances",
    "surface_points",
    "volume_error",
    "volume_ml",
]

_Distances = NDArray[np.float64]
_MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class Overlap:
    """Counts of voxels (or pixels): in both masks, in each, and in the whole image."""

    both: int
    predicted: int
    reference: int
    total: int

    @property
    def dice(self) -> float:
        """2 |A and B| / (|A| + |B|), in [0, 1]."""
        return self._ratio(2 * self.both, self.predicted + self.reference)

    @property
    def jaccard(self) -> float:
        """|A and B| / |A or B|, in [0, 1]."""
        return self._ratio(self.both, self.predicted + self.reference - self.both)

    @property
    def sensitivity(self) -> float:
        """Share of the reference that was found; also called recall."""
        return self._ratio(self.both, self.reference)

    @property
    def precision(self) -> float:
        """Share of the prediction that is right."""
        return self._ratio(self.both, self.predicted)

    @property
    def specificity(self) -> float:
        """Share of the reference's outside that was left out; depends on the field of view."""
        outside = self.total - self.reference
        wrong = self.predicted - self.both
        return self._ratio(outside - wrong, outside)

    def _ratio(self, part: int, whole: int) -> float:
        if self.predicted == 0 and self.reference == 0:
            return 1.0
        return part / whole if whole else float("nan")


def overlap(predicted: NDArray[Any], reference: NDArray[Any]) -> Overlap:
    """Count the overlap of two masks of one shape, of any dimension; non-zero is inside.

    Raises GeometryError when the shapes differ and ContentError for values that are not finite.
    """
    same_shape(predicted, reference)
    first, second = as_mask(predicted), as_mask(reference)
    return Overlap(
        both=int(np.count_nonzero(first & second)),
        predicted=int(np.count_nonzero(first)),
        reference=int(np.count_nonzero(second)),
        total=first.size,
    )


def dice(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """Dice coefficient of two masks, in [0, 1]; see `overlap`."""
    return overlap(predicted, reference).dice


def jaccard(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """Jaccard index of two masks, in [0, 1]; see `overlap`."""
    return overlap(predicted, reference).jaccard


def as_mask(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the image as booleans, non-zero being inside, without a copy when it is boolean.

    Raises ContentError for values that are not finite, which would count as inside.
    """
    array = np.asarray(image)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
        raise ContentError("A mask must hold finite numbers, but this one holds NaN or infinity.")
    return np.asarray(array != 0)


def same_shape(predicted: NDArray[Any], reference: NDArray[Any]) -> None:
    """Raise GeometryError unless both arrays have one shape and at least one element."""
    first, second = np.shape(predicted), np.shape(reference)
    if first != second:
        raise GeometryError(
            f"The prediction has the shape {first} and the reference {second}: "
            "compare both on the same grid."
        )
    if not np.size(predicted):
        raise GeometryError(f"There is nothing to compare in images of the shape {first}.")


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of each surface element of one mask to the nearest one of the other.

    `to_reference` (N,) starts on the prediction, `to_prediction` (M,) on the reference.
    """

    to_reference: _Distances
    to_prediction: _Distances

    @property
    def hd95(self) -> float:
        """95th percentile of each direction, the larger of the two (as MONAI and DeepMind)."""
        return self.percentile(95.0)

    @property
    def assd(self) -> float:
        """Average symmetric surface distance: the mean over the elements of both surfaces."""
        both = np.concatenate([self.to_reference, self.to_prediction])
        return float(both.mean()) if both.size else 0.0

    def percentile(self, percent: float) -> float:
        """Percentile of each direction, the larger of the two."""
        both = (self.to_reference, self.to_prediction)
        if not all(distances.size for distances in both):
            return float("inf") if any(distances.size for distances in both) else 0.0
        return max(float(np.percentile(distances, percent)) for distances in both)


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


def surface_points(mask: NDArray[Any], spacing: ArrayLike | None = None) -> _Distances:
    """Return the centres (N, D) of the surface elements of a mask, scaled by the spacing (D,).

    Where the axes are not at right angles, `spacing` is the matrix (D, D) whose columns are the
    steps along them. Raises GeometryError for a spacing that is neither.
    """
    inside = as_mask(mask)
    dimensions = inside.ndim
    steps = np.ones(dimensions) if spacing is None else np.asarray(spacing, dtype=np.float64)
    if steps.shape != (dimensions, dimensions) or not np.linalg.det(steps):
        if steps.shape != (dimensions,) or not bool(np.all((steps > 0) & np.isfinite(steps))):
            raise GeometryError(
                f"A spacing must be {dimensions} positive numbers, one per axis, but it is "
                f"{steps.tolist()}."
            )
        steps = np.diag(steps)
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


@dataclass(frozen=True)
class VolumeError:
    """A predicted and a reference volume, in mL; positive errors mean that too much was found."""

    predicted_ml: float
    reference_ml: float

    @property
    def ml(self) -> float:
        """Predicted minus reference, in mL."""
        return self.predicted_ml - self.reference_ml

    @property
    def percent(self) -> float:
        """Error in percent of the reference; 0 if both are empty, NaN if only the reference is."""
        if self.reference_ml == 0.0:
            return 0.0 if self.predicted_ml == 0.0 else float("nan")
        return 100.0 * self.ml / self.reference_ml


def volume_ml(mask: NDArray[Any], spacing: ArrayLike) -> float:
    """Volume of a mask (I, J, K) in mL, given the voxel spacing (3,) in mm; non-zero is inside.

    Where the axes are not at right angles, `spacing` is the matrix (3, 3) of the steps along them.
    """
    steps = np.asarray(spacing, dtype=np.float64)
    voxel = abs(np.linalg.det(steps)) if steps.ndim == 2 else np.prod(steps)
    return float(np.count_nonzero(as_mask(mask)) * voxel / _MM3_PER_ML)


def volume_error(
    predicted: NDArray[Any], reference: NDArray[Any], spacing: ArrayLike
) -> VolumeError:
    """Compare the volumes of two masks (I, J, K) of one voxel spacing (3,) in mm."""
    return VolumeError(volume_ml(predicted, spacing), volume_ml(reference, spacing))
