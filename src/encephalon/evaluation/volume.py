# SPDX-License-Identifier: Apache-2.0
"""Volumes of masks in millilitres, and their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.evaluation.overlap import as_mask

__all__ = ["VolumeError", "volume_error", "volume_ml"]

_MM3_PER_ML = 1000.0


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
