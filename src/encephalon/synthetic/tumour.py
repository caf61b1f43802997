# SPDX-License-Identifier: Apache-2.0
"""A bright tumour on the surface of the brain, drawn into a real scan, with its mask.

It is like a meningioma in a T1w after gadolinium in four things alone: it sits broadly on the
border of the brain, is brighter than white matter, uneven, and bulges. It moves nothing, has no
oedema and no tail along the dura; nothing else lights up, as vessels do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encephalon.io.image import Image

__all__ = ["add_tumour"]

Mask = NDArray[np.bool_]

#: Radii, mm: 2 to 33 mL for a ball, of which some lies beyond the brain.
RADIUS_MM = (8.0, 20.0)
#: Brightness, of that of white matter, which is the 90th percentile of a brain in T1w.
BRIGHTNESS = (1.1, 1.6)
#: Share of the radius by which the surface bulges and the brightness varies, and how smoothly, mm.
BULGE, TEXTURE, SMOOTH_MM = 0.15, 0.06, 5.0
#: Share of the radius by which the middle lies inside the border of the brain.
DEPTH = 0.4
#: Lowest share of the brain's height at which a tumour begins: not at the stem.
LOWEST = 0.35


def add_tumour(rng: np.random.Generator, scan: Image, brain: Mask) -> tuple[Image, Mask]:
    """`scan` (I, J, K) with one tumour in its `brain`, float32, and the mask of the tumour."""
    from scipy import ndimage

    spacing = np.asarray(scan.spacing)
    border = brain & ~ndimage.binary_erosion(brain)
    places = scan.affine.apply(np.argwhere(border))
    height = places[:, 2]
    places = places[height >= height.min() + LOWEST * np.ptp(height)]
    place, radius = places[rng.integers(len(places))], rng.uniform(*RADIUS_MM)
    inwards = places.mean(axis=0) - place
    middle = place + DEPTH * radius * inwards / np.linalg.norm(inwards)
    voxels = np.indices(scan.shape).reshape(3, -1).T
    away = np.linalg.norm(scan.affine.apply(voxels) - middle, axis=1)
    bulge, texture = (_smooth(rng, scan.shape, SMOOTH_MM / spacing) for _ in range(2))
    mask = (away.reshape(scan.shape) < radius * (1 + BULGE * bulge)) & brain
    level = np.percentile(scan.data[brain], 90) * rng.uniform(*BRIGHTNESS)
    # As a scanner would mix the two where the border crosses a voxel.
    share = ndimage.gaussian_filter(mask.astype(np.float32), 0.7 / spacing) * brain
    data = scan.data * (1 - share) + level * (1 + TEXTURE * texture) * share
    return replace(scan, data=data.astype(np.float32)), mask


def _smooth(
    rng: np.random.Generator, shape: tuple[int, ...], width: NDArray[np.float64]
) -> NDArray[np.float32]:
    """A random field of mean 0 and deviation 1, as smooth as `width` voxels."""
    from scipy import ndimage

    field = ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), width)
    return np.asarray((field - field.mean()) / field.std(), np.float32)
