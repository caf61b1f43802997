# SPDX-License-Identifier: Apache-2.0
"""How good a classifier is: what is right, how well it ranks, and how honest its probabilities are.

Of two classes the second, number 1, is the positive one. Of more, each class in turn is the
positive one, and the figure is the mean over the classes that occur ("macro, one versus rest").
A figure that cannot be had, such as the area under a curve of one class, is NaN and no error.
Weights make these figures fast to bootstrap, which those of scikit-learn are not; they agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError
from encephalon.statistics.weighted_metric import (
    Figure,
    average_precision_figure,
    macro,
    mean_figure,
    ratio,
    roc_auc_figure,
    share_figure,
)

__all__ = [
    "SCORES",
    "Confusion",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "classification_figures",
    "classification_scores",
    "confusion",
    "confusion_matrix",
    "log_loss",
    "roc_auc",
]

Values = NDArray[np.float64]
Classes = NDArray[np.int64]
Flags = NDArray[np.bool_]

SCORES = (
    "loss",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "roc_auc",
    "pr_auc",
    "sensitivity",
    "specificity",
    "precision",
)
"""What a training epoch records (3BTRON spec, section 4: per-epoch history)."""

# No probability is taken for less than this, as in scikit-learn's log_loss.
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Confusion:
    """True positives, false negatives, true negatives and false positives."""

    tp: int
    fn: int
    tn: int
    fp: int

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.tp + self.fn + self.tn + self.fp

    @property
    def sensitivity(self) -> float:
        """Share of the positive that were found."""
        return _divide(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """Share of the negative that were left alone."""
        return _divide(self.tn, self.tn + self.fp)

    @property
    def precision(self) -> float:
        """Share of the found that are positive; 0 where nothing was found, as in scikit-learn."""
        return _divide(self.tp, self.tp + self.fp) if self.tp + self.fp else _divide(0, self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision."""
        return _divide(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def youden(self) -> float:
        """Youden's J: sensitivity + specificity - 1."""
        return self.sensitivity + self.specificity - 1.0

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return _divide(self.tp + self.tn, self.n)


def confusion(truth: ArrayLike, positive: ArrayLike) -> Confusion:
    """Count what is positive, `truth` (N,), against what was called so, `positive` (N,)."""
    known, called = np.asarray(truth, dtype=bool), np.asarray(positive, dtype=bool)
    _check_lengths(known.shape, called.shape)
    tp, fp = int((known & called).sum()), int((~known & called).sum())
    return Confusion(tp, int(known.sum()) - tp, int((~known).sum()) - fp, fp)


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, classes: int) -> Classes:
    """Counts (classes, classes): true class down, predicted class across.

    Raises UsageError for different lengths or a class outside 0 .. classes - 1.
    """
    known, called = _numbers(truth, classes), _numbers(predicted, classes)
    _check_lengths(known.shape, called.shape)
    cells = np.bincount(known * classes + called, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def balanced_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean over the classes that occur of the share found; NaN for fewer than two classes."""
    known, called = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    _check_lengths(known.shape, called.shape)
    return _balanced(known, called).value


def roc_auc(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Area under the receiver operating characteristic.

    `probabilities` are (N, C), or (N,) of the positive class; so in all that follow.
    """
    return _figure("roc_auc", truth, probabilities)


def average_precision(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Area under the precision-recall steps."""
    return _figure("pr_auc", truth, probabilities)


def brier(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared error of the positive probability; of more classes, summed over them."""
    return _figure("brier", truth, probabilities)


def log_loss(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean of minus the natural logarithm of the true class's probability."""
    return _figure("log_loss", truth, probabilities)


def classification_scores(truth: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """The figures named in SCORES of true classes (N,) and probabilities (N, C).

    "loss" is the log loss, unweighted. All are NaN where a probability is not finite.
    Raises UsageError for different lengths or an unknown class.
    """
    if not np.isfinite(np.asarray(probabilities)).all():
        return dict.fromkeys(SCORES, float("nan"))
    figures = classification_figures(truth, probabilities)
    return {name: figures["log_loss" if name == "loss" else name].value for name in SCORES}


def classification_figures(truth: ArrayLike, probabilities: ArrayLike) -> dict[str, Figure]:
    """Every figure by name, ready for intervals; arguments as in `classification_scores`.

    log_loss, brier, accuracy, balanced_accuracy, roc_auc, pr_auc, sensitivity, specificity,
    precision, f1. The predicted class is the most likely one.
    Raises UsageError for different lengths or an unknown class.
    """
    table = _table(probabilities)
    known = _numbers(truth, table.shape[1])
    _check_lengths(known.shape, table.shape[:1])
    called = np.argmax(table, axis=1)
    true_one = np.clip(table[np.arange(known.size), known], _SMALLEST, 1.0)
    squares = ((table - np.eye(table.shape[1])[known]) ** 2).sum(axis=1)

    def each(figure: Callable[[Flags, Flags, Values], Figure]) -> Figure:
        """The figure of the positive class, or the mean over the classes that occur."""
        positives = [1] if table.shape[1] == 2 else np.unique(known)
        return macro([figure(known == k, called == k, table[:, k]) for k in positives])

    return {
        "log_loss": mean_figure(-np.log(true_one)),
        "brier": mean_figure(squares / 2 if table.shape[1] == 2 else squares),
        "accuracy": mean_figure(known == called),
        "balanced_accuracy": _balanced(known, called),
        "roc_auc": each(lambda is_it, _, scores: roc_auc_figure(is_it, scores)),
        "pr_auc": each(lambda is_it, _, scores: average_precision_figure(is_it, scores)),
        "sensitivity": each(lambda is_it, said, _: share_figure(said, is_it)),
        "specificity": each(lambda is_it, said, _: share_figure(~said, ~is_it)),
        "precision": each(lambda is_it, said, _: _precision(is_it, said)),
        "f1": each(lambda is_it, said, _: _f1(is_it, said)),
    }


def _balanced(known: Classes, called: Classes) -> Figure:
    present = np.unique(known)
    if present.size < 2:
        return Figure(known.size, lambda weights: np.full(len(weights), np.nan))
    return macro([share_figure(called == k, known == k) for k in present])


def _precision(is_it: Flags, said: Flags) -> Figure:
    counts = np.stack([is_it & said, said, is_it], axis=1).astype(np.float64)

    def weigh(weights: Values) -> Values:
        right, found, there = (weights @ counts).T
        return np.where((found == 0) & (there > 0), 0.0, ratio(right, found))

    return Figure(is_it.size, weigh)


def _f1(is_it: Flags, said: Flags) -> Figure:
    counts = np.stack([is_it & said, is_it, said], axis=1).astype(np.float64)

    def weigh(weights: Values) -> Values:
        right, there, found = (weights @ counts).T
        return ratio(2 * right, there + found)

    return Figure(is_it.size, weigh)


def _figure(name: str, truth: ArrayLike, probabilities: ArrayLike) -> float:
    return classification_figures(truth, probabilities)[name].value


def _table(probabilities: ArrayLike) -> Values:
    table = np.asarray(probabilities, dtype=np.float64)
    return np.stack([1.0 - table, table], axis=1) if table.ndim == 1 else table


def _numbers(classes: ArrayLike, count: int) -> Classes:
    numbers = np.asarray(classes).astype(np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:
        raise UsageError(
            f"Classes are numbered 0 to {count - 1}, but these reach from {numbers.min()} to "
            f"{numbers.max()}: leave out the samples without a class first."
        )
    return numbers


def _check_lengths(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    if first != second or len(first) != 1:
        raise UsageError(
            f"There must be one answer for each sample, but the shapes are {first}, {second}."
        )


def _divide(above: float, below: float) -> float:
    return above / below if below else float("nan")
