# SPDX-License-Identifier: Apache-2.0
"""Connectivity of a brain's regions as numbers to learn from: checked, flat, and made comparable.

The connectivity of a person is a symmetric matrix (R, R) of correlations between R regions. Flat it
is its strict upper triangle, row by row: (0, 1), (0, 2) … (0, R-1), (1, 2) …; 360 regions have
64,620 numbers. Other programs may write the lower triangle (nilearn does), which is another order.

Correlations are bounded and matrices of them are no flat space. Fisher's z mends the first, number
by number; the tangent space the second, once it was fitted to the people of the training set alone
(Varoquaux et al. 2010, doi:10.1007/978-3-642-15705-9_25).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import ContentError, UsageError

__all__ = [
    "FISHER_EPSILON",
    "TangentSpace",
    "fisher_z",
    "geometric_mean",
    "matrices_of",
    "require_positive_definite",
    "shares_of_pairs",
    "tangents",
    "vectorise",
]

Values = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]

#: Correlations come no nearer to -1 and 1 (ours): what a float32 tells from 1, and a z of 7.25.
FISHER_EPSILON = 1e-6
# What rounding may do to a correlation that was written with six digits (ours).
_TOLERANCE = 1e-5
# People at a time, so that the float64 matrices of a large cohort need not fit into memory.
_CHUNK = 64
# The mean has been found when the tangents of its people are this near to 0, a region.
_CONVERGED, _STEPS = 1e-8, 200


def vectorise(matrices: Sequence[Any] | NDArray[Any], people: Sequence[str]) -> Floats:
    """The strict upper triangles (N, R(R-1)/2) of correlations (N, R, R), row by row.

    Values keep their precision, float32 or float64. `matrices` are read one after the other, so
    they may be mapped from a file. The diagonal is 1, or 0 where it was blanked.
    Raises ContentError, with the person, for a matrix that is not square or not as large as the
    first one, that is not finite or symmetric, or that holds no correlations; UsageError unless
    there is one name a matrix.
    """
    if len(matrices) != len(people):
        raise UsageError(f"There are {len(people)} names for {len(matrices)} matrices: one each.")
    if not len(people):
        return np.zeros((0, 0))
    regions = len(np.atleast_1d(np.asarray(matrices[0])))
    upper = np.triu_indices(regions, 1)
    dtype = np.result_type(np.asarray(matrices[0]).dtype, np.float32)
    vectors: Floats = np.empty((len(people), len(upper[0])), dtype=dtype)
    for place, person in enumerate(people):
        vectors[place] = _checked(np.asarray(matrices[place]), person, regions)[upper]
    return vectors


def matrices_of(
    vectors: ArrayLike, triangle: Literal["upper", "lower"] = "upper", diagonal: float = 1.0
) -> Floats:
    """The symmetric matrices (N, R, R) of strict triangles (N, R(R-1)/2), row by row.

    The upper triangle is that of `vectorise`, the lower one that of nilearn's `sym_matrix_to_vec`.
    Raises ContentError when no number of regions has so many pairs. Triangles with their diagonal
    have as many numbers as one region more has pairs, so leave it out.
    """
    flat = np.asarray(vectors)
    regions = _regions(flat)
    first, second = (np.triu_indices if triangle == "upper" else np.tril_indices)(
        regions, 1 if triangle == "upper" else -1
    )
    matrices = np.full((len(flat), regions, regions), diagonal, np.result_type(flat, np.float32))
    matrices[:, first, second] = matrices[:, second, first] = flat
    return matrices


def fisher_z(correlations: ArrayLike, epsilon: float = FISHER_EPSILON) -> Floats:
    """The inverse hyperbolic tangent of correlations of any shape, clipped to ±(1 - epsilon).

    Without the clip a correlation of 1 would be infinite (Fisher 1915, doi:10.2307/2331838).
    Raises ContentError for values that are no correlations.
    """
    known = np.asarray(correlations)
    known = known.astype(np.result_type(known, np.float32), copy=False)
    if not (np.abs(known) <= 1 + _TOLERANCE).all():
        raise ContentError(
            "Fisher's z is of correlations from -1 to 1, but other values came: it may have been "
            "taken already."
        )
    return np.asarray(np.arctanh(np.clip(known, epsilon - 1, 1 - epsilon)))


class TangentSpace:
    """Connectivity as its difference from the mean of the training set; fits scikit-learn.

    `fit` finds the geometric mean of the matrices it is given, which must be those of the training
    set alone; `transform` gives the tangents of any. Straight distances between tangents stand for
    distances between matrices, which makes them fit for linear models and networks.

    shrinkage  0 to 1, what is taken from every correlation between regions to make matrices of
               short scans invertible: C becomes (1 - shrinkage) C + shrinkage I
    reference  the geometric mean (R, R) once fitted
    """

    def __init__(self, shrinkage: float = 0.0) -> None:
        if not 0 <= shrinkage <= 1:
            raise UsageError(f"A shrinkage lies between 0 and 1, but it is {shrinkage}.")
        self.shrinkage = shrinkage
        self.reference: Values | None = None

    def fit(
        self,
        connectivity: ArrayLike,
        y: object = None,  # noqa: ARG002  scikit-learn hands the target on to every step
        *,
        people: Sequence[str] | None = None,
    ) -> TangentSpace:
        """Learn the reference of triangles (N, R(R-1)/2) or matrices (N, R, R), not of `y`.

        Raises what `geometric_mean` raises.
        """
        self.reference = geometric_mean(connectivity, people, self.shrinkage)
        return self

    def transform(self, connectivity: ArrayLike, *, people: Sequence[str] | None = None) -> Values:
        """The tangents (N, R(R+1)/2) of triangles (N, R(R-1)/2) or matrices (N, R, R).

        Raises what `tangents` raises, and UsageError before `fit`.
        """
        return tangents(connectivity, self._fitted(), people, self.shrinkage)

    def fit_transform(
        self, connectivity: ArrayLike, y: object = None, *, people: Sequence[str] | None = None
    ) -> Values:
        """Fit to the connectivity and give its tangents."""
        return self.fit(connectivity, y, people=people).transform(connectivity, people=people)

    def arrays(self) -> dict[str, Values]:
        """What was fitted as plain arrays: reference (R, R) and shrinkage ()."""
        return {"reference": self._fitted(), "shrinkage": np.asarray(self.shrinkage)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TangentSpace:
        """The tangent space that `arrays` came from."""
        space = cls(float(arrays["shrinkage"]))
        space.reference = np.asarray(arrays["reference"], dtype=np.float64)
        return space

    def _fitted(self) -> Values:
        if self.reference is None:
            raise UsageError("A tangent space has no reference yet: fit it to the training set.")
        return self.reference


def geometric_mean(
    connectivity: ArrayLike, people: Sequence[str] | None = None, shrinkage: float = 0.0
) -> Values:
    """The geometric (Karcher) mean (R, R) of positive definite matrices (N, R, R).

    Triangles (N, R(R-1)/2) are taken for correlations, and the shrinkage is that of `TangentSpace`.
    The mean is where the tangents cancel out, found by steps along their mean that are halved where
    they lead away (Fletcher & Joshi 2007, doi:10.1016/j.sigpro.2005.12.018).
    Raises ContentError, with the person or else the row, for a matrix that is not positive definite
    or for matrices too far apart to have their mean found; UsageError for no matrix.
    """
    known = np.asarray(connectivity)
    if not len(known):
        raise UsageError("A geometric mean needs matrices, but there are none.")
    parts = [_positive(part, start, people).sum(axis=0) for start, part in _parts(known, shrinkage)]
    reference: Values = np.sum(parts, axis=0) / len(known)
    step, distance = 1.0, np.inf
    for _ in range(_STEPS):
        whitening = _of_eigenvalues(reference, _inverse_root)
        logs = [
            _of_eigenvalues(_symmetric(whitening @ part @ whitening), np.log).sum(axis=0)
            for _, part in _parts(known, shrinkage)
        ]
        slope: Values = np.sum(logs, axis=0) / len(known)
        size = float(np.linalg.norm(slope)) / len(reference)
        if size < _CONVERGED:
            return reference
        step, distance = (step / 2 if size > distance else step), size
        root = _of_eigenvalues(reference, np.sqrt)
        reference = _symmetric(root @ _of_eigenvalues(step * slope, np.exp) @ root)
    raise ContentError(
        f"No geometric mean of the {len(known)} matrices was found in {_STEPS} steps, because "
        "some are nearly singular: shrink them more."
    )


def require_positive_definite(
    connectivity: ArrayLike, people: Sequence[str] | None = None, shrinkage: float = 0.0
) -> None:
    """Raise ContentError, with the person or else the row, unless there is a tangent of everybody.

    Triangles and shrinkage are as for `geometric_mean`.
    """
    for start, part in _parts(np.asarray(connectivity), shrinkage):
        _positive(part, start, people)


def tangents(
    connectivity: ArrayLike,
    reference: Values,
    people: Sequence[str] | None = None,
    shrinkage: float = 0.0,
) -> Values:
    """The tangents (N, R(R+1)/2) of positive definite matrices (N, R, R) at a reference (R, R).

    A tangent is the logarithm of the matrix seen from the reference; that of the reference is 0.
    Triangles and shrinkage are as for `geometric_mean`. A tangent is flat as its upper triangle
    with the diagonal, row by row. What stands for two elements is multiplied by the root of 2, so
    its length is the distance of the matrix from the reference.
    Raises ContentError, with the person or else the row, for a matrix that is not positive definite
    or not of as many regions.
    """
    first, second = np.triu_indices(len(reference))
    weight = np.where(first == second, 1.0, np.sqrt(2.0))
    known = np.asarray(connectivity)
    flat = np.empty((len(known), len(first)))
    whitening = _of_eigenvalues(reference, _inverse_root)
    for start, part in _parts(known, shrinkage):
        if part.shape[1:] != reference.shape:
            raise ContentError(
                f"The tangent space is of {len(reference)} regions, but {_who(people, start)} has "
                f"{part.shape[1]}: use the regions of the training set."
            )
        seen = whitening @ _positive(part, start, people) @ whitening
        logs = _of_eigenvalues(_symmetric(seen), np.log)
        flat[start : start + len(part)] = logs[:, first, second] * weight
    return flat


def shares_of_pairs(gradient: ArrayLike, change: ArrayLike, reference: Values) -> Values:
    """What pairs of regions have of the change of a function of tangents, symmetric (R, R).

    gradient   of that function (R(R+1)/2,), in the order of `tangents`
    change     of the tangent (R(R+1)/2,)
    reference  (R, R) that the tangents are seen from

    A tangent mixes regions, since it is whitened by the reference C: the change T of a tangent is
    that of the connectivity X = C^½ T C^½, and a gradient G is W = C^-½ G C^-½ by the same rule, so
    that the sum of all W X is that of all G T. A pair has its two elements at both its places, a
    region its own on the diagonal: the upper triangle with the diagonal sums to the whole.
    """
    first, second = np.triu_indices(len(reference))
    root, inverse = (_of_eigenvalues(reference, one) for one in (np.sqrt, _inverse_root))
    weight = np.where(first == second, 1.0, np.sqrt(0.5))
    known = []
    for flat, around in ((change, root), (gradient, inverse)):
        matrix = np.zeros_like(reference)
        matrix[first, second] = matrix[second, first] = np.asarray(flat) * weight
        known.append(around @ matrix @ around)
    shares = 2 * known[0] * known[1]
    shares[np.diag_indices_from(shares)] /= 2
    return np.asarray(shares)


def _parts(connectivity: NDArray[Any], shrinkage: float) -> Iterator[tuple[int, Values]]:
    """Chunks of shrunk matrices, with the row at which each begins."""
    for start in range(0, len(connectivity), _CHUNK):
        part = np.asarray(connectivity[start : start + _CHUNK], dtype=np.float64)
        part = part if part.ndim == 3 else matrices_of(part).astype(np.float64)
        yield start, (1 - shrinkage) * part + shrinkage * np.eye(part.shape[1])


def _positive(part: Values, start: int, people: Sequence[str] | None) -> Values:
    """The matrices (N, R, R) of the rows from `start`; raises unless all are positive definite."""
    if not np.isfinite(part).all():
        place = int(np.argmin(np.isfinite(part).all(axis=(1, 2))))
        raise ContentError(
            f"The connectivity of {_who(people, start + place)} has values that are not finite: "
            "leave out regions without signal."
        )
    values = np.linalg.eigvalsh(part)
    # Below this an eigenvalue is what rounding made of 0.
    flat = values[:, 0] <= values[:, -1] * part.shape[1] * np.finfo(np.float64).eps
    if flat.any():
        place = int(np.argmax(flat))
        raise ContentError(
            f"The connectivity of {_who(people, start + place)} is not positive definite (its "
            f"smallest eigenvalue is {values[place, 0]:.2g}), as where a scan has fewer points in "
            "time than regions: shrink it, or look whether it is the lower triangle."
        )
    return part


def _inverse_root(values: Values) -> Values:
    return np.asarray(1 / np.sqrt(values))


def _of_eigenvalues(matrices: Values, function: Callable[[Values], Values]) -> Values:
    """A function of symmetric matrices (..., R, R), such as their logarithm."""
    values, vectors = np.linalg.eigh(matrices)
    return np.asarray((vectors * function(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def _symmetric(matrices: Values) -> Values:
    """Without the asymmetry that rounding leaves in a product."""
    return np.asarray((matrices + np.swapaxes(matrices, -1, -2)) / 2)


def _who(people: Sequence[str] | None, row: int) -> str:
    return (
        people[row] if people is not None and row < len(people) else f"row {row}, counted from 0,"
    )


def _regions(flat: NDArray[Any]) -> int:
    """How many regions have as many pairs as there are columns."""
    pairs = flat.shape[-1] if flat.ndim == 2 else -1
    regions = (1 + isqrt(max(0, 1 + 8 * pairs))) // 2
    if pairs < 1 or regions * (regions - 1) // 2 != pairs:
        raise ContentError(
            "Flat connectivity is one row a person of the R(R-1)/2 pairs of R regions, but the "
            f"shape is {flat.shape}: it may hold other columns."
        )
    return regions


def _checked(matrix: NDArray[Any], person: str, regions: int) -> NDArray[Any]:
    """The correlations (R, R) of a person; raises ContentError for anything else."""

    def refuse(fault: str) -> ContentError:
        return ContentError(f"The connectivity of {person} {fault}.")

    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise refuse(f"must be a square matrix, but its shape is {matrix.shape}")
    if len(matrix) != regions:
        raise refuse(f"has {len(matrix)} regions, but that of the first person has {regions}")
    if not np.isfinite(matrix).all():
        row = int(np.argmin(np.isfinite(matrix).all(axis=1)))
        raise refuse(
            f"is not finite in region {row}, counted from 0: it may have no signal, or this is "
            "Fisher's z, whose diagonal is infinite"
        )
    gap = np.abs(matrix - matrix.T)
    if gap.max(initial=0) > _TOLERANCE:
        row, column = (int(each) for each in np.unravel_index(np.argmax(gap), gap.shape))
        raise refuse(
            f"is not symmetric: regions {row} and {column}, counted from 0, have "
            f"{matrix[row, column]:.6g} above and {matrix[column, row]:.6g} below the diagonal"
        )
    diagonal = np.diagonal(matrix)
    if min(np.abs(diagonal - each).max(initial=0) for each in (1, 0)) > _TOLERANCE:
        raise refuse(
            "must have a diagonal of 1, or of 0 throughout, but it reaches from "
            f"{diagonal.min():.6g} to {diagonal.max():.6g}: give correlations, not covariances"
        )
    if np.abs(matrix).max(initial=0) > 1 + _TOLERANCE:
        raise refuse(
            f"reaches {np.abs(matrix).max():.6g}, which no correlation does: if this is Fisher's "
            "z, give its hyperbolic tangent"
        )
    return matrix
