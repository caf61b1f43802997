# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encephalon.errors import TableError
from encephalon.tables import (
    Columns,
    SplitOptions,
    Table,
    audit,
    fold_table,
    split_table,
    use_fold,
)

COLUMNS = Columns(group="person", covariates={"age": "number"})


def cohort(people: list[int], columns: Columns = COLUMNS) -> Table:
    """A table with as many rows for each person as `people` says."""
    rows = [
        {"id": f"{who}-{visit}", "person": f"p{who}", "sex": "FM"[who % 2], "age": str(who)}
        for who, visits in enumerate(people)
        for visit in range(visits)
    ]
    return Table(pd.DataFrame(rows, dtype=object), columns, Path())


@given(
    people=st.lists(st.integers(1, 6), min_size=3, max_size=30),
    seed=st.integers(0, 2**32 - 1),
    stratify=st.sampled_from([(), ("sex",), ("sex", "age")]),
)
@settings(max_examples=15, deadline=None)
def test_no_group_ever_straddles_a_split(
    people: list[int], seed: int, stratify: tuple[str, ...]
) -> None:
    """Whatever the sizes, seed and strata; and no part is left empty."""
    table = split_table(cohort(people), SplitOptions(0.2, 0.2, stratify, seed=seed))
    assert audit(table, contents=False).clean
    assert set(table.texts("split")) == {"train", "validation", "test"}


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_the_same_seed_gives_the_same_split(seed: int) -> None:
    """A split can be drawn again on another machine."""
    table, options = cohort([3] * 12), SplitOptions(seed=seed, stratify=("sex",))
    assert split_table(table, options).texts("split") == split_table(table, options).texts("split")


def test_another_seed_gives_another_split() -> None:
    """The seed is used."""
    splits = {
        tuple(split_table(cohort([1] * 40), SplitOptions(seed=seed)).texts("split"))
        for seed in range(5)
    }
    assert len(splits) == 5


def test_grouped_parts_are_near_the_wished_sizes() -> None:
    """With many small groups the wish is met to within a row or two."""
    parts = split_table(cohort([2, 3] * 40), SplitOptions(0.15, 0.2)).texts("split")
    counts = Counter(parts)
    assert counts["test"] == pytest.approx(0.2 * len(parts), abs=2)
    assert counts["validation"] == pytest.approx(0.15 * len(parts), abs=2)


def test_grouped_parts_share_the_strata() -> None:
    """Women and men stay half and half in the part that is held out."""
    table = split_table(cohort([2] * 40), SplitOptions(0, 0.25, ("sex",)))
    assert Counter(table.part("test").texts("sex")) == {"F": 10, "M": 10}


def test_an_ungrouped_stratified_test_part_is_that_of_scikit_learn() -> None:
    """Row for row, so that a published image-level split can be repeated."""
    from sklearn.model_selection import train_test_split

    table = cohort([4] * 25)
    options = SplitOptions(0, 0.1, ("sex",), grouped=False, seed=44)
    _, wanted = train_test_split(
        table.ids, test_size=0.1, random_state=44, stratify=table.texts("sex")
    )
    assert sorted(split_table(table, options).part("test").ids) == sorted(wanted)


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    """An empty cell does not tie strangers together."""
    table = cohort([1] * 10).with_column("person", [None] * 10)
    assert Counter(split_table(table, SplitOptions(0, 0.2)).texts("split"))["test"] == 2


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.2), (0.0, 0.0), (1.0, 0)])
def test_impossible_fractions_are_refused(validation: float, test: float) -> None:
    """Something must be left to train on, and something held out."""
    with pytest.raises(TableError, match="fractions must be"):
        split_table(cohort([1] * 10), SplitOptions(validation, test))


def test_too_few_groups_or_members_of_a_stratum_are_refused() -> None:
    """One sentence instead of scikit-learn's traceback."""
    with pytest.raises(TableError, match="One group cannot be split"):
        split_table(cohort([9]))
    with pytest.raises(TableError, match="cannot be split so"):
        split_table(cohort([1] * 3), SplitOptions(0, 0.4, ("age",), grouped=False))


@pytest.mark.parametrize("stratify", [(), ("sex",)])
def test_folds_part_the_groups(stratify: tuple[str, ...]) -> None:
    """Each group is tested in exactly one fold, and each fold tests someone."""
    table = fold_table(cohort([1, 2, 3, 4] * 3), 4, stratify, seed=3)
    pairs = set(zip(table.texts("person"), table.texts("fold"), strict=True))
    assert len(pairs) == 12
    assert {fold for _, fold in pairs} == set("0123")


def test_as_many_folds_as_groups_leaves_one_group_out_at_a_time() -> None:
    """Leave-one-animal-out is this."""
    table = fold_table(cohort([3, 1, 2, 5]), 4)
    assert Counter(Counter(table.texts("fold")).values()) == {1: 1, 2: 1, 3: 1, 5: 1}


@pytest.mark.parametrize("folds", [1, 5])
def test_a_wrong_number_of_folds_is_refused(folds: int) -> None:
    """Four groups give two to four folds."""
    with pytest.raises(TableError, match="has 4 groups: folds must be 2 to 4"):
        fold_table(cohort([2] * 4), folds)


def test_ungrouped_folds_part_the_rows() -> None:
    """Without grouping every row is free."""
    table = fold_table(cohort([5] * 4), 5, ("sex",), grouped=False)
    assert set(Counter(table.texts("fold")).values()) == {4}


def test_a_fold_becomes_a_split() -> None:
    """One fold validates, the others train; an unknown fold is refused."""
    table = use_fold(fold_table(cohort([2] * 6), 3), 1)
    assert Counter(table.texts("split")) == {"train": 8, "validation": 4}
    with pytest.raises(TableError, match="has no fold 7; it has 0, 1, 2"):
        use_fold(table, 7)
