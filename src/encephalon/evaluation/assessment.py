# SPDX-License-Identifier: Apache-2.0
"""Everything that a set of predictions says of a model, as plain data; nothing is trained again.

Whole groups (animals) are drawn for every interval where the table names a group, because images
of one animal are not independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError
from encephalon.evaluation.comparison import compare, units_of_images
from encephalon.evaluation.details import ClassDetails
from encephalon.evaluation.predictions import UNKNOWN_CLASS, Predictions
from encephalon.metrics.calibration import (
    CoverageRisk,
    ReliabilityBin,
    checked_probabilities,
    coverage_risk,
    expected_calibration_error,
    reliability,
)
from encephalon.metrics.classification import classification_metrics, confusion_matrix
from encephalon.statistics.intervals import Interval
from encephalon.statistics.summary import aggregate, in_thirds, subgroups
from encephalon.statistics.weighted_metric import share_interval

if TYPE_CHECKING:
    from encephalon.evaluation.operating_point import DecisionMetrics, DecisionRule

__all__ = ["Assessment", "LevelMetrics", "SubgroupMetrics", "assess", "compare"]

#: The figures of a level and of a stratum; sensitivity and specificity only of two classes.
LEVEL_METRICS = ("balanced_accuracy", "roc_auc")
SUBGROUP_METRICS = (*LEVEL_METRICS, "sensitivity", "specificity")


@dataclass(frozen=True)
class LevelMetrics:
    """Figures of `n` units (images, vessels, animals) that `images` images were taken from.

    `note` says why there are no figures, if there are none.
    """

    level: str
    n: int
    images: int
    figures: dict[str, Interval]
    note: str = ""


@dataclass(frozen=True)
class SubgroupMetrics:
    """Figures of the `n` images of `units` groups whose `column` says `value`.

    `classes` counts the images of each true class.
    """

    column: str
    value: str
    n: int
    units: int
    classes: dict[str, int]
    figures: dict[str, Interval]
    decision: DecisionMetrics | None


@dataclass(frozen=True)
class Assessment:
    """What is known of a model's predictions.

    `n` images with a class in `units` groups were scored, `unlabelled` ones were not. `figures`
    are those of `evaluation.classification_metrics` for images; `confusion` has the true class
    down. `reliability` is of the positive class, or of the most likely one where there are more
    than two. The calibration error has no interval: a bootstrap would only show its bias.
    """

    classes: tuple[str, ...]
    n: int
    unlabelled: int
    group: str | None
    units: int
    figures: dict[str, Interval]
    calibration_error: float
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]
    coverage_risk: CoverageRisk
    levels: tuple[LevelMetrics, ...]
    strata: tuple[SubgroupMetrics, ...]
    decision: DecisionMetrics | None = None
    rule: DecisionRule | None = None
    details: ClassDetails | None = None

    def summary(self) -> dict[str, Any]:
        """Nested plain data for summary.json; `io.atomic.write_json` turns NaN into null.

        What is known of decisions has the name of their rule. Details are left to the page, as
        predictions.csv has all of them.
        """
        names = {"details": None, "rule": None, "decision": self.rule.name if self.rule else None}

        def named(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
            cells = ((names.get(key, key), value) for key, value in pairs)
            return {name: value for name, value in cells if name is not None}

        return asdict(self, dict_factory=named)


@dataclass(frozen=True)
class _Job:
    """Labelled predictions, the unit that each image is drawn with, and how to draw."""

    predictions: Predictions
    groups: list[str] | None
    rule: DecisionRule | None
    decided: list[str] | None
    drawing: dict[str, int]

    @property
    def units(self) -> int:
        return len(set(self.groups)) if self.groups is not None else len(self.predictions)

    def select(self, index: NDArray[np.int64]) -> _Job:
        groups, decided = (
            None if each is None else [each[i] for i in index]
            for each in (self.groups, self.decided)
        )
        return replace(
            self, predictions=self.predictions.select(index), groups=groups, decided=decided
        )


def assess(
    predictions: Predictions,
    *,
    group: str | None = None,
    levels: Sequence[str] = (),
    strata: Sequence[str] = (),
    rule: DecisionRule | None = None,
    decided: Sequence[str] | None = None,
    seed: int = 0,
    repeats: int = 2000,
) -> Assessment:
    """Assess the labelled ones of the predictions.

    `group` names the column of the unit that intervals draw, `levels` the columns whose values are
    scored as a whole (the group always is), `strata` the columns that results are cut by; `rule`
    has `decided` (N), which may be None. Raises TableError when no image has a class, or no row has
    a column to stratify by.
    """
    known = np.flatnonzero(predictions.y_true != UNKNOWN_CLASS)
    if not known.size:
        raise TableError(
            f"None of the {len(predictions)} images has a known class, so there is nothing to "
            "score: fill in the target column, or use  encephalon predict."
        )
    given = None if decided is None else list(decided)
    drawing = {"seed": seed, "repeats": repeats}
    units = units_of_images(predictions, group)
    job = _Job(predictions, units, rule, given, drawing).select(known)
    labelled = job.predictions
    said, came = checked_probabilities(labelled.y_prob, labelled.y_true)
    right = labelled.predicted == labelled.y_true
    cells = confusion_matrix(labelled.y_true, labelled.predicted, len(labelled.classes))
    figures = _figures(job, labelled.y_true, labelled.y_prob)
    wholes = [name for name in dict.fromkeys(levels) if name != group]
    wholes += [group] if group else []
    return Assessment(
        classes=labelled.classes,
        n=len(labelled),
        unlabelled=len(predictions) - len(labelled),
        group=group,
        units=job.units,
        figures=figures,
        calibration_error=expected_calibration_error(said, came),
        confusion=tuple(tuple(row) for row in cells.tolist()),
        reliability=tuple(reliability(said, came, groups=job.groups, **job.drawing)),
        coverage_risk=coverage_risk(labelled.y_prob.max(axis=1), right, job.groups, **job.drawing),
        levels=(
            LevelMetrics(
                "image", len(labelled), len(labelled), {n: figures[n] for n in LEVEL_METRICS}
            ),
            *(_level(job, name, group) for name in wholes),
        ),
        strata=tuple(_strata(job, strata)),
        decision=_decision(job),
        rule=rule,
        details=ClassDetails.of(labelled, job.groups, group),
    )


def _figures(
    job: _Job,
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    names: Sequence[str] | None = None,
    groups: list[str] | None = None,
) -> dict[str, Interval]:
    """The named figures with intervals; macro sensitivity says nothing that is not said already."""
    figures = classification_metrics(truth, probabilities)
    drawn = job.groups if groups is None else groups
    right = np.argmax(probabilities, axis=1) == truth
    shares = {"accuracy": np.ones_like(right), "sensitivity": truth == 1, "specificity": truth == 0}
    return {
        name: share_interval(right, shares[name], drawn, **job.drawing)
        if name in shares
        else figures[name].interval(drawn, **job.drawing)
        for name in names or figures
        if len(job.predictions.classes) == 2 or name not in {"sensitivity", "specificity"}
    }


def _level(job: _Job, name: str, group: str | None) -> LevelMetrics:
    """Score what the column names as a whole; V1 of one animal is not V1 of another."""
    cells = job.predictions.column(name)
    index = np.flatnonzero([bool(cell) for cell in cells])
    part = job.select(index)
    owners = part.groups or [""] * index.size
    units = [
        cells[i] if name == group else f"{owner} {cells[i]}".strip()
        for i, owner in zip(index, owners, strict=True)
    ]
    try:
        found = aggregate(part.predictions.y_prob, part.predictions.y_true, units)
    except TableError as error:
        return LevelMetrics(name, len(set(units)), len(units), {}, str(error))
    groups = None if part.groups is None else [part.groups[i] for i in found.first]
    figures = _figures(part, found.truth, found.probabilities, LEVEL_METRICS, groups)
    note = "" if units else f"No image says its {name}."
    return LevelMetrics(name, len(found.units), len(units), figures, note)


def _strata(job: _Job, columns: Sequence[str]) -> list[SubgroupMetrics]:
    rows = [{**row, "": place} for place, row in enumerate(job.predictions.rows)]
    found = []
    for stratum in (each for name in columns for each in subgroups(in_thirds(rows, name), name)):
        part = job.select(np.array([row[""] for row in stratum.rows], dtype=np.int64))
        predictions = part.predictions
        counts = np.bincount(predictions.y_true, minlength=len(predictions.classes)).tolist()
        found.append(
            SubgroupMetrics(
                column=stratum.column,
                value=stratum.value,
                n=len(predictions),
                units=part.units,
                classes=dict(zip(predictions.classes, counts, strict=True)),
                figures=_figures(part, predictions.y_true, predictions.y_prob, SUBGROUP_METRICS),
                decision=_decision(part),
            )
        )
    return found


def _decision(job: _Job) -> DecisionMetrics | None:
    if job.rule is None or job.decided is None:
        return None
    return job.rule.measure(job.decided, job.predictions.y_true, job.groups, **job.drawing)
