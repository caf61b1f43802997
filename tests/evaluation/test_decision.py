# SPDX-License-Identifier: Apache-2.0
"""How logits are read is fitted on validation rows, and how the folds are pooled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encephalon.evaluation.decision import decide
from encephalon.evaluation.predictions import Scored
from encephalon.experiments.crossval import Outcome
from encephalon.studies.micrographs.settings import MicrographSettings
from tests.training.tiny import training


def scored(
    scale: float = 1.0, classes: tuple[str, ...] = ("Young", "Aged"), seed: int = 0
) -> Scored:
    """Forty predictions, right more often than not, `scale` times too sure of themselves."""
    rng = np.random.default_rng(seed)
    truth = np.arange(40) % len(classes)
    logits = 3.0 * scale * (np.eye(len(classes))[truth] + rng.normal(0, 0.7, (40, len(classes))))
    return Scored(
        ids=[f"i{number}" for number in range(40)],
        classes=classes,
        logits=logits,
        probabilities=np.full_like(logits, np.nan),
        truth=truth,
        rows=[{"animal": f"A{number % 10}"} for number in range(40)],
        fold=np.zeros(40, np.int64),
    )


def settings(**changes: Any) -> MicrographSettings:
    """The study's settings with changes."""
    return MicrographSettings.model_validate(changes)


def test_the_calibration_is_of_all_folds_together() -> None:
    """Logits ten times too large are cooled; probabilities sum to one."""
    decision = decide([scored(10.0), scored(10.0, seed=1)], settings(), "animal")
    assert decision.calibration is not None
    assert decision.calibration.temperature > 3
    read = decision.read(scored(10.0))
    np.testing.assert_allclose(read.probabilities.sum(axis=1), 1)
    assert decide([scored(10.0)], settings(calibrate=False)).calibration is None


def test_rows_without_a_class_shape_nothing() -> None:
    """Unknown truths among the validation rows leave the decision as it was."""
    known, more = scored(), scored()
    more.truth[30:] = -1
    only = known.select(np.arange(30))
    one, other = decide([more], settings()), decide([only], settings())
    assert one.calibration == other.calibration
    assert one.scored == other.scored


def test_the_thresholds_are_symmetric_and_lights_follow_them() -> None:
    """The pair lies no further apart than allowed, and every fold has its 99 pairs."""
    decision = decide([scored(), scored(seed=1)], settings(thresholds={"widest": 0.3}))
    assert decision.thresholds is not None
    green, amber = decision.thresholds
    assert green + amber == pytest.approx(1)
    assert amber - green <= 0.3 + 1e-9
    assert [len(rows) for rows in decision.scored] == [99, 99]
    probabilities = np.array([[1 - p, p] for p in (0.0, (green + amber) / 2, 1.0)])
    assert decision.lights(probabilities) == ["Green", "Amber", "Red"]


def test_three_classes_have_no_light() -> None:
    """Their decision is the calibration alone."""
    decision = decide([scored(classes=("A", "B", "C"))], settings())
    assert decision.thresholds is None
    assert decision.lights(np.full((2, 3), 1 / 3)) == ["", ""]


def test_the_published_score_is_the_sigmoid_of_one_logit() -> None:
    """The first logit has no say, and nothing is calibrated (3BTRON spec, section 4)."""
    decision = decide([scored()], settings(score="sigmoid_logit1"))
    assert decision.calibration is None
    read = decision.read(scored())
    np.testing.assert_allclose(read.probabilities[:, 1], 1 / (1 + np.exp(-scored().logits[:, 1])))


@pytest.mark.parametrize(("mode", "value"), [("min", -0.2), ("max", 0.7)])
def test_the_best_epoch_is_that_of_the_run(mode: str, value: float) -> None:
    """Its value is larger where it is better, whatever is monitored."""
    values = [float("nan"), 0.2, 0.5, 0.7, 0.2, 0.7]
    history = [{"epoch": place, "val_loss": value} for place, value in enumerate(values, start=1)]
    settings_of = training(monitor_mode=mode)
    found = Outcome(history, {})
    assert found.best_epoch(settings_of) == {"min": 2, "max": 4}[mode]
    assert found.best_value(settings_of) == value


def test_images_without_a_group_are_not_one_animal() -> None:
    """Where no row says its animal, the calibration is that of independent images."""
    alone = scored(10.0)
    grouped = decide([alone], settings(), "animal").calibration
    for row in alone.rows:
        row["animal"] = ""
    found = decide([alone], settings(), "animal").calibration
    assert found == decide([alone], settings()).calibration
    assert found != grouped
