# SPDX-License-Identifier: Apache-2.0
"""The power law of a learning curve, and what it says of other sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from encephalon.errors import UsageError
from encephalon.statistics.learning_curve import LearningCurve, learning_curve
from encephalon.statistics.weighted_metric import mean_metric, r2_metric

SIZES = (50, 100, 200, 400, 800)


def law(size: float) -> float:
    """A score of 0.8 without end, of which 2 / sqrt(n) is missing."""
    return 0.8 - 2 * size**-0.5


def curve(count: int, sizes: Sequence[int] = SIZES, seed: int = 0) -> LearningCurve:
    """The curve of the share that is right of so many samples, by that law."""
    rng = np.random.default_rng(seed)
    luck = rng.random(count)  # the same samples are hard at each size
    hits = [mean_metric(luck < law(size)) for size in sizes]
    return learning_curve(sizes, hits, ahead=(1600, 8000))


def test_a_power_law_is_found_again_and_told_ahead() -> None:
    """of many samples the law is that which was planted, at each size and without end."""
    found = curve(4_000)
    for size, interval in found.expected.items():
        assert interval.value == pytest.approx(law(size), abs=0.04)
        assert interval.low <= interval.value <= interval.high
    assert found.top is not None
    assert found.top.value == pytest.approx(0.8, abs=0.05)


def test_the_interval_of_what_is_ahead_holds_the_truth() -> None:
    """Nearly always, as the samples that are tested differ."""
    held = 0
    for seed in range(10):
        ahead = curve(400, seed=seed).expected[8000]
        held += ahead.low <= law(8000) <= ahead.high
    assert held >= 8


def test_few_samples_say_less_than_many() -> None:
    """The interval is wider."""
    widths = []
    for count in (200, 3_000):
        ahead = curve(count).expected[8000]
        widths.append(ahead.high - ahead.low)
    assert widths[0] > 2 * widths[1]


def test_no_score_beyond_the_best_is_expected() -> None:
    """A curve that rises straight to 1 does not pass it."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=400)
    told = [truth + rng.normal(0, noise, 400) for noise in (0.8, 0.4, 0.1)]
    found = learning_curve([10, 20, 40], [r2_metric(truth, one) for one in told], ahead=[10_000])
    assert found.expected[10_000].high <= 1


def test_two_sizes_are_no_law() -> None:
    """Their scores are told, and nothing else."""
    found = curve(500, SIZES[:2])
    assert list(found.scores) == [50, 100]
    assert (found.expected, found.top) == ({}, None)


def test_metrics_of_other_samples_are_refused() -> None:
    """They are no curve."""
    with pytest.raises(UsageError, match="of the same samples for each size"):
        learning_curve([1, 2], [mean_metric([1.0]), mean_metric([1.0, 2.0])])
