# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encephalon.errors import TableError
from encephalon.tables.leakage import audit
from encephalon.tables.schema import Columns, Table
from encephalon.tables.splits import (
    SplitOptions,
    fold_table,
    rows_with_scans,
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


@pytest.mark.parametrize(
    ("folds", "sentence"),
    [(1, "has 4 groups: folds must be 2 to 4"), (5, "has 4 groups, fewer than the 5 folds asked")],
)
def test_a_wrong_number_of_folds_is_refused(folds: int, sentence: str) -> None:
    """Four groups give two to four folds."""
    with pytest.raises(TableError, match=sentence):
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


def classed(groups: list[str], grouped: bool = True) -> Table:
    """Three rows for each letter, of the class Young or Aged (y, a), none (n), or both (b)."""
    classes = {"y": ["Young"] * 3, "a": ["Aged"] * 3, "n": [None] * 3, "b": ["Young", "Aged", None]}
    rows = [
        {"id": f"{number}-{row}", "animal": f"m{number}", "class": name}
        for number, letter in enumerate(groups)
        for row, name in enumerate(classes[letter])
    ]
    columns = Columns(group="animal", target="class", target_kind=("Young", "Aged"))
    return Table(pd.DataFrame(rows, dtype=object), columns, Path(), source="cohort.csv")


@given(
    groups=st.lists(st.sampled_from("yabn"), max_size=12).map(lambda more: [*"yyyaaa", *more]),
    seed=st.integers(0, 2**32 - 51),
)
@settings(max_examples=15, deadline=None)
def test_every_fold_tests_some_of_each_class(groups: list[str], seed: int) -> None:
    """Where each class is in as many groups as there are folds, no fold goes without."""
    table = fold_table(classed(groups), 3, ("class",), seed=seed)
    pairs = set(zip(table.texts("fold"), table.texts("class"), strict=True))
    assert {(fold, name) for fold in "012" for name in ("Young", "Aged")} <= pairs
    tested = use_fold(table, 0, validation=1)
    for part in ("train", "validation", "test"):
        assert {"Young", "Aged"} <= set(tested.part(part).texts("class"))
    assert audit(tested, contents=False).clean


def test_a_class_in_too_few_groups_is_named() -> None:
    """Before anything is drawn, with the number of folds that would do."""
    words = r"cohort\.csv: the class 'Aged' is in 2 groups of 'animal', too few for 3 folds"
    with pytest.raises(TableError, match=words):
        fold_table(classed(["y"] * 5 + ["a"] * 2), 3, ("class",))
    with pytest.raises(TableError, match=r"'Aged' is in 3 rows, too few for 4 folds"):
        fold_table(classed(["y"] * 5 + ["a"]), 4, ("class",), grouped=False)


def test_classes_tied_to_groups_that_cannot_be_shared_are_named() -> None:
    """One animal that holds most of both classes leaves a fold without one."""
    rows = [
        *({"id": f"a{row}", "animal": "m0", "class": "Young"} for row in range(30)),
        *({"id": f"b{row}", "animal": "m0", "class": "Aged"} for row in range(30)),
        *({"id": f"c{row}", "animal": "m1", "class": "Young"} for row in range(2)),
        *({"id": f"d{row}", "animal": "m2", "class": "Aged"} for row in range(2)),
    ]
    columns = Columns(group="animal", target="class", target_kind=("Young", "Aged"))
    table = Table(pd.DataFrame(rows, dtype=object), columns, Path(), source="cohort.csv")
    with pytest.raises(TableError, match=r"however they are drawn, one has none of the class"):
        fold_table(table, 2, ("class",))


def test_one_group_only_is_one_sentence() -> None:
    """It names the group and its column."""
    with pytest.raises(TableError, match=r"one group only, 'm0' in 'animal'"):
        fold_table(classed(["b"]), 3, ("class",))


def test_a_small_stratum_that_is_no_class_is_no_fault() -> None:
    """Folds share what can be shared, without a warning from scikit-learn; but not nothing."""
    table = fold_table(cohort([9, 2]), 5, ("sex",), grouped=False)
    assert set(table.texts("fold")) == set("01234")
    with pytest.raises(TableError, match="11 rows cannot be parted into 10 folds"):
        fold_table(cohort([9, 2]), 10, ("sex",), grouped=False)


def test_few_rows_share_what_they_can_of_several_columns() -> None:
    """Nine and two of each sex and as many sites as rows: the sites give way."""
    few = cohort([9, 2]).with_column("site", [f"s{row}" for row in range(11)])
    shared = fold_table(few, 5, ("sex", "site"), grouped=False)
    assert shared.texts("fold") == fold_table(few, 5, ("sex",), grouped=False).texts("fold")


def test_one_fold_is_tested_and_another_validates() -> None:
    """The rest trains; the two cannot be the same, and both must be there."""
    table = fold_table(cohort([2] * 6), 3)
    split = use_fold(table, 2, validation=0)
    wanted = {"2": "test", "0": "validation", "1": "train"}
    assert split.texts("split") == [wanted[number] for number in table.texts("fold")]
    with pytest.raises(TableError, match="cannot both test and validate"):
        use_fold(table, 1, validation=1)
    with pytest.raises(TableError, match="has no fold 7"):
        use_fold(table, 1, validation=7)


def test_rows_of_label_maps_alone_are_never_drawn_for_testing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are learnt from; in a table that tests them all the same they are named and left out."""
    columns = Columns(group="person", optional=("image",))
    rows = [
        {"id": f"r{n}", "image": f"{n}.nii" if n % 2 else "", "person": f"p{n}"} for n in range(20)
    ]
    table = Table(pd.DataFrame(rows, dtype=object), columns, Path())
    for seed in range(5):
        parts = split_table(table, SplitOptions(test=0.2, seed=seed)).texts("split")
        tested = [row["image"] for row, part in zip(rows, parts, strict=True) if part == "test"]
        assert len(tested) == 4
        assert all(tested)
    assert rows_with_scans(table, [0, 1, 2, 3]) == [1, 3]
    assert "2 of 4 rows name no file in 'image' and are not scored: r0, r2." in caplog.text
    with pytest.raises(TableError, match="none of the 2 rows to score names a file in 'image'"):
        rows_with_scans(table, [0, 2])
