# SPDX-License-Identifier: Apache-2.0
"""What resampling alone can do: the methods that every other one is measured against.

All three are linear along the slice axis, so each is one small matrix: a volume costs one product.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from encephalon.studies.isotropic.reconstruction.problem import Estimate, Method, Problem
from encephalon.transforms.slices import SliceOperator, along

Matrix = NDArray[np.float64]


def linear_weights(operator: SliceOperator) -> Matrix:
    """Weights (voxels, slices) of straight lines between the middles of the slices.

    Beyond the outermost middles, the outermost slices hold.
    """
    middles = operator.middles
    unit = np.eye(len(middles))
    return np.stack([np.interp(operator.places, middles, column) for column in unit], axis=1)


def cubic_weights(operator: SliceOperator) -> Matrix:
    """Weights (voxels, slices) of the cubic B-spline through the slices, each at its middle.

    Straight lines stay straight up to the outermost middles, beyond which the outermost
    slices hold. Fewer than four slices have a spline of a lower order.
    """
    from scipy.interpolate import make_interp_spline

    middles = operator.middles
    count = len(middles)
    if count == 1:
        return np.ones((operator.matrix.shape[1], 1))
    spline = make_interp_spline(middles, np.eye(count), k=min(3, count - 1))
    return np.asarray(spline(np.clip(operator.places, middles[0], middles[-1])))


def zoom_weights(operator: SliceOperator) -> Matrix:
    """Weights (voxels, slices) of the published interpolation, with its fault.

    SciPy's `zoom` of order 3 without `grid_mode`, as BABY-AI interpolates in
    `create_LR_img`: the first and the last slice are taken for the first and the last voxel,
    wherever they were measured, so that everything between them is moved.
    """
    from scipy.ndimage import zoom

    voxels, count = operator.matrix.shape[1], len(operator.middles)
    if count == 1:
        return np.ones((voxels, 1))
    return np.stack([zoom(unit, voxels / count, order=3) for unit in np.eye(count)], axis=1)


def _method(weights: Callable[[SliceOperator], Matrix]) -> Method:
    def interpolate(problem: Problem) -> Estimate:
        """Apply the weights to the first stack; the guide and other stacks are not looked at."""
        return Estimate(along(weights(problem.stack.operator), problem.stack.slices))

    return interpolate


METHODS: dict[str, Method] = {
    "linear": _method(linear_weights),
    "cubic": _method(cubic_weights),
    "zoom": _method(zoom_weights),
}
"""Names of the baselines, from a problem to an estimate without a deviation."""
