# SPDX-License-Identifier: Apache-2.0
"""From logits to probabilities and from these to a decision, fitted on validation rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.comparison import units_of_images
from encephalon.evaluation.predictions import Predictions, concatenate
from encephalon.metrics.calibration import Calibration, fit_calibration
from encephalon.models.fitted import score_logits

if TYPE_CHECKING:
    from encephalon.recipes.schema import Classification, Score
    from encephalon.reports.format import Html

__all__ = [
    "DecisionMetrics",
    "DecisionRule",
    "FittedRule",
    "OperatingPoint",
    "fit_operating_point",
]


class DecisionRule(Protocol):
    """What is decided of an image beside its most likely class, such as a traffic light.

    name     of its column in predictions.csv and of its key in summary.json
    title    of its section on a page
    heading  of its column in a table of subgroups
    """

    name: ClassVar[str]
    title: ClassVar[str]
    heading: ClassVar[str]

    def fit(self, folds: Sequence[Predictions]) -> FittedRule:
        """Choose by what the labelled validation predictions of each fold say."""
        ...

    def measure(
        self,
        decided: Sequence[str],
        y_true: NDArray[np.int64],
        groups: Sequence[Any] | None = None,
        *,
        repeats: int = 2000,
        seed: int = 0,
    ) -> DecisionMetrics:
        """How right the decisions (N) are; `groups` are drawn whole."""
        ...


class FittedRule(Protocol):
    """A rule that was fitted on validation predictions.

    thresholds  what it decides by, as summary.json has it; None where it decides nothing
    trials      what each candidate did, of each fold, as thresholds.csv has it
    """

    @property
    def thresholds(self) -> Any: ...
    @property
    def trials(self) -> Sequence[Sequence[Mapping[str, float]]]: ...

    def apply(self, y_prob: NDArray[np.float64]) -> list[str]:
        """What is decided of each of the probabilities (N, C), "" for nothing."""
        ...

    def blocks(self) -> list[Html]:
        """What a page says of how it was fitted."""
        ...


class DecisionMetrics(Protocol):
    """How right decisions were: a dataclass of plain data."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def blocks(self) -> list[Html]:
        """Show all of it."""
        ...

    def line(self) -> str:
        """Say it in a line of text."""
        ...

    def cell(self) -> str:
        """Show it in a cell of a table."""
        ...


@dataclass(frozen=True)
class OperatingPoint:
    """How logits are read.

    score        "softmax", or "sigmoid_logit1" as published
    calibration  of the softmax; None leaves it as it is
    rule         what is decided of the probabilities; None for nothing but the most likely class
    """

    score: Score
    calibration: Calibration | None = None
    rule: FittedRule | None = None

    def read(self, predictions: Predictions) -> Predictions:
        """The same predictions with the probabilities that follow from their logits."""
        y_prob = score_logits(predictions.logits, self.score, self.calibration)
        return replace(predictions, y_prob=y_prob)

    def decide(self, y_prob: NDArray[np.float64]) -> list[str]:
        """What is decided of each of the probabilities (N, C), "" for nothing."""
        return self.rule.apply(y_prob) if self.rule else [""] * len(y_prob)


def fit_operating_point(
    folds: Sequence[Predictions],
    settings: Classification,
    group: str | None = None,
    rule: DecisionRule | None = None,
) -> OperatingPoint:
    """Fit an operating point on the validation predictions of one fold or several.

    The calibration is fitted on all of them together, with whole groups as its units; the rule on
    the probabilities that follow from it, fold by fold.
    """
    known = [fold.labelled for fold in folds]
    point = OperatingPoint(settings.score)
    if settings.calibrate and settings.score == "softmax":
        together = concatenate(known)
        groups = units_of_images(together, group)
        shift = not settings.balanced  # or it would undo the balance
        calibration = fit_calibration(together.logits, together.y_true, groups, shift=shift)
        point = replace(point, calibration=calibration)
    fitted = rule.fit([point.read(fold) for fold in known]) if rule else None
    return replace(point, rule=fitted)
