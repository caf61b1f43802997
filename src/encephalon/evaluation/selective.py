# SPDX-License-Identifier: Apache-2.0
"""Selective prediction: how often a model is wrong when it may keep silent about the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encephalon.errors import UsageError
from encephalon.evaluation.figure import risk_area_figure
from encephalon.evaluation.intervals import Interval

__all__ = ["CoverageRisk", "coverage_risk"]


@dataclass(frozen=True)
class CoverageRisk:
    """The curve of error against share answered, most confident answers first.

    confidence (T)  falling thresholds: samples at least as confident are answered
    coverage   (T)  share of the samples that are answered, rising to 1
    risk       (T)  share of the answers that are wrong; the last is the plain error rate
    area            mean risk over all coverages, with its interval; a confidence that knows nothing
                    has the plain error rate as area (Geifman and El-Yaniv 2017, arXiv:1705.08500)
    """

    confidence: tuple[float, ...]
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: Interval


def coverage_risk(
    confidence: ArrayLike,
    correct: ArrayLike,
    groups: Sequence[Any] | None = None,
    *,
    level: float = 0.95,
    repeats: int = 2000,
    seed: int = 0,
) -> CoverageRisk:
    """Return the curve of confidences (N,) and right answers (N,); equal confidences are one point.

    Raises UsageError for different lengths.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if sure.shape != right.shape or sure.ndim != 1:
        raise UsageError(
            "A coverage-risk curve needs one confidence for each answer, but the shapes are "
            f"{sure.shape} and {right.shape}."
        )
    thresholds, place, counts = np.unique(-sure, return_inverse=True, return_counts=True)
    wrong = np.cumsum(np.bincount(place, weights=~right, minlength=thresholds.size))
    kept = np.cumsum(counts)
    area = risk_area_figure(right, sure)
    return CoverageRisk(
        confidence=tuple((-thresholds).tolist()),
        coverage=tuple((kept / max(1, sure.size)).tolist()),
        risk=tuple((wrong / kept).tolist()),
        area=area.interval(groups, level=level, repeats=repeats, seed=seed),
    )
