# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import TableError
from encephalon.tables.make import join_tables
from encephalon.tables.schema import Columns, Table


def table_of(source: str, key: str, **columns: Sequence[str | None]) -> Table:
    return Table(pd.DataFrame(columns, dtype=object), Columns(id=key), Path(), source)


LEFT = table_of("images", "id", id=["a", "b"], image=["a.nii", "b.nii"])


@given(order=st.permutations(["a", "b", "c", "d"]))
def test_rows_meet_by_id_whatever_their_order(order: list[str]) -> None:
    """The left table keeps its order and gains the right one's columns."""
    left = table_of("images", "id", id=["a", "b", "c", "d"])
    right = table_of("people", "path", path=order, age=[f"age of {name}" for name in order])
    joined = join_tables(left, right)
    assert list(joined.columns) == ["id", "age"]
    assert joined["age"].to_list() == [f"age of {name}" for name in "abcd"]


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (table_of("people", "who", who=["a"]), "people has no row for these ids of images: 'b'"),
        (
            table_of("people", "who", who=["a", "b", "c"]),
            "images has no row for these ids of people: 'c'",
        ),
        (table_of("people", "who", who=["a", "b", "b"]), "stand in several rows: 'b'"),
        (table_of("people", "who", who=["a", None]), "people, row 3: 'who' is empty"),
        (
            table_of("people", "who", who=["a", "b"], image=["x", "y"]),
            "images and people both have 'image'",
        ),
    ],
)
def test_every_mismatch_is_named(right: Table, words: str) -> None:
    """Ids without a partner, ids twice, empty ids, columns that clash."""
    with pytest.raises(TableError, match=words):
        join_tables(LEFT, right)


def test_rows_remaining_on_the_right_can_be_allowed() -> None:
    """The demographics of a whole cohort may serve a few images."""
    right = table_of("people", "who", who=["c", "b", "a"], age=["3", "2", "1"])
    assert join_tables(LEFT, right, remainder=True)["age"].to_list() == ["1", "2"]


def test_a_long_list_of_mismatches_is_cut() -> None:
    """Ten names and a count."""
    left = table_of("images", "id", id=[f"i{number:02}" for number in range(14)])
    with pytest.raises(TableError, match="'i09' and 4 more"):
        join_tables(left, table_of("people", "who", who=["x"]))
