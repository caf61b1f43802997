# SPDX-License-Identifier: Apache-2.0
"""Evaluation: how good a prediction is, and how sure we may be of that.

Metrics work on plain arrays of any dimension and know nothing of files. A result table is a list of
plain dictionaries, one a sample, so the same intervals, strata and comparisons serve masks,
classes and numbers. Importing this package imports neither scipy nor pandas.
"""

from __future__ import annotations

from encephalon.evaluation.calibration import (
    Calibration,
    ReliabilityBin,
    expected_calibration_error,
    fit_calibration,
    reliability,
)
from encephalon.evaluation.classification import (
    Confusion,
    average_precision,
    balanced_accuracy,
    brier,
    classification_figures,
    classification_scores,
    confusion,
    confusion_matrix,
    log_loss,
    roc_auc,
)
from encephalon.evaluation.comparison import Comparison, compare_correct, compare_paired, holm
from encephalon.evaluation.figure import Figure
from encephalon.evaluation.intervals import Interval, bootstrap, proportion
from encephalon.evaluation.levels import Aggregated, aggregate
from encephalon.evaluation.overlap import Overlap, dice, jaccard, label_overlaps, overlap
from encephalon.evaluation.selective import CoverageRisk, coverage_risk
from encephalon.evaluation.similarity import (
    Similarity,
    foreground,
    foreground_similarities,
    mse,
    nrmse,
    psnr,
    published_similarity,
    similarities,
    ssim,
)
from encephalon.evaluation.strata import Stratum, cut, strata
from encephalon.evaluation.summary import Summary, summarise, summarise_rows
from encephalon.evaluation.surface import SurfaceDistances, assd, hd95, surface_distances
from encephalon.evaluation.volume import VolumeError, volume_error, volume_ml
from encephalon.evaluation.weighted import bootstrap_weighted, mean_of, median_of

__all__ = [
    "Aggregated",
    "Calibration",
    "Comparison",
    "Confusion",
    "CoverageRisk",
    "Figure",
    "Interval",
    "Overlap",
    "ReliabilityBin",
    "Similarity",
    "Stratum",
    "Summary",
    "SurfaceDistances",
    "VolumeError",
    "aggregate",
    "assd",
    "average_precision",
    "balanced_accuracy",
    "bootstrap",
    "bootstrap_weighted",
    "brier",
    "classification_figures",
    "classification_scores",
    "compare_correct",
    "compare_paired",
    "confusion",
    "confusion_matrix",
    "coverage_risk",
    "cut",
    "dice",
    "expected_calibration_error",
    "fit_calibration",
    "foreground",
    "foreground_similarities",
    "hd95",
    "holm",
    "jaccard",
    "label_overlaps",
    "log_loss",
    "mean_of",
    "median_of",
    "mse",
    "nrmse",
    "overlap",
    "proportion",
    "psnr",
    "published_similarity",
    "reliability",
    "roc_auc",
    "similarities",
    "ssim",
    "strata",
    "summarise",
    "summarise_rows",
    "surface_distances",
    "volume_error",
    "volume_ml",
]
