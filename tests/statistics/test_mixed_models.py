# SPDX-License-Identifier: Apache-2.0
"""Mixed models recover what was planted, and say how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import UsageError
from encephalon.statistics.mixed_models import coefficient, fit_mixed

pytest.importorskip("statsmodels")

TARGETS, SETS = 10, 16
TARGET, SET = (each.ravel() for each in np.indices((TARGETS, SETS)))
COLUMNS = {name: (SET >> place) & 1 for place, name in enumerate("abc")}


def scores(rng: np.random.Generator, of_sets: float = 0.0) -> np.ndarray:
    """Scores of every target from every set: `a` adds 0.3 and `b` takes 0.1."""
    luck = rng.normal(size=TARGETS)[TARGET] + of_sets * rng.normal(size=SETS)[SET]
    return luck + 0.3 * COLUMNS["a"] - 0.1 * COLUMNS["b"] + 0.05 * rng.normal(size=TARGET.size)


def test_planted_effects_are_found(rng: np.random.Generator) -> None:
    """With their deviations, whatever the targets are like."""
    found = fit_mixed(scores(rng), COLUMNS, {"target": TARGET})
    estimates = {each.name: each.estimate for each in found.coefficients}
    assert estimates == pytest.approx({"a": 0.3, "b": -0.1, "c": 0.0}, abs=0.03)
    assert [each.p_value < 0.001 for each in found.coefficients] == [True, True, False]
    assert found.deviations["residual"] == pytest.approx(0.05, abs=0.01)
    assert (found.n, round(found.deviations["target"]) > 0) == (TARGETS * SETS, True)


def test_scores_that_share_a_set_are_not_independent(rng: np.random.Generator) -> None:
    """In a balanced design the error is that of the sets, not that of the scores."""
    made = scores(rng, of_sets=0.2)
    plain = fit_mixed(made, COLUMNS, {"target": TARGET}).coefficients[0]
    crossed = fit_mixed(made, COLUMNS, {"target": TARGET, "set": SET}, freedom=SETS - 4.0)
    means = np.array([made[number == SET].mean() for number in range(SETS)])
    design = np.stack([np.ones(SETS), *[(np.arange(SETS) >> k) & 1 for k in range(3)]], axis=1)
    rest = means - design @ np.linalg.lstsq(design, means, rcond=None)[0]
    error = np.sqrt((rest**2).sum() / (SETS - 4) / SETS) * 2
    assert crossed.coefficients[0].standard_error == pytest.approx(error, rel=0.01)
    assert crossed.coefficients[0].standard_error > 2 * plain.standard_error
    assert crossed.coefficients[0].estimate == pytest.approx(plain.estimate)


def test_units_change_nothing(rng: np.random.Generator) -> None:
    """Scores in thousands have effects in thousands."""
    made = scores(rng)
    small, large = (fit_mixed(made * k, COLUMNS, {"target": TARGET}) for k in (1e-3, 1e3))
    for one, other in zip(small.coefficients, large.coefficients, strict=True):
        assert one.standard_error * 1e6 == pytest.approx(other.standard_error, rel=1e-4)


def test_what_cannot_be_told_apart_is_refused(rng: np.random.Generator) -> None:
    """Columns that say the same, more columns than scores, and a grouping of one group."""
    made = scores(rng)
    with pytest.raises(UsageError, match="cannot tell apart what a, b, c, twin add"):
        fit_mixed(made, {**COLUMNS, "twin": COLUMNS["a"]}, {"target": TARGET})
    with pytest.raises(UsageError, match="of 3 scores"):
        fit_mixed(made[:3], {"a": [0, 1, 0], "b": [0, 0, 1]}, {"target": [0, 1, 1]})
    with pytest.raises(UsageError, match="'target' has one"):
        fit_mixed(made, COLUMNS, {"target": np.zeros(TARGET.size)})


def test_as_many_sets_as_coefficients_tell_nothing_of_sets() -> None:
    """One and another apart and together: that is refused as well, in words."""
    columns = {"a": [1, 1, 0, 0, 1, 1, 0, 0], "b": [0, 0, 1, 1, 1, 1, 0, 0]}
    columns["c"] = [0, 0, 0, 0, 0, 0, 1, 1]
    scores = [0.40, 0.34, 0.40, 0.35, 0.42, 0.33, 0.33, 0.34]
    sets = ["a", "a", "b", "b", "a + b", "a + b", "c", "c"]
    with pytest.raises(UsageError, match="cannot tell apart what a, b, c add"):
        fit_mixed(scores, columns, {"target": ["x", "y"] * 4, "inputs": sets})


def test_small_and_unknown_are_told_apart() -> None:
    """An effect may be surely too small to matter, which no large p value says."""
    sure, unsure = coefficient("a", 0.001, 0.002), coefficient("a", 0.001, 0.2)
    assert min(sure.p_value, unsure.p_value) > 0.5
    assert sure.p_equivalent(0.02) < 1e-6
    assert unsure.p_equivalent(0.02) > 0.4
    assert coefficient("a", 0.05, 0.002).p_equivalent(0.02) > 0.999
    assert coefficient("a", 0.0, 0.0).p_equivalent(0.02) == 0


def test_an_interval_has_the_tails_of_its_freedom() -> None:
    """4.303 errors with two degrees of freedom, 1.96 with many, and none without any."""
    assert coefficient("a", 1, 1, 2.0).high == pytest.approx(1 + 4.3027, abs=1e-3)
    assert coefficient("a", 1, 1).low == pytest.approx(1 - 1.95996, abs=1e-4)
    assert np.isnan(coefficient("a", 1, 1, 0.0).p_value)
    assert coefficient("a", 1, 0.0).p_value == 0
