# SPDX-License-Identifier: Apache-2.0
"""Evaluation: how good a prediction is, and how sure we may be of that.

Metrics work on plain arrays of any dimension and know nothing of files. A result table is a list of
plain dictionaries, one a sample, so the same intervals, strata and comparisons serve masks,
classes and numbers. Importing this package imports neither scipy nor pandas.
"""

from __future__ import annotations

from encephalon.evaluation.comparison import Comparison, compare_correct, compare_paired, holm
from encephalon.evaluation.intervals import Interval, bootstrap, proportion
from encephalon.evaluation.overlap import Overlap, dice, jaccard, label_overlaps, overlap
from encephalon.evaluation.strata import Stratum, cut, strata
from encephalon.evaluation.summary import Summary, summarise, summarise_rows
from encephalon.evaluation.surface import SurfaceDistances, assd, hd95, surface_distances
from encephalon.evaluation.volume import VolumeError, volume_error, volume_ml
from encephalon.evaluation.weighted import bootstrap_weighted, mean_of, median_of

__all__ = [
    "Comparison",
    "Interval",
    "Overlap",
    "Stratum",
    "Summary",
    "SurfaceDistances",
    "VolumeError",
    "assd",
    "bootstrap",
    "bootstrap_weighted",
    "compare_correct",
    "compare_paired",
    "cut",
    "dice",
    "hd95",
    "holm",
    "jaccard",
    "label_overlaps",
    "mean_of",
    "median_of",
    "overlap",
    "proportion",
    "strata",
    "summarise",
    "summarise_rows",
    "surface_distances",
    "volume_error",
    "volume_ml",
]
