# SPDX-License-Identifier: Apache-2.0
"""Everything that a set of predictions says of a model, as plain data; nothing is trained again.

Whole groups (animals) are drawn for every interval where the table names a group, because images
of one animal are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError
from encephalon.evaluation.comparison import compare, units_of_images
from encephalon.evaluation.predictions import UNKNOWN_CLASS, Scored
from encephalon.metrics.calibration import (
    CoverageRisk,
    ReliabilityBin,
    coverage_risk,
    expected_calibration_error,
    reliability,
)
from encephalon.metrics.classification import classification_metrics, confusion_matrix
from encephalon.statistics.intervals import Interval
from encephalon.statistics.subgroups import UNKNOWN, Subgroup, aggregate, cut, subgroups
from encephalon.statistics.weighted_metric import share_interval
from encephalon.studies.micrographs.traffic_light import LightFigures, assess_lights

__all__ = ["Assessment", "LevelFigures", "StratumFigures", "assess", "compare"]

#: The figures of a level and of a stratum; sensitivity and specificity only of two classes.
LEVEL_FIGURES = ("balanced_accuracy", "roc_auc")
STRATUM_FIGURES = (*LEVEL_FIGURES, "sensitivity", "specificity")
# A column of numbers with more different values than this is cut into thirds (our choice).
_MOST_VALUES = 8


@dataclass(frozen=True)
class LevelFigures:
    """Figures of `n` units (images, vessels, animals) that `images` images were taken from.

    `note` says why there are no figures, if there are none.
    """

    level: str
    n: int
    images: int
    figures: dict[str, Interval]
    note: str = ""


@dataclass(frozen=True)
class StratumFigures:
    """Figures of the `n` images of `units` groups whose `column` says `value`.

    `classes` counts the images of each true class.
    """

    column: str
    value: str
    n: int
    units: int
    classes: dict[str, int]
    figures: dict[str, Interval]
    light: LightFigures | None


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
    levels: tuple[LevelFigures, ...]
    strata: tuple[StratumFigures, ...]
    light: LightFigures | None = None

    def summary(self) -> dict[str, Any]:
        """Nested plain data for summary.json; `io.atomic.write_json` turns NaN into null."""
        return asdict(self)


@dataclass(frozen=True)
class _Job:
    """Labelled predictions, the unit that each image is drawn with, and how to draw."""

    scored: Scored
    groups: list[str] | None
    lights: list[str] | None
    drawing: dict[str, int]

    @property
    def units(self) -> int:
        return len(set(self.groups)) if self.groups is not None else len(self.scored)

    def select(self, index: NDArray[np.int64]) -> _Job:
        groups, lights = (
            None if each is None else [each[i] for i in index]
            for each in (self.groups, self.lights)
        )
        return _Job(self.scored.select(index), groups, lights, self.drawing)


def assess(
    scored: Scored,
    *,
    group: str | None = None,
    levels: Sequence[str] = (),
    strata: Sequence[str] = (),
    lights: Sequence[str] | None = None,
    seed: int = 0,
    repeats: int = 2000,
) -> Assessment:
    """Assess the labelled ones of the predictions.

    `group` names the column of the unit that intervals draw, `levels` the columns whose values are
    scored as a whole (the group always is), `strata` the columns that results are cut by. `lights`
    (N) are the traffic lights of a two-class model. Raises TableError when no image has a class,
    or no row has a column to stratify by.
    """
    known = np.flatnonzero(scored.truth != UNKNOWN_CLASS)
    if not known.size:
        raise TableError(
            f"None of the {len(scored)} images has a known class, so there is nothing to score: "
            "fill in the target column, or use  encephalon predict."
        )
    shown = None if lights is None else list(lights)
    drawing = {"seed": seed, "repeats": repeats}
    job = _Job(scored, units_of_images(scored, group), shown, drawing).select(known)
    labelled = job.scored
    said, came = _reliable(labelled)
    right = labelled.predicted == labelled.truth
    cells = confusion_matrix(labelled.truth, labelled.predicted, len(labelled.classes))
    figures = _figures(job, labelled.truth, labelled.probabilities)
    return Assessment(
        classes=labelled.classes,
        n=len(labelled),
        unlabelled=len(scored) - len(labelled),
        group=group,
        units=job.units,
        figures=figures,
        calibration_error=expected_calibration_error(said, came),
        confusion=tuple(tuple(row) for row in cells.tolist()),
        reliability=tuple(reliability(said, came, groups=job.groups, **job.drawing)),
        coverage_risk=coverage_risk(
            labelled.probabilities.max(axis=1), right, job.groups, **job.drawing
        ),
        levels=(
            LevelFigures("image", len(labelled), len(labelled), _named(figures, LEVEL_FIGURES)),
            *(_level(job, name, group) for name in _levels(levels, group)),
        ),
        strata=tuple(_strata(job, strata)),
        light=_light(job),
    )


def _levels(levels: Sequence[str], group: str | None) -> list[str]:
    return [*(name for name in dict.fromkeys(levels) if name != group), *([group] if group else [])]


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
        if len(job.scored.classes) == 2 or name not in {"sensitivity", "specificity"}
    }


def _named(figures: Mapping[str, Interval], names: Sequence[str]) -> dict[str, Interval]:
    return {name: figures[name] for name in names}


def _reliable(scored: Scored) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probability that is checked, and whether it came true."""
    if len(scored.classes) == 2:
        return scored.probabilities[:, 1], scored.truth == 1
    return scored.probabilities.max(axis=1), scored.predicted == scored.truth


def _level(job: _Job, name: str, group: str | None) -> LevelFigures:
    """Score what the column names as a whole; V1 of one animal is not V1 of another."""
    cells = job.scored.column(name)
    index = np.flatnonzero([bool(cell) for cell in cells])
    part = job.select(index)
    owners = part.groups or [""] * index.size
    units = [
        cells[i] if name == group else f"{owner} {cells[i]}".strip()
        for i, owner in zip(index, owners, strict=True)
    ]
    try:
        found = aggregate(part.scored.probabilities, part.scored.truth, units)
    except TableError as error:
        return LevelFigures(name, len(set(units)), len(units), {}, str(error))
    groups = None if part.groups is None else [part.groups[i] for i in found.first]
    figures = _figures(part, found.truth, found.probabilities, LEVEL_FIGURES, groups)
    note = "" if units else f"No image says its {name}."
    return LevelFigures(name, len(found.units), len(units), figures, note)


def _strata(job: _Job, columns: Sequence[str]) -> list[StratumFigures]:
    rows = [{**row, "": place} for place, row in enumerate(job.scored.rows)]
    parts = [each for name in columns for each in subgroups(_in_thirds(rows, name), name)]
    return [_stratum(job, part) for part in parts]


def _in_thirds(rows: Sequence[Mapping[str, Any]], name: str) -> Sequence[Mapping[str, Any]]:
    """The rows, with a column of many different numbers cut into thirds."""
    cells = [row.get(name) for row in rows]
    try:
        numbers = np.array([float(cell) for cell in cells if cell not in {None, "", UNKNOWN}])
    except ValueError:
        return rows
    numbers = numbers[np.isfinite(numbers)]
    if np.unique(numbers).size <= _MOST_VALUES:
        return rows
    edges = np.unique(np.quantile(numbers, [1 / 3, 2 / 3], method="higher"))
    return cut(rows, name, edges.tolist(), name)


def _stratum(job: _Job, stratum: Subgroup) -> StratumFigures:
    part = job.select(np.array([row[""] for row in stratum.rows], dtype=np.int64))
    scored = part.scored
    counts = np.bincount(scored.truth, minlength=len(scored.classes)).tolist()
    return StratumFigures(
        column=stratum.column,
        value=stratum.value,
        n=len(scored),
        units=part.units,
        classes=dict(zip(scored.classes, counts, strict=True)),
        figures=_figures(part, scored.truth, scored.probabilities, STRATUM_FIGURES),
        light=_light(part),
    )


def _light(job: _Job) -> LightFigures | None:
    if job.lights is None:
        return None
    return assess_lights(job.lights, job.scored.truth, job.groups, **job.drawing)
