# SPDX-License-Identifier: Apache-2.0
"""What trainings cost, as published, and what others will."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import TableError
from encephalon.experiments.costs import costs, forecast_minutes
from encephalon.experiments.grid import traits_of
from encephalon.experiments.results_table import ResultsTable, inputs_of, read_results
from tests.experiments.grid_results import made_results

#: Mean minutes and hours together of each set of images, in the published table of 700 models.
PUBLISHED = {
    "t1 + flair + dwi + connectivity": (467, 685),
    "t1 + flair + dwi": (593, 870),
    "t1 + flair + connectivity": (330, 484),
    "t1 + flair": (412, 604),
    "dwi": (334, 489),
    "dwi + connectivity": (230, 337),
    "connectivity": (51, 75),
    "": (81, 114),
}


@pytest.fixture(scope="module")
def published(data: Path) -> ResultsTable:
    """The published table of 700 models."""
    return read_results(data / "published" / "legibility" / "metrics_comparison_test.csv")


@pytest.mark.data
def test_the_published_costs_are_those_of_the_published_table(published: ResultsTable) -> None:
    """By the images that were used, whatever else was."""
    found = costs(published, ("t1", "flair", "dwi", "connectivity"))
    rounded = {each.inputs: (round(each.minutes), round(each.hours)) for each in found}
    assert rounded == PUBLISHED
    assert all(each.low < each.minutes < each.high for each in found)
    assert (min(each.shortest for each in found), max(each.longest for each in found)) == (
        pytest.approx(13.25),
        pytest.approx(4879, abs=1),
    )
    assert len(costs(published)) == 63


@pytest.mark.data
def test_a_fifth_of_the_published_models_tells_what_the_others_cost(
    published: ResultsTable,
) -> None:
    """Within the interval, which is of some 15 %."""
    drawn = np.random.default_rng(1).permutation(len(published))
    known = ResultsTable(published.frame.iloc[drawn[:140]].reset_index(drop=True))
    others = published.frame.iloc[drawn[140:]]
    about = zip(others["inputs"], others["target"], strict=True)
    found = forecast_minutes(
        known, [traits_of({"inputs": inputs_of(one), "target": name}) for one, name in about]
    )
    assert found.low < others["minutes"].sum() < found.high
    assert found.high < 1.5 * found.low


def test_a_model_of_many_sets_is_one_training(rng: np.random.Generator) -> None:
    """Its minutes count once, for the largest of its sets."""
    results = made_results(rng, model="a model")
    (only,) = costs(results)
    assert (only.trainings, only.inputs) == (1, "brain + blood + words")
    assert len(costs(made_results(rng))) == 8


def test_axes_of_a_cell_say_what_it_costs(rng: np.random.Generator) -> None:
    """A member of a list is an input, wherever it stands; a seed costs nothing."""
    values = {"study.inputs": ["brain", "words"], "training.seed": 3, "training.epochs": 2}
    assert traits_of(values) == {"brain": "used", "words": "used", "training.epochs": "2"}
    found = forecast_minutes(made_results(rng), [traits_of(values)] * 3)
    assert found.total == pytest.approx(480, rel=0.1)


def test_results_without_minutes_forecast_nothing(rng: np.random.Generator) -> None:
    """In a sentence."""
    results = made_results(rng, minutes=None)
    assert costs(results) == []
    with pytest.raises(TableError, match="no result has minutes"):
        forecast_minutes(results, [{}])
