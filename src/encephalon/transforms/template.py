# SPDX-License-Identifier: Apache-2.0
"""The average brain that others are brought to, and the grid in which they are compared.

ICBM 2009a Nonlinear Symmetric, T1-weighted, without its skull (Fonov et al. 2011): MNI152, whose
notice lies beside the file. `tools/brain_template.py` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.metrics.segmentation import dice
from encephalon.transforms.registration import register_affine, register_rigid

#: Edge of the cube that brains are compared in, mm: 128 voxels of 1.75 mm, as the published study
#: of legibility has them.
EXTENT = 224.0
#: Its middle, MNI RAS mm: that of the template's brain, which spans ±72, -107 to 73, and -72 to 82.
CENTRE = (0.0, -17.0, 5.0)
#: Voxels along each side of the packaged file.
SIDE = 128
#: Dice coefficient with the brain of the template below which a brain is hardly in its place: 0.90
#: and more of whole brains.
PLACED = 0.8
#: Size of the template's brain over that of the scan's, beyond which either is doubted: 0.55 to 1.2
#: were found of adults.
SIZES = (0.35, 1.5)

_FILE = Path(__file__).with_name("templates") / "mni152.nii.gz"


def mni_grid(side: int = SIDE) -> Grid:
    """The cube of EXTENT in MNI space, RAS, with `side` voxels along each axis."""
    spacing = EXTENT / side
    origin = np.asarray(CENTRE) - spacing * (side - 1) / 2
    return Grid((side, side, side), Affine.from_spacing(spacing, origin))


@lru_cache(maxsize=1)
def brain_template() -> Image:
    """The template on `mni_grid()`, uint8 (128, 128, 128), 0 outside the brain; shared."""
    from encephalon.io.reading import read_image

    return read_image(_FILE)


@dataclass(frozen=True)
class Placement:
    """How a brain lies in MNI space.

    matrix       from MNI RAS mm to those of its scan
    grid         that of `mni_grid()` where it lies in the scan
    information  what scan and template have in common, nats; of a scan and its guide, if that was
                 brought to the template
    overlap      the Dice coefficient with the template's brain
    """

    matrix: Affine
    grid: Grid
    information: float
    overlap: float

    @property
    def scale(self) -> float:
        """The volume of the brain over that of the template, by the affine map."""
        return round(float(np.linalg.det(self.matrix.matrix[:3, :3])), 4)

    @property
    def doubts(self) -> list[str]:
        """What speaks against the placement, each without its full stop."""
        reasons = []
        if self.overlap < PLACED:
            reasons.append(
                f"the brain was hardly brought to the template: they overlap by {self.overlap:.2f}"
            )
        if not SIZES[0] < self.scale < SIZES[1]:
            reasons.append(f"the brain has {self.scale:.2f} times the size of the template's")
        return reasons


def place_brain(
    brain: Image, mask: NDArray[np.bool_], guide: Image | None = None, threads: int = 1
) -> Placement:
    """Where a brain lies in MNI space, by an affine map.

    brain, mask  its grey levels, 0 outside, and where it is (I, J, K)
    guide        the brain on another scan of the same person, that is brought to the template in
                 its place, and to which it is brought by a rigid map
    threads      of which no result depends on
    """
    if guide is None:
        fit = register_affine(brain_template(), brain, threads=threads)
        matrix = fit.matrix
    else:
        first = register_affine(brain_template(), guide, threads=threads)
        fit = register_rigid(guide, brain, threads=threads)
        matrix = fit.matrix @ first.matrix
    grid = Grid(mni_grid().shape, matrix @ mni_grid().affine)
    overlap = dice(resample(mask, brain.affine, grid, 0), brain_template().data > 0)
    return Placement(matrix, grid, round(fit.information, 4), round(overlap, 4))
