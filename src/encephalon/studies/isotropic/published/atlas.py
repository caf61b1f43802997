# SPDX-License-Identifier: Apache-2.0
"""Native scans on the atlas grid that the published network knows, and its results back from there.

The T1w is brought to the atlas by a rigid map and the T2w to the T1w by another; each is
interpolated once, by both together. The result goes the way back to the frame of the T2w.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.studies.isotropic.acquisition.registration import (
    output_grid,
    register_t1w,
    resample_filtered,
)
from encephalon.transforms.registration import register_rigid

#: Voxels of the result in the frame of the T2w, mm: those of the atlas.
SPACING = 1.0
#: Dice coefficient of the heads in T1w and atlas below which the first is hardly in its place; a
#: head of half the size has 0.67.
PLACED = 0.5


@dataclass(frozen=True)
class AtlasPlacement:
    """Where the head of a T2w lies in an atlas.

    matrix  From the world of the T2w to that of the atlas, RAS mm.
    grid    Voxels of 1 mm on the field of view of the T2w.
    doubts  What speaks against it, each without its full stop.
    """

    matrix: Affine
    grid: Grid
    doubts: tuple[str, ...]

    def native(self, result: NDArray[Any], place: Affine) -> Image:
        """A result (I, J, K) that lies at `place` in the atlas, on `grid`, float32."""
        there = Grid(self.grid.shape, self.matrix @ self.grid.affine)
        return Image(resample(result, place, there, order=3), self.grid.affine)


def bring_to_atlas(t1w: Image, t2w: Image, atlas: Image) -> tuple[Image, Image, AtlasPlacement]:
    """Both scans on the grid of the atlas, and where the head of the T2w lies in it.

    Raises ContentError when nothing stands out from the background of a scan or the atlas.
    """
    fit = register_rigid(atlas, t1w)
    registration = register_t1w(t1w, t2w, t2w.grid)
    doubts = tuple(reason.rstrip(".").replace(";", ",") for reason in registration.reasons)
    if fit.foreground_overlap < PLACED:
        doubts += (
            "the T1w was hardly brought to the atlas: their heads overlap by "
            f"{fit.foreground_overlap:.2f}",
        )
    to_t2w = registration.matrix.inverse @ fit.matrix
    brought = [
        replace(scan, affine=atlas.affine, header=None, data=resample_filtered(scan, target)[0])
        for scan, target in (
            (t1w, Grid(atlas.shape, fit.matrix @ atlas.affine)),
            (t2w, Grid(atlas.shape, to_t2w @ atlas.affine)),
        )
    ]
    grid = output_grid(t2w.grid, int(np.argmax(t2w.spacing)), SPACING)
    return brought[0], brought[1], AtlasPlacement(to_t2w.inverse, grid, doubts)
