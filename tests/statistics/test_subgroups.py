# SPDX-License-Identifier: Apache-2.0
"""Strata part a result table without losing a row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import TableError, UsageError
from encephalon.statistics.subgroups import cut, subgroups

ROWS = [
    {"id": 1, "sex": "F", "region": "CC", "mouse": "a", "age": 4.0},
    {"id": 2, "sex": "M", "region": "CC", "mouse": "a", "age": 18.0},
    {"id": 3, "sex": "F", "region": "HC", "mouse": "b", "age": 80.0},
    {"id": 4, "sex": "", "region": "HC", "mouse": "c", "age": None},
]


def test_each_value_is_a_stratum_and_unknown_comes_last() -> None:
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
