# SPDX-License-Identifier: Apache-2.0
"""What a reader asks of a classifier beyond its figures: curves, what went wrong, every animal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.predictions import Predictions
from encephalon.metrics.curves import precision_recall_curve, roc_curve
from encephalon.reports.blocks import figure, grid, note, table
from encephalon.reports.charts import Series, line_chart
from encephalon.reports.format import Html, capitalised, format_decimals
from encephalon.reports.strips import StripPoint, strip_chart

__all__ = ["ClassDetails", "ScoredUnit", "WrongImage"]

#: Wrong images that a page lists, the most certain first, and points that a curve is drawn with.
LISTED, POINTS = 300, 400


@dataclass(frozen=True)
class WrongImage:
    """An image whose predicted class is not its true one, and how sure that was."""

    id: str
    unit: str
    truth: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class ScoredUnit:
    """A unit such as an animal: how many images, how many right, the mean probability.

    `probability` is that of the positive class, of more than two classes that of the true one.
    """

    name: str
    truth: str
    images: int
    right: int
    probability: float


@dataclass(frozen=True)
class ClassDetails:
    """Curves of each class, every wrong image and every unit of a set of labelled predictions.

    curves  name of the class; false and true positive rate; recall and precision; its share of
            the images, which is the precision of guessing
    """

    group: str | None
    positive: str
    curves: tuple[tuple[str, Series, Series, float], ...]
    wrong: tuple[WrongImage, ...]
    units: tuple[ScoredUnit, ...]

    @classmethod
    def of(
        cls, labelled: Predictions, groups: Sequence[str] | None, group: str | None
    ) -> ClassDetails:
        """The details of predictions whose classes are known."""
        binary = len(labelled.classes) == 2
        shown = [1] if binary else range(len(labelled.classes))
        return cls(
            group,
            labelled.classes[1] if binary else "",
            tuple(_curves(labelled, number) for number in shown),
            tuple(_wrong(labelled, groups)),
            tuple(_units(labelled, groups, binary)) if groups is not None else (),
        )

    def blocks(self) -> list[Html]:
        """The curves, and the strips of units."""
        chance = Series("guessing", (0.0, 1.0), (0.0, 1.0))
        roc = [each[1] for each in self.curves if each[1].x]
        recall = [each[2] for each in self.curves if each[2].x]
        shown = []
        if roc:
            chart = line_chart([*roc, chance], "1 − specificity", "sensitivity")
            shown.append(
                figure(chart, "ROC curve: every threshold; guessing is the straight line.")
            )
        if recall:
            shares = [each[3] for each in self.curves]
            guess = (
                [Series("guessing", (0.0, 1.0), (shares[0], shares[0]))] if self.positive else []
            )
            chart = line_chart([*recall, *guess], "recall (sensitivity)", "precision")
            words = "Precision and recall: every threshold"
            words += "; guessing is the share of the class." if self.positive else "."
            shown.append(figure(chart, words))
        return [grid(*shown) if shown else note("Curves need images of more than one class.")]

    def unit_blocks(self) -> list[Html]:
        """A dot for each unit, in a strip for each true class; nothing without units."""
        strips: dict[str, list[StripPoint]] = {}
        for each in self.units:
            said = f"{each.name}: {format_decimals(each.probability, 3)}, "
            said += f"{each.right} of {each.images} images right"
            strips.setdefault(each.truth, []).append(StripPoint(each.probability, said))
        if not strips:
            return []
        of = f"of “{self.positive}”" if self.positive else "of the true class"
        words = (
            f"Every {self.group} is a dot, in the strip of its true class; point at one for more."
        )
        return [figure(strip_chart(strips, f"mean probability {of}"), words)]

    def wrong_blocks(self) -> list[Html]:
        """The images whose class is wrong, the most certain first."""
        if not self.wrong:
            return [note("Every image has its true class.")]
        columns = {"id": "Image", "truth": "True", "predicted": "Predicted"}
        columns |= {"probability": "Probability", "unit": capitalised(self.group or "")}
        rows = [vars(each) for each in self.wrong[:LISTED]]
        left = len(self.wrong) - len(rows)
        more = [note(f"{left} more are in predictions.csv.")] if left > 0 else []
        return [table(columns, rows, decimals={"probability": 3}), *more]


def _curves(labelled: Predictions, number: int) -> tuple[str, Series, Series, float]:
    name, truth = labelled.classes[number], labelled.y_true == number
    scores = labelled.y_prob[:, number]
    roc, recall = (curve(truth, scores) for curve in (roc_curve, precision_recall_curve))
    return name, _series(name, *roc), _series(name, *recall), float(truth.mean())


def _series(name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Series:
    """A curve of no more points than are seen."""
    kept = np.unique(np.linspace(0, x.size - 1, min(x.size, POINTS)).round().astype(int))
    return Series(name, x[kept].tolist(), y[kept].tolist())


def _wrong(labelled: Predictions, groups: Sequence[str] | None) -> list[WrongImage]:
    predicted, found = labelled.predicted, []
    for place in np.flatnonzero(predicted != labelled.y_true):
        truth, said = int(labelled.y_true[place]), int(predicted[place])
        unit = "" if groups is None else groups[place]
        sure = float(labelled.y_prob[place, said])
        names = labelled.classes[truth], labelled.classes[said]
        found.append(WrongImage(labelled.ids[place], unit, *names, sure))
    return sorted(found, key=lambda one: -one.probability)


def _units(labelled: Predictions, groups: Sequence[str], binary: bool) -> list[ScoredUnit]:
    """Each unit, once for each true class that its images have."""
    places: dict[tuple[int, str], list[int]] = {}
    for place, name in enumerate(groups):
        places.setdefault((int(labelled.y_true[place]), name), []).append(place)
    found = []
    for (truth, name), index in sorted(places.items()):
        chosen = labelled.y_prob[index, 1 if binary else truth]
        right = int((labelled.predicted[index] == truth).sum())
        known = labelled.classes[truth]
        found.append(ScoredUnit(name, known, len(index), right, float(chosen.mean())))
    return found
