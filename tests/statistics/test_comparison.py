# SPDX-License-Identifier: Apache-2.0
"""Paired comparisons find planted differences, respect groups, and do not see what is not there."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.errors import UsageError
from encephalon.statistics.comparison import (
    compare_correct,
    compare_paired,
    false_discovery,
    holm,
)


def test_a_planted_difference_is_found(rng: np.random.Generator) -> None:
    """A gain of 0.02 in every one of 40 scans is significant, with an interval around it."""
    worse = rng.uniform(0.9, 0.95, 40)
    result = compare_paired(worse + 0.02 + rng.normal(0, 0.005, 40), worse)
    assert result.p_value < 1e-6
    assert result.mean_difference.low < 0.02 < result.mean_difference.high
    assert result.first_better > 35
    assert result.first_better + result.second_better + result.ties == 40


def test_equal_scores_do_not_differ() -> None:
    """The p value is 1 and every pair is a tie."""
    result = compare_paired([0.9, 0.8], [0.9, 0.8])
    assert (result.p_value, result.ties, result.mean_difference.value) == (1.0, 2, 0.0)


def test_the_larger_score_is_better() -> None:
    """The difference is first minus second."""
    result = compare_paired([1.0, 2.0, 5.0], [3.0, 3.0, 4.0])
    assert (result.first_better, result.second_better) == (1, 2)
    assert result.mean_difference.value == pytest.approx(-2 / 3)


def test_scans_of_one_person_are_one_pair(rng: np.random.Generator) -> None:
    """Copies of each person's scan leave test and interval as they were."""
    first, second = rng.random((2, 8))
    alone = compare_paired(first, second)
    groups = np.repeat(np.arange(8), 5).tolist()
    copied = compare_paired(np.repeat(first, 5), np.repeat(second, 5), groups=groups)
    assert copied.p_value == pytest.approx(alone.p_value)
    assert copied.mean_difference.low == pytest.approx(alone.mean_difference.low)


def test_mcnemar_equals_the_binomial_test() -> None:
    """8 against 1 discordant answers give p = 20 / 512, whatever the concordant ones are."""
    first = [1] * 8 + [0] * 1 + [1] * 30
    second = [0] * 8 + [1] * 1 + [1] * 30
    result = compare_correct(first, second)
    assert result.p_value == pytest.approx(20 / 512)
    assert (result.first_better, result.second_better, result.ties) == (8, 1, 30)
    assert compare_correct([1, 0], [1, 0]).p_value == 1.0


def test_holm_equals_a_hand_calculation() -> None:
    """Sorted p values are multiplied by 4, 3, 2, 1 and never fall."""
    corrected = holm([0.01, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    assert np.isnan(holm([0.01, np.nan, 0.02])).tolist() == [False, True, False]
    assert holm([0.01, np.nan, 0.02])[0] == pytest.approx(0.02)


def test_false_discoveries_equal_a_hand_calculation() -> None:
    """Sorted p values are multiplied by 4 / 1, 4 / 2, 4 / 3, 4 / 4 and never rise downwards."""
    assert false_discovery([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert false_discovery([]) == []
    found = false_discovery([0.01, np.nan, 0.02])
    assert (found[0], np.isnan(found[1])) == (pytest.approx(0.02), True)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [([1.0], [1.0, 2.0], "two scores"), ([], [], "two scores"), ([np.inf], [1.0], "finite")],
)
def test_unpaired_scores_are_refused(first: list[float], second: list[float], words: str) -> None:
    """Every sample needs two finite scores."""
    with pytest.raises(UsageError, match=words):
        compare_paired(first, second)


def test_groups_must_match_the_pairs() -> None:
    """One group a pair."""
    with pytest.raises(UsageError, match="1 groups for 2 samples"):
        compare_paired([1.0, 2.0], [1.0, 3.0], groups=["a"])
