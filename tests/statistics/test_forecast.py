# SPDX-License-Identifier: Apache-2.0
"""What many tasks will take is told by what others took."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import UsageError
from encephalon.statistics.forecast import forecast_total

TRAITS = [
    {"image": str(image), "depth": depth}
    for image in (True, False)
    for depth in ("low", "high")
    for _ in range(20)
]


def took(rng: np.random.Generator, spread: float) -> np.ndarray:
    """An image makes a task four times as long, depth twice, and luck may do as much."""
    factors = [(4 if one["image"] == "True" else 1) * (2 if one["depth"] == "high" else 1)
               for one in TRAITS]  # fmt: skip
    return 10 * np.array(factors) * np.exp(spread * rng.normal(size=len(TRAITS)))


def test_factors_are_learnt(rng: np.random.Generator) -> None:
    """80 minutes for each task that is told by both, though few were seen."""
    wanted = [{"image": "True", "depth": "high"}] * 5
    found = forecast_total(TRAITS, took(rng, 0.02), wanted)
    assert (found.tasks, found.measured) == (5, 80)
    assert found.total == pytest.approx(400, rel=0.05)
    assert found.low < found.total < found.high


def test_the_interval_holds_the_truth(rng: np.random.Generator) -> None:
    """Nearly always, where tasks vary much."""
    held = 0
    for seed in range(40):
        known, later = took(rng, 0.5), took(rng, 0.5)
        found = forecast_total(TRAITS, known, TRAITS, repeats=200, seed=seed)
        held += found.low <= later.sum() <= found.high
    assert held >= 34


def test_what_was_never_seen_is_usual(rng: np.random.Generator) -> None:
    """Another trait changes nothing; what nobody says of new tasks may be anything."""
    known = took(rng, 0.02)
    strange, plain = (forecast_total(TRAITS, known, [one] * 80) for one in ({"colour": "red"}, {}))
    assert strange.total == plain.total == pytest.approx(known.sum(), rel=0.05)
    assert forecast_total(TRAITS, known, []).total == 0


@pytest.mark.parametrize("minutes", [[], [0.0], [float("nan")]])
def test_nothing_measured_says_nothing(minutes: list[float]) -> None:
    """Nor does what took no time."""
    with pytest.raises(UsageError, match="needs tasks that were measured"):
        forecast_total([{}] * len(minutes), minutes, [{}])
