# SPDX-License-Identifier: Apache-2.0
"""How good a classifier is: what is right, how well it ranks, and how honest its probabilities are.

Of two classes the second, number 1, is the positive one. Of more, each class in turn is the
positive one, and the metric is the mean over the classes that occur ("macro, one versus rest").
A metric that cannot be had, such as the area under a curve of one class, is NaN and no error.
Weights make these metrics fast to bootstrap, which those of scikit-learn are not; they agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError
from encephalon.statistics.weighted_metric import (
    WeightedMetric,
    average_precision_metric,
    macro,
    mean_metric,
    ratio,
    roc_auc_metric,
    share_metric,
)

__all__ = [
    "SCORES",
    "Confusion",
    "balanced_accuracy",
    "classification_metrics",
    "classification_scores",
    "confusion",
    "confusion_matrix",
    "decision_metrics",
    "most_balanced_accuracy",
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
"""What a training epoch records (the history of 3BTRON's training)."""

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


def classification_scores(truth: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """The metrics named in SCORES of true classes (N,) and probabilities (N, C).

    Probabilities (N,) are of the positive class. "loss" is the log loss, unweighted. All are NaN
    where a probability is not finite. Raises UsageError for different lengths or an unknown class.
    """
    if not np.isfinite(np.asarray(probabilities)).all():
        return dict.fromkeys(SCORES, float("nan"))
    metrics = classification_metrics(truth, probabilities)
    return {name: metrics["log_loss" if name == "loss" else name].value for name in SCORES}


def classification_metrics(truth: ArrayLike, probabilities: ArrayLike) -> dict[str, WeightedMetric]:
    """Every metric by name, ready for intervals; arguments as in `classification_scores`.

    log_loss, brier, accuracy, balanced_accuracy, roc_auc, pr_auc, sensitivity, specificity,
    precision, f1. The predicted class is the most likely one. The Brier score is the mean squared
    error of the positive probability; of more classes, summed over them.
    Raises UsageError for different lengths or an unknown class.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim == 1:
        table = np.stack([1.0 - table, table], axis=1)
    known = _numbers(truth, table.shape[1])
    _check_lengths(known.shape, table.shape[:1])
    called = np.argmax(table, axis=1)
    true_one = np.clip(table[np.arange(known.size), known], _SMALLEST, 1.0)
    squares = ((table - np.eye(table.shape[1])[known]) ** 2).sum(axis=1)

    def each(metric: Callable[[Flags, Flags, Values], WeightedMetric]) -> WeightedMetric:
        """The metric of the positive class, or the mean over the classes that occur."""
        positives = [1] if table.shape[1] == 2 else np.unique(known)
        return macro([metric(known == k, called == k, table[:, k]) for k in positives])

    return {
        "log_loss": mean_metric(-np.log(true_one)),
        "brier": mean_metric(squares / 2 if table.shape[1] == 2 else squares),
        "accuracy": mean_metric(known == called),
        "balanced_accuracy": _balanced(known, called),
        "roc_auc": each(lambda is_it, _, scores: roc_auc_metric(is_it, scores)),
        "pr_auc": each(lambda is_it, _, scores: average_precision_metric(is_it, scores)),
        "sensitivity": each(lambda is_it, said, _: share_metric(said, is_it)),
        "specificity": each(lambda is_it, said, _: share_metric(~said, ~is_it)),
        "precision": each(lambda is_it, said, _: _precision(is_it, said)),
        "f1": each(lambda is_it, said, _: _f1(is_it, said)),
    }


def most_balanced_accuracy(agreed: float, shares: ArrayLike) -> float:
    """What knowing the lasting class comes to, where two sessions agree in that share of samples.

    Each class is mistaken for any other alike often.

    shares  of each class (C,), as measured
    """
    known = np.asarray(shares, np.float64)
    others = len(known) - 1
    # agreed = (1 - error)^2 + error^2 / others, of which the smaller error is meant.
    scale = (others + 1) / others
    error = (1 - np.sqrt(max(1 - scale * (1 - agreed), 0.0))) / scale
    right = 1 - error - error / others
    if not right > 0:
        return float("nan") if np.isnan(agreed) else 1 / len(known)
    lasting = np.clip((known - error / others) / right, 0, 1)
    there = known > 0
    return float(np.mean((1 - error) * lasting[there] / known[there]))


def decision_metrics(
    truth: ArrayLike, predicted: ArrayLike, classes: int
) -> dict[str, WeightedMetric]:
    """Metrics that hold all classes for equals, of true and predicted classes (N,) each.

    macro_precision, macro_recall, macro_f1 (means over the classes that occur, two or more) and
    mcc, the correlation of Matthews after Gorodkin 2004 (doi:10.1016/j.compbiolchem.2004.09.006).
    One class predicted for all has an mcc of 0, as in scikit-learn; one true class has none, NaN.
    Raises UsageError for different lengths or an unknown class.
    """
    known, called = _numbers(truth, classes), _numbers(predicted, classes)
    _check_lengths(known.shape, called.shape)
    each = [(known == k, called == k) for k in np.unique(known)]
    return {
        "macro_precision": macro([_precision(*pair) for pair in each]),
        "macro_recall": _balanced(known, called),
        "macro_f1": macro([_f1(*pair) for pair in each]),
        "mcc": _matthews(known, called, classes),
    }


def _balanced(known: Classes, called: Classes) -> WeightedMetric:
    present = np.unique(known)
    if present.size < 2:
        return WeightedMetric(known.size, lambda weights: np.full(len(weights), np.nan))
    return macro([share_metric(called == k, known == k) for k in present])


def _precision(is_it: Flags, said: Flags) -> WeightedMetric:
    counts = np.stack([is_it & said, said, is_it], axis=1).astype(np.float64)

    def weigh(weights: Values) -> Values:
        right, found, there = (weights @ counts).T
        return np.where((found == 0) & (there > 0), 0.0, ratio(right, found))

    return WeightedMetric(is_it.size, weigh)


def _f1(is_it: Flags, said: Flags) -> WeightedMetric:
    counts = np.stack([is_it & said, is_it, said], axis=1).astype(np.float64)

    def weigh(weights: Values) -> Values:
        right, there, found = (weights @ counts).T
        return ratio(2 * right, there + found)

    return WeightedMetric(is_it.size, weigh)


def _matthews(known: Classes, called: Classes, classes: int) -> WeightedMetric:
    there, found = np.eye(classes)[known], np.eye(classes)[called]
    right = (known == called).astype(np.float64)

    def weigh(weights: Values) -> Values:
        total, agreed = weights.sum(axis=1), weights @ right
        true, said = weights @ there, weights @ found
        of_true, of_said = (total**2 - (each**2).sum(axis=1) for each in (true, said))
        both = total * agreed - (true * said).sum(axis=1)
        value = ratio(both, np.sqrt(of_true * of_said))
        return np.where((of_true > 0) & (of_said <= 0), 0.0, value)

    return WeightedMetric(known.size, weigh)


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
