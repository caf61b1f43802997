# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from encephalon.errors import TableError
from encephalon.tables.checks import check_table, checked
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns, Fault, Table

COLUMNS = Columns(covariates={"age": "number", "sex": ("F", "M")}, group="person", split="split")
GOOD = ["a,a.nii,3.5,F,p1,train", "b,b.nii,4,M,p2,test"]


def table_of(folder: Path, rows: list[str], columns: Columns = COLUMNS) -> Table:
    for name in ("a.nii", "b.nii"):
        (folder / name).touch()
    path = folder / "table.csv"
    path.write_text("\n".join(["id,image,age,sex,person,split", *rows]), encoding="utf-8")
    return read_table(path, columns)


def test_a_good_table_has_no_faults(tmp_path: Path) -> None:
    """And `checked` gives it back."""
    table = table_of(tmp_path, GOOD)
    assert check_table(table) == []
    assert checked(table) is table


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (",b.nii,4,M,p2,test", "id", "the id is empty"),
        ("a,b.nii,4,M,p2,test", "id", "already that of row 2"),
        ("A,b.nii,4,M,p2,test", "id", "already that of row 2"),
        ("../b,b.nii,4,M,p2,test", "id", "cannot be a file name"),
        (".b,b.nii,4,M,p2,test", "id", "cannot be a file name"),
        ("b,,4,M,p2,test", "image", "names no file for 'image'"),
        ("b,c.nii,4,M,p2,test", "image", "there is no file"),
        ("b,b.nii,four,M,p2,test", "age", "expected a number but got 'four'"),
        ("b,b.nii,inf,M,p2,test", "age", "expected a number but got 'inf'"),
        ("b,b.nii,,M,p2,test", "age", "is empty"),
        ("b,b.nii,4,male,p2,test", "sex", "expected 'F' or 'M' but got 'male'"),
        ("b,b.nii,4,M,,test", "person", "the group is empty"),
        ("b,b.nii,4,M,p2,tset", "split", "expected 'train', 'validation' or 'test' or nothing"),
        ("b,b.nii,4,M,p1,test", "person", "in 'test' here but in 'train' in row 2"),
    ],
)
def test_every_fault_names_its_row_and_column(
    tmp_path: Path, row: str, column: str, words: str
) -> None:
    """Rows are numbered as a spreadsheet numbers them: the header is 1."""
    (fault,) = check_table(table_of(tmp_path, [GOOD[0], row]))
    assert (fault.row, fault.column) == (3, column)
    assert words in fault.message


def test_a_missing_column_is_the_only_fault_told(tmp_path: Path) -> None:
    """It comes with the nearest name there is; its rows are not complained of one by one."""
    columns = replace(COLUMNS, covariates={"agee": "number"})
    (fault,) = check_table(table_of(tmp_path, GOOD, columns))
    assert fault == Fault(0, "agee", fault.message)
    assert "did you mean 'age'?" in fault.message


def test_a_row_without_a_split_belongs_to_no_part(tmp_path: Path) -> None:
    """Neither fault nor leak."""
    assert check_table(table_of(tmp_path, [GOOD[0], "b,b.nii,4,M,p1,"])) == []


def test_an_optional_input_may_be_empty_but_not_wrong(tmp_path: Path) -> None:
    """A person without that scan is welcome; a misspelt path is not."""
    columns = replace(COLUMNS, optional=("image", "age"))
    assert check_table(table_of(tmp_path, [GOOD[0], "b,,,M,p2,test"], columns)) == []
    (fault,) = check_table(table_of(tmp_path, [GOOD[0], "b,c.nii,4,M,p2,test"], columns))
    assert fault.column == "image"


def test_an_optional_column_may_be_absent(tmp_path: Path) -> None:
    """So may the group and the split, which a training run can draw itself."""
    columns = Columns(
        inputs={"image": "image", "t2": "t2"}, optional=("t2",), group="who", split="part"
    )
    assert check_table(table_of(tmp_path, GOOD, columns)) == []


def test_a_target_is_checked_by_its_kind(tmp_path: Path) -> None:
    """A file, a number or one of the classes."""
    classes = Columns(target="sex", target_kind=("F", "X"))
    (fault,) = check_table(table_of(tmp_path, GOOD, classes))
    assert (fault.row, fault.column) == (3, "sex")
    number = Columns(target="age", target_kind="number")
    assert check_table(table_of(tmp_path, GOOD, number)) == []
    labels = Columns(target="person", target_kind="labels")
    assert [fault.row for fault in check_table(table_of(tmp_path, GOOD, labels))] == [2, 3]


def test_the_error_lists_twenty_faults_and_counts_the_rest(tmp_path: Path) -> None:
    """A table of a thousand faults is told in a screenful."""
    rows = [f"r{number},a.nii,x,F,p{number},train" for number in range(25)]
    with pytest.raises(TableError) as caught:
        checked(table_of(tmp_path, rows))
    lines = str(caught.value).splitlines()
    assert "has 25 faults" in lines[0]
    assert len(lines) == 22
    assert lines[-1].strip() == "and 5 more."
    assert "row 2, 'age'" in lines[1]


CLASSES = Columns(target="sex", target_kind=("F", "M"), score_only=("other",))


def test_a_row_without_a_class_is_no_fault(tmp_path: Path) -> None:
    """It is scored and nothing is learnt from it; nor from a class that is only scored."""
    rows = ["a,a.nii,,,p1,", "b,b.nii,,other,p2,", "c,b.nii,,NA,p3,"]
    assert check_table(table_of(tmp_path, rows, CLASSES)) == []


def test_a_label_that_is_no_class_is_named_with_the_nearest(tmp_path: Path) -> None:
    """And with where a class goes that is not learnt."""
    columns = replace(CLASSES, target_kind=("Young", "Aged"))
    (fault,) = check_table(table_of(tmp_path, ["a,a.nii,,Agd,p1,"], columns))
    assert (fault.row, fault.column) == (2, "sex")
    assert "'Agd' is none of the classes: did you mean 'Aged'?" in fault.message
    assert "score_only" in fault.message


def test_a_covariate_that_is_not_a_number_is_called_so(tmp_path: Path) -> None:
    """NaN, NA and n/a are gaps, and the fault says so; null is no number."""
    rows = ["a,a.nii,NaN,F,p1,", "b,b.nii,null,M,p2,"]
    gap, word = check_table(table_of(tmp_path, rows))
    assert (gap.row, gap.column) == (2, "age")
    assert "NaN" in gap.message
    assert "expected a number but got 'null'" in word.message


def test_a_pattern_stands_for_the_columns_that_it_fits(tmp_path: Path) -> None:
    """In natural order, without what means something else; one that nothing fits is missing."""
    path = tmp_path / "table.csv"
    path.write_text("id,fc_10,fc_2,fc_id,x,fc_target\na,1,2,3,4,5\n", encoding="utf-8")
    columns = Columns(
        inputs={},
        target="fc_target",
        target_kind="number",
        covariates={"x": "number", "fc_*": "number", "fc_id": ("3",)},
        optional=("fc_*",),
    )
    found = read_table(path, columns)
    assert list(found.columns.covariates) == ["x", "fc_2", "fc_10", "fc_id"]
    assert found.columns.optional == ("fc_2", "fc_10")
    assert check_table(found) == []
    (fault,) = check_table(read_table(path, replace(columns, covariates={"sc_?": "number"})))
    assert fault.column == "sc_?"
