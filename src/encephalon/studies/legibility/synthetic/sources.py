# SPDX-License-Identifier: Apache-2.0
"""What images and connectivity of synthetic people look like: their signals, and much besides.

The brain is that of the head phantom, voxels outside it 0. The first signal of T1 widens the
ventricles and darkens the cortex; every other signal brightens a place of its own. In connectivity
each signal moves edges of its own, in the tangent space around a mean of low rank.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from encephalon.geometry.resample import resample_aligned
from encephalon.studies.legibility.preprocessing import CLAMP, DEVIATIONS
from encephalon.studies.legibility.synthetic.people import IMAGES, NUISANCES, SITES
from encephalon.synthetic.head import CONTRASTS
from encephalon.synthetic.head_anatomy import Tissue, make_head
from encephalon.synthetic.shapes import Space, waves
from encephalon.transforms.template import EXTENT, mni_grid

__all__ = ["Brain", "Connectome"]

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
#: The same of edges of connectivity, in the tangent space; edges that a signal moves, and the rank
#: and weight of what all have in common.
EDGE, EDGE_LOOK, EDGE_SITE, EDGE_NOISE, EDGES, RANK, COMMON = 0.10, 0.02, 0.03, 0.06, 10, 5, 0.6


class Brain:
    """Draws images (side, side, side) on the MNI grid of that side."""

    def __init__(self, side: int, signals: int) -> None:
        self.grid, self.step = mni_grid(side), EXTENT / side
        first = self.grid.affine.matrix[:3, 3]
        space = Space(tuple(first), tuple(first + (side - 1) * self.step), self.step)
        head, labels, brain = make_head(2.0, 0)
        seen = resample_aligned(brain.astype(np.float32), head.affine, self.grid)
        self.mask = np.asarray(seen >= 0.5)
        self.cortex = resample_aligned(
            (brain & (labels == Tissue.CORTEX)).astype(np.float32), head.affine, self.grid
        )
        self.templates = {
            name: resample_aligned(levels[labels] * brain, head.affine, self.grid)
            for name, levels in ((name, _levels(name)) for name in IMAGES)
        }
        rng = np.random.default_rng(0)
        self.looks = np.stack([waves(space, 90.0, rng) for _ in range(NUISANCES)])
        self.sites = np.stack([waves(space, 200.0, rng) for _ in SITES])
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

    def prepared(self, image: Field) -> NDArray[np.float16]:
        """The image as preparation leaves it: z-scores of the brain in [-1, 1], -1 outside."""
        brain = image[self.mask]
        brain = brain.clip(*np.percentile(brain, CLAMP))
        scores = np.full(image.shape, -1, np.float16)
        scores[self.mask] = ((brain - brain.mean()) / (DEVIATIONS * brain.std())).clip(-1, 1)
        return scores

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


class Connectome:
    """Draws correlations (R, R) between regions."""

    def __init__(self, regions: int, signals: int) -> None:
        rng = np.random.default_rng(0)
        loads = rng.standard_normal((regions, RANK)) / np.sqrt(RANK)
        common = COMMON * loads @ loads.T + (1 - COMMON) * np.eye(regions)
        self.root = _of_eigenvalues(_correlations(common), np.sqrt)
        self.upper = np.triu_indices(regions, 1)
        pairs = len(self.upper[0])
        each = min(EDGES, pairs // max(1, signals))
        edges = rng.permutation(pairs)
        self.patterns = np.zeros((signals, pairs))
        for number, pattern in enumerate(self.patterns):
            pattern[edges[number * each : (number + 1) * each]] = rng.choice([-1, 1], each)
        self.looks = EDGE_LOOK * rng.standard_normal((NUISANCES, pairs))
        self.sites = EDGE_SITE * rng.standard_normal((len(SITES), pairs))

    def draw(self, signals: Values, looks: Values, site: int, rng: np.random.Generator) -> Values:
        """One matrix; what is no signal has no part in the patterns, whose sums tell it exactly."""
        other = looks @ self.looks + self.sites[site]
        other += EDGE_NOISE * rng.standard_normal(len(other))
        sizes = (self.patterns**2).sum(axis=1)
        other -= (self.patterns @ other / sizes) @ self.patterns
        tangent = np.zeros_like(self.root)
        tangent[self.upper] = EDGE * signals @ self.patterns + other
        moved = self.root @ _of_eigenvalues(tangent + tangent.T, np.exp) @ self.root
        return _correlations(moved)


def _of_eigenvalues(matrix: Values, function: np.ufunc) -> Values:
    values, vectors = np.linalg.eigh(matrix)
    found: Values = (vectors * function(values)) @ vectors.T
    return found


def _correlations(covariance: Values) -> Values:
    """The symmetric correlations of a covariance, its diagonal 1 exactly."""
    deviations = np.sqrt(np.diag(covariance))
    found: Values = covariance / np.outer(deviations, deviations)
    found = (found + found.T) / 2
    np.fill_diagonal(found, 1.0)
    return found
