# SPDX-License-Identifier: Apache-2.0
"""What methods are put to the test with: problems whose truth is known, all made from the table.

A T2w that is isotropic is its own truth: its thick slices are simulated for every axis and
thickness. One that was acquired with thick slices needs an isotropic reference. What goes wrong
with scans is made on purpose: a lesion in one of two, a T1w in the wrong place or of another head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.evaluation.cases import Case
from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.metrics.image_quality import foreground
from encephalon.studies.isotropic.quality import Guide, guide_state
from encephalon.studies.isotropic.reconstruction.problem import Problem, plane_across
from encephalon.studies.isotropic.settings import (
    CONDITIONS,
    NORMAL,
    EvaluationOptions,
    PredictOptions,
)
from encephalon.transforms.conform import straightened

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample

__all__ = [
    "REFERENCE",
    "CaseSimulator",
    "CaseVariant",
    "Lesion",
    "SimulatedCase",
    "case_variants",
    "centred",
    "draw_lesion",
    "misaligned",
    "mismatched_subject",
    "with_lesion",
]

Float = NDArray[np.float32]

WRONG, MISALIGNED, MISSING, LESION = (
    CONDITIONS[each] for each in ("wrong", "misaligned", "missing", "lesion")
)
#: The column with an isotropic truth, for a T2w that was acquired with thick slices.
REFERENCE = "reference"
#: Longest over shortest voxel edge up to which a scan counts as its own truth.
ISOTROPIC = 1.3
#: Voxels that a slice must be thick for there to be something to reconstruct.
THINNEST = 1.5
#: How far a T1w is moved and turned: what a registration that looks right may miss.
SHIFT_MM, TURN_DEGREES = 2.0, 2.0
#: Radius of a lesion and width of its edge, mm: a large plaque or a small metastasis.
RADIUS_MM, EDGE_MM = 5.0, 0.8
# Voxels between those that a lesion's place is drawn from.
_STRIDE = 3


@dataclass(frozen=True)
class CaseVariant:
    """One way to put a case to the test: how its scan is cut, and what goes wrong.

    `axis` is the plane of the slices and `thickness` theirs in mm; both are empty for a scan that
    was acquired with thick slices.
    """

    case: Case
    axis: str = ""
    thickness: float = 0.0
    condition: str = NORMAL

    @property
    def sample(self) -> Sample:
        """The scans of the case."""
        return self.case.sample

    @property
    def name(self) -> str:
        """What it is called, also as a file."""
        cut = f"{self.axis}-{self.thickness:g}mm" if self.axis else "acquired"
        return f"{self.sample.id}_{cut}_{self.condition.replace(' ', '-')}"


@dataclass(frozen=True)
class SimulatedCase:
    """A problem and the truth (I, J, K) on `grid`, which is the problem's or the reference's.

    axis, thickness  the plane of the slices and their thickness, mm
    scale            gain and level that bring the scan's intensities to those of the truth
    lesion           what was added to the T2w alone, or None
    guide            what became of the T1w
    """

    variant: CaseVariant
    problem: Problem
    truth: Float = field(repr=False)
    grid: Grid
    axis: str
    thickness: float
    scale: tuple[float, float] = (1.0, 0.0)
    lesion: Lesion | None = None
    guide: Guide = "absent"

    @property
    def is_shared(self) -> bool:
        """Whether truth and answer lie on one grid, so that nothing must be resampled."""
        mine, other = self.grid, self.problem.grid
        return mine.shape == other.shape and mine.affine.is_close(other.affine)

    def compared(self, volume: Float, *, difference: bool = False) -> Float:
        """A volume in work order on the grid and in the units of the truth.

        A `difference`, such as a deviation, has a gain and no level.
        """
        gain, level = self.scale
        if not self.is_shared:
            volume = resample(volume, self.problem.grid.affine, self.grid, order=3)
        if self.scale == (1.0, 0.0):
            return volume
        return np.asarray(gain * volume + (0.0 if difference else level), np.float32)


def mismatched_subject(case: Case, cases: Sequence[Case]) -> Case | None:
    """The next case of another person with a T1w; None where there is none."""
    start = [one.name for one in cases].index(case.name)
    others = [*cases[start + 1 :], *cases[:start]]
    fits = (one for one in others if one.group != case.group and "t1w" in one.sample.inputs)
    return next(fits, None)


def case_variants(cases: Sequence[Case], options: EvaluationOptions) -> list[CaseVariant]:
    """All variants of every case, case by case.

    One without a T1w, or without another person's, has no variants about that; an acquired scan
    has only those that nothing must be simulated for.
    """
    found: list[CaseVariant] = []
    for case in cases:
        able = {NORMAL, LESION}
        if "t1w" in case.sample.inputs:
            able |= {MISSING, MISALIGNED}
            able |= {WRONG} if mismatched_subject(case, cases) else set()
        cuts: Sequence[tuple[str, float]] = [*product(options.axes, options.thicknesses)]
        if case.reference is not None:
            able, cuts = able & {NORMAL, MISSING}, [("", 0.0)]
        for condition in (one for one in options.conditions if one in able):
            found += [CaseVariant(case, *cut, condition) for cut in cuts]
    return found


class CaseSimulator:
    """Makes the variants of a case; its scans are read once, when the first one is asked for."""

    def __init__(
        self, case: Case, cases: Sequence[Case], options: EvaluationOptions, asked: PredictOptions
    ) -> None:
        self.case, self._cases = case, cases
        self._options, self._asked = options, asked
        # Of the id, so that a case is made worse in one way whatever stands above it.
        self._seed = crc32(f"{options.seed} {case.sample.id}".encode())

    def make(self, variant: CaseVariant) -> SimulatedCase:
        """The problem of a variant of this case, with its truth.

        Raises InputError for files that cannot be used, and ContentError for a T2w that is neither
        isotropic nor has a reference, or slices that are too thin for it.
        """
        self.case.sample.require_faultless()
        return self._acquired(variant) if self.case.reference else self._simulated(variant)

    def _simulated(self, variant: CaseVariant) -> SimulatedCase:
        from encephalon.studies.isotropic.acquisition.inputs import with_t1w
        from encephalon.studies.isotropic.simulation import (
            SliceSettings,
            simulate_problem,
            simulate_slices,
        )

        scan, guide = self._scans
        edge = min(scan.spacing)
        if max(scan.spacing) > ISOTROPIC * edge:
            size = " x ".join(f"{each:g}" for each in scan.spacing)
            raise ContentError(
                f"{scan.name}: a T2w is its own truth when its voxels are isotropic, but they are "
                f"{size} mm: give its isotropic truth in the column 'reference'."
            )
        if variant.thickness < THINNEST * edge:
            raise ContentError(
                f"{scan.name}: slices of {variant.thickness:g} mm are hardly thicker than its "
                f"voxels of {edge:g} mm: leave them out of the option 'thicknesses'."
            )
        lesion = draw_lesion(scan, self._seed) if variant.condition == LESION else None
        options = self._options
        profile = options.slice_profile(variant.thickness)
        scan = with_lesion(scan, lesion) if lesion else scan
        guide = self._guide(variant, scan, guide)
        cut = SliceSettings(
            variant.axis, variant.thickness, options.gap, profile, options.noise, self._seed
        )
        problem, truth = simulate_problem(scan, guide if options.bare else None, cut)
        state: Guide = "absent" if problem.guide is None else "used"
        if guide is not None and not options.bare:
            thick, mode = simulate_slices(scan, cut), self._asked.registration
            problem, registration = with_t1w(problem, guide, thick, mode)
            state = guide_state(registration.trusted)
        return SimulatedCase(
            variant, problem, truth, problem.grid, variant.axis, variant.thickness,
            lesion=lesion, guide=state,
        )  # fmt: skip

    def _guide(self, variant: CaseVariant, scan: Image, guide: Image | None) -> Image | None:
        if variant.condition == MISSING:
            return None
        if variant.condition == MISALIGNED and guide is not None:
            return misaligned(guide, self._seed)
        if variant.condition == WRONG:
            other = mismatched_subject(self.case, self._cases)
            return centred(_straight(other.sample.file("t1w")), scan) if other else None
        return guide

    def _acquired(self, variant: CaseVariant) -> SimulatedCase:
        from encephalon.studies.isotropic.acquisition.inputs import make_problem, read_case

        assert self.case.reference is not None
        reference = _straight(self.case.reference)
        sample = self.case.sample
        if variant.condition == MISSING:
            inputs = {role: path for role, path in sample.inputs.items() if role != "t1w"}
            sample = replace(sample, inputs=inputs)
        problem, registration = make_problem(read_case(sample, self._asked), self._asked)
        truth = np.asarray(reference.data, np.float32)
        return SimulatedCase(
            variant,
            problem,
            truth,
            reference.grid,
            plane_across(problem.grid.affine, 2),
            round(problem.stack.operator.thickness, 1),
            _scale(problem, truth, reference.grid),
            guide=guide_state(registration.trusted if registration else None),
        )

    @cached_property
    def _scans(self) -> tuple[Image, Image | None]:
        sample = self.case.sample
        scan = _straight(sample.file("t2w"))
        return scan, _straight(sample.file("t1w")) if "t1w" in sample.inputs else None


def _straight(path: Path) -> Image:
    return straightened(read_image(path))


def _scale(problem: Problem, truth: Float, grid: Grid) -> tuple[float, float]:
    """Gain and level by which the measured slices fit those of the truth best, least squares.

    Two scans of one head differ in both. They are found from the slices, before any method, so
    that no method is favoured; scans that the truth explains nothing of keep their intensities.
    """
    there = resample(np.ones(truth.shape, np.float32), grid.affine, problem.grid) > 0.5
    sliced = problem.stack.operator.slice(resample(truth, grid.affine, problem.grid, order=3))
    inside = problem.stack.operator.slice(there) > 0.99
    measured, known = problem.stack.slices[inside], sliced[inside]
    if measured.size < 2 or not measured.std() > 0:
        return 1.0, 0.0
    gain = float(np.cov(measured, known)[0, 1] / measured.var(ddof=1))
    return (gain, float(known.mean() - gain * measured.mean())) if gain > 0 else (1.0, 0.0)


@dataclass(frozen=True)
class Lesion:
    """A bright ball at a point of the world (R, A, S), mm; `healthy` is the mean without it."""

    centre: tuple[float, float, float]
    healthy: float = 0.0

    def distance(self, grid: Grid) -> NDArray[np.float32]:
        """How far each voxel of a grid (I, J, K) is from the centre, mm."""
        i, j, k = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
        total = np.zeros(grid.shape, np.float32)
        for row, origin, middle in zip(
            grid.affine.matrix[:3, :3], grid.affine.origin, self.centre, strict=True
        ):
            total += (row[0] * i + row[1] * j + (row[2] * k + origin - middle)) ** 2
        return np.sqrt(total)

    def kept(self, image: NDArray[Any], truth: NDArray[Any], grid: Grid) -> float:
        """The share of the lesion that `image` (I, J, K) shows: 0 for healthy, 1 for the truth."""
        ball = self.distance(grid) < RADIUS_MM
        height = float(np.mean(truth[ball])) - self.healthy
        return (float(np.mean(image[ball])) - self.healthy) / height if height else float("nan")


def draw_lesion(image: Image, seed: int) -> Lesion:
    """A place deep in the head: not nearer to the air than half of what is possible.

    Raises ContentError for an image without foreground.
    """
    from scipy.ndimage import distance_transform_edt

    sparse = np.pad(foreground(image.data[(slice(None, None, _STRIDE),) * 3]), 1)
    depth = distance_transform_edt(sparse, sampling=image.spacing)[1:-1, 1:-1, 1:-1]
    if not depth.any():
        raise ContentError(f"{image.name}: there is no head to put a lesion in.")
    places = np.argwhere(depth >= depth.max() / 2)
    place = places[int(np.random.default_rng(seed).integers(len(places)))] * _STRIDE
    x, y, z = image.affine.apply(place)
    centre = (float(x), float(y), float(z))
    ball = Lesion(centre).distance(image.grid) < RADIUS_MM
    return Lesion(centre, float(np.mean(image.data[ball])))


def with_lesion(image: Image, lesion: Lesion) -> Image:
    """The image with the lesion in it, as bright as its 99th percentile of what is above 0."""
    data = np.asarray(image.data, np.float32)
    bright = np.percentile(data[data > 0], 99)
    distance = (lesion.distance(image.grid) - RADIUS_MM) / EDGE_MM
    weight = 1 / (1 + np.exp(np.clip(distance, -30, 30)))
    return replace(image, data=np.asarray(data + weight * (bright - data), np.float32))


def misaligned(image: Image, seed: int) -> Image:
    """The image, its header moved by 2 mm and turned by 2° about its middle, both as drawn."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    axis, direction = (each / np.linalg.norm(each) for each in rng.standard_normal((2, 3)))
    turn = Rotation.from_rotvec(TURN_DEGREES * axis, degrees=True).as_matrix()
    centre = image.grid.centre
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre - turn @ centre + SHIFT_MM * direction
    return replace(image, affine=Affine(matrix) @ image.affine)


def centred(image: Image, target: Image) -> Image:
    """The image, its header moved so that the middle of its volume is that of `target`."""
    matrix = np.eye(4)
    matrix[:3, 3] = target.grid.centre - image.grid.centre
    return replace(image, affine=Affine(matrix) @ image.affine)
