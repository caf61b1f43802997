# SPDX-License-Identifier: Apache-2.0
"""How logits are read is fitted on validation rows, and how the folds are pooled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encephalon.evaluation.operating_point import OperatingPoint, fit_operating_point
from encephalon.evaluation.predictions import Predictions
from encephalon.evaluation.traffic_light import TrafficLight
from encephalon.experiments.cross_validation import FoldResult
from encephalon.recipes.schema import Classification
from tests.training.tiny import training


def scored(
    scale: float = 1.0, classes: tuple[str, ...] = ("Young", "Aged"), seed: int = 0
) -> Predictions:
    """Forty predictions, right more often than not, `scale` times too sure of themselves."""
    rng = np.random.default_rng(seed)
    truth = np.arange(40) % len(classes)
    logits = 3.0 * scale * (np.eye(len(classes))[truth] + rng.normal(0, 0.7, (40, len(classes))))
    return Predictions(
        ids=[f"i{number}" for number in range(40)],
        classes=classes,
        logits=logits,
        y_prob=np.full_like(logits, np.nan),
        y_true=truth,
        rows=[{"animal": f"A{number % 10}"} for number in range(40)],
        fold=np.zeros(40, np.int64),
    )


def fit(
    folds: list[Predictions], group: str | None = None, widest: float = 0.5, **changes: Any
) -> OperatingPoint:
    """With the traffic light as the rule, and the settings of a classifier with changes."""
    settings, rule = Classification.model_validate(changes), TrafficLight(widest=widest)
    return fit_operating_point(folds, settings, group, rule)


def test_the_calibration_is_of_all_folds_together() -> None:
    """Logits ten times too large are cooled; probabilities sum to one."""
    point = fit([scored(10.0), scored(10.0, seed=1)], "animal")
    assert point.calibration is not None
    assert point.calibration.temperature > 3
    read = point.read(scored(10.0))
    np.testing.assert_allclose(read.y_prob.sum(axis=1), 1)
    assert fit([scored(10.0)], calibrate=False).calibration is None


def test_rows_without_a_class_shape_nothing() -> None:
    """Unknown truths among the validation rows leave the operating point as it was."""
    known, more = scored(), scored()
    more.y_true[30:] = -1
    only = known.select(np.arange(30))
    one, other = fit([more]), fit([only])
    assert one.calibration == other.calibration
    assert one.rule is not None
    assert other.rule is not None
    assert one.rule.trials == other.rule.trials


def test_the_thresholds_are_symmetric_and_lights_follow_them() -> None:
    """The pair lies no further apart than allowed, and every fold has its 99 pairs."""
    point = fit([scored(), scored(seed=1)], widest=0.3)
    assert point.rule is not None
    green, amber = point.rule.thresholds.green, point.rule.thresholds.amber
    assert green + amber == pytest.approx(1)
    assert amber - green <= 0.3 + 1e-9
    assert [len(rows) for rows in point.rule.trials] == [99, 99]
    probabilities = np.array([[1 - p, p] for p in (0.0, (green + amber) / 2, 1.0)])
    assert point.decide(probabilities) == ["Green", "Amber", "Red"]


def test_three_classes_have_no_light() -> None:
    """Their operating point is the calibration alone."""
    point = fit([scored(classes=("A", "B", "C"))])
    assert point.rule is not None
    assert point.rule.thresholds is None
    assert point.decide(np.full((2, 3), 1 / 3)) == ["", ""]


def test_the_published_score_is_the_sigmoid_of_one_logit() -> None:
    """The first logit has no say, and nothing is calibrated (3BTRON)."""
    point = fit([scored()], score="sigmoid_logit1")
    assert point.calibration is None
    read = point.read(scored())
    np.testing.assert_allclose(read.y_prob[:, 1], 1 / (1 + np.exp(-scored().logits[:, 1])))


@pytest.mark.parametrize(("mode", "value"), [("min", -0.2), ("max", 0.7)])
def test_the_best_epoch_is_that_of_the_run(mode: str, value: float) -> None:
    """Its value is larger where it is better, whatever is monitored."""
    values = [float("nan"), 0.2, 0.5, 0.7, 0.2, 0.7]
    history = [{"epoch": place, "val_loss": value} for place, value in enumerate(values, start=1)]
    settings_of = training(monitor_mode=mode)
    found = FoldResult(history, {})
    assert found.best_epoch(settings_of) == {"min": 2, "max": 4}[mode]
    assert found.best_value(settings_of) == value


def test_images_without_a_group_are_not_one_animal() -> None:
    """Where no row says its animal, the calibration is that of independent images."""
    alone = scored(10.0)
    grouped = fit([alone], "animal").calibration
    for row in alone.rows:
        row["animal"] = ""
    found = fit([alone], "animal").calibration
    assert found == fit([alone]).calibration
    assert found != grouped
