# SPDX-License-Identifier: Apache-2.0
"""The traffic light follows its rule, its thresholds are found honestly, its counts add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encephalon.errors import UsageError
from encephalon.evaluation.traffic_light import (
    LIGHTS,
    TrafficLight,
    best_pair,
    breakdown,
    colours,
    score_pairs,
    threshold_grid,
)


def test_thresholds_belong_to_the_lower_light() -> None:
    """p = 0.25 is green, 0.75 amber, a hair more is the next light."""
    likelihoods = [0.0, 0.25, 0.2500001, 0.75, 0.7500001, 1.0]
    lights = ["Green", "Green", "Amber", "Amber", "Red", "Red"]
    assert colours(likelihoods, 0.25, 0.75) == lights


@pytest.mark.parametrize("likelihood", [-0.1, 1.2, float("nan")])
def test_a_likelihood_that_is_none_has_no_light(likelihood: float) -> None:
    """A NaN is not silently red."""
    with pytest.raises(UsageError, match=r"between 0 and 1.*" + str(likelihood)):
        colours([0.5, likelihood], 0.25, 0.75)


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    """Green must not lie above amber."""
    with pytest.raises(UsageError, match=r"0\.8 and 0\.2"):
        colours([0.5], 0.8, 0.2)


def test_the_grid_is_the_published_one() -> None:
    """99 pairs; the greens rise, the ambers fall, and 0.15 is 0.15 without binary dust."""
    grid = threshold_grid()
    assert len(grid) == len(set(grid)) == 99
    assert grid[:3] == [(0.05, 0.95), (0.05, 0.9), (0.05, 0.85)]
    assert grid[-1] == (0.5, 0.55)
    assert (0.15, 0.85) in grid
    assert (0.5, 0.5) not in grid
    assert all(len(str(value)) <= 4 for pair in grid for value in pair)


def test_a_pair_that_leaves_one_class_is_skipped() -> None:
    """All lie between 0.4 and 0.6: a wide amber leaves nothing to score, a narrow one all."""
    likelihood, truth = [0.41, 0.42, 0.58, 0.59], [0, 0, 1, 1]
    greens = {row["green"] for row in score_pairs(likelihood, truth, "excluded")}
    assert greens == {0.45, 0.5}
    assert len(score_pairs(likelihood, truth, "negative")) == 99
    assert score_pairs(likelihood, [1, 1, 1, 1], "negative") == []


def test_amber_counts_as_negative_or_not_at_all() -> None:
    """An aged image in amber is a miss in the one mode and is not there in the other."""
    likelihood, truth = [0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1]
    pair = (0.25, 0.75)
    negative, excluded = (
        next(
            row
            for row in score_pairs(likelihood, truth, mode)  # type: ignore[arg-type]
            if (row["green"], row["amber"]) == pair
        )
        for mode in ("negative", "excluded")
    )
    assert (negative["n"], negative["fn"], negative["sensitivity"]) == (4, 1, 0.5)
    assert (excluded["n"], excluded["fn"], excluded["sensitivity"]) == (2, 0, 1.0)
    for row in (negative, excluded):
        assert [row[f"{light.lower()}_count"] for light in LIGHTS] == [1, 2, 1]
        assert row["amber_ratio"] == 0.5


def rows(youden: dict[float, float]) -> list[dict[str, float]]:
    """Rows of symmetric pairs that have these J."""
    names = ("sensitivity", "specificity", "precision", "f1")
    ratios = ("green_ratio", "amber_ratio", "red_ratio")
    return [
        {"green": green, "amber": round(1 - green, 10), "youden": value}
        | dict.fromkeys((*names, *ratios), value)
        for green, value in youden.items()
    ]


def test_the_best_pair_has_the_highest_mean_over_the_folds() -> None:
    """0.3 wins no fold, but the mean; its SD is that of a sample."""
    folds = [rows({0.3: 0.6, 0.4: 0.9, 0.45: 0.0}), rows({0.3: 0.6, 0.4: 0.1, 0.45: 0.7})]
    folds.append(rows({0.3: 0.3, 0.4: 0.2, 0.45: 0.4}))
    best = best_pair(folds)
    assert best is not None
    assert (best.green, best.amber, best.folds) == (0.3, 0.7, 3)
    assert best.mean["youden"] == pytest.approx(0.5)
    assert best.sd["youden"] == pytest.approx(math.sqrt(0.03))


def test_a_pair_that_few_folds_could_score_is_not_chosen() -> None:
    """One lucky fold does not decide for three."""
    best = best_pair([rows({0.25: 1.0, 0.4: 0.2}), rows({0.4: 0.2}), rows({0.4: 0.2})])
    assert best is not None
    assert best.green == 0.4


def test_only_symmetric_and_narrow_pairs_are_chosen_from() -> None:
    """A wide or lopsided pair is never chosen, and with nothing left there is no pair."""
    lopsided = [{**rows({0.3: 0.9})[0], "amber": 0.6}]
    assert best_pair([[*rows({0.2: 0.9}), *lopsided]]) is None
    assert best_pair([]) is None
    assert best_pair([[]]) is None


def test_equal_pairs_give_the_most_cautious() -> None:
    """Of the same J the widest amber wins, whatever the order of the rows."""
    best = best_pair([rows({0.45: 0.5, 0.3: 0.5})])
    assert best is not None
    assert best.green == 0.3
    assert math.isnan(best.sd["youden"])


def test_a_breakdown_keeps_every_row() -> None:
    """Counts by sex and region add up, and a combination that does not occur is not there."""
    table = [{"sex": "F", "region": "CC"}, {"sex": "M", "region": "CC"}, {"sex": "F"}]
    assert breakdown(["Red", "Amber", "Red"], table, ("sex", "region")) == [
        {"sex": "F", "region": "", "Green": 0, "Amber": 0, "Red": 1, "n": 1},
        {"sex": "F", "region": "CC", "Green": 0, "Amber": 0, "Red": 1, "n": 1},
        {"sex": "M", "region": "CC", "Green": 0, "Amber": 1, "Red": 0, "n": 1},
    ]


def test_a_breakdown_of_something_else_is_refused() -> None:
    """The word that is no light, and the number of rows, are named."""
    with pytest.raises(UsageError, match=r"of 1 rows.*1 lights and one is 'Aged'"):
        breakdown(["Aged"], [{}], ())
    with pytest.raises(UsageError, match="of 2 rows"):
        breakdown(["Red"], [{}, {}], ())


def test_lights_are_scored_without_amber() -> None:
    """Half are decided; of those one of two aged is red and both young are green."""
    lights = ["Green", "Green", "Green", "Red", "Amber", "Amber", "Amber", "Amber"]
    figures = TrafficLight().measure(lights, [0, 0, 1, 1, 0, 0, 1, 1], list("abcdabcd"), repeats=50)
    assert figures.counts == {"Green": 3, "Amber": 4, "Red": 1}
    assert (figures.n, figures.decided.value) == (4, 0.5)
    assert (figures.sensitivity.value, figures.specificity.value) == (0.5, 1.0)
    assert figures.decided.units == 4


def test_an_image_without_a_light_is_undecided_and_counted() -> None:
    """It is in no light, not decided, and in a column of its own where there is such an image."""
    figures = TrafficLight().measure(["Green", "", "Red", "Amber"], [0, 1, 1, 0], repeats=50)
    assert figures.counts == {"Green": 1, "Amber": 1, "Red": 1}
    assert (figures.unlike, figures.n, figures.decided.value) == (1, 2, 0.5)
    assert figures.sensitivity.value == 1.0
    found = breakdown(["Green", "", "Red"], [{"sex": "F"}, {"sex": "F"}, {"sex": "M"}], ["sex"])
    assert found == [
        {"sex": "F", "Green": 1, "Amber": 0, "Red": 0, "None": 1, "n": 2},
        {"sex": "M", "Green": 0, "Amber": 0, "Red": 1, "None": 0, "n": 1},
    ]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30),
    st.sampled_from(threshold_grid()),
)
def test_every_likelihood_has_one_light_and_lights_rise(
    samples: list[tuple[float, bool]], pair: tuple[float, float]
) -> None:
    """A larger likelihood never has a lower light, and the counts of a row add up."""
    likelihood, truth = np.array([p for p, _ in samples]), np.array([t for _, t in samples])
    lights = colours(np.sort(likelihood), *pair)
    places = [LIGHTS.index(light) for light in lights]
    assert places == sorted(places)
    for row in score_pairs(likelihood, truth, "excluded"):
        assert sum(row[f"{light.lower()}_count"] for light in LIGHTS) == len(samples)
        assert row["n"] + row["amber_count"] == len(samples)
        assert row["tp"] + row["fp"] == row["red_count"]
