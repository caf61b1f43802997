# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from encephalon.errors import MissingFileError, TableError
from encephalon.tables.checks import check_table
from encephalon.tables.make import bids_table
from encephalon.tables.reading import read_table, write_table
from encephalon.tables.schema import Columns


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
