# SPDX-License-Identifier: Apache-2.0
"""Two models on the same images: which is better, and could it be chance?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from encephalon.errors import TableError, UsageError
from encephalon.evaluation.predictions import Predictions
from encephalon.metrics.classification import classification_metrics
from encephalon.statistics.comparison import compare_correct, compare_paired, holm
from encephalon.statistics.weighted_metric import WeightedMetric

__all__ = ["beats", "compare", "correct", "is_whole", "units_of_images"]

#: The p value, corrected for several comparisons, below which a difference is said to be one.
SIGNIFICANT = 0.05


def compare(
    first: Predictions,
    second: Predictions,
    group: str | None = None,
    *,
    seed: int = 0,
    repeats: int = 2000,
) -> dict[str, Any]:
    """Compare two models on the labelled images that both have scored.

    The result holds `n` images in `units` groups, how many labelled ones were `left_out` because
    only one model scored them, in how many `folds` of the first model's `all_folds` they were
    tested, the balanced accuracies `first` and `second`, the Interval of their
    `difference` (first minus second; groups are drawn), and of `test` (McNemar's on images, or
    Wilcoxon's on the share of right answers of each group) the `p_value`, which is
    `p_corrected` too until `correct` sees several comparisons, and the units `first_better`,
    `second_better` and `ties`.
    Raises TableError when no image is common or one has two classes, UsageError for other classes.
    """
    one, two, left_out = _matched(first, second)
    groups = units_of_images(one, group)
    figures = [
        classification_metrics(each.y_true, each.y_prob)["balanced_accuracy"] for each in (one, two)
    ]
    difference = WeightedMetric(len(one), lambda w: figures[0].weigh(w) - figures[1].weigh(w))
    right = [(each.predicted == each.y_true).astype(np.float64) for each in (one, two)]
    tested = compare_correct(*right) if groups is None else compare_paired(*right, groups=groups)
    return {
        "n": len(one),
        "units": len(one) if groups is None else len(set(groups)),
        "left_out": left_out,
        "folds": np.unique(one.fold).size,
        "all_folds": np.unique(first.labelled.fold).size,
        "first": figures[0].value,
        "second": figures[1].value,
        "difference": difference.interval(groups, seed=seed, repeats=repeats),
        "test": tested.test,
        "p_value": tested.p_value,
        "p_corrected": tested.p_value,
        "first_better": tested.first_better,
        "second_better": tested.second_better,
        "ties": tested.ties,
    }


def correct(comparisons: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same comparisons with `p_corrected`, by Holm for as many as there are."""
    corrected = holm([each["p_value"] for each in comparisons.values()])
    return {
        name: {**each, "p_corrected": p}
        for (name, each), p in zip(comparisons.items(), corrected, strict=True)
    }


def is_whole(comparison: Mapping[str, Any]) -> bool:
    """Whether both models were tested on all of the first one's folds, and on the same images."""
    return not comparison["left_out"] and comparison["folds"] == comparison["all_folds"]


def beats(comparison: Mapping[str, Any]) -> bool:
    """Whether the first model is better on all folds, by the corrected test and the interval."""
    sure = comparison["p_corrected"] < SIGNIFICANT and comparison["difference"].low > 0
    return is_whole(comparison) and bool(sure)


def units_of_images(predictions: Predictions, group: str | None) -> list[str] | None:
    """The unit of each image; one without a group is a unit of its own."""
    if group is None:
        return None
    cells = zip(predictions.column(group), predictions.ids, strict=True)
    return [cell or f"image {name}" for cell, name in cells]


def _matched(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions, int]:
    """The common labelled images of both, in the first's order, and the number of the others."""
    if first.classes != second.classes:
        raise UsageError(
            f"Models of the classes {', '.join(first.classes)} and {', '.join(second.classes)} "
            "cannot be compared: they must have the same classes in the same order."
        )
    one, two = first.labelled, second.labelled
    there = {name: place for place, name in enumerate(two.ids)}
    kept = [place for place, name in enumerate(one.ids) if name in there]
    if not kept:
        raise TableError(
            "The two sets of predictions have no labelled image in common: compare their ids."
        )
    left_out = len(one) + len(two) - 2 * len(kept)
    one = one.select(np.array(kept))
    two = two.select(np.array([there[name] for name in one.ids]))
    differ = np.flatnonzero(one.y_true != two.y_true)
    if differ.size:
        raise TableError(
            f"{one.ids[differ[0]]}: the two sets of predictions give it different true classes, so "
            "they are not of the same table."
        )
    return one, two, left_out
