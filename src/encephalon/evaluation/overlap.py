# SPDX-License-Identifier: Apache-2.0
"""Overlap of two masks or two label images, from the four counts of a confusion table.

Rules for empty masks: two empty masks agree perfectly, so every score is 1. A score whose
denominator is otherwise zero is undefined and comes back as NaN, never as a flattering number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, GeometryError

__all__ = ["Overlap", "as_mask", "dice", "jaccard", "label_overlaps", "overlap", "same_shape"]


@dataclass(frozen=True)
class Overlap:
    """Counts of voxels (or pixels): in both masks, in each, and in the whole image."""

    both: int
    predicted: int
    reference: int
    total: int

    @property
    def dice(self) -> float:
        """2 |A and B| / (|A| + |B|), in [0, 1]."""
        return self._ratio(2 * self.both, self.predicted + self.reference)

    @property
    def jaccard(self) -> float:
        """|A and B| / |A or B|, in [0, 1]."""
        return self._ratio(self.both, self.predicted + self.reference - self.both)

    @property
    def sensitivity(self) -> float:
        """Share of the reference that was found; also called recall."""
        return self._ratio(self.both, self.reference)

    @property
    def precision(self) -> float:
        """Share of the prediction that is right."""
        return self._ratio(self.both, self.predicted)

    @property
    def specificity(self) -> float:
        """Share of the reference's outside that was left out; depends on the field of view."""
        outside = self.total - self.reference
        wrong = self.predicted - self.both
        return self._ratio(outside - wrong, outside)

    def _ratio(self, part: int, whole: int) -> float:
        if self.predicted == 0 and self.reference == 0:
            return 1.0
        return part / whole if whole else float("nan")


def overlap(predicted: NDArray[Any], reference: NDArray[Any]) -> Overlap:
    """Count the overlap of two masks of one shape, of any dimension; non-zero is inside.

    Raises GeometryError when the shapes differ and ContentError for values that are not finite.
    """
    same_shape(predicted, reference)
    first, second = as_mask(predicted), as_mask(reference)
    return Overlap(
        both=int(np.count_nonzero(first & second)),
        predicted=int(np.count_nonzero(first)),
        reference=int(np.count_nonzero(second)),
        total=first.size,
    )


def dice(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """Dice coefficient of two masks, in [0, 1]; see `overlap`."""
    return overlap(predicted, reference).dice


def jaccard(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """Jaccard index of two masks, in [0, 1]; see `overlap`."""
    return overlap(predicted, reference).jaccard


def label_overlaps(
    predicted: NDArray[Any], reference: NDArray[Any], labels: Iterable[int] | None = None
) -> dict[int, Overlap]:
    """Count the overlap of every label of two integer images of one shape.

    `labels` chooses and orders them; without it every non-zero label found in either image.
    Raises GeometryError when the shapes differ and ContentError for images that are not integer.
    """
    same_shape(predicted, reference)
    first, second = _as_labels(predicted), _as_labels(reference)
    found, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    size = first.size
    table = np.bincount(codes[:size] * found.size + codes[size:], minlength=found.size**2)
    counts = table.reshape(found.size, found.size)
    place = {int(label): index for index, label in enumerate(found)}
    chosen = [label for label in place if label != 0] if labels is None else list(labels)
    return {label: _label_overlap(counts, place.get(label), size) for label in chosen}


def _label_overlap(counts: NDArray[np.int64], index: int | None, size: int) -> Overlap:
    if index is None:
        return Overlap(0, 0, 0, size)
    both = int(counts[index, index])
    return Overlap(both, int(counts[index].sum()), int(counts[:, index].sum()), size)


def _as_labels(image: NDArray[Any]) -> NDArray[Any]:
    flat = np.asarray(image).ravel()
    if flat.dtype.kind not in "biu":
        raise ContentError(f"A label image must hold integers, but this one holds {flat.dtype}.")
    return flat


def as_mask(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the image as booleans, non-zero being inside, without a copy when it is boolean.

    Raises ContentError for values that are not finite, which would count as inside.
    """
    array = np.asarray(image)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
        raise ContentError("A mask must hold finite numbers, but this one holds NaN or infinity.")
    return np.asarray(array != 0)


def same_shape(predicted: NDArray[Any], reference: NDArray[Any]) -> None:
    """Raise GeometryError unless both arrays have one shape and at least one element."""
    first, second = np.shape(predicted), np.shape(reference)
    if first != second:
        raise GeometryError(
            f"The prediction has the shape {first} and the reference {second}: "
            "compare both on the same grid."
        )
    if not np.size(predicted):
        raise GeometryError(f"There is nothing to compare in images of the shape {first}.")
