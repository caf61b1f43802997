# SPDX-License-Identifier: Apache-2.0
"""Find the brain in a scan of any field of view, then lay the fine grid around it.

Every grid here has the scan's own axes (sorted to RAS) and isotropic voxels, so that resampling is
separable and nothing is turned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Affine, Grid, orient, resample_aligned
from encephalon.io import Image
from encephalon.studies.extraction.options import Grids, Size
from encephalon.studies.extraction.pieces import largest_piece
from encephalon.transforms.normalise import normalise_percentiles

Float = NDArray[np.float32]
#: Distances (2, I, J, K), in voxels, of an image (I, J, K) in [0, 1].
Network = Callable[[Float], Float]

#: Room left around the brain when a wide field of view is searched a second time.
SECOND_LOOK = 0.6
#: Narrowest field of view (mm) that the first look spans; a cropped scan is not blown up.
SMALLEST_VIEW = 120.0


@dataclass(frozen=True)
class View:
    """A scan on a working grid.

    Attributes
    ----------
    grid
        Isotropic, with the scan's axes sorted to RAS.
    image
        (I, J, K) in [0, 1], zero outside the field of view.
    inside
        (I, J, K), which voxels the scan covers.
    """

    grid: Grid
    image: Float
    inside: NDArray[np.bool_]

    @property
    def spacing(self) -> float:
        """Millimetres per voxel."""
        return float(self.grid.affine.spacing[0])


@dataclass(frozen=True)
class Found:
    """The brain as the coarse grid saw it: the view, and distances (2, I, J, K) in voxels."""

    view: View
    distances: Float

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The largest piece inside the border."""
        return largest_piece(self.distances[0] > 0)


def find_brain(image: Image, grids: Grids, network: Network) -> Found:
    """Look at the whole field of view, then again around what was found there."""
    first = look(image, whole_field(image, grids.coarse), network)
    if not first.mask.any():
        return first
    second = look(image, grid_around(first, grids.coarse, SECOND_LOOK), network)
    return second if second.mask.any() else first


def look(image: Image, grid: Grid, network: Network) -> Found:
    """Put `image` on `grid` and ask the network."""
    view = view_on(image, grid)
    return Found(view, network(view.image))


def view_on(image: Image, grid: Grid) -> View:
    """`image` on the parallel `grid`, normalised."""
    values = resample_aligned(image.data, image.affine, grid, outside=float("nan"))
    inside = np.isfinite(values)
    return View(grid, normalise_percentiles(np.where(inside, values, 0), inside), inside)


def whole_field(image: Image, shape: Size) -> Grid:
    """The grid of `shape` that just covers the whole scan."""
    data, affine = orient(image.data, image.affine, "RAS")
    extent = np.array(data.shape) * np.asarray(affine.spacing)
    spacing = float((np.maximum(extent, SMALLEST_VIEW) / np.array(shape)).max())
    centre = affine.apply((np.array(data.shape) - 1)[None] / 2)[0]
    return centred_grid(affine, centre, shape, spacing)


def grid_around(found: Found, shape: Size, margin: float) -> Grid:
    """The grid of `shape` in which the brain that was found leaves `margin` of free room."""
    return grid_around_mask(found.mask, found.view.grid, shape, margin)


def grid_around_mask(mask: NDArray[np.bool_], grid: Grid, shape: Size, margin: float) -> Grid:
    """The grid of `shape` around the box of `mask` (I, J, K), which lies on `grid`."""
    bounds = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {a})))[[0, -1]] for a in range(3)]
    box = np.array(bounds, float)
    size = (box[:, 1] - box[:, 0] + 1) * np.asarray(grid.affine.spacing)
    spacing = float((size * (1 + margin) / np.array(shape)).max())
    centre = grid.affine.apply(box.mean(axis=1)[None])[0]
    return centred_grid(grid.affine, centre, shape, spacing)


def centred_grid(axes: Affine, centre: NDArray[np.float64], shape: Size, spacing: float) -> Grid:
    """A grid of `shape` with the directions of `axes`, isotropic `spacing` and `centre` in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(axes.direction) * spacing
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, Affine(matrix))
