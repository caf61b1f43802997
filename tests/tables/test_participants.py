# SPDX-License-Identifier: Apache-2.0
"""The people of a BIDS dataset for a model that takes whatever there is of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from encephalon.errors import MissingFileError
from encephalon.tables.samples import Sample, collect_samples
from encephalon.tables.schema import Columns

COLUMNS = Columns(
    inputs={"t1": "t1", "flair": "flair", "connectivity": "connectivity"},
    suffixes={"t1": ("T1w",), "flair": ("FLAIR",)},
    covariates={"age": "number", "sex": ("F", "M")},
    optional=("t1", "flair", "connectivity", "age", "sex"),
)


def dataset(folder: Path, *images: str, table: str = "") -> Path:
    """A dataset with these empty files, and rows of participants.tsv between blanks and lines."""
    for name in images:
        entities = name.split("_")
        place = folder.joinpath(*(one for one in entities if one[:4] in {"sub-", "ses-"}), "anat")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.nii.gz").touch()
    folder.mkdir(exist_ok=True)
    about = json.dumps({"Name": "people", "BIDSVersion": "1.10.0"})
    (folder / "dataset_description.json").write_text(about, encoding="utf-8")
    if table:
        (folder / "participants.tsv").write_text(table.replace(" ", "\t"), encoding="utf-8")
    return folder


def collect(folder: Path, **chosen: Any) -> dict[str, Sample]:
    return {one.id: one for one in collect_samples([folder], COLUMNS, role="t1", **chosen)}


def test_a_person_is_whatever_there_is(tmp_path: Path) -> None:
    """Images of any kind that is known, a row, or both; also somebody with a row alone."""
    table = "participant_id age sex\nsub-01 31 F\nsub-03 n/a M\n"
    images = ("sub-01_T1w", "sub-01_T2w", "sub-02_ses-a_FLAIR", "sub-02_ses-b_T1w")
    found = collect(dataset(tmp_path / "d", *images, table=table))
    roles = {name: sorted(one.inputs) for name, one in found.items()}
    assert roles == {
        "sub-01": ["t1"],
        "sub-02_ses-a": ["flair"],
        "sub-02_ses-b": ["t1"],
        "sub-03": [],
    }
    assert found["sub-01"].row["age"] == "31"
    assert found["sub-03"].row == {"participant_id": "sub-03", "age": None, "sex": "M"}
    assert found["sub-02_ses-a"].row == {}


def test_of_several_scans_of_a_kind_the_plain_one_is_meant(tmp_path: Path) -> None:
    """Where none is plain none is taken, and why is said."""
    images = ("sub-01_T1w", "sub-01_run-2_T1w", "sub-02_run-1_T1w", "sub-02_run-2_T1w")
    found = collect(dataset(tmp_path / "d", *images))
    assert found["sub-01"].inputs["t1"].name == "sub-01_T1w.nii.gz"
    assert found["sub-02"].inputs == {}
    assert "No telling which of sub-02_run-1_T1w.nii.gz" in found["sub-02"].absent["t1"]


def test_people_are_chosen_by_their_labels(tmp_path: Path) -> None:
    """Of the table too; a session has its images; nobody is an error."""
    table = "participant_id age\nsub-01 31\nsub-02 32\nsub-03 33\n"
    folder = dataset(tmp_path / "d", "sub-01_T1w", "sub-02_ses-a_T1w", table=table)
    found = collect(folder, participants=["sub-01", "03"])
    assert {name: list(one.inputs) for name, one in found.items()} == {
        "sub-01": ["t1"],
        "sub-03": [],
    }
    assert list(collect(folder, sessions=["a"])) == ["sub-02_ses-a"]
    with pytest.raises(MissingFileError, match="sub-09 was asked for, but is not in"):
        collect(folder, participants=["09"])


def test_a_table_may_name_no_file_at_all(tmp_path: Path) -> None:
    """Of a model that takes whatever there is."""
    (tmp_path / "people.csv").write_text("id,age\na,31\n", encoding="utf-8")
    assert collect(tmp_path / "people.csv")["a"].row["age"] == "31"
