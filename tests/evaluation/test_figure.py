# SPDX-License-Identifier: Apache-2.0
"""Shares have honest intervals, also where all samples agree."""

from __future__ import annotations

import math

import numpy as np
import pytest

from encephalon.errors import UsageError
from encephalon.evaluation import proportion
from encephalon.evaluation.figure import (
    macro,
    mean_figure,
    roc_auc_figure,
    score_interval,
    share_figure,
    share_interval,
)


def test_a_share_counts_only_what_counts() -> None:
    """Two of the three that count were hit; the fourth hit is not looked at."""
    hits, among = [1, 1, 0, 1], [1, 1, 1, 0]
    assert share_figure(hits, among).value == pytest.approx(2 / 3)
    assert share_interval(hits, among) == proportion(2, 3)


def test_groups_are_the_trials_where_all_were_hit() -> None:
    """Nine images of three animals, all right, are 3 of 3 and not a certainty."""
    found = share_interval([1] * 9, [1] * 9, list("aaabbbccc"))
    assert found == proportion(3, 3)
    assert found.low < 0.5
    assert share_interval([0] * 9, [1] * 9, list("aaabbbccc")) == proportion(0, 3)


def test_groups_that_do_not_count_are_not_drawn() -> None:
    """The share of the positive is an affair of the two animals that are."""
    found = share_interval([1, 1, 0, 0], [1, 1, 1, 0], list("aabc"))
    assert (found.units, found.low, found.high) == (2, 0.0, 1.0)


def test_a_share_of_nothing_is_not_a_number() -> None:
    """With and without groups."""
    for groups in (None, ["a"]):
        assert math.isnan(share_interval([1], [0], groups).value)
    assert math.isnan(share_figure([1], [0]).value)
    assert math.isnan(mean_figure([]).value)


def test_the_mean_of_figures_is_undefined_where_one_is() -> None:
    """A draw that lacks what one figure needs does not count."""
    both = macro([share_figure([1, 0], [1, 0]), share_figure([1, 0], [0, 1])])
    of_draws = both.weigh(np.array([[1.0, 1.0], [2.0, 0.0]]))
    assert of_draws[0] == 0.5
    assert math.isnan(of_draws[1])


def test_groups_must_match_the_samples() -> None:
    """The two numbers are named."""
    with pytest.raises(UsageError, match="1 groups for 2 samples"):
        mean_figure([0.1, 0.2]).interval(["a"])
    with pytest.raises(UsageError, match="3 groups for 2 samples"):
        share_interval([1, 0], [1, 0], ["a", "b", "c"])


def test_a_perfect_area_is_no_certainty() -> None:
    """Nine images of three animals, perfectly ranked, have Wilson's interval of 3 of 3."""
    truth, probability = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1]), np.linspace(0, 1, 9)
    figure = roc_auc_figure(truth == 1, probability)
    animals = ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert figure.value == 1.0
    assert score_interval(figure, animals) == proportion(3, 3)
    # One pair out of order: the bootstrap is trusted again.
    probability[3] = -1.0
    worse = roc_auc_figure(truth == 1, probability)
    assert score_interval(worse) == worse.interval()
