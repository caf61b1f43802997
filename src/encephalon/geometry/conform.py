# SPDX-License-Identifier: Apache-2.0
"""FreeSurfer's conform without FreeSurfer: a cube of 1 mm along the world's axes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.orientation import orient
from encephalon.geometry.resample import resample

# mri_convert --conform: COR geometry, https://surfer.nmr.mgh.harvard.edu/fswiki/mri_convert
CONFORMED_SHAPE = (256, 256, 256)
CONFORMED_SPACING = 1.0
CONFORMED_CODES = "LIA"


class _Placed(Protocol):
    """A dataclass with voxels and a place; the Image of the floor above is one."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def data(self) -> NDArray[Any]: ...

    @property
    def affine(self) -> Affine: ...


Placed = TypeVar("Placed", bound=_Placed)


def conform_grid(
    grid: Grid,
    shape: Sequence[int] = CONFORMED_SHAPE,
    spacing: ArrayLike = CONFORMED_SPACING,
    codes: str = CONFORMED_CODES,
) -> Grid:
    """The grid of `shape` voxels of `spacing` mm, axes exactly along `codes`, around `grid`.

    As in FreeSurfer, voxel shape / 2 of both grids is the same point of the world (FreeSurfer's
    c_ras), which lies half a voxel beyond the middle of the volume.
    """
    sizes = np.asarray(tuple(shape))
    # Orienting one voxel of the identity gives the axes that the codes stand for.
    _, axes = orient(np.empty((1, 1, 1)), Affine.from_spacing(1.0), codes)
    turned = Affine.from_parts(axes.direction, spacing, (0.0, 0.0, 0.0))
    anchor = grid.affine.apply(np.asarray(grid.shape) / 2)
    origin = anchor - turned.apply(sizes / 2)
    affine = Affine.from_parts(axes.direction, spacing, origin)
    return Grid((int(sizes[0]), int(sizes[1]), int(sizes[2])), affine)


def conform(image: Placed, target: Grid | None = None, order: int = 1) -> Placed:
    """`image` (with `data` (I, J, K) and `affine`) on its conformed grid, 0 outside, float32.

    Trilinear point sampling as mri_convert does it, with no filter against aliasing.
    """
    if target is None:
        i, j, k = image.data.shape
        target = conform_grid(Grid((i, j, k), image.affine))
    data = resample(image.data, image.affine, target, order)
    return replace(image, data=data, affine=target.affine)


def unconform(mask: NDArray[Any], conformed: Grid, native: Grid) -> NDArray[Any]:
    """A mask or label map (I, J, K) on `conformed`, back on the grid `native`: nearest voxel."""
    return resample(mask, conformed.affine, native, order=0)
