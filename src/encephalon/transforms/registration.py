# SPDX-License-Identifier: Apache-2.0
"""Where a head lies in another scan: rigid and affine registration by mutual information.

Mattes' mutual information, maximised by regular steps over three resolutions, by SimpleITK. It
starts from the headers and from the centres of mass; when these end apart, from turned heads as
well. One start is one thread, so that a result never depends on how many threads there were.

Whether two registered scans show the same head, or only heads, is told after it. Every two heads
have an outline, ventricles and two halves, and registered ones share much mutual information. What
only one participant's scans share is detail: within a few millimetres one scan is nearly a linear
function of the other, whatever the contrasts. `image_similarity` is the mean share of local
variance that this explains. How much of it any two heads share, the mirrored scan tells: it has
the same contrast, sharpness and noise, and shows somebody else.
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
from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample, resample_averaged
from encephalon.io.image import Image
from encephalon.transforms.masks import foreground, near, otsu_threshold, reduced
from encephalon.transforms.registration_search import (
    AFFINE,
    COARSE,
    FINE,
    MIDDLE,
    Level,
    climb,
    mutual_information,
)

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

Float = NDArray[np.float32]
#: Voxels on which detail is compared, mm: folds of the cortex are twice as wide.
SPACING = 1.5
#: Standard deviation of the window within which one scan should be linear in the other, mm.
WINDOW = 3.0
#: The least standard deviation of that window, voxels, for scans that are coarse all over.
LEAST_VOXELS = 1.2
#: Voxels nearer to the air than this, mm, are left out: outlines of all heads are alike.
OUTLINE_RIM = 8.0
#: Standard deviation, in units of the bright tissue, below which a window shows nothing but noise.
FLAT = 0.02


@dataclass(frozen=True)
class RegistrationFit:
    """A map between the worlds of two scans, and how sure it is.

    matrix              From fixed world RAS mm to moving world RAS mm.
    information         Mutual information at the fit, nats a sample, on voxels of 3 mm around the
                        fixed head.
    header_information  The same where the headers put the scans.
    chance_information  The same 15 mm away from the fit, in six directions: what heads out of place
                        have in common.
    overlap             Share of the fixed foreground that lies in the moving field of view.
    foreground_overlap  Dice coefficient of both foregrounds within the field of view that they
                        share.
    disagreement_mm     Mean distance over the fixed foreground between where the two first starts
                        ended.
    moved_mm            Mean distance over the fixed foreground between the fit and the headers.
    seconds             How long it took.
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


def register_rigid(fixed: Image, moving: Image, *, threads: int | None = None) -> RegistrationFit:
    """The rigid map from `fixed` to `moving` that makes their voxels tell most of each other.

    Any contrast, orientation, obliquity and field of view; voxels that both lack, such as those of
    a removed face, do no harm. Two heads were found whenever they were up to 40 degrees and 60 mm
    off; 60 degrees are too many. Runs repeat each other whatever the number of `threads` (default
    2), but where two places are nearly as good, some 0.05 mm apart, either may be found.

    Raises ContentError when either scan has no foreground.
    """
    return _register(fixed, moving, (COARSE, MIDDLE), (FINE,), AGREED, threads)


def register_affine(fixed: Image, moving: Image, *, threads: int | None = None) -> RegistrationFit:
    """The affine map (12 degrees of freedom) from `fixed` to `moving`, found from the rigid one.

    For the brains of two persons, without skulls, such as a template and a scan that was stripped.
    As repeatable as `register_rigid`; about 0.4 mm short of the best. Raises ContentError as it
    does.
    """
    # The middle of a stripped brain is a good start: that headers are lost puts nothing in doubt.
    return _register(fixed, moving, (COARSE,), AFFINE, float("inf"), threads)


def _register(
    fixed: Image,
    moving: Image,
    first: tuple[Level, ...],
    last: tuple[Level, ...],
    agreed: float,
    threads: int | None,
) -> RegistrationFit:
    """The best of several starts through the levels `first`, and through `last`.

    Of two starts; of more where these end further apart than `agreed`, mm, or badly.
    """
    began = time.perf_counter()
    scene = _Scene(fixed, moving)
    workers = max(1, min(threads or 2, 8))
    starts = [Affine(np.eye(4)), scene.translation()]
    ends = _together(scene, starts, first, workers)
    disagreement = moved(ends[0], ends[1], scene.points)
    told = [scene.information(end) for end in ends]
    if disagreement > agreed or max(told) < POOR:
        ends += _further(scene, ends[int(np.argmax(told))], workers)
        told = [scene.information(end) for end in ends]
    best = _climbed(scene, ends[int(np.argmax(told))], last)
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

    def fit(self, best: Affine, disagreement: float, seconds: float) -> RegistrationFit:
        """Everything that is told of a fit."""
        identity = Affine(np.eye(4))
        met = self._meeting(self.other_head, best, order=0)
        inside = np.isfinite(met)
        here, there = self.head[self.mask][inside], met[inside] > 0.5
        overlap = np.isfinite(met[self.head[self.mask]]).mean()
        aways = [
            Affine.from_parts(np.eye(3), 1.0, sign * 15.0 * axis) @ best
            for axis in np.eye(3)
            for sign in (-1, 1)
        ]
        return RegistrationFit(
            matrix=best,
            information=self.information(best),
            header_information=self.information(identity),
            chance_information=float(np.mean([self.information(away) for away in aways])),
            overlap=float(overlap),
            foreground_overlap=float(2 * (here & there).sum() / max(1, here.sum() + there.sum())),
            disagreement_mm=disagreement,
            moved_mm=moved(best, identity, self.points),
            seconds=seconds,
        )


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
    """The optimum that is reached from `start` through `levels`, on one thread.

    A level whose first steps lose a good place is done again with small ones, or not at all.
    """
    mask = Image(scene.mask, scene.small.affine)
    for level in levels:
        least = LOST * scene.information(start)
        for first in (level.first, level.first / 8):
            end = climb(*scene.level(level), mask, start, replace(level, first=first))
            if scene.information(end) >= least:
                start = end
                break
    return start


def _clipped(image: Image) -> Image:
    """Without the brightest 0.5 % of the foreground, which would empty the histogram's bins."""
    bright = image.data[image.data > otsu_threshold(image.data)]
    top = np.percentile(bright, 99.5) if bright.size else image.data.max()
    return Image(np.minimum(image.data, np.float32(top)), image.affine)


def image_similarity(fixed: Image, moving: Image, matrix: Affine) -> float:
    """Share of the local variance within the head that either scan explains of the other, 0 to 1.

    `matrix` maps fixed world RAS mm to moving world RAS mm. The moving scan is averaged over the
    voxels of the fixed one, so that thick slices meet thick slices. Local: squared correlation in
    Gaussian windows of 3 mm, along the axes whose voxels are finer than that. 0 without overlap.
    """
    scan = reduced(fixed, SPACING)
    small_voxels = reduced(moving, SPACING)
    other = resample_averaged(
        small_voxels.data,
        small_voxels.affine,
        Grid(scan.shape, matrix @ scan.affine),
        SPACING,
        outside=float("nan"),
    )
    # In the head and away from its outline; a voxel of air all around, where the field of view ends
    # within the head as well.
    small = reduced(fixed, 3.0)
    air = np.pad(~foreground(small), 1, constant_values=True)
    deep = ~near(air, small.affine, OUTLINE_RIM)[1:-1, 1:-1, 1:-1]
    inner = resample(deep, small.affine, scan.grid, order=0) & np.isfinite(other)
    if not inner.any():
        return 0.0
    here, there = _bright(scan.data, inner), _bright(np.nan_to_num(other), inner)
    # A window must span voxels, or nothing varies within it.
    window = max(WINDOW, LEAST_VOXELS * min(scan.spacing))
    widths = [window / edge if edge < window else 0.0 for edge in scan.spacing]
    return _explained(here, there, inner, widths)


def mirrored(image: Image) -> Image:
    """`image` with its head mirrored left to right, about where it stood: another person's scan."""
    small = reduced(image, 3.0)
    head = np.argwhere(foreground(small))
    middle = small.affine.apply(head).mean(axis=0) if len(head) else small.grid.centre
    flip = Affine.from_parts(np.diag([-1.0, 1.0, 1.0]), 1.0, (2 * middle[0], 0.0, 0.0))
    return Image(image.data, flip @ image.affine)


def _bright(data: NDArray[np.float32], inner: NDArray[np.bool_]) -> Float:
    """`data` in units of its bright tissue, without what is much brighter."""
    values = data[inner]
    top = np.percentile(values[values >= otsu_threshold(values)], 90)
    return np.clip(data / (top if top > 0 else 1.0), -0.5, 1.5).astype(np.float32)


def _explained(first: Float, second: Float, inner: NDArray[np.bool_], widths: list[float]) -> float:
    """Mean squared correlation in Gaussian windows of `widths` voxels, over `inner`."""
    from scipy import ndimage

    weights = inner.astype(np.float32)
    share = np.maximum(ndimage.gaussian_filter(weights, widths, truncate=3), 1e-6)

    def mean(values: Float) -> Float:
        filtered = ndimage.gaussian_filter(values * weights, widths, truncate=3)
        return np.asarray(filtered / share, np.float32)

    middle, other = mean(first), mean(second)
    spread = np.maximum(mean(first * first) - middle**2, 0) + FLAT**2
    wide = np.maximum(mean(second * second) - other**2, 0) + FLAT**2
    shared = mean(first * second) - middle * other
    return float((shared**2 / (spread * wide))[inner].mean())
