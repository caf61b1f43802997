# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import InputError, MissingFileError, UsageError
from encephalon.tables.pairing import add_companions, name_file, pair_images
from encephalon.tables.samples import Sample, collect_samples
from encephalon.tables.schema import Columns

PAIR = Columns(
    inputs={"t2w": "t2w", "t1w": "t1w", "stack2": "stack2"},
    suffixes={"t2w": ("T2w", "inplaneT2"), "t1w": ("T1w",)},
    optional=("t1w", "stack2"),
)
THREE = Columns(
    inputs={"t1": "t1", "flair": "flair"}, suffixes={"t1": ("T1w",), "flair": ("FLAIR",)}
)


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def dataset(folder: Path, *names: str) -> Path:
    """A BIDS dataset of empty files, named from the session's folder on."""
    for name in names:
        subject, *rest = name.split("_")
        session = [part for part in rest if part.startswith("ses-")]
        touch(folder.joinpath(subject, *session, "anat"), f"{name}.nii.gz")
    about = {"Name": "heads", "BIDSVersion": "1.10.0"}
    (folder / "dataset_description.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def collect(*inputs: Path, columns: Columns = PAIR, **more: object) -> list[Sample]:
    return collect_samples(inputs, columns, role=next(iter(columns.inputs)), **more)  # type: ignore[arg-type]


def files(sample: Sample) -> dict[str, str]:
    return {role: path.name for role, path in sample.inputs.items()}


def test_a_dataset_is_grouped_by_subject_and_session(tmp_path: Path) -> None:
    """One missing T1w shifts no other pair, and the sample that lacks it says so."""
    names = ["sub-01_ses-a_T1w", "sub-01_ses-a_T2w", "sub-01_ses-b_T2w", "sub-02_T1w", "sub-02_T2w"]
    first, second, third = collect(dataset(tmp_path, *names))
    assert files(first) == {
        "t2w": "sub-01_ses-a_T2w.nii.gz",
        "t1w": "sub-01_ses-a_T1w.nii.gz",
    }
    assert files(second) == {"t2w": "sub-01_ses-b_T2w.nii.gz"}
    assert "no T1w of the same subject and session" in second.absent["t1w"]
    assert "sub-01_ses-b_T2w" in second.absent["t1w"]
    assert not second.fault
    assert third.id == "sub-02_T2w"
    assert third.bids is not None
    assert not third.absent


def test_other_kinds_of_one_role_are_taken_too(tmp_path: Path) -> None:
    """inplaneT2 is a T2w by another name."""
    (sample,) = collect(dataset(tmp_path, "sub-01_inplaneT2", "sub-01_T1w", "sub-01_FLAIR"))
    assert files(sample) == {"t2w": "sub-01_inplaneT2.nii.gz", "t1w": "sub-01_T1w.nii.gz"}


def test_nothing_is_said_of_a_kind_that_nobody_has(tmp_path: Path) -> None:
    """A dataset of T2w alone was meant as one."""
    (sample,) = collect(dataset(tmp_path, "sub-01_T2w"))
    assert sample.absent == {}


@pytest.mark.parametrize(
    ("main", "candidates", "taken"),
    [
        ("run-2_T2w", ["run-1_T1w", "run-2_T1w"], "run-2_T1w"),
        ("acq-a_run-2_T2w", ["acq-a_run-1_T1w", "acq-a_run-2_T1w"], "acq-a_run-2_T1w"),
        ("acq-tse_run-2_T2w", ["acq-x_run-1_T1w", "acq-x_run-2_T1w"], "acq-x_run-2_T1w"),
        ("T2w", ["T1w", "run-2_T1w"], "T1w"),
        ("T2w", ["run-1_T1w", "run-2_T1w"], None),
        ("acq-tse_T2w", ["acq-a_T1w", "acq-b_T1w"], None),
        ("run-1_T2w", ["acq-a_run-1_T1w", "acq-b_run-1_T1w"], None),
        ("T2w", ["space-MNI_T1w", "T1w"], "T1w"),
        ("T2w", ["space-MNI_T1w"], None),
    ],
)
def test_of_several_the_one_of_the_same_scan_is_taken(
    tmp_path: Path, main: str, candidates: list[str], taken: str | None
) -> None:
    """Where acquisition and run do not tell, none is guessed, and all are named."""
    names = [f"sub-01_{name}" for name in (main, *candidates)]
    (sample,) = collect(dataset(tmp_path, *names))
    if taken is None:
        assert "t1w" not in sample.inputs
        assert all(f"sub-01_{name}" in sample.absent["t1w"] for name in candidates)
    else:
        assert sample.inputs["t1w"].name == f"sub-01_{taken}.nii.gz"


def test_a_required_image_that_is_missing_is_a_fault_of_its_sample(tmp_path: Path) -> None:
    """The others of the dataset are as good as before."""
    root = dataset(tmp_path, "sub-01_T1w", "sub-01_FLAIR", "sub-02_T1w")
    good, bad = collect(root, columns=THREE)
    assert not good.fault
    with pytest.raises(InputError, match=r"sub-02_T1w.*no FLAIR of the same subject"):
        bad.file("t1")


def test_choices_of_a_dataset_are_of_the_first_image(tmp_path: Path) -> None:
    """Labels choose people, suffixes the kind of the main image, and neither loses companions."""
    root = dataset(tmp_path, "sub-01_T1w", "sub-01_T2w", "sub-02_T2w", "sub-02_FLAIR")
    (chosen,) = collect(root, participants=["02"])
    assert chosen.id == "sub-02_T2w"
    (flair,) = collect(root, suffixes=["FLAIR"])
    assert flair.id == "sub-02_FLAIR"
    with pytest.raises(MissingFileError, match="sub-03"):
        collect(root, participants=["03"])


def test_derivatives_are_not_swept_in(tmp_path: Path) -> None:
    """Earlier results in the dataset are no scans of it."""
    root = dataset(tmp_path, "sub-01_T1w", "sub-01_T2w")
    deep = root / "derivatives" / "x" / "sub-01" / "anat"
    touch(deep, "sub-01_desc-isotropic_T2w.nii.gz", "sub-01_desc-aligned_T1w.nii.gz")
    (sample,) = collect(root)
    assert files(sample) == {"t2w": "sub-01_T2w.nii.gz", "t1w": "sub-01_T1w.nii.gz"}


def test_a_folder_is_grouped_by_name(tmp_path: Path) -> None:
    """BIDS entities where there are such, and the name without the kind where there are none."""
    touch(tmp_path, "sub-1_T2w.nii", "sub-1_T1w.nii", "p7_t2.nii.gz", "p7_T1.nii.gz")
    touch(tmp_path, "p7_FLAIR.nii.gz", "study1 T2W.nii.gz", "study1-T1W.nii.gz", "p8_T2.nii")
    found = {sample.id: sample for sample in collect(tmp_path)}
    assert {name: files(one).get("t1w") for name, one in found.items()} == {
        "sub-1_T2w": "sub-1_T1w.nii",
        "p7_t2": "p7_T1.nii.gz",
        "study1-T2W": "study1-T1W.nii.gz",
        "p8_T2": None,
    }
    assert "no T1w" in found["p8_T2"].absent["t1w"]


def test_names_that_say_no_kind_are_the_main_image(tmp_path: Path) -> None:
    """A folder of T2w need not be renamed; what says another kind stays out of it, aloud."""
    touch(tmp_path, "a.nii", "b.nii", "c_FLAIR.nii")
    assert [one.id for one in collect(tmp_path)] == ["a", "b"]


def test_what_belongs_to_nothing_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A T1w without its T2w, and a name of two kinds, are left out and not lost in silence."""
    touch(tmp_path, "a_T2.nii", "b_T1.nii", "a_T1_to_T2.nii")
    with caplog.at_level(logging.WARNING):
        (sample,) = collect(tmp_path)
    assert files(sample) == {"t2w": "a_T2.nii"}
    assert "a_T1_to_T2.nii, b_T1.nii" in caplog.text


def test_a_folder_without_the_main_kind_is_refused(tmp_path: Path) -> None:
    """There is nothing to make of T1w alone."""
    touch(tmp_path, "a_T1.nii", "b_T1.nii")
    with pytest.raises(InputError, match="no image whose name says T2w or inplaneT2"):
        collect(tmp_path)


def test_dicom_series_of_a_folder_are_grouped(tmp_path: Path) -> None:
    """By the names of their folders."""
    for name in ("anna_T1", "anna_T2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").write_bytes(bytes(128) + b"DICM" + bytes(8))
    (sample,) = collect(tmp_path)
    assert sample.id == "anna_T2"
    assert files(sample) == {"t2w": "anna_T2", "t1w": "anna_T1"}
    (alone,) = collect(tmp_path / "anna_T1")
    assert files(alone) == {"t2w": "anna_T1"}


def test_files_named_one_by_one_are_grouped(tmp_path: Path) -> None:
    """`predict *.nii` takes no T1w for a T2w, and what joins nothing fails by itself."""
    touch(tmp_path, "a_T1.nii", "a_T2.nii", "b_T1.nii", "c.nii")
    found = collect(*sorted(tmp_path.iterdir()))
    assert [files(one) for one in found] == [
        {"t2w": "a_T2.nii", "t1w": "a_T1.nii"},
        {"t1w": "b_T1.nii"},
        {"t2w": "c.nii"},
    ]
    with pytest.raises(InputError, match=r"b_T1\.nii.*whose t2w is not among the inputs"):
        found[1].file("t2w")


def test_files_of_two_folders_are_never_one_sample(tmp_path: Path) -> None:
    """T1.nii and T2.nii of every person's own folder."""
    paths = touch(tmp_path, "p1/T1.nii", "p1/T2.nii", "p2/T2.nii", "p3/T1.nii")
    one, two, stray = collect(*paths)
    assert one.inputs["t1w"].parent.name == "p1"
    assert "t1w" not in two.inputs
    assert stray.fault


def test_one_file_is_the_main_image_whatever_it_is_called(tmp_path: Path) -> None:
    """Who names a single file means it; named twice it is still one."""
    (path,) = touch(tmp_path, "a_T1.nii")
    assert files(collect(path)[0]) == {"t2w": "a_T1.nii"}
    assert len(collect(path, path)) == 1


def test_models_of_one_image_take_every_file_as_before(tmp_path: Path) -> None:
    """No name is looked at where there is nothing to put together."""
    touch(tmp_path, "a_T1.nii", "a_T2.nii", "b_FLAIR.nii")
    one = Columns()
    assert [sample.id for sample in collect(tmp_path, columns=one)] == ["a_T1", "a_T2", "b_FLAIR"]
    root = dataset(tmp_path / "bids", "sub-01_T1w", "sub-01_T2w")
    assert len(collect(root, columns=one)) == 2


@given(st.permutations(["s1_T1.nii", "s1_T2.nii", "s2_T2.nii", "s10_T1.nii", "s10_T2.nii"]))
def test_the_order_of_files_pairs_nothing(names: list[str]) -> None:
    """However files are listed, each T2w gets the T1w of its own name or none."""
    images = [name_file(Path("/nowhere") / name, PAIR) for name in names]
    found, alone = pair_images(images, PAIR)
    pairs = {one.main.path.name: one.inputs.get("t1w") for one in found}
    assert pairs == {
        "s1_T2.nii": Path("/nowhere/s1_T1.nii"),
        "s2_T2.nii": None,
        "s10_T2.nii": Path("/nowhere/s10_T1.nii"),
    }
    assert alone == []


def test_a_companion_joins_a_single_image(tmp_path: Path) -> None:
    """By role, one file each, and instead of what was found beside it."""
    scan, guide, second = touch(tmp_path, "scan.nii", "other/T1.nii", "other/cor.nii")
    (sample,) = add_companions(collect(scan), {"t1w": guide, "stack2": [second]}, PAIR)
    assert sample.inputs == {"t2w": scan, "t1w": guide, "stack2": second}
    assert list(sample.inputs) == ["t2w", "t1w", "stack2"]


def test_a_companion_mends_what_was_missing(tmp_path: Path) -> None:
    """A fault for want of an image goes with it."""
    root = tmp_path / "one"
    touch(root, "sub-1_T1w.nii")
    (flair,) = touch(tmp_path, "f.nii")
    (bare,) = collect(root, columns=THREE)
    assert bare.fault
    (whole,) = add_companions([bare], {"flair": flair}, THREE)
    assert whole.fault == ""
    assert whole.absent == {}


def test_companions_of_several_samples_are_refused(tmp_path: Path) -> None:
    """Which of them would it join? Folders, tables and datasets pair by themselves."""
    one, two, guide = touch(tmp_path, "a.nii", "b.nii", "T1.nii")
    words = "folder, a table or a BIDS dataset"
    with pytest.raises(UsageError, match=words):
        add_companions(collect(one, two), {"t1w": guide}, PAIR)
    root = dataset(tmp_path / "bids", "sub-01_T2w")
    with pytest.raises(UsageError, match=words):
        add_companions(collect(root), {"t1w": guide}, PAIR)


def test_companions_must_be_known_single_and_there(tmp_path: Path) -> None:
    """Each slip has its sentence."""
    scan, guide = touch(tmp_path, "a.nii", "T1.nii")
    samples = collect(scan)
    with pytest.raises(UsageError, match="cannot be the 'stack3': the model takes beside its"):
        add_companions(samples, {"stack3": guide}, PAIR)
    with pytest.raises(UsageError, match="the model takes one image a sample"):
        add_companions(samples, {"t1w": guide}, Columns())
    with pytest.raises(UsageError, match="one file, and got 2"):
        add_companions(samples, {"t1w": [guide, guide]}, PAIR)
    with pytest.raises(MissingFileError, match=r"gone\.nii"):
        add_companions(samples, {"t1w": tmp_path / "gone.nii"}, PAIR)


PERSON = Columns(
    inputs={"t1": "t1", "connectivity": "connectivity"},
    covariates={"age": "number"},
    optional=("t1", "connectivity", "age"),
)


def test_a_person_is_given_file_by_file_and_cell_by_cell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also without any file; what the model does not know is said, and not used."""
    (guide,) = touch(tmp_path, "c.npy")
    nobody = [Sample("sample", {})]
    given = {"connectivity": guide, "dwi": tmp_path / "d.nii"}
    (whole,) = add_companions(nobody, given, PERSON, {"age": "34", "agee": "1"})
    assert (whole.inputs, whole.row) == ({"connectivity": guide}, {"age": "34"})
    assert "'dwi' is not used" in caplog.text
    assert "did you mean 'age'" in caplog.text
    (first,) = add_companions(nobody, {"t1": guide}, PERSON)
    assert first.inputs == {"t1": guide}
    with pytest.raises(UsageError, match="cannot be the 't1'"):
        add_companions([first], {"t1": guide}, PERSON)


def test_a_value_must_be_known_to_a_model_of_fixed_inputs(tmp_path: Path) -> None:
    """As its files must be."""
    (scan,) = touch(tmp_path, "a.nii")
    with pytest.raises(UsageError, match="takes no value 'age'"):
        add_companions(collect(scan), {}, PAIR, {"age": "34"})


def test_a_table_may_leave_optional_columns_out(tmp_path: Path) -> None:
    """A table of T2w alone needs no column of T1w."""
    touch(tmp_path, "1.nii")
    (tmp_path / "t.csv").write_text("id,t2w\na,1.nii\n", encoding="utf-8")
    (sample,) = collect(tmp_path / "t.csv")
    assert files(sample) == {"t2w": "1.nii"}
    with pytest.raises(InputError, match="its row names no file for 't1w'"):
        sample.file("t1w")
