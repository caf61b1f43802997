# SPDX-License-Identifier: Apache-2.0
"""From logits to probabilities and from these to a light, fitted on validation rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.comparison import units_of_images
from encephalon.evaluation.predictions import Scored, concatenate
from encephalon.metrics.calibration import Calibration, fit_calibration
from encephalon.models.fitted import score_logits
from encephalon.studies.micrographs.settings import MicrographSettings, Score
from encephalon.studies.micrographs.traffic_light import BestPair, best_pair, colours, score_pairs

__all__ = ["Decision", "Pairs", "decide"]

Pairs = list[dict[str, float]]
"""Scores of each pair of thresholds, see `traffic_light.score_pairs`."""


@dataclass(frozen=True)
class Decision:
    """How logits are read.

    score        "softmax", or "sigmoid_logit1" as published
    calibration  of the softmax; None leaves it as it is
    pair         the thresholds of the light and how well they did; None where there is no light
    scored       what every pair of thresholds did, of each fold
    """

    score: Score
    calibration: Calibration | None = None
    pair: BestPair | None = None
    scored: tuple[Pairs, ...] = ()

    @property
    def thresholds(self) -> tuple[float, float] | None:
        """Green up to the first, red above the second; None where there is no light."""
        return (self.pair.green, self.pair.amber) if self.pair else None

    def read(self, scored: Scored) -> Scored:
        """The same predictions with the probabilities that follow from their logits."""
        probabilities = score_logits(scored.logits, self.score, self.calibration)
        return replace(scored, probabilities=probabilities)

    def lights(self, probabilities: NDArray[np.float64]) -> list[str]:
        """The light of each of the probabilities (N, C), "" where there is none."""
        if self.thresholds is None:
            return [""] * len(probabilities)
        return colours(probabilities[:, 1], *self.thresholds)


def decide(
    folds: Sequence[Scored], settings: MicrographSettings, group: str | None = None
) -> Decision:
    """Fit a decision on the validation predictions of one fold or several.

    The calibration is fitted on all of them together, with whole groups as its units. The
    thresholds are the pair with the highest mean Youden J over the folds (3BTRON spec, section 5);
    there are none for more than two classes, or where no pair leaves both.
    """
    known = [fold.labelled for fold in folds]
    decision = Decision(settings.score)
    if settings.calibrate and settings.score == "softmax":
        together = concatenate(known)
        groups = units_of_images(together, group)
        shift = not settings.balanced  # or it would undo the balance
        calibration = fit_calibration(together.logits, together.truth, groups, shift=shift)
        decision = replace(decision, calibration=calibration)
    if len(known[0].classes) != 2:
        return decision
    wishes = settings.thresholds
    scored = tuple(
        score_pairs(decision.read(fold).probabilities[:, 1], fold.truth, wishes.amber, wishes.step)
        for fold in known
    )
    return replace(decision, pair=best_pair(scored, wishes.widest), scored=scored)
