# SPDX-License-Identifier: Apache-2.0
"""Which rows train, validate and test, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import TableError
from encephalon.experiments.classifiers import class_splits
from encephalon.experiments.folds import Splits
from encephalon.recipes.schema import Recipe
from encephalon.studies.micrographs.data import PUBLISHED_SPLIT
from encephalon.studies.micrographs.settings import micrograph_settings
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Table
from tests.studies.micrographs.published_demographics import demographics
from tests.studies.micrographs.rows import read_rows, write_rows
from tests.studies.micrographs.tiny import quick_recipe, table_of


def make_table(folder: Path, animals: int = 8, images: int = 3, **columns: Any) -> Path:
    """A table of empty files; the function of a column gets the animal and the image."""
    rows = []
    for animal in range(animals):
        for number in range(images):
            name = f"S{animal}V{number}"
            # Contents differ: the audit would find the same file in two parts.
            (folder / f"{name}.png").write_text(name)
            row = {"id": name, "image": f"{name}.png", "class": ("Young", "Aged")[animal % 2]}
            row |= {"sex": "F", "region": "CC", "animal": f"A{animal}"}
            rows.append(row | {key: make(animal, number) for key, make in columns.items()})
    return write_rows(folder / "table.csv", rows)


def splits_of(path: Path, name: str = "micrographs", **changes: str) -> Splits:
    """The splits that the quick recipe asks for."""
    recipe = quick_recipe(name, **changes)
    return splits_from(recipe, table_of(recipe, path))


def splits_from(recipe: Recipe, table: Table) -> Splits:
    """As the study of micrographs makes them."""
    hold_out = PUBLISHED_SPLIT if recipe.mode == "published" else None
    return class_splits(recipe, micrograph_settings(recipe), table, hold_out)


def test_every_image_is_tested_once_and_validated_once(tmp_path: Path) -> None:
    """The next fold's test rows validate, and the rest trains."""
    splits = splits_of(make_table(tmp_path), study__folds="4")
    rows = list(range(24))
    assert sorted(np.concatenate([fold.test for fold in splits.folds])) == rows
    assert sorted(np.concatenate([fold.validation for fold in splits.folds])) == rows
    for fold, following in zip(splits.folds, splits.folds[1:], strict=False):
        assert fold.validation.tolist() == following.test.tolist()
        parts = [fold.train, fold.validation, fold.test]
        assert sorted(np.concatenate(parts)) == rows


def test_no_animal_straddles_and_every_part_has_every_class(tmp_path: Path) -> None:
    """Groups are whole, and the audit says so."""
    path = make_table(tmp_path)
    animals = np.array([row["animal"] for row in read_rows(path)])
    splits = splits_of(path)
    for fold in splits.folds:
        parts = [set(animals[rows]) for rows in (fold.train, fold.validation, fold.test)]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
        assert all(len({int(name[1:]) % 2 for name in part}) == 2 for part in parts)
    assert splits.audit.clean


def test_test_rows_and_rows_without_a_class_stay_out_of_the_folds(tmp_path: Path) -> None:
    """What the table calls "test" is held out; what has no class that is learnt is only scored."""
    path = make_table(tmp_path, split=lambda animal, _: "test" if animal in {0, 1} else "")
    rows = read_rows(path)
    rows[6]["class"], rows[9]["class"], rows[0]["class"] = "", "Middle age", ""
    write_rows(path, rows)
    splits = splits_of(path, table__score_only='["Middle age"]')
    assert splits.held_out.tolist() == [1, 2, 3, 4, 5]
    assert splits.others.tolist() == [0, 6, 9]
    assert sorted([*splits.learnt, *splits.held_out, *splits.others]) == list(range(24))


def test_the_same_seed_draws_the_same_folds(tmp_path: Path) -> None:
    """Another seed may draw others; the same never does."""
    path = make_table(tmp_path, animals=12)
    first, again, other = (
        [fold.test.tolist() for fold in splits_of(path, training__seed=seed).folds]
        for seed in ("3", "3", "4")
    )
    assert first == again != other


def test_a_part_that_no_row_has_is_named(tmp_path: Path) -> None:
    """And what is advised works."""
    path = make_table(tmp_path, split=lambda animal, _: "test" if animal in {0, 1} else "train")
    with pytest.raises(TableError, match="no row whose 'split' is 'validation': call some rows so"):
        splits_of(path, study__folds="0")
    assert len(splits_of(path, study__folds="3").folds) == 3


def test_the_published_split_is_a_tenth_by_image(tmp_path: Path) -> None:
    """Published mode without a split draws 10 %, and a tenth of the rest, and leaks by nature."""
    path = make_table(tmp_path, animals=10, images=10)
    with pytest.raises(TableError, match=r"10 of 10 test rows share their 'animal' with train"):
        splits_of(path, "micrographs-published", study__folds="0")
    splits = splits_of(path, "micrographs-published", study__folds="0", study__allow_leakage="true")
    fold = splits.folds[0]
    assert [len(rows) for rows in (fold.train, fold.validation, fold.test)] == [81, 9, 10]
    assert not splits.cross_validated
    assert not splits.audit.clean


def test_the_published_split_leaks_36_of_36(tmp_path: Path) -> None:
    """On the published demographics every test image shares its mouse with training images."""
    named = {"id": "Image ID", "class": "Class", "sex": "Sex", "region": "Region"}
    rows = [
        {new: row[old] for new, old in named.items()}
        | {"image": f"{row['Image ID']}.tif", "animal": row["Mouse ID"]}
        for row in demographics()
    ]
    recipe = quick_recipe("micrographs-published", study__folds="0")
    table = read_table(write_rows(tmp_path / "table.csv", rows), recipe.table)
    with pytest.raises(TableError, match=r"36 of 36 test rows share their 'animal'.*allow_leakage"):
        splits_from(recipe, table)


def test_a_leaking_split_is_refused_unless_allowed(tmp_path: Path) -> None:
    """The sentence gives the numbers and the way to go on; going on keeps the findings."""
    parts = ("train", "validation", "test")
    path = make_table(tmp_path, split=lambda _, number: parts[number])
    with pytest.raises(TableError, match=r"8 of 8 test rows share.*study\.allow_leakage=true"):
        splits_of(path, study__folds="0")
    splits = splits_of(path, study__folds="0", study__allow_leakage="true")
    assert "8 of 8 test rows" in " ".join(splits.audit.sentences())


def test_the_same_file_in_two_folds_is_a_leak(tmp_path: Path) -> None:
    """Two animals cannot have given one image."""
    path = make_table(tmp_path)
    (tmp_path / "S1V0.png").write_text("same")
    (tmp_path / "S3V0.png").write_text("same")
    with pytest.raises(TableError, match="identical"):
        splits_of(path, study__folds="4")


@pytest.mark.parametrize(
    ("table", "changes", "sentence"),
    [
        ({"animals": 1}, {}, "no row of the class 'Aged'"),
        ({"animals": 2}, {}, "(?i)group"),
        ({"animals": 4}, {"study__folds": "5"}, "(?i)group"),
        ({}, {"table__group": "mouse"}, "no column 'mouse'.*table.group"),
        ({}, {"study__folds": "0"}, "no split and study.folds is 0"),
        ({}, {"table__target_kind": '["Young", "Aged", "Old"]'}, "no row of the class 'Old'"),
    ],
)
def test_what_cannot_be_parted_is_one_sentence(
    tmp_path: Path, table: dict[str, int], changes: dict[str, str], sentence: str
) -> None:
    """One class, too few groups, no group, no split: each names the table and the way out."""
    path = make_table(tmp_path, **table)
    with pytest.raises(TableError, match=sentence) as caught:
        splits_of(path, **changes)
    assert "\n" not in str(caught.value)
    assert "table.csv" in str(caught.value)


def test_one_group_only_is_one_sentence(tmp_path: Path) -> None:
    """Both classes from one animal cannot be told apart from that animal."""
    path = make_table(tmp_path)
    write_rows(path, [row | {"animal": "A1"} for row in read_rows(path)])
    with pytest.raises(TableError, match=r"(?i)one group|1 group|single group"):
        splits_of(path)


def test_a_class_missing_in_a_part_is_named(tmp_path: Path) -> None:
    """A split of the user's own may forget one."""
    path = make_table(tmp_path, split=lambda animal, _: "validation" if animal == 3 else "train")
    with pytest.raises(TableError, match="no row of the class 'Young' in its part 'validation'"):
        splits_of(path, study__folds="0")


@pytest.mark.parametrize(
    ("key", "value"),
    [("levels", '["vesel"]'), ("strata", '["vesel"]'), ("box", '["vesel", "vessel", "sex", "id"]')],
)
def test_columns_of_the_report_are_missed_before_training(
    key: str, value: str, tmp_path: Path
) -> None:
    """A column that only the report needs is named, with the nearest, before hours of training."""
    path = make_table(tmp_path, vessel=lambda animal, _: f"V{animal}")
    with pytest.raises(TableError, match=rf"no column 'vesel', named in study\.{key}.*'vessel'"):
        splits_of(path, **{f"study__{key}": value})


@pytest.mark.parametrize("wrong", ["140", "-0.1", "nothing", ""])
def test_a_box_that_is_none_is_named(wrong: str, tmp_path: Path) -> None:
    """In pixels, say, it would guide and judge the maps wrongly; an empty one says nothing."""
    cells = {"x": wrong, "y": "0.5", "w": "0.1", "h": "0.1"}
    made = {
        key: (lambda animal, _, cell=cell: cell if animal == 1 else "")
        for key, cell in cells.items()
    }
    with pytest.raises(TableError, match=r"row 5: x, y, w, h are .*no box in the image"):
        splits_of(make_table(tmp_path, **made), study__box='["x", "y", "w", "h"]')
