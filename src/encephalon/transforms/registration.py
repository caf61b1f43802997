# SPDX-License-Identifier: Apache-2.0
"""Where the same head lies in another scan: rigid registration by mutual information.

Mattes' mutual information, maximised by regular steps over three resolutions, by SimpleITK. It
starts from the headers and from the centres of mass; when these end apart, from turned heads as
well. One start is one thread, so that a result never depends on how many threads there were.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.geometry import Affine
from encephalon.io import Image
from encephalon.transforms.foreground import foreground, near, otsu_threshold, reduced
from encephalon.transforms.rigid_search import (
    COARSE,
    FINE,
    MIDDLE,
    Level,
    climb,
    mutual_information,
)

__all__ = ["RigidFit", "moved", "refine_rigid", "register_rigid"]

Points = NDArray[np.float64]

#: Starts that end further apart than this, mm, have not all found the head.
AGREED = 2.0
#: Mutual information below which two heads are hardly in one place, nats. Right pairs had 0.30 to
#: 1.03, pairs of two persons in one place 0.20 and more, heads 15 mm out of place about 0.1.
POOR = 0.15
#: A level may end with this share of the information it began with; less means that it got lost.
LOST = 0.95
#: Beyond the outline of the head, mm, where samples still tell of it.
RIM = 4.0
#: Turns of the further starts, degrees.
TURN = 25.0


@dataclass(frozen=True)
class RigidFit:
    """A rigid map between the worlds of two scans, and how sure it is.

    Attributes
    ----------
    matrix
        From fixed world RAS mm to moving world RAS mm.
    information
        Mutual information at the fit, nats a sample, on voxels of 3 mm around the fixed head.
    header_information
        The same where the headers put the scans.
    chance_information
        The same 15 mm away from the fit, in six directions: what heads out of place have in common.
    overlap
        Share of the fixed foreground that lies in the moving field of view.
    foreground_overlap
        Dice coefficient of both foregrounds within the field of view that they share.
    disagreement_mm
        Mean distance over the fixed foreground between where the two first starts ended.
    moved_mm
        Mean distance over the fixed foreground between the fit and the headers.
    seconds
        How long it took.
    """

    matrix: Affine
    information: float
    header_information: float
    chance_information: float
    overlap: float
    foreground_overlap: float
    disagreement_mm: float
    moved_mm: float
    seconds: float

    @property
    def relative_information(self) -> float:
        """Information beyond chance as a share of the information; 0 where nothing matches."""
        if self.information <= 0:
            return 0.0
        return max(0.0, 1 - self.chance_information / self.information)


def register_rigid(fixed: Image, moving: Image, *, threads: int | None = None) -> RigidFit:
    """The rigid map from `fixed` to `moving` that makes their voxels tell most of each other.

    Any contrast, orientation, obliquity and field of view; voxels that both lack, such as those of
    a removed face, do no harm. Two heads were found whenever they were up to 40 degrees and 60 mm
    off; 60 degrees are too many. The result is the same in every run and for any number of
    `threads` (default 2).

    Raises ContentError when either scan has no foreground.
    """
    began = time.perf_counter()
    scene = _Scene(fixed, moving)
    workers = max(1, min(threads or 2, 8))
    starts = [Affine(np.eye(4)), scene.translation()]
    ends = _together(scene, starts, (COARSE, MIDDLE), workers)
    disagreement = moved(ends[0], ends[1], scene.points)
    told = [scene.information(end) for end in ends]
    if disagreement > AGREED or max(told) < POOR:
        ends += _further(scene, ends[int(np.argmax(told))], workers)
        told = [scene.information(end) for end in ends]
    best = _climbed(scene, ends[int(np.argmax(told))], (FINE,))
    return scene.fit(best, disagreement, time.perf_counter() - began)


def refine_rigid(fixed: Image, moving: Image, start: Affine) -> Affine:
    """The rigid map near `start` (fixed world RAS mm to moving world RAS mm), to about 0.5 mm.

    Quicker and coarser than `register_rigid`, for controls. Raises ContentError as it does.
    """
    return _climbed(_Scene(fixed, moving), start, (COARSE, MIDDLE))


def moved(first: Affine, second: Affine, points: Points) -> float:
    """Mean distance, mm, between the images of `points` (N, 3) under two maps."""
    return float(np.linalg.norm(first.apply(points) - second.apply(points), axis=1).mean())


class _Scene:
    """Both scans at every resolution that is asked for, and the heads in them."""

    def __init__(self, fixed: Image, moving: Image) -> None:
        self.fixed, self.moving = fixed, moving
        self.small = reduced(fixed, MIDDLE.fixed)
        self.other = reduced(moving, MIDDLE.moving)
        self.head, self.other_head = foreground(self.small), foreground(self.other)
        for image, head in ((fixed, self.head), (moving, self.other_head)):
            if not head.any():
                raise ContentError(
                    f"{image.name}: expected a head or brain to register, but no voxel stands out "
                    "from the background; check the file."
                )
        self.points = self.small.affine.apply(np.argwhere(self.head))
        self.other_points = self.other.affine.apply(np.argwhere(self.other_head))
        self.centre = self.points.mean(axis=0)
        self.mask = near(self.head, self.small.affine, RIM)
        self._levels: dict[Level, tuple[Image, Image]] = {}

    def level(self, level: Level) -> tuple[Image, Image]:
        """Both scans at one resolution, without their brightest voxels."""
        if level not in self._levels:
            fixed = _clipped(reduced(self.fixed, level.fixed))
            self._levels[level] = fixed, _clipped(reduced(self.moving, level.moving))
        return self._levels[level]

    def translation(self) -> Affine:
        """The shift that brings the middles of both heads together."""
        matrix = np.eye(4)
        matrix[:3, 3] = self.other_points.mean(axis=0) - self.centre
        return Affine(matrix)

    def information(self, placed: Affine) -> float:
        """Mutual information near the fixed head, nats; 0 when fewer than 1 in 5 voxels meet."""
        values = self._meeting(self.other.data, placed, order=1)
        inside = np.isfinite(values)
        if inside.mean() < 0.2:
            return 0.0
        return mutual_information(self.small.data[self.mask][inside], values[inside])

    def _meeting(self, data: NDArray[Any], placed: Affine, order: int) -> NDArray[np.float32]:
        """Values of the moving scan at the voxels near the fixed head (N,), NaN outside it."""
        from scipy import ndimage

        voxels = np.argwhere(self.mask)
        places = (self.other.affine.inverse @ placed @ self.small.affine).apply(voxels).T
        values: NDArray[np.float32] = ndimage.map_coordinates(
            data.astype(np.float32), places, order=order, cval=np.nan, prefilter=False
        )
        return values

    def fit(self, best: Affine, disagreement: float, seconds: float) -> RigidFit:
        """Everything that is told of a fit."""
        identity = Affine(np.eye(4))
        met = self._meeting(self.other_head, best, order=0)
        inside = np.isfinite(met)
        here, there = self.head[self.mask][inside], met[inside] > 0.5
        overlap = np.isfinite(met[self.head[self.mask]]).mean()
        return RigidFit(
            matrix=best,
            information=self.information(best),
            header_information=self.information(identity),
            chance_information=float(np.mean([self.information(a) for a in self._away(best)])),
            overlap=float(overlap),
            foreground_overlap=float(2 * (here & there).sum() / max(1, here.sum() + there.sum())),
            disagreement_mm=disagreement,
            moved_mm=moved(best, identity, self.points),
            seconds=seconds,
        )

    def _away(self, best: Affine) -> list[Affine]:
        """The fit, shifted 15 mm both ways along each axis."""
        return [
            Affine.from_parts(np.eye(3), 1.0, sign * 15.0 * np.eye(3)[axis]) @ best
            for axis in range(3)
            for sign in (-1, 1)
        ]


def _together(
    scene: _Scene, starts: Sequence[Affine], levels: tuple[Level, ...], workers: int
) -> list[Affine]:
    """Where each start ends. SimpleITK lets go of the interpreter, so threads are of use."""
    for level in levels:  # made here once, not in each thread
        scene.level(level)
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda start: _climbed(scene, start, levels), starts))


def _further(scene: _Scene, best: Affine, workers: int) -> list[Affine]:
    """The better two of the ends of six starts with the head turned, at the middle resolution."""
    from scipy.spatial.transform import Rotation

    shift = scene.translation()
    turns = np.deg2rad(TURN) * np.concatenate([np.eye(3), -np.eye(3)])
    starts = []
    for turn in turns:
        turned = Affine.from_parts(Rotation.from_rotvec(turn).as_matrix(), 1.0, 0.0)
        about = Affine.from_parts(np.eye(3), 1.0, scene.centre)
        starts.append(shift @ about @ turned @ about.inverse)
    ends = _together(scene, starts, (COARSE,), workers)
    ends.sort(key=scene.information, reverse=True)
    return _together(scene, [best, *ends[:2]], (MIDDLE,), workers)


def _climbed(scene: _Scene, start: Affine, levels: tuple[Level, ...]) -> Affine:
    """The optimum that is reached from `start` through `levels`, on one thread."""
    for level in levels:
        start = _step(scene, start, level)
    return start


def _step(scene: _Scene, start: Affine, level: Level) -> Affine:
    """One level; if its first steps lose a good place, again with small ones, or not at all."""
    mask = Image(scene.mask, scene.small.affine)
    least = LOST * scene.information(start)
    for first in (level.first, level.first / 8):
        end = climb(*scene.level(level), mask, start, replace(level, first=first))
        if scene.information(end) >= least:
            return end
    return start


def _clipped(image: Image) -> Image:
    """Without the brightest 0.5 % of the foreground, which would empty the histogram's bins."""
    bright = image.data[image.data > otsu_threshold(image.data)]
    top = np.percentile(bright, 99.5) if bright.size else image.data.max()
    return Image(np.minimum(image.data, np.float32(top)), image.affine)
