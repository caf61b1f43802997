# SPDX-License-Identifier: Apache-2.0
"""BIDS datasets: what is found, how derivatives are named, what is never mixed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from encephalon.errors import MissingFileError, OutputError
from encephalon.io.bids import (
    derivative_path,
    index_bids,
    is_bids,
    left_out,
    parse_name,
    write_dataset_description,
)
from encephalon.io.bids_filters import Filters, fits


@pytest.mark.parametrize(
    ("query", "taken"),
    [
        ({"t1w": {"session": "b"}}, True),
        ({"t1w": {"session": ["a", "ses-b"]}}, True),
        ({"t1w": {"session": None}}, False),
        ({"t1w": {"run": 1, "acquisition": None}}, True),
        ({"t1w": {"acquisition": "Query.ANY"}}, False),
        ({"anything": {"suffix": "T1w", "run": "02"}}, False),
        ({"t2w": {"session": "a"}}, True),
        ({"t1w": {"datatype": "anat", "extension": ".nii.gz"}}, True),
    ],
)
def test_a_filter_takes_the_images_that_its_query_fits(query: Filters, taken: bool) -> None:
    """Null is none of it, 1 is 01, and a kind without a query is taken whole."""
    file = parse_name("ds/sub-02/ses-b/anat/sub-02_ses-b_run-01_T1w.nii.gz")
    assert file is not None
    assert fits(file, query) is taken


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two subjects, one of them with sessions, some files that are no heads, no description."""
    for name in (
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_run-2_T2w.nii.gz",
        "sub-01/anat/sub-01_T1w.json",
        "sub-01/anat/sub-01_mod-T1w_defacemask.nii.gz",
        "sub-01/func/sub-01_task-rest_bold.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_acq-fast_FLAIR.nii",
        "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_desc-brain_T1w.nii.gz",
    ):
        path = tmp_path / "bids" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "bids"


def test_the_index_holds_whole_heads_and_nothing_else(dataset: Path) -> None:
    """Masks, time series, sidecars and derivatives are left out."""
    assert [file.id for file in index_bids(dataset)] == [
        "sub-01_T1w",
        "sub-01_run-2_T2w",
        "sub-02_ses-a_acq-fast_FLAIR",
        "sub-02_ses-b_T1w",
    ]


def test_subjects_sessions_and_suffixes_narrow_the_index(dataset: Path) -> None:
    """Labels work with and without their prefix."""
    assert len(index_bids(dataset, subjects=["sub-01"])) == 2
    assert len(index_bids(dataset, subjects=["02"], sessions=["ses-a"])) == 1
    assert len(index_bids(dataset, suffixes=("T1w",))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"subjects": ["03"]}, "sub-03 was asked for.*it has sub-01, sub-02"),
        ({"sessions": ["c"]}, "ses-c was asked for.*it has ses-a, ses-b"),
        ({"suffixes": ("PDw",)}, "no image named"),
    ],
)
def test_what_is_not_there_is_named(dataset: Path, arguments: dict, words: str) -> None:
    """A label that does not exist is an error, not an empty result."""
    with pytest.raises(MissingFileError, match=words):
        index_bids(dataset, **arguments)
    with pytest.raises(MissingFileError, match="no such folder"):
        index_bids(dataset / "nowhere")


def test_a_dataset_is_known_by_its_description_or_its_folders(
    dataset: Path, tmp_path: Path
) -> None:
    """Either is enough; an ordinary folder or a file is not a dataset."""
    assert is_bids(dataset)
    assert not is_bids(tmp_path / "nowhere")
    assert not is_bids(dataset / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    (tmp_path / "plain").mkdir()
    assert not is_bids(tmp_path / "plain")
    (tmp_path / "plain" / "dataset_description.json").write_text(
        '{"BIDSVersion": "1.8.0"}', encoding="utf-8"
    )
    assert is_bids(tmp_path / "plain")


@pytest.mark.parametrize(
    "name", ["scan.nii.gz", "sub-01.nii.gz", "sub-01_T1w.mgz", "ses-1_T1w.nii", "sub-01_x_T1w.nii"]
)
def test_other_names_are_not_bids(name: str) -> None:
    """A name without subject, suffix or proper entities is not parsed."""
    assert parse_name(name) is None


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("sub-1/anat/sub-1_T1w.nii.gz", "mask", "sub-1/anat/sub-1_desc-brain_mask.nii.gz"),
        (
            "sub-1/ses-2/anat/sub-1_ses-2_run-1_T2w.nii",
            "mask",
            "sub-1/ses-2/anat/sub-1_ses-2_run-1_desc-brainT2w_mask.nii.gz",
        ),
        (
            "sub-1/anat/sub-1_inplaneT2.nii",
            "mask",
            "sub-1/anat/sub-1_desc-brainInplaneT2_mask.nii.gz",
        ),
        (
            "sub-1/anat/sub-1_desc-preproc_T1w.nii",
            "mask",
            "sub-1/anat/sub-1_desc-preprocBrain_mask.nii.gz",
        ),
        (
            "sub-1/anat/sub-1_inv-1_part-mag_MP2RAGE.nii",
            "mask",
            "sub-1/anat/sub-1_part-mag_desc-brainInv1MP2RAGE_mask.nii.gz",
        ),
        ("sub-1/anat/sub-1_T2w.nii", "T2wstd", "sub-1/anat/sub-1_desc-brain_T2wstd.nii.gz"),
        ("sub-1/anat/sub-1_T2w.nii", "T2w", "sub-1/anat/sub-1_desc-brain_T2w.nii.gz"),
    ],
)
def test_derivatives_keep_the_entities_in_order(name: str, suffix: str, expected: str) -> None:
    """The source's entities come first, desc last, and contrasts never share a mask's name."""
    file = parse_name(name)
    assert file is not None
    assert derivative_path("out", file, suffix=suffix) == Path("out") / expected


def test_names_of_masks_are_unique_in_a_dataset(dataset: Path) -> None:
    """Every image of the dataset has a mask of its own."""
    files = index_bids(dataset)
    assert len({derivative_path("out", file) for file in files}) == len(files)


def test_the_description_says_derivative_and_is_written_once(tmp_path: Path) -> None:
    """A second run keeps the first description."""
    made_by = [{"Name": "encephalon", "Version": "1"}]
    path = write_dataset_description(tmp_path, "Brain masks", made_by)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["DatasetType"] == "derivative"
    assert content["GeneratedBy"] == made_by
    write_dataset_description(tmp_path, "Another name", [])
    assert json.loads(path.read_text(encoding="utf-8")) == content


def test_derivatives_are_not_mixed_into_raw_data(tmp_path: Path) -> None:
    """Writing into the input dataset itself is refused with a better place."""
    (tmp_path / "dataset_description.json").write_text(
        '{"Name": "x", "BIDSVersion": "1.8.0"}', encoding="utf-8"
    )
    with pytest.raises(OutputError, match=r"raw BIDS dataset.*derivatives/encephalon"):
        write_dataset_description(tmp_path, "Brain masks", [])


def test_derivatives_are_not_mixed_into_a_subject_of_raw_data(tmp_path: Path) -> None:
    """The folder of a subject is refused, that of the dataset's derivatives is not."""
    (tmp_path / "dataset_description.json").write_text(
        '{"Name": "x", "BIDSVersion": "1.8.0"}', encoding="utf-8"
    )
    (tmp_path / "sub-01").mkdir()
    with pytest.raises(OutputError, match=r"sub-01 is a part of a raw BIDS dataset"):
        write_dataset_description(tmp_path / "sub-01", "Brain masks", [])
    write_dataset_description(tmp_path / "derivatives" / "mine", "Brain masks", [])


UNREADABLE = {
    "comma": b'{"Name": "x", "BIDSVersion": "1.8.0", "Authors": ["Me"],}',
    "Latin-1": '{"Name": "é", "BIDSVersion": "1.8.0"}'.encode("latin-1"),
    "list": b'["x"]',
    "empty": b"",
    "deep": b"[" * 100_000,
    "digits": b'{"Name": ' + b"9" * 5000 + b"}",
    "UTF-16": '{"Name": "x"}'.encode("utf-16"),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_description_that_cannot_be_read_is_left_as_it_is(
    content: bytes, tmp_path: Path, dataset: Path
) -> None:
    """Unreadable is not absent: it is named, nothing is written, and reading goes on."""
    path = tmp_path / "dataset_description.json"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"dataset_description\.json.* left as it is"):
        write_dataset_description(tmp_path, "Brain masks", [])
    assert path.read_bytes() == content
    assert not (tmp_path / ".bidsignore").exists()
    (dataset / "dataset_description.json").write_bytes(content)
    assert is_bids(dataset)


def test_a_description_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """As Notepad and Excel write it (OpenNeuro #2720): a raw dataset stays one."""
    path = tmp_path / "dataset_description.json"
    path.write_text('{"Name": "x", "BIDSVersion": "1.8.0"}', encoding="utf-8-sig")
    assert is_bids(tmp_path)
    with pytest.raises(OutputError, match="raw BIDS dataset"):
        write_dataset_description(tmp_path, "Brain masks", [])


def test_a_pipe_as_description_is_no_wait(tmp_path: Path) -> None:
    """Neither reading nor writing a dataset waits for somebody to write into it."""
    os.mkfifo(tmp_path / "dataset_description.json")
    assert not is_bids(tmp_path)
    with pytest.raises(OutputError, match="a pipe"):
        write_dataset_description(tmp_path, "Brain masks", [])


def test_what_has_no_name_in_bids_is_listed_as_ignored(tmp_path: Path) -> None:
    """One's own .bidsignore and README are kept."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "README").write_text("mine", encoding="utf-8")
    (tmp_path / "a" / ".bidsignore").write_text("*.txt", encoding="utf-8")
    for name in "ab":
        write_dataset_description(tmp_path / name, "Brain masks", [{"Name": "x"}])
    ignored = (tmp_path / "b" / ".bidsignore").read_text(encoding="utf-8").split()
    assert {"/predictions.csv", "/report*", "*_dist.*"} <= set(ignored)
    assert "x wrote" in (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "a" / ".bidsignore").read_text(encoding="utf-8") == "*.txt"
    assert not (tmp_path / "a" / "README.md").exists()


def test_images_whose_names_are_nearly_right_are_named(dataset: Path) -> None:
    """In one sentence: a wrong suffix, entity, folder or place is not passed over in silence."""
    assert left_out(dataset) == []
    strays = (
        "sub-02/anat/sub-02_t1w.nii.gz",
        "sub-03/anat/sub-03_acq-high-res_T1w.nii.gz",
        "sub-04/anat/T1w.nii.gz",
        "sub-05/anat/sub-05_T1.nii.gz",
        "sub-06/anat/sub-07_T1w.nii.gz",
        "sub-08/ses-1/anat/sub-08_T1w.nii.gz",
        "sub-09/sub-09_T1w.nii.gz",
        "sub-10/Anat/sub-10_T1w.NII.GZ",
        "Sub-11/anat/sub-11_T1w.mgz",
    )
    for name in strays:
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).touch()
    (sentence,) = left_out(dataset)
    assert "left out 9 of the images" in sentence
    assert len(index_bids(dataset)) == 4
    with pytest.raises(MissingFileError, match=r"sub-04 was asked for.*T1w\.nii\.gz.*otherwise"):
        index_bids(dataset, subjects=["04"])


def test_kinds_that_are_not_there_or_not_taken_are_named(dataset: Path) -> None:
    """Those asked for in vain, and scans that are taken only when they are asked for."""
    (sentence,) = left_out(dataset, ("T1w", "bold", "dwi"))
    assert "no image of the kind bold or dwi" in sentence
    (dataset / "sub-01" / "anat" / "sub-01_MP2RAGE.nii.gz").touch()
    (sentence,) = left_out(dataset)
    assert "left out the kinds MP2RAGE" in sentence
    assert left_out(dataset, ("MP2RAGE",)) == []


def test_the_real_dataset_is_indexed(data: Path) -> None:
    """ds000011 has a T1w and a thick-slice T2w of each of its six adults."""
    files = index_bids(data / "heads" / "ds000011")
    assert len(files) == 12
    assert {file.suffix for file in files} == {"T1w", "inplaneT2"}


def test_filters_that_nothing_fits_are_named(tmp_path: Path) -> None:
    """And not the dataset, which has its images."""
    scan = tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.touch()
    with pytest.raises(MissingFileError, match="mend the file of filters"):
        index_bids(tmp_path, filters={"t1w": {"session": "02"}})
