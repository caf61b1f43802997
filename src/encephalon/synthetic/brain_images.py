# SPDX-License-Identifier: Apache-2.0
"""Images of brains that hold signals whose strength is known, and much besides.

The brain is that of the head phantom, voxels outside it 0. The first signal of T1 widens the
ventricles and darkens the cortex; every other signal brightens a place of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from encephalon.geometry.affine import Grid
from encephalon.geometry.resample import resample_aligned
from encephalon.synthetic.head import CONTRASTS
from encephalon.synthetic.head_anatomy import Tissue, make_head
from encephalon.synthetic.shapes import Space, waves

__all__ = ["BrainImages"]

Field = NDArray[np.float32]
Values = NDArray[np.float64]

#: The middle of the lateral ventricles of the phantom, and how far their widening reaches, mm.
VENTRICLES, REACH = (0.0, -16.0, 14.0), 32.0
#: Of diffusion, the anisotropy: our choice, high in white matter alone.
ANISOTROPY = {
    "WHITE": 0.55, "CEREBELLAR_WHITE": 0.5, "STEM": 0.5, "DEEP": 0.3, "CORTEX": 0.15,
    "CEREBELLAR_CORTEX": 0.15, "CSF": 0.05, "VENTRICLE": 0.05,
}  # fmt: skip
#: Our choice, as shares of brightness: what a deviation of a signal, of how people look, and of a
#: site changes, and the noise of a voxel of 7 mm. In a deviation the ventricles widen by WIDEN.
SIGNAL, LOOK, SITE, NOISE, WIDEN, SPOT = 0.12, 0.04, 0.06, 0.03, 0.10, 14.0


class BrainImages:
    """Draws images of brains.

    grid     that they are on: a cube in RAS mm around the brain of the head phantom
    names    of the images, such as "t1": those of CONTRASTS, and "dwi", which shows anisotropy
    signals  that an image has at most
    looks    ways in which brains differ whatever they are like
    sites    that brighten images in a way of their own
    """

    def __init__(
        self, grid: Grid, names: Sequence[str], signals: int, looks: int, sites: int
    ) -> None:
        self.grid, self.step = grid, float(grid.affine.matrix[0, 0])
        first = self.grid.affine.matrix[:3, 3]
        space = Space(tuple(first), tuple(first + (grid.shape[0] - 1) * self.step), self.step)
        head, labels, brain = make_head(2.0, 0)
        seen = resample_aligned(brain.astype(np.float32), head.affine, self.grid)
        self.mask = np.asarray(seen >= 0.5)
        self.cortex = resample_aligned(
            (brain & (labels == Tissue.CORTEX)).astype(np.float32), head.affine, self.grid
        )
        self.templates = {
            name: resample_aligned(levels[labels] * brain, head.affine, self.grid)
            for name, levels in ((name, _levels(name)) for name in names)
        }
        rng = np.random.default_rng(0)
        self.looks = np.stack([waves(space, 90.0, rng) for _ in range(looks)])
        self.sites = np.stack([waves(space, 200.0, rng) for _ in range(sites)])
        self.places = np.stack(np.broadcast_arrays(*space.axes()))
        self.spots = self._spots(signals)

    def _spots(self, count: int) -> Field:
        """Blobs (count, side, side, side) as far from each other as the brain allows."""
        inside = self.places[:, ndimage.binary_erosion(self.mask)].T
        chosen = [inside[np.argmax(inside[:, 1])]]
        while len(chosen) < count:
            away = np.min([((inside - one) ** 2).sum(axis=1) for one in chosen], axis=0)
            chosen.append(inside[np.argmax(away)])
        apart = [((self.places - one[:, None, None, None]) ** 2).sum(axis=0) for one in chosen]
        return np.exp(-np.stack(apart) / (2 * SPOT**2)).astype(np.float32)

    def draw(
        self, source: str, signals: Values, looks: Values, site: int, rng: np.random.Generator
    ) -> Field:
        """One image: brightness is 1 in white matter of T1, and 0 outside the brain."""
        template, spots = self.templates[source], self.spots[: len(signals)]
        if source == "t1":
            template = self._widened(template, float(signals[0]))
            spots = np.concatenate([-self.cortex[None], spots[1:]])
        bright = 1 + LOOK * np.tensordot(looks, self.looks, 1) + SITE * self.sites[site]
        shown = SIGNAL * np.tensordot(signals, spots, 1)
        noise = NOISE * rng.standard_normal(template.shape)
        image: Field = ((template * bright + shown + noise) * self.mask).astype(np.float32)
        return image

    def _widened(self, template: Field, deviations: float) -> Field:
        """The image with wider ventricles: each voxel is read nearer to their middle."""
        offset = self.places - np.reshape(VENTRICLES, (3, 1, 1, 1))
        near = np.exp(-(offset**2).sum(axis=0) / (2 * REACH**2))
        read = self.places - np.clip(WIDEN * deviations, -0.4, 0.4) * near * offset
        first = self.places[:, 0, 0, 0].reshape(3, 1, 1, 1)
        moved: Field = ndimage.map_coordinates(
            template, (read - first) / self.step, order=1, mode="nearest"
        )
        return moved


def _levels(source: str) -> Field:
    """The brightness of each tissue."""
    levels = np.zeros(len(Tissue), np.float32)
    for name, level in CONTRASTS.get(source, ANISOTROPY).items():
        levels[Tissue[name]] = level
    return levels
