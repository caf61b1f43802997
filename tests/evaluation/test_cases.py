# SPDX-License-Identifier: Apache-2.0
"""Rows of a table become the cases of an evaluation, and faults stop it or fail alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from encephalon.errors import TableError
from encephalon.evaluation.cases import Cases, read_cases
from encephalon.tables.schema import Columns

COLUMNS = Columns(
    inputs={"t2w": "t2w", "t1w": "t1w"},
    optional=("t1w",),
    target="labels",
    group="group",
    split="split",
)


def read(path: Path) -> Cases:
    """The cases of scans whose reference may be missing."""
    return read_cases(path, COLUMNS, ("reference",), required=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four rows: two of one person, one without a T1w, one with a reference."""
    for name in ("a", "b", "c", "d", "truth"):
        (tmp_path / f"{name}.nii").touch()
    lines = [
        "id,t2w,t1w,reference,group,site",
        "a,a.nii,a.nii,,p1,one",
        "b,b.nii,b.nii,,p1,two",
        "c,c.nii,,,p2,one",
        "d,d.nii,d.nii,truth.nii,p3,two",
    ]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_row_is_a_case(table: Path) -> None:
    """With its person, its reference, and the cells that scores can be cut by."""
    found = read(table)
    cases = found.cases
    assert [case.name for case in cases] == ["a", "b", "c", "d"]
    assert [case.group for case in cases] == ["p1", "p1", "p2", "p3"]
    assert [case.reference for case in cases] == [None, None, None, table.parent / "truth.nii"]
    assert cases[1].about == {"group": "p1", "site": "two"}
    assert (found.group, found.subgroups) == ("group", ["site"])
    assert "t1w" not in cases[2].sample.inputs


def test_without_a_group_every_scan_is_its_own(table: Path) -> None:
    """The id stands for the person."""
    table.write_text(table.read_text(encoding="utf-8").replace("group", "lab"), encoding="utf-8")
    assert [case.group for case in read(table).cases] == ["a", "b", "c", "d"]


def test_a_missing_file_is_no_fault_of_a_table_whose_rows_fail_alone(table: Path) -> None:
    """It fails when it is read; an id that is there twice stops everything."""
    (table.parent / "a.nii").unlink()
    assert len(read(table).cases) == 4
    with pytest.raises(TableError, match=r"there is no file .*a\.nii"):
        read_cases(table, COLUMNS, ("reference",))
    table.write_text(table.read_text(encoding="utf-8").replace("b,b.nii", "a,b.nii"), "utf-8")
    with pytest.raises(TableError, match="row 3"):
        read(table)


def test_references_that_must_be_there_are_asked_for(table: Path) -> None:
    """The first of the columns that the table has is taken; without any it is refused."""
    with pytest.raises(TableError, match=r"row 2.*'target'"):
        read_cases(table, COLUMNS, ("mask", "reference"))
    with pytest.raises(TableError, match="add a column 'mask' or 'labels'"):
        read_cases(table, COLUMNS, ("mask", "labels", None))
