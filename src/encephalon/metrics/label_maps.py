# SPDX-License-Identifier: Apache-2.0
"""How well two label maps agree, class by class, pooled over images and image by image.

The four counts of each class in each image say everything. Pooled metrics come from their sums, so
that every voxel weighs the same; per-image metrics are means over the images in which the metric
is defined, so that every image weighs the same. The two differ most for rare classes, and a table
that mixes them contradicts itself (MTNeuro's has an F1 of 0.94 beside an IoU of 0.60): here each
says which it is.

A class that neither map has in an image has no F1 and no IoU there (NaN), and the image is left out
of the mean. Published means count it as `empty`, such as 1 or 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError
from encephalon.metrics.classification import confusion_matrix
from encephalon.metrics.segmentation import same_shape

__all__ = ["METRICS", "ClassCounts", "count_classes"]

Counts = NDArray[np.int64]
Values = NDArray[np.float64]

METRICS = ("accuracy", "f1", "iou", "sensitivity", "specificity", "precision")


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Voxels of each class (N, classes) in N images: true and false, positive and negative."""

    tp: Counts
    fp: Counts
    fn: Counts
    tn: Counts

    @classmethod
    def of(cls, confusion: Counts) -> ClassCounts:
        """The counts of one image by its confusion matrix: true class down, predicted across."""
        tp = np.diag(confusion)[None]
        fp, fn = confusion.sum(axis=0)[None] - tp, confusion.sum(axis=1)[None] - tp
        return cls(tp, fp, fn, confusion.sum() - tp - fp - fn)

    @classmethod
    def stacked(cls, counts: Sequence[ClassCounts]) -> ClassCounts:
        """The counts of several images as one object; raises UsageError for none."""
        if not counts:
            raise UsageError("There is no image to count voxels of.")
        names = ("tp", "fp", "fn", "tn")
        return cls(*(np.concatenate([getattr(one, n) for one in counts]) for n in names))

    @property
    def pooled(self) -> ClassCounts:
        """The sums over all images, as one image."""
        return ClassCounts(
            *(each.sum(axis=0)[None] for each in (self.tp, self.fp, self.fn, self.tn))
        )

    def metric(self, name: str, empty: float = np.nan) -> Values:
        """One of METRICS of each class in each image (N, classes); `empty` where undefined."""
        tp, fp, fn, tn = (each.astype(float) for each in (self.tp, self.fp, self.fn, self.tn))
        above, below = {
            "accuracy": (tp + tn, tp + fp + fn + tn),
            "f1": (2 * tp, 2 * tp + fp + fn),
            "iou": (tp, tp + fp + fn),
            "sensitivity": (tp, tp + fn),
            "specificity": (tn, tn + fp),
            "precision": (tp, tp + fp),
        }[name]
        found = np.full(above.shape, float(empty))
        np.divide(above, below, out=found, where=below > 0)
        return found

    def per_image(self, name: str, empty: float = np.nan) -> Values:
        """The mean of a metric over the images in which it is defined, for each class."""
        values = self.metric(name, empty)
        defined = ~np.isnan(values)
        count = np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)
        means: Values = np.where(defined, values, 0).sum(axis=0) / count
        return means

    def balanced_accuracy(self, first: int = 1) -> float:
        """(sensitivity + specificity) / 2 of the counts pooled over images and classes.

        Classes before `first` are left out: the background, as published.
        """
        tp, fp, fn, tn = (
            float(each[:, first:].sum()) for each in (self.tp, self.fp, self.fn, self.tn)
        )
        if not (tp + fn and tn + fp):
            return float("nan")
        return (tp / (tp + fn) + tn / (tn + fp)) / 2


def count_classes(
    predicted: ArrayLike, reference: ArrayLike, classes: int, known: ArrayLike | None = None
) -> ClassCounts:
    """The counts of one image, of any number of axes; voxels that are not `known` are left out.

    Raises GeometryError for different shapes and UsageError for labels beyond the classes.
    """
    found, truth = np.asarray(predicted), np.asarray(reference)
    same_shape(found, truth)
    if known is not None:
        kept = np.asarray(known, dtype=bool)
        found, truth = found[kept], truth[kept]
    return ClassCounts.of(confusion_matrix(truth.ravel(), found.ravel(), classes))
