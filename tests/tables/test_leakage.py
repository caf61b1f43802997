# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from encephalon.errors import TableError
from encephalon.tables.leakage import audit, content_hash, require_clean, told_by_absence
from encephalon.tables.schema import Columns, Table
from encephalon.tables.splits import SplitOptions, split_table
from tests.studies.micrographs.published_demographics import demographics


def table_of(rows: list[dict[str, str | None]], folder: Path = Path()) -> Table:
    columns = Columns(group="mouse", split="split")
    return Table(pd.DataFrame(rows, dtype=object), columns, folder)


def row(name: str, mouse: str, split: str, image: str = "") -> dict[str, str | None]:
    return {"id": name, "mouse": mouse, "split": split, "image": image or None}


def test_a_split_that_parts_no_group_is_clean() -> None:
    """The report says so in one sentence."""
    report = audit(table_of([row("a", "m1", "train"), row("b", "m2", "test")]))
    assert report.clean
    assert report.sentences() == ["No group, file or id is shared between the parts of the split."]
    require_clean(table_of([row("a", "m1", "train")]), report)


def test_a_group_in_two_parts_is_named_with_its_rows() -> None:
    """And the rows of each part that know a group of the training part are counted."""
    rows = [row("a", "m1", "train"), row("b", "m1", "test"), row("c", "m2", "test")]
    report = audit(table_of(rows))
    (straddle,) = report.groups
    assert (straddle.name, straddle.parts, straddle.ids) == ("m1", ("train", "test"), ("a", "b"))
    assert report.exposed == {"test": (1, 2)}
    assert "1 of 2 test rows share their 'mouse' with train rows." in report.sentences()
    with pytest.raises(TableError, match="leaks"):
        require_clean(table_of(rows), report)


def test_rows_without_part_or_group_do_not_leak() -> None:
    """Only what is used can know something."""
    rows = [row("a", "m1", "train"), row("b", "m1", ""), row("c", "", "test")]
    assert audit(table_of(rows)).clean
    assert audit(table_of([*rows, row("d", "", "train")])).exposed == {"test": (0, 1)}


def test_an_id_in_two_rows_is_told() -> None:
    """Outputs are named by ids."""
    assert audit(table_of([row("a", "m1", "train"), row("a", "m1", "train")])).ids == ("a",)


def test_one_image_under_two_names_is_found(tmp_path: Path) -> None:
    """Compared by content; two compressions of one image are the same image."""
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"voxels" * 99, 1, mtime=1))
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"voxels" * 99, 9, mtime=2))
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(b"others" * 99))
    rows = [
        row("a", "m1", "train", "a.nii.gz"),
        row("b", "m2", "test", "b.nii.gz"),
        row("c", "m3", "test", "c.nii.gz"),
    ]
    report = audit(table_of(rows, tmp_path))
    (same,) = report.contents
    assert (same.name, same.ids) == ("a.nii.gz", ("a", "b"))
    assert "identical" in " ".join(report.sentences())
    assert audit(table_of(rows, tmp_path), contents=False).clean


def test_one_file_in_two_rows_is_found(tmp_path: Path) -> None:
    """The same path in two parts needs no hash to be a leak."""
    (tmp_path / "a.nii").write_bytes(b"voxels")
    rows = [row("a", "m1", "train", "a.nii"), row("b", "m2", "test", "a.nii")]
    assert len(audit(table_of(rows, tmp_path)).contents) == 1


def test_files_of_one_size_with_other_content_are_not_the_same(tmp_path: Path) -> None:
    """Size alone proves nothing."""
    for name in "ab":
        (tmp_path / f"{name}.nii").write_text(name)
    rows = [row("a", "m1", "train", "a.nii"), row("b", "m2", "test", "b.nii")]
    assert audit(table_of(rows, tmp_path)).clean
    assert content_hash(tmp_path / "a.nii") != content_hash(tmp_path / "b.nii")


def test_a_table_without_a_split_cannot_be_audited() -> None:
    """The sentence says how to get one."""
    table = Table(pd.DataFrame({"id": ["a"]}, dtype=object), Columns(), Path())
    with pytest.raises(TableError, match="encephalon table split"):
        audit(table)


def published() -> Table:
    """The 360 young and aged micrographs of 3BTRON, in the order of the published table."""
    columns = Columns(
        id="Image ID", inputs={}, target="Class", target_kind=("Young", "Aged"), group="Mouse ID"
    )
    table = Table(pd.DataFrame(demographics(), dtype=object), columns, Path())
    cells = table.texts("Class")
    return table.select([index for index, cell in enumerate(cells) if cell != "Middle age"])


@pytest.mark.parametrize("column", ["Mouse ID", "Sample"])
def test_every_published_test_image_shares_its_mouse_and_its_tissue(column: str) -> None:
    """The published image-level split (10 %, seed 44, by label) leaks in 36 of 36 images."""
    options = SplitOptions(0, 0.1, ("Class",), grouped=False, seed=44)
    table = split_table(published(), options)
    assert len(table) == 360
    report = audit(table, group=column)
    assert report.exposed == {"test": (36, 36)}
    assert not report.clean


def test_a_grouped_split_of_the_published_table_shares_no_mouse() -> None:
    """The same table, split by animal and still mixed by class, is clean."""
    table = split_table(published(), SplitOptions(0.1, 0.2, ("Class",), seed=44))
    report = audit(table)
    assert report.clean
    assert report.exposed == {
        "validation": (0, report.exposed["validation"][1]),
        "test": (0, report.exposed["test"][1]),
    }
    assert set(table.part("test").texts("Class")) == {"Young", "Aged"}


def test_what_is_known_of_nobody_of_a_class_or_beyond_a_number_tells_it() -> None:
    """And what is known of a few of each, or of hardly anybody, tells nothing."""
    sexes, ages = ["F"] * 6 + ["M"] * 6 + [""], [str(age) for age in (*range(12), "")]
    half = [True] * 6 + [False] * 7
    assert told_by_absence(sexes, half, numbers=False) == "'M'"
    assert told_by_absence(ages, half, numbers=True) == "above 5"
    assert told_by_absence(ages, [not one for one in half], numbers=True) == "below 6"
    mixed = [number % 2 == 0 for number in range(13)]
    assert told_by_absence(sexes, mixed, numbers=False) == ""
    assert told_by_absence(ages, mixed, numbers=True) == ""
    assert told_by_absence(sexes, [True] * 9 + [False] * 4, numbers=False) == ""
