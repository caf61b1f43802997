# SPDX-License-Identifier: Apache-2.0
"""A scan of thick slices as the study works on it: its slices, and the isotropic grid they cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine, Grid
from encephalon.io.image import Image
from encephalon.studies.isotropic.acquisition.slices import Acquisition
from encephalon.studies.isotropic.reconstruction.problem import Stack, permuted
from encephalon.transforms.slices import SIGMA_PER_FWHM, SliceOperator, SliceProfile, along

__all__ = ["make_stack", "missing_voxels", "output_grid"]

#: A plane whose voxels differ from what is asked for by less than this share is left as it is.
UNTOUCHED = 0.005


def make_stack(
    image: Image,
    acquisition: Acquisition,
    spacing: float,
    profile: SliceProfile,
    motion: Affine | None = None,
) -> Stack:
    """The slices of `image` (I, J, K, finite), and the grid of `spacing` mm that they cut.

    Planes of another spacing are resampled, blurred first where they become coarser; slices that
    were not measured are left out. `motion` maps the world of this scan to that of the grid wanted,
    mm to mm; without it they are the same.
    """
    axis = acquisition.axis
    order = (*(other for other in range(3) if other != axis), axis)
    native = output_grid(image.grid, axis, spacing)
    grid = permuted(native, (order[0], order[1], order[2]))
    slices = _planes(image, grid, order)[..., list(acquisition.measured)]
    if motion is not None:
        grid = Grid(grid.shape, motion @ grid.affine)
    voxels = grid.shape[2]
    # Scan and grid share their middle, from which both are counted.
    places = np.asarray(acquisition.measured) - (acquisition.slices - 1) / 2
    middles = places * acquisition.distance + (voxels - 1) / 2 * spacing
    operator = SliceOperator.of(profile, acquisition.thickness, middles, voxels, spacing)
    return Stack(np.ascontiguousarray(slices, dtype=np.float32), grid, operator)


def output_grid(scan: Grid, axis: int, spacing: float) -> Grid:
    """Voxels of `spacing` mm along the axes of `scan`, on the same field of view.

    Outer faces lie where those of the scan do, or as evenly as whole voxels allow, since the
    middles are the same. An axis in the plane that has this spacing already is left as it is;
    `axis` never is.
    """
    sizes, shape = list(scan.affine.spacing), list(scan.shape)
    for each in range(3):
        if each == axis or abs(sizes[each] - spacing) > UNTOUCHED * spacing:
            shape[each] = max(1, round(scan.extent[each] / spacing))
            sizes[each] = spacing
    middle = (np.asarray(shape) - 1) / 2
    affine = Affine.from_parts(scan.affine.direction, sizes, (0.0, 0.0, 0.0))
    origin = scan.centre - affine.apply(middle)
    i, j, k = shape
    return Grid((i, j, k), Affine.from_parts(scan.affine.direction, sizes, origin))


def missing_voxels(operator: SliceOperator) -> NDArray[np.bool_]:
    """Which voxels along the slice axis (voxels,) lie beyond the first and the last slice.

    Nothing but the slices next to them tells what they hold.
    """
    places = operator.places
    # Half a voxel of grace: the outer faces of a scan need not fall between voxels.
    steps = np.diff(operator.middles)  # some are twice as long, where a slice is missing
    distance = float(np.median(steps)) if steps.size else operator.thickness
    reach = max(distance, operator.thickness) / 2 + operator.voxel_size / 2
    low, high = operator.middles.min() - reach, operator.middles.max() + reach
    return np.asarray((places < low) | (places > high))


def _planes(image: Image, grid: Grid, order: tuple[int, ...]) -> NDArray[np.float32]:
    """The slices (I, J, S) of the scan in the plane of `grid` (I, J, K)."""
    slices = np.asarray(image.data.transpose(order), np.float32)
    for axis in (0, 1):
        fine, coarse = image.spacing[order[axis]], grid.affine.spacing[axis]
        count = grid.shape[axis]
        if count != slices.shape[axis] or abs(coarse - fine) > 1e-6 * fine:
            weights = _raster(slices.shape[axis], count, coarse / fine)
            slices = np.moveaxis(along(weights, np.moveaxis(slices, axis, -1)), -1, axis)
    # A spline rings: nothing may become darker or brighter than the scan is.
    return np.clip(slices, image.data.min(), image.data.max())


def _raster(size: int, count: int, scale: float) -> NDArray[np.float64]:
    """Weights (count, size) of a raster of the same middle, `scale` times as coarse.

    Cubic splines keep a ramp where it is; linear weights move it by 0.07 mm when they also blur. A
    coarser raster is blurred first, by what makes its voxels of a Gaussian profile as wide.
    """
    from scipy import interpolate, ndimage

    lines = np.eye(size)
    if scale > 1:
        width = np.sqrt(scale**2 - 1) * SIGMA_PER_FWHM
        lines = ndimage.gaussian_filter1d(lines, width, axis=0, mode="nearest")
    places = (np.arange(count) - (count - 1) / 2) * scale + (size - 1) / 2
    spline = interpolate.make_interp_spline(np.arange(size), lines, k=min(3, size - 1))
    return np.asarray(spline(np.clip(places, 0, size - 1)))
