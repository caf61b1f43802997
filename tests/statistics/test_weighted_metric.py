# SPDX-License-Identifier: Apache-2.0
"""Shares have honest intervals, also where all samples agree."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics

from encephalon.errors import UsageError
from encephalon.statistics.intervals import proportion
from encephalon.statistics.weighted_metric import (
    WeightedMetric,
    average_precision_metric,
    macro,
    mean_metric,
    r2_metric,
    roc_auc_metric,
    roc_curve,
    share_interval,
    share_metric,
)


def test_a_share_counts_only_what_counts() -> None:
    """Two of the three that count were hit; the fourth hit is not looked at."""
    hits, among = [1, 1, 0, 1], [1, 1, 1, 0]
    assert share_metric(hits, among).value == pytest.approx(2 / 3)
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
    assert math.isnan(share_metric([1], [0]).value)
    assert math.isnan(mean_metric([]).value)


def test_the_mean_of_figures_is_undefined_where_one_is() -> None:
    """A draw that lacks what one figure needs does not count."""
    both = macro([share_metric([1, 0], [1, 0]), share_metric([1, 0], [0, 1])])
    of_draws = both.weigh(np.array([[1.0, 1.0], [2.0, 0.0]]))
    assert of_draws[0] == 0.5
    assert math.isnan(of_draws[1])


def test_groups_must_match_the_samples() -> None:
    """The two numbers are named."""
    with pytest.raises(UsageError, match="1 groups for 2 samples"):
        mean_metric([0.1, 0.2]).interval(["a"])
    with pytest.raises(UsageError, match="3 groups for 2 samples"):
        share_interval([1, 0], [1, 0], ["a", "b", "c"])


@pytest.mark.parametrize("figure", [roc_auc_metric, average_precision_metric])
@pytest.mark.parametrize("groups", [None, ["a"] * 3 + ["b"] * 3 + ["c"] * 3])
def test_a_perfect_area_has_no_interval(
    figure: Callable[..., WeightedMetric], groups: list[str] | None
) -> None:
    """Every draw from perfect ranks is perfect, and an area is no share that Wilson could bound."""
    truth, probability = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1]), np.linspace(0, 1, 9)
    found = figure(truth == 1, probability).interval(groups)
    assert (found.value, found.method) == (1.0, "none")
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    # One pair out of order, and the bootstrap has something to say.
    probability[3] = -1.0
    worse = figure(truth == 1, probability).interval()
    assert worse.method == "bootstrap"
    assert worse.low < worse.value <= worse.high


def test_each_interval_bears_its_name() -> None:
    """Shares of groups are of the bootstrap, perfect ones and those of single samples Wilson's."""
    hits, everything, owners = [1, 0, 1, 1, 0, 1], [1] * 6, list("aabbcc")
    assert share_interval(hits, everything, owners).method == "bootstrap"
    assert share_interval(hits, everything).method == "wilson"
    assert share_interval(everything, everything, owners).method == "wilson"
    # Every animal has one image right and one wrong: all draws agree, and none says how sure.
    assert share_interval([1, 0] * 3, everything, owners).method == "none"
    assert share_interval([1], [0]).method == "none"


def test_r2_is_that_of_scikit_learn() -> None:
    r2_score = pytest.importorskip("sklearn.metrics").r2_score

    generator = np.random.default_rng(7)
    truth = generator.normal(1e5, 1, 50)
    predicted = truth + generator.normal(0, 0.5, 50)
    assert r2_metric(truth, predicted).value == pytest.approx(r2_score(truth, predicted))
    assert np.isnan(r2_metric(np.ones(4), np.zeros(4)).value)


def test_the_points_of_a_roc_curve_are_those_of_scikit_learn() -> None:
    """Ties are one step; of too many points some are left out, but never an end."""
    rng = np.random.default_rng(0)
    positive, scores = rng.integers(0, 2, 60), rng.integers(0, 20, 60) / 20
    expected = metrics.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(positive, scores), expected[:2])
    few = np.array(roc_curve(positive, scores, points=5))
    assert few.shape == (2, 6)
    assert few[:, 0].tolist() == [0, 0]
    assert few[:, -1].tolist() == [1, 1]
