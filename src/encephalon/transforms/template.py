# SPDX-License-Identifier: Apache-2.0
"""The average brain that others are brought to, and the grid in which they are compared.

ICBM 2009a Nonlinear Symmetric, T1-weighted, without its skull (Fonov et al. 2011): MNI152, whose
notice lies beside the file. `tools/brain_template.py` makes it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from encephalon.geometry.affine import Affine, Grid
from encephalon.io.image import Image

#: Edge of the cube that brains are compared in, mm: 128 voxels of 1.75 mm, as the published study
#: of legibility has them.
EXTENT = 224.0
#: Its middle, MNI RAS mm: that of the template's brain, which spans ±72, -107 to 73, and -72 to 82.
CENTRE = (0.0, -17.0, 5.0)
#: Voxels along each side of the packaged file.
SIDE = 128

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
