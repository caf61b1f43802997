# SPDX-License-Identifier: Apache-2.0
"""Rows of an evaluation become cases and plans, and what they lack is not planned."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from encephalon.errors import TableError
from encephalon.studies.isotropic.cases import read_cases, stranger_of
from encephalon.studies.isotropic.evaluation.trials import plans
from encephalon.studies.isotropic.settings import EvaluationOptions
from encephalon.tables.schema import Columns

COLUMNS = Columns(
    inputs={"t2w": "t2w", "t1w": "t1w"},
    optional=("t1w",),
    target="labels",
    group="group",
    split="split",
)


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
    cases, parts = read_cases(table, COLUMNS)
    assert [case.sample.id for case in cases] == ["a", "b", "c", "d"]
    assert [case.group for case in cases] == ["p1", "p1", "p2", "p3"]
    assert [case.reference for case in cases] == [None, None, None, table.parent / "truth.nii"]
    assert cases[1].about == {"site": "two"}
    assert parts == ["site"]
    assert "t1w" not in cases[2].sample.inputs


def test_without_a_group_every_scan_is_its_own(table: Path) -> None:
    """The id stands for the person."""
    table.write_text(table.read_text(encoding="utf-8").replace("group", "lab"), encoding="utf-8")
    assert [case.group for case in read_cases(table, COLUMNS)[0]] == ["a", "b", "c", "d"]


def test_a_stranger_is_another_person_with_a_t1w(table: Path) -> None:
    """Neither oneself, nor one's other scan, nor one without a T1w."""
    cases, _ = read_cases(table, COLUMNS)
    assert stranger_of(cases[0], cases) is cases[3]
    assert stranger_of(cases[3], cases) is cases[0]
    assert stranger_of(cases[0], cases[:3]) is None


def test_a_missing_file_is_no_fault_of_the_table(table: Path) -> None:
    """It fails when it is read; an id that is there twice stops everything."""
    (table.parent / "a.nii").unlink()
    assert len(read_cases(table, COLUMNS)[0]) == 4
    table.write_text(table.read_text(encoding="utf-8").replace("b,b.nii", "a,b.nii"), "utf-8")
    with pytest.raises(TableError, match="row 3"):
        read_cases(table, COLUMNS)


def test_what_a_case_lacks_is_not_planned(table: Path) -> None:
    """No trials about a T1w without one; a scan with a reference is not cut again."""
    cases, _ = read_cases(table, COLUMNS)
    asked = EvaluationOptions(axes="axial, coronal", thicknesses=4, stress="wrong,missing")
    names = [plan.name for plan in plans(cases, asked)]
    assert [name for name in names if name.startswith("a_")] == [
        "a_axial-4mm_normal",
        "a_coronal-4mm_normal",
        "a_axial-4mm_wrong-T1w",
        "a_coronal-4mm_wrong-T1w",
        "a_axial-4mm_no-T1w",
        "a_coronal-4mm_no-T1w",
    ]
    assert [name for name in names if name.startswith("c_")] == [
        "c_axial-4mm_normal",
        "c_coronal-4mm_normal",
    ]
    assert [name for name in names if name.startswith("d_")] == [
        "d_acquired_normal",
        "d_acquired_no-T1w",
    ]


def test_options_are_words_or_lists() -> None:
    """As a command line or a recipe has them; nonsense is refused."""
    asked = EvaluationOptions(axes="axial", thicknesses="2, 3.5", stress=["lesion"])
    assert (asked.axes, asked.thicknesses) == (("axial",), (2.0, 3.5))
    assert asked.conditions == ("normal", "lesion")
    assert EvaluationOptions(thicknesses="4,4").thicknesses == (4.0,)
    assert EvaluationOptions(profile="point").slice_profile(4.0).kind == "point"
    for wrong in ({"axes": "diagonal"}, {"thicknesses": "0"}, {"axes": ""}, {"stress": "rain"}):
        with pytest.raises(ValidationError):
            EvaluationOptions(**wrong)
