# SPDX-License-Identifier: Apache-2.0
"""The scores of the published study, in the columns of its table of 700 models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from encephalon.experiments.published_table import SCORES, input_cells
from encephalon.metrics.classification import decision_metrics
from encephalon.metrics.regression import regression_scores
from encephalon.reports.format import capitalised
from encephalon.statistics.weighted_metric import roc_auc_metric
from encephalon.studies.legibility.settings import Cohort

__all__ = ["class_scores", "file_name", "performance_row", "value_scores"]

Values = NDArray[np.float64]


def class_scores(truth: NDArray[np.int64], logits: NDArray[np.floating]) -> dict[str, float]:
    """Scores of true classes 0 and 1 (N,) and the logit of each (N, 2); NaN without both classes.

    The area under the curve is a micro-average over the sigmoids of both classes, so that a network
    which says the same of everybody has the share of the larger class.
    """
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    auc = roc_auc_metric(np.eye(2)[truth].ravel(), probability.ravel()).value
    return _decided(truth, logits.argmax(axis=1)) | {"micro_auc": auc}


def value_scores(truth: Values, predicted: Values) -> dict[str, float]:
    """Scores of true and predicted values (N,) in their unit.

    Those of classes are of who is above the median of the truth, and who is not.
    """
    above, said = (each > np.median(truth) for each in (truth, predicted))
    auc = roc_auc_metric(above, predicted).value
    scores = _decided(above.astype(np.int64), said.astype(np.int64)) | {"micro_auc": auc}
    found = regression_scores(truth, predicted)
    return scores | {name: found[name] for name in ("r2", "pearson_r", "mae")}


def performance_row(
    part: str,
    cohort: Cohort,
    inputs: Sequence[str],
    scores: Mapping[str, float],
    minutes: float = float("nan"),
) -> dict[str, str | float]:
    """A row of the published table: a part of the people ("Test"), the inputs used, and the scores.

    `cohort` is what is used, `scores` have the "loss" beside. What a target has no score of is NaN,
    where the published table has 0.
    """
    name, target = next(iter(cohort.targets.items()))
    known = {**scores, "minutes": minutes}
    cells = input_cells([*inputs, *cohort.blocks])
    return {
        "Mode": part,
        "Target": name,
        "Inputs": cells.pop("Inputs"),
        **{column: known.get(name, np.nan) for column, name in SCORES.items()},
        **cells,
        "Domain": capitalised(target.domain),
    }


def file_name(cohort: Cohort, inputs: Sequence[str]) -> str:
    """`performance_metrics_TARGET_INPUTS_BLOCKS.csv`, as the script calls the table of a run."""
    return f"performance_metrics_{'_'.join([*cohort.targets, *inputs, *cohort.blocks])}.csv"


def _decided(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, float]:
    found = {name: each.value for name, each in decision_metrics(truth, predicted, 2).items()}
    kept = ("macro_precision", "macro_recall", "macro_f1")
    return {"balanced_accuracy": found["macro_recall"]} | {name: found[name] for name in kept}
