# SPDX-License-Identifier: Apache-2.0
"""From samples to what they were taken from: one prediction for a vessel, an animal, a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import TableError, UsageError

__all__ = ["Aggregated", "aggregate"]

# Less than any probability that single precision can tell from 0: one sample that is certain must
# not outvote all others.
_SMALLEST = 1e-7


@dataclass(frozen=True)
class Aggregated:
    """Predictions of U units, in the order in which they first came.

    units          (U) names
    probabilities  (U, C)
    truth          (U,) class of each unit
    n              (U,) samples of each unit
    first          (U,) place of each unit's first sample
    """

    units: tuple[str, ...]
    probabilities: NDArray[np.float64] = field(repr=False)
    truth: NDArray[np.int64] = field(repr=False)
    n: NDArray[np.int64] = field(repr=False)
    first: NDArray[np.int64] = field(repr=False)


def aggregate(probabilities: ArrayLike, truth: ArrayLike, units: Sequence[str]) -> Aggregated:
    """Combine the probabilities (N, C) of each unit's samples by the mean of their logits.

    That is the geometric mean of the odds: the mean of log probabilities, normalised. `truth` (N,)
    and `units` (N) say class and unit of each sample. Raises TableError for a unit with two true
    classes, naming it, and UsageError for different lengths.
    """
    table, known = np.asarray(probabilities, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    if not len(table) == len(known) == len(units):
        raise UsageError(
            "There must be one row of probabilities, one class and one unit for each sample, but "
            f"there are {len(table)}, {len(known)} and {len(units)}."
        )
    places: dict[str, int] = {}
    owner = np.array([places.setdefault(unit, len(places)) for unit in units], dtype=np.int64)
    n = np.bincount(owner, minlength=len(places))
    first = np.unique(owner, return_index=True)[1]
    _check_truth(known, owner, first, units)
    total = np.zeros((len(places), table.shape[1]))
    np.add.at(total, owner, np.log(np.clip(table, _SMALLEST, 1.0)))
    mean = np.exp(total / n[:, None])
    return Aggregated(tuple(places), mean / mean.sum(axis=1, keepdims=True), known[first], n, first)


def _check_truth(
    known: NDArray[np.int64],
    owner: NDArray[np.int64],
    first: NDArray[np.int64],
    units: Sequence[str],
) -> None:
    mixed = np.flatnonzero(known != known[first][owner])
    if mixed.size:
        raise TableError(
            f"{units[mixed[0]]!r} holds samples of more than one class, so it has no class of its "
            "own: score it by sample, or name another column."
        )
