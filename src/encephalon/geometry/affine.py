# SPDX-License-Identifier: Apache-2.0
"""Where a voxel is: affines from voxel i, j, k to RAS+ millimetres, grids and boxes of voxels.

Axes are swapped and flipped in views, never by copies or interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import GeometryError

Matrix = NDArray[np.float64]

# Smallest voxel edge taken for real, mm: 10 nm, below any light or serial electron microscope.
SMALLEST_SPACING = 1e-5
# Largest, mm: no scanner has voxels of a metre, but micrometres taken for millimetres do.
LARGEST_SPACING = 1000.0
# |det| of the unit direction columns below which two axes all but coincide.
SMALLEST_DETERMINANT = 1e-2
# Deviation of a direction cosine that rounding explains: NIfTI quaternions are float32, and
# their fourth component is derived, which costs half of the digits.
ROUNDING = 2e-3

_POSITIVE, _NEGATIVE = "RAS", "LPI"

_AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
Data = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Affine:
    """A map from voxel indices (i, j, k) to world coordinates (R, A, S) in millimetres.

    `matrix` is (4, 4) float64, read-only; voxel centres sit at whole indices.
    """

    matrix: Matrix

    def __post_init__(self) -> None:
        """Take a read-only copy; raise GeometryError unless the shape is (4, 4)."""
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise GeometryError(f"an affine must be 4 x 4, but its shape is {matrix.shape}.")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def from_spacing(cls, spacing: ArrayLike, origin: ArrayLike = (0.0, 0.0, 0.0)) -> Affine:
        """The RAS affine with voxel edges `spacing` (mm) and voxel 0, 0, 0 at `origin` (mm)."""
        return cls.from_parts(np.eye(3), spacing, origin)

    @classmethod
    def from_parts(cls, direction: ArrayLike, spacing: ArrayLike, origin: ArrayLike) -> Affine:
        """The affine with unit axis columns `direction` (3, 3), `spacing` and `origin` in mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(direction) * np.broadcast_to(np.asarray(spacing, float), 3)
        matrix[:3, 3] = np.asarray(origin, float)
        return cls(matrix)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along i, j and k, mm."""
        i, j, k = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def origin(self) -> Matrix:
        """World position of the centre of voxel 0, 0, 0: (3,) mm."""
        return self.matrix[:3, 3]

    @property
    def direction(self) -> Matrix:
        """Unit vectors of the voxel axes as columns, (3, 3)."""
        return np.asarray(self.matrix[:3, :3] / np.asarray(self.spacing))

    @property
    def codes(self) -> str:
        """The anatomical direction nearest to each voxel axis, for example 'RAS' or 'LIA'."""
        order, signs = nearest_axes(self.direction)
        names = zip(order, signs, strict=True)
        return "".join((_POSITIVE if s > 0 else _NEGATIVE)[axis] for axis, s in names)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel, mm³."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])))

    @property
    def inverse(self) -> Affine:
        """The map from world millimetres to voxel indices."""
        return Affine(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64))

    def __matmul__(self, other: Affine) -> Affine:
        """The composition: first `other`, then this map."""
        return Affine(self.matrix @ other.matrix)

    def apply(self, points: ArrayLike) -> Matrix:
        """Map points (..., 3), voxel indices for an image affine, to (..., 3) mm."""
        points = np.asarray(points, dtype=np.float64)
        return np.asarray(points @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    def shifted(self, offset: ArrayLike) -> Affine:
        """The affine of the sub-array that begins at voxel `offset` (3,)."""
        matrix = self.matrix.copy()
        matrix[:3, 3] = self.apply(np.asarray(offset, dtype=np.float64))
        return Affine(matrix)

    def is_close(self, other: Affine, tolerance: float = 1e-3) -> bool:
        """Whether both put voxels within `tolerance` mm (per voxel step) at the same place."""
        return bool(np.allclose(self.matrix, other.matrix, rtol=0.0, atol=tolerance))

    def __eq__(self, other: object) -> bool:
        """Exact equality of the matrices."""
        return isinstance(other, Affine) and bool(np.array_equal(self.matrix, other.matrix))

    def __hash__(self) -> int:
        """Agree with equality (adding 0.0 makes -0.0 and 0.0 the same bytes)."""
        return hash((self.matrix + 0.0).tobytes())


@dataclass(frozen=True)
class Grid:
    """Voxels in the world: `shape` voxels along i, j, k, placed by `affine`."""

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        """Raise GeometryError unless there are three positive sizes."""
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"a grid needs three positive sizes, but its shape is {shape}.")
        object.__setattr__(self, "shape", shape)

    @property
    def centre(self) -> Matrix:
        """World position of the middle of the volume, (3,) mm."""
        return self.affine.apply((np.asarray(self.shape) - 1) / 2)

    @property
    def extent(self) -> tuple[float, float, float]:
        """Edge lengths of the volume along i, j, k, mm (outer voxel faces included)."""
        i, j, k = (n * s for n, s in zip(self.shape, self.affine.spacing, strict=True))
        return i, j, k

    @property
    def codes(self) -> str:
        """The anatomical direction nearest to each voxel axis."""
        return self.affine.codes

    @property
    def corners(self) -> Matrix:
        """World positions of the centres of the eight outermost voxels, (8, 3) mm."""
        return self.affine.apply(corners([(0, n - 1) for n in self.shape]))


def corners(ends: ArrayLike) -> Matrix:
    """The eight corners (8, 3) of the box between the two `ends` (3, 2) of each axis."""
    first, second, third = np.asarray(ends, dtype=np.float64)
    return np.stack(np.meshgrid(first, second, third, indexing="ij"), axis=-1).reshape(-1, 3)


def nearest_axes(direction: ArrayLike) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The signed permutation nearest to `direction` (3, 3), unit columns.

    Returns, for each column, the row (world axis) it follows and the sign (+1 or -1). Of the six
    assignments the one with the largest summed |cosine| wins, so no axis is ever used twice.
    """
    cosines = np.asarray(direction, dtype=np.float64)
    columns = range(3)
    best = max(permutations(columns), key=lambda p: sum(abs(cosines[p[c], c]) for c in columns))
    signs = tuple(1 if cosines[best[c], c] >= 0 else -1 for c in columns)
    return (best[0], best[1], best[2]), (signs[0], signs[1], signs[2])


def checked(matrix: Any, source: object = "array") -> tuple[Affine, list[str]]:
    """A usable affine from `matrix` (4, 4), and a sentence for each thing worth knowing of it.

    Axes that are not at right angles stay as they are: see `encephalon.transforms.conform`.

    Raises GeometryError, naming `source`, when the matrix is not finite, has an edge of zero or
    absurd length or is singular.
    """
    try:
        values = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise GeometryError(
            f"{source}: the affine must be 4 x 4 finite numbers, but it is {str(matrix)[:60]!r}."
        ) from error
    if values.shape != (4, 4) or not np.isfinite(values).all():
        found = "not finite" if values.shape == (4, 4) else f"of shape {values.shape}"
        raise GeometryError(
            f"{source}: the affine must be 4 x 4 finite numbers, but it is {found}."
        )
    values[3] = (0.0, 0.0, 0.0, 1.0)
    affine = Affine(values)
    size = " x ".join(f"{s:g}" for s in affine.spacing)
    if min(affine.spacing) < SMALLEST_SPACING:
        raise GeometryError(
            f"{source}: the voxel size must be positive, but it is {size} mm; fix the header."
        )
    if max(affine.spacing) > LARGEST_SPACING:
        raise GeometryError(
            f"{source}: a voxel of {size} mm is too large to be true; fix the units."
        )
    if abs(np.linalg.det(affine.direction)) < SMALLEST_DETERMINANT:
        raise GeometryError(
            f"{source}: the affine is singular (two voxel axes point the same way), so no voxel "
            "has a place in the world; fix the header's sform or qform."
        )
    if not is_sheared(affine):
        return affine, []
    degrees = np.degrees(np.arcsin(min(_lean(affine), 1.0)))
    return affine, [
        f"{source}: the voxel axes are {degrees:.1f}° away from right angles, as with a tilted "
        "gantry: the work is done on straight axes, and masks are put back onto the scan's own."
    ]


def is_sheared(affine: Affine) -> bool:
    """Whether the voxel axes are further from right angles than rounding explains."""
    return _lean(affine) > ROUNDING


def _lean(affine: Affine) -> float:
    """The largest cosine between two voxel axes: 0 at right angles."""
    direction = affine.direction
    return float(np.abs(direction.T @ direction - np.eye(3)).max())


def orient(data: Data, affine: Affine, codes: str = "RAS") -> tuple[Data, Affine]:
    """A view of `data` (I, J, K, ...) whose voxel axes follow `codes`, and its affine.

    Each voxel keeps its place in the world; oblique axes stay oblique. Raises GeometryError
    when `codes` does not name each of R/L, A/P and S/I once.
    """
    axes = [_AXES.get(letter, (-1, 0)) for letter in codes.upper()]
    if sorted(axis for axis, _ in axes) != [0, 1, 2]:
        raise GeometryError(
            f"orientation codes must name each of R/L, A/P and S/I once, for example 'RAS', "
            f"but they are {codes!r}."
        )
    frame = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(axes):
        frame[axis, column] = sign
    return follow(data, affine, frame)


def follow(data: Data, affine: Affine, frame: NDArray[np.float64]) -> tuple[Data, Affine]:
    """A view of `data` (I, J, K, ...) whose axes run as near as possible along `frame` (3, 3)."""
    if data.ndim < 3:
        raise GeometryError(
            f"an array to orient needs 3 voxel axes, but its shape is {data.shape}."
        )
    rows, signs = nearest_axes(frame.T @ affine.direction)
    # rows[c] is the output axis that input axis c becomes; the transpose wants the inverse.
    order = [rows.index(axis) for axis in range(3)]
    matrix = np.diag([0.0, 0.0, 0.0, 1.0])
    for axis, old in enumerate(order):
        matrix[old, axis] = signs[old]
        matrix[old, 3] = 0 if signs[old] > 0 else data.shape[old] - 1
    flips = tuple(slice(None, None, signs[old]) for old in order)
    return data.transpose(*order, *range(3, data.ndim))[flips], affine @ Affine(matrix)


def bounding_box(inside: NDArray[Any], margin: int = 0) -> tuple[slice, ...]:
    """The smallest box around what is true in `inside` (I, J, ...): a slice an axis.

    It has `margin` voxels more on every side, as far as there are any. Where nothing is true all
    slices are empty.
    """
    box = []
    for axis, size in enumerate(inside.shape):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        hit = np.flatnonzero(inside.any(axis=others))
        if not hit.size:
            return (slice(0, 0),) * inside.ndim
        box.append(slice(max(0, int(hit[0]) - margin), min(size, int(hit[-1]) + 1 + margin)))
    return tuple(box)
