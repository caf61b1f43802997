# SPDX-License-Identifier: Apache-2.0
"""Tables of folders, of BIDS datasets and of two tables say all that does not match."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import InputError, MissingFileError, TableError
from encephalon.tables.checks import check_table
from encephalon.tables.make import bids_table, folder_table, join_tables
from encephalon.tables.reading import read_table, write_table
from encephalon.tables.schema import Columns, Table


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three pictures and a volume in a folder and one below it, and what is no image."""
    folder = tmp_path / "images"
    for name in ("S1V1_a.tif", "S2V1_b.PNG", "more/S3V1_c.ome.tif", "more/S4V1_d.nii.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name in ("notes.txt", ".hidden.tif", "more/._S9V1.tif", "1.dcm"):
        (folder / name).touch()
    return folder


def sheet(folder: Path, *lines: str) -> Path:
    path = folder / "sheet.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


FULL = ["Image ID,Class,Mouse", "S4V1,Aged,m2", "S2V1,Young,m1", "S1V1,,m1", "S3V1,Aged,m2"]


def test_a_folder_and_a_spreadsheet_become_a_table(images: Path, tmp_path: Path) -> None:
    """A row an image, in the order of the files, paths from where the table will lie."""
    frame = folder_table(
        images,
        sheet(tmp_path, *FULL),
        id_column="Image ID",
        id_rule="before-underscore",
        relative_to=tmp_path / "out",
        rename={"Class": "class"},
    )
    assert list(frame.columns) == ["id", "image", "class", "Mouse"]
    assert frame.to_numpy().tolist() == [
        ["S1V1", "../images/S1V1_a.tif", None, "m1"],
        ["S2V1", "../images/S2V1_b.PNG", "Young", "m1"],
        ["S3V1", "../images/more/S3V1_c.ome.tif", "Aged", "m2"],
        ["S4V1", "../images/more/S4V1_d.nii.gz", "Aged", "m2"],
    ]


def test_a_folder_alone_becomes_a_table_of_ids_and_images(images: Path) -> None:
    """For those who only predict."""
    frame = folder_table(images)
    assert list(frame.columns) == ["id", "image"]
    assert frame["id"].tolist() == ["S1V1_a", "S2V1_b", "S3V1_c", "S4V1_d"]
    assert frame["image"][0] == (images / "S1V1_a.tif").resolve().as_posix()


def test_cells_that_name_files_are_ids_by_the_same_rule(images: Path, tmp_path: Path) -> None:
    """Many spreadsheets list "more/S3V1_c.tif", of whichever system."""
    lines = ["file", "S1V1_a.tif", "S2V1_b.png", r"more\S3V1_c.ome.tif", "more/S4V1_d.nii.gz"]
    frame = folder_table(images, sheet(tmp_path, *lines), id_column="file")
    assert frame["id"].tolist() == ["S1V1_a", "S2V1_b", "S3V1_c", "S4V1_d"]


def test_every_mismatch_is_in_one_error(images: Path, tmp_path: Path) -> None:
    """Images without a row, rows without an image, ids twice on either side, empty ids."""
    (images / "more" / "S1V1_z.tif").touch()
    path = sheet(tmp_path, "id,x", "S1V1,1", "S2V1,2", "S2V1,3", ",4", "S7V1,5", "S8V1,6")
    with pytest.raises(TableError) as caught:
        folder_table(images, path, id_rule="before-underscore", remainder=False)
    text = str(caught.value)
    for words in (
        "2 images of",
        "have the id 'S1V1': 'S1V1_a.tif', 'more/S1V1_z.tif'",
        "row 5: 'id' is empty",
        "has the id 'S2V1' in several rows, 3 and 4",
        "for 2 of 4 images",
        "'S3V1', 'S4V1' (left out with --images-only)",
        "for 2 of 4 rows",
        "'S7V1', 'S8V1' (left out with --remainder)",
    ):
        assert words in text
    assert "\n" not in text


def test_ten_of_many_mismatches_are_named(images: Path, tmp_path: Path) -> None:
    """And the others counted."""
    path = sheet(tmp_path, "id", "S1V1_a", *[f"x{number}" for number in range(30)])
    with pytest.raises(TableError, match=r"'x9' and 20 more"):
        folder_table(images, path, images_only=True)


def test_what_is_allowed_to_be_left_out_is_said(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Never silently."""
    logger = logging.getLogger("encephalon")
    logger.addHandler(caplog.handler)
    path = sheet(tmp_path, "id,x", "S1V1_a,1", "S9V1_a,2")
    try:
        frame = folder_table(images, path, remainder=True, images_only=True)
    finally:
        logger.removeHandler(caplog.handler)
    assert frame["id"].tolist() == ["S1V1_a"]
    assert "for 3 of 4 images" in caplog.text
    assert "'S9V1_a'" in caplog.text


def test_no_overlap_shows_an_id_of_each_side_and_the_rule_that_helps(
    images: Path, tmp_path: Path
) -> None:
    """Even where all that does not match may be left out: an empty table helps nobody."""
    path = sheet(tmp_path, *FULL)
    words = (
        r"No image of .*S1V1_a\.tif, has the id 'S1V1_a', but the first row has 'S4V1' in "
        r"'Image ID'; the id rule 'before-underscore' would match"
    )
    with pytest.raises(TableError, match=words):
        folder_table(images, path, id_column="Image ID", remainder=True, images_only=True)
    with pytest.raises(TableError, match=r"name another column of ids \(--id\)"):
        folder_table(images, path, id_column="Class")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"id_column": "Image"}, "has no column 'Image': did you mean 'Image ID'"),
        ({"rename": {"Clas": "class"}}, "has no column 'Clas': did you mean 'Class'"),
        ({"rename": {"Class": "Mouse"}}, "two columns 'Mouse'"),
        ({"rename": {"Class": "image"}}, "two columns 'image'"),
    ],
)
def test_columns_that_are_not_there_or_clash_are_named(
    images: Path, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    """With the nearest name there is."""
    settings = {"id_column": "Image ID", "id_rule": "before-underscore", **options}
    with pytest.raises(TableError, match=words):
        folder_table(images, sheet(tmp_path, *FULL), **settings)


def test_a_folder_without_images_is_one_sentence(tmp_path: Path) -> None:
    """As is one that is not there."""
    with pytest.raises(MissingFileError, match="There is no folder"):
        folder_table(tmp_path / "gone")
    with pytest.raises(InputError, match="holds no images"):
        folder_table(tmp_path)


@pytest.mark.data
def test_the_slices_and_their_sheet_match(data: Path) -> None:
    """460 pictures in three folders, one row each."""
    folder = data / "slices"
    frame = folder_table(folder, folder / "slices.csv", id_column="path", rename={"label": "class"})
    assert len(frame) == 460
    assert set(frame["class"]) == {"glioma", "meningioma", "pituitary"}
    assert all(f"/{kind}/" in path for kind, path in frame[["class", "image"]].to_numpy())


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "bids"
    names = [
        "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz",
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    text = json.dumps({"Name": "x", "BIDSVersion": "1.9.0"})
    (root / "dataset_description.json").write_text(text, encoding="utf-8")
    people = "participant_id\tage\tsex\nsub-01\t40\tF\nsub-03\tn/a\tM\n"
    (root / "participants.tsv").write_text(people, encoding="utf-8")
    return root


def test_each_image_is_a_row_with_what_is_known_of_the_person(dataset: Path) -> None:
    """The columns of participants.tsv are joined by participant."""
    frame = bids_table(dataset)
    assert frame["id"].to_list() == ["sub-01_ses-a_T1w", "sub-01_ses-a_T2w", "sub-02_ses-a_T1w"]
    assert frame["subject"].to_list() == ["01", "01", "02"]
    assert frame["suffix"].to_list() == ["T1w", "T2w", "T1w"]
    assert [frame["age"][0], frame["sex"][0]] == ["40", "F"]
    assert not isinstance(frame["age"][2], str)


def test_the_table_works_where_it_was_written(dataset: Path, tmp_path: Path) -> None:
    """Paths start from the folder that the table lies in."""
    out = tmp_path / "tables"
    out.mkdir()
    frame = bids_table(dataset, relative_to=out)
    assert frame["image"][0].startswith("../bids/sub-01")
    path = write_table(frame, out / "t.csv")
    assert check_table(read_table(path, Columns(group="subject"))) == []


def test_wide_tables_have_a_row_a_session_and_a_column_a_kind(dataset: Path) -> None:
    """A person without a T2w has an empty cell there."""
    frame = bids_table(dataset, wide=True)
    assert frame["id"].to_list() == ["sub-01_ses-a", "sub-02_ses-a"]
    assert str(frame["T2w"][0]).endswith("sub-01_ses-a_T2w.nii.gz")
    assert not isinstance(frame["T2w"][1], str)


def test_two_images_for_one_cell_of_a_wide_table_are_refused(dataset: Path) -> None:
    """A choice between two runs is the user's."""
    (dataset / "sub-02/ses-a/anat/sub-02_ses-a_run-2_T1w.nii.gz").touch()
    with pytest.raises(TableError, match="sub-02_ses-a has two T1w images"):
        bids_table(dataset, wide=True)


def test_a_dataset_without_matching_images_is_refused(dataset: Path) -> None:
    """An empty table would only fail later."""
    with pytest.raises(MissingFileError, match="no image named"):
        bids_table(dataset, suffixes=["FLAIR"])


def test_a_participants_file_without_its_key_is_refused(dataset: Path) -> None:
    """BIDS requires the column."""
    (dataset / "participants.tsv").write_text("name\tage\nx\t3\n", encoding="utf-8")
    with pytest.raises(TableError, match="no column 'participant_id'"):
        bids_table(dataset)


@pytest.mark.data
def test_a_real_dataset_becomes_a_table(data: Path) -> None:
    """ds000011 has six adults, each with a T1w."""
    frame = bids_table(data / "heads/ds000011", suffixes=["T1w"])
    assert len(frame) == 6
    assert frame["subject"].is_unique


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
