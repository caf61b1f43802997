# SPDX-License-Identifier: Apache-2.0
"""What a thick slice measures, and what its measurement tells of the voxels that it cuts.

A 2-D scan with slices `thickness` mm thick measures, at each in-plane position, weighted means of
the true intensity along the slice axis. `slice_matrix` is that measurement, A (slices × voxels),
for any profile, distance, gap and ratio; `SliceOperator` pairs it with its inverse in the sense of
Gaussian processes: among all lines whose slices are the measured ones, the likeliest one under a
prior of known smoothness (kriging; Cressie 1993). All of it is a small matrix on one axis. The
sensitivity across a slice is a box, a Gaussian, or measured and read from a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import GeometryError, InputError, MissingFileError
from encephalon.io.files import expanded
from encephalon.io.text import read_text

Matrix = NDArray[np.float64]
Float = NDArray[np.float32]
ProfileKind = Literal["box", "gaussian", "measured", "point"]

#: Standard deviations per full width at half maximum of a Gaussian.
SIGMA_PER_FWHM = 1 / (2 * np.sqrt(2 * np.log(2)))
#: Range of the prior, mm: brains vary over about the thickness of the cortex. From 2 to 4 mm the
#: error of the kriged line changes by less than 0.1 dB on real T2w scans.
PRIOR_RANGE = 3.0
#: Variance of the measurement as a share of the prior's: below what any scanner can tell, so that
#: the slices of a kriged line are the measured ones, and enough to keep the matrix regular.
NUGGET = 1e-6
#: More rows than any measurement has; a volume that is given by mistake is longer.
_MOST_ROWS = 100_000


@dataclass(frozen=True)
class SliceProfile:
    """How sensitive a slice is at each distance from its middle.

    kind                  "box": equal over the thickness, as an ideal 2-D pulse; "gaussian": a bell
                          whose full width at half maximum is the thickness, as most real pulses
                          nearly are; "measured": `offsets` and `sensitivity`; "point": the middle
                          alone, which no scanner does, but decimation.
    offsets, sensitivity  Of a measured profile: positions in units of the thickness, rising, at
                          least two, and how sensitive the slice is there, never negative, linear in
                          between and 0 beyond.
    """

    # Recipes are read through pydantic, which finds here that unknown keys are refused.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    kind: ProfileKind = "box"
    offsets: tuple[float, ...] = ()
    sensitivity: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raise GeometryError for a measured profile that says nothing of what is measured."""
        if self.kind != "measured":
            return
        places, values = np.asarray(self.offsets), np.asarray(self.sensitivity)
        regular = len(places) == len(values) >= 2 and bool((np.diff(places) > 0).all())
        regular = regular and bool(np.isfinite([*places, *values]).all())
        if not regular or values.min() < 0 or not np.trapezoid(values, places) > 0:
            raise GeometryError(
                "a measured slice profile needs two or more rising offsets with as many "
                "sensitivities, none below 0 and not all 0: correct it."
            )

    def cumulative(self, offset: ArrayLike, thickness: float) -> Matrix:
        """The share of the sensitivity below `offset` mm from the middle: rises from 0 to 1."""
        place = np.asarray(offset, dtype=np.float64) / thickness
        if self.kind == "box":
            return np.clip(place + 0.5, 0.0, 1.0)
        if self.kind == "gaussian":
            from scipy.special import ndtr

            return np.asarray(ndtr(place / SIGMA_PER_FWHM))
        if self.kind == "point":
            return (place > 0).astype(np.float64)
        # The integral of straight pieces, on a raster fine enough to be read linearly.
        raster = np.linspace(self.offsets[0], self.offsets[-1], 4097)
        height = np.interp(raster, self.offsets, self.sensitivity)
        total = np.concatenate([[0.0], np.cumsum((height[1:] + height[:-1]) / 2)])
        return np.asarray(np.interp(place, raster, total / total[-1]))


def slice_matrix(
    profile: SliceProfile,
    thickness: float,
    middles: ArrayLike,
    voxels: int,
    voxel_size: float,
) -> Matrix:
    """The measurement A (slices, voxels): each row the shares of the voxels in one slice, sum 1.

    `middles` (slices,) are positions in mm along the slice axis, on which voxel v covers
    [v - 1/2, v + 1/2] * `voxel_size`. Sensitivity beyond the last voxel counts as the last voxel's,
    as if the scan went on. Raises GeometryError for sizes that are not positive.
    """
    if not (0 < thickness < np.inf and 0 < voxel_size < np.inf and voxels > 0):
        raise GeometryError(
            f"slices and voxels must have a size, but they are {thickness:g} mm thick and "
            f"{voxels} of {voxel_size:g} mm: correct them."
        )
    places = np.atleast_1d(np.asarray(middles, dtype=np.float64))
    if profile.kind == "point":
        # Linear between the two nearest voxels.
        centres = np.clip(places / voxel_size, 0, voxels - 1)
        return np.clip(1 - np.abs(np.arange(voxels)[None] - centres[:, None]), 0, None)
    edges = (np.arange(1, voxels) - 0.5) * voxel_size
    below = profile.cumulative(edges[None] - places[:, None], thickness)
    ends = np.zeros((len(places), 1)), np.ones((len(places), 1))
    matrix = np.diff(np.concatenate([ends[0], below, ends[1]], axis=1), axis=1)
    matrix[matrix < 1e-9] = 0.0
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def along(matrix: NDArray[Any], data: NDArray[Any]) -> Float:
    """`matrix` (M, N) applied along the last axis of `data` (..., N): (..., M), float32."""
    flat = np.ascontiguousarray(data, dtype=np.float32).reshape(-1, data.shape[-1])
    result: Float = flat @ matrix.astype(np.float32).T
    return result.reshape(*data.shape[:-1], len(matrix))


@dataclass(frozen=True, eq=False)
class SliceOperator:
    """Thick slices from voxels, and back, along the last axis of a volume.

    matrix               What the slices measure, A: (slices, voxels), rows of sum 1.
    spread               The kriging weights, P: (voxels, slices); A P is the identity to within the
                         nugget.
    middles, voxel_size  Where the slices lie, mm, and the size of a voxel, mm, as `slice_matrix`
                         takes them.
    thickness            Of a slice, mm.
    """

    matrix: Matrix
    middles: Matrix
    voxel_size: float
    thickness: float
    spread: Matrix = field(init=False)

    def __post_init__(self) -> None:
        """Make the kriging weights."""
        object.__setattr__(self, "spread", kriging_weights(self.matrix, self.voxel_size))

    @classmethod
    def of(
        cls,
        profile: SliceProfile,
        thickness: float,
        middles: ArrayLike,
        voxels: int,
        voxel_size: float,
    ) -> SliceOperator:
        """The operator of slices at `middles` mm; the arguments are those of `slice_matrix`.

        Of the profile "point" a slice is as thick as a voxel, whatever was left out beside it.
        """
        places = np.atleast_1d(np.asarray(middles, dtype=np.float64))
        matrix = slice_matrix(profile, thickness, places, voxels, voxel_size)
        sensed = voxel_size if profile.kind == "point" else thickness
        return cls(matrix, places, voxel_size, sensed)

    @property
    def distance(self) -> float:
        """Between the middles of neighbouring slices, mm; the thickness where there is one.

        The median, as some are twice as far apart, where a slice is missing.
        """
        return float(np.median(np.diff(self.middles))) if len(self.middles) > 1 else self.thickness

    @property
    def ratio(self) -> float:
        """Voxels from one slice to the next."""
        return self.distance / self.voxel_size

    @property
    def places(self) -> Matrix:
        """Where the centres of the voxels lie, (voxels,) mm, as `middles` says it of the slices."""
        return np.asarray(np.arange(self.matrix.shape[1]) * self.voxel_size)

    @property
    def nearest(self) -> NDArray[np.intp]:
        """For each voxel the slice whose middle is nearest, (voxels,)."""
        return np.asarray(np.abs(self.places[:, None] - self.middles[None]).argmin(axis=1))

    def slice(self, volume: NDArray[Any]) -> Float:
        """What the scanner would measure of `volume` (I, J, K): (I, J, slices)."""
        return along(self.matrix, volume)

    def interpolate(self, slices: NDArray[Any]) -> Float:
        """The likeliest volume (I, J, K) with these `slices` (I, J, slices): the base of all."""
        return along(self.spread, slices)

    def consistent(self, volume: NDArray[Any], slices: NDArray[Any]) -> Float:
        """`volume` (I, J, K), moved smoothly and as little as it takes to have these `slices`."""
        return np.asarray(volume + self.interpolate(slices - self.slice(volume)), np.float32)

    def place(self) -> Matrix:
        """How far each voxel lies from the nearest slice's middle, (voxels,), signed.

        In units of the distance between slices: from -1/2 to 1/2, and beyond them outside the scan.
        """
        return np.asarray((self.places - self.middles[self.nearest]) / self.distance)


def kriging_weights(matrix: Matrix, voxel_size: float, reach: float = PRIOR_RANGE) -> Matrix:
    """P = C Aᵀ (A C Aᵀ + nugget)⁻¹ (voxels, slices), and P keeps a constant what it is.

    C is the Matérn covariance of smoothness 3/2 and range `reach` mm, whose mean is unknown
    (ordinary kriging): without that, a line would fall to 0 where slices are far.
    """
    voxels = matrix.shape[1]
    steps = np.abs(np.subtract.outer(np.arange(voxels), np.arange(voxels))) * voxel_size / reach
    prior = (1 + steps) * np.exp(-steps)
    crossed = prior @ matrix.T
    inverse = np.linalg.inv(matrix @ crossed + NUGGET * np.eye(len(matrix)))
    weights = crossed @ inverse
    share = inverse.sum(axis=0) / inverse.sum()
    return np.asarray(weights + np.outer(1 - weights.sum(axis=1), share))


PROFILES: dict[str, SliceProfile] = {
    "box": SliceProfile("box"),
    "gaussian": SliceProfile("gaussian"),
}


def make_profile(name: str, thickness: float) -> SliceProfile:
    """The profile of that name, or the measured one in the text file of that name.

    `thickness` of the slices, mm, is the unit of a measured profile. Raises MissingFileError for
    what is neither, and what `read_profile` raises.
    """
    if name in PROFILES:
        return PROFILES[name]
    if not expanded(name).is_file():
        known = ", ".join(PROFILES)
        raise MissingFileError(
            f"There is no slice profile {name!r}: give {known}, or a text file of two columns, "
            "offset in mm and sensitivity."
        )
    return read_profile(expanded(name), thickness)


def read_profile(path: Path, thickness: float) -> SliceProfile:
    """The measured profile in a text file, of slices `thickness` mm thick.

    A row holds an offset from the middle of the slice, mm, and the sensitivity there, in any unit,
    parted by blanks, a comma, a semicolon or a tab; offsets rise. Rows that begin with # and one
    row of headings are passed over. Raises UnreadableFileError for what is no text, InputError,
    naming the row, for what is no pair of numbers, and for a profile that measures nothing.
    """
    lines = read_text(path, expected="a slice profile").splitlines()
    pairs: list[tuple[float, float]] = []
    for number, line in enumerate(lines[:_MOST_ROWS], start=1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        try:
            offset, value = map(float, words)
        except ValueError:
            offset = value = math.nan
        if math.isfinite(offset) and math.isfinite(value):
            pairs.append((offset, value))
        elif words and (pairs or number > 1):
            raise InputError(
                f"{path}, row {number}: expected two numbers, offset in mm and sensitivity, but "
                f"got {line.strip()!r}; correct it."
            )
    offsets = tuple(offset / thickness for offset, _ in pairs)
    try:
        return SliceProfile("measured", offsets, tuple(value for _, value in pairs))
    except GeometryError as error:
        raise InputError(f"{path}: {error}") from error
