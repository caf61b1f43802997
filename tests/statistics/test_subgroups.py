# SPDX-License-Identifier: Apache-2.0
"""Subgroups lose no row of a result table; samples are combined by the mean of their logits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import TableError, UsageError
from encephalon.metrics.calibration import Calibration
from encephalon.statistics.summary import aggregate, cut, subgroups

ROWS = [
    {"id": 1, "sex": "F", "region": "CC", "mouse": "a", "age": 4.0},
    {"id": 2, "sex": "M", "region": "CC", "mouse": "a", "age": 18.0},
    {"id": 3, "sex": "F", "region": "HC", "mouse": "b", "age": 80.0},
    {"id": 4, "sex": "", "region": "HC", "mouse": "c", "age": None},
]


def test_each_value_is_a_subgroup_and_unknown_comes_last() -> None:
    """Values are sorted; an empty cell is `unknown`."""
    parts = subgroups(ROWS, "sex")
    assert [(part.value, part.n) for part in parts] == [("F", 2), ("M", 1), ("unknown", 1)]


def test_two_columns_are_crossed() -> None:
    """Only combinations that occur are subgroups."""
    parts = subgroups(ROWS, "sex", "region")
    assert [part.value for part in parts] == ["F × CC", "F × HC", "M × CC", "unknown × HC"]
    assert parts[0].column == "sex × region"


def test_a_stratum_counts_its_groups() -> None:
    """Two rows of one animal are one unit."""
    assert [part.units("mouse") for part in subgroups(ROWS, "region")] == [1, 2]


def test_an_unknown_column_is_refused_by_name() -> None:
    """The message lists the columns there are."""
    with pytest.raises(TableError, match=r"'site'.*age, id, mouse, region, sex"):
        subgroups(ROWS, "site")


def test_numbers_are_sorted_as_numbers() -> None:
    """10 comes after 9."""
    parts = subgroups([{"age": 10}, {"age": 9}, {"age": 100}], "age")
    assert [part.value for part in parts] == ["9", "10", "100"]


def test_a_number_is_cut_at_its_edges() -> None:
    """A part holds its lower edge; what is missing stays unknown."""
    parts = subgroups(cut(ROWS, "age", [18, 65], "years"), "years")
    assert [(part.value, [row["id"] for row in part.rows]) for part in parts] == [
        ("< 18", [1]),
        ("18 to 65", [2]),
        (">= 65", [3]),
        ("unknown", [4]),
    ]


@pytest.mark.parametrize("edges", [[], [3, 2], [1, 1]])
def test_edges_must_grow(edges: list[float]) -> None:
    """Edges out of order would lose rows."""
    with pytest.raises(UsageError, match="growing"):
        cut(ROWS, "age", edges, "years")


@given(st.lists(st.sampled_from(["a", "b", "", None]), min_size=1, max_size=20))
def test_no_row_is_lost(values: list[str | None]) -> None:
    """The subgroups of a column hold every row once."""
    rows = [{"id": place, "value": value} for place, value in enumerate(values)]
    found = [row["id"] for part in subgroups(rows, "value") for row in part.rows]
    assert sorted(found) == list(range(len(values)))


def test_a_unit_has_the_geometric_mean_of_the_odds() -> None:
    """Odds of 4 and 1 give 2, and units come in their first order."""
    found = aggregate([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]], [1, 1, 0], ["b", "b", "a"])
    assert found.units == ("b", "a")
    assert found.probabilities[0] == pytest.approx([1 / 3, 2 / 3])
    assert found.truth.tolist() == [1, 0]
    assert found.first.tolist() == [0, 2]


def test_it_is_the_mean_of_the_logits(rng: np.random.Generator) -> None:
    """The softmax of the mean logits of three classes."""
    logits = rng.normal(size=(6, 3))
    softmax = Calibration.identity(3).apply
    found = aggregate(softmax(logits), [0] * 6, ["x"] * 6)
    assert found.probabilities == pytest.approx(softmax(logits.mean(axis=0, keepdims=True)))


def test_one_certain_sample_does_not_outvote_a_hundred() -> None:
    """A probability of exactly 0 does not make the unit impossible."""
    found = aggregate([[1.0, 0.0]] + [[0.2, 0.8]] * 100, [1] * 101, ["m"] * 101)
    assert found.probabilities[0, 1] > 0.7


def test_a_unit_with_two_truths_is_named() -> None:
    """It cannot be young and aged."""
    with pytest.raises(TableError, match="'AP17' holds samples of more than one class"):
        aggregate([[0.5, 0.5]] * 3, [0, 0, 1], ["AP1", "AP17", "AP17"])


def test_lists_of_different_lengths_are_refused() -> None:
    """All three numbers are named."""
    with pytest.raises(UsageError, match="2, 2 and 1"):
        aggregate([[0.5, 0.5]] * 2, [0, 0], ["a"])


def test_nothing_gives_no_unit() -> None:
    """An empty table stays empty, with its classes."""
    assert aggregate(np.empty((0, 3)), [], []).probabilities.shape == (0, 3)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_the_order_of_samples_does_not_matter(units: list[str], seed: int) -> None:
    """Every unit keeps its probabilities, which sum to one."""
    rng = np.random.default_rng(seed)
    table = rng.dirichlet([1, 1, 1], len(units))
    order = rng.permutation(len(units))
    truth = np.zeros(len(units), int)
    one = aggregate(table, truth, units)
    two = aggregate(table[order], truth, [units[i] for i in order])
    assert one.probabilities.sum(axis=1) == pytest.approx(np.ones(len(one.units)))
    for place, unit in enumerate(one.units):
        other = two.units.index(unit)
        assert one.probabilities[place] == pytest.approx(two.probabilities[other])
