# SPDX-License-Identifier: Apache-2.0
"""Voxels in the world: affines in RAS+ millimetres, orientation, resampling, conforming."""

from __future__ import annotations

from encephalon.geometry.affine import Affine, Grid, checked, is_sheared
from encephalon.geometry.boxes import bounding_box
from encephalon.geometry.conform import (
    conform,
    conform_grid,
    straight_grid,
    straightened,
    unconform,
)
from encephalon.geometry.orientation import orient
from encephalon.geometry.resample import is_aligned, resample, resample_aligned

__all__ = [
    "Affine",
    "Grid",
    "bounding_box",
    "checked",
    "conform",
    "conform_grid",
    "is_aligned",
    "is_sheared",
    "orient",
    "resample",
    "resample_aligned",
    "straight_grid",
    "straightened",
    "unconform",
]
