# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from encephalon.errors import InputError, MissingFileError, TableError
from encephalon.io.reading import read_image
from encephalon.tables.encoding import encode_covariates
from encephalon.tables.naming import file_stem
from encephalon.tables.samples import Sample, collect_samples
from encephalon.tables.schema import Columns


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def dicom(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(bytes(128) + b"DICM" + bytes(8))
    return folder


def ids(samples: list[Sample]) -> list[str]:
    return [sample.id for sample in samples]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a/b.nii.gz", "b"), ("b.c.nii", "b.c"), ("B.NII.GZ", "B"), ("orig.mgz", "orig")],
)
def test_an_id_is_the_file_name_without_its_suffix(name: str, stem: str) -> None:
    """Both halves of .nii.gz go; other points stay."""
    assert file_stem(name) == stem


def test_files_come_in_the_order_given(tmp_path: Path) -> None:
    """One sample a file, under the role asked for."""
    paths = touch(tmp_path, "z.nii.gz", "a.nii")
    samples = collect_samples(paths, role="t1")
    assert ids(samples) == ["z", "a"]
    assert samples[0].inputs == {"t1": paths[0]}


def test_a_folder_gives_its_images_by_name(tmp_path: Path) -> None:
    """Hidden files, notes and sub-folders are left alone."""
    touch(tmp_path, "b.nii.gz", "a.mgz", "._a.mgz", "notes.txt", "deeper/c.nii")
    assert ids(collect_samples([tmp_path])) == ["a", "b"]


def test_results_beside_their_scans_are_no_scans(tmp_path: Path) -> None:
    """A folder may hold both; elsewhere, what was made is as good an input as any."""
    touch(tmp_path, "a.nii.gz", "a_mask.nii.gz", "b_brain.nii.gz", "c.nii.gz")
    for name, made in (("a_mask", "in/a.nii.gz"), ("b_brain", "in/b.nii.gz"), ("c", "a.nii.gz")):
        maker = "Encephalon" if name != "c" else "dcm2niix"
        record = {"Sources": [made], "GeneratedBy": [{"Name": maker}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    assert ids(collect_samples([tmp_path])) == ["a", "b_brain", "c"]


def test_a_dicom_folder_is_one_sample(tmp_path: Path) -> None:
    """Recognised by the mark inside its files, whatever they are called."""
    for name in ("IM0001", "IM0002.dcm"):
        dicom(tmp_path / "series", name)
    (sample,) = collect_samples([tmp_path / "series"])
    assert sample == Sample("series", {"image": tmp_path / "series"})


def test_a_folder_of_dicom_folders_is_a_sample_each(tmp_path: Path) -> None:
    """The usual export of a scanner."""
    dicom(tmp_path / "t2", "1.dcm")
    dicom(tmp_path / "t1", "1")
    (tmp_path / "empty").mkdir()
    assert ids(collect_samples([tmp_path])) == ["t1", "t2"]


def test_the_files_of_a_series_are_one_sample(tmp_path: Path) -> None:
    """`predict series/*.dcm` means the series; one file alone is left to the reader."""
    for name in ("1.dcm", "2.dcm"):
        dicom(tmp_path / "series", name)
    files = sorted((tmp_path / "series").iterdir())
    assert ids(collect_samples(files)) == ["series"]
    assert ids(collect_samples(files[:1])) == ["1"]


def test_a_file_named_twice_is_one_sample(tmp_path: Path) -> None:
    """Shell patterns may overlap."""
    (path,) = touch(tmp_path, "a.nii")
    assert ids(collect_samples([path, tmp_path, tmp_path / "." / "a.nii"])) == ["a"]


def test_links_to_one_file_are_samples_of_their_own(tmp_path: Path) -> None:
    """git-annex keeps equal content once; a folder by two names still gives each file once."""
    (stored,) = touch(tmp_path, "objects/k.nii.gz")
    for name in ("one", "two"):
        link = tmp_path / name / "scan.nii.gz"
        link.parent.mkdir()
        link.symlink_to(stored)
    (tmp_path / "again").symlink_to(tmp_path / "one")
    places = [tmp_path / name / "scan.nii.gz" for name in ("one", "two", "again")]
    assert ids(collect_samples(places)) == ["one_scan", "two_scan"]
    (tmp_path / "one" / "b.nii.gz").symlink_to(stored)
    assert ids(collect_samples([tmp_path / "one"])) == ["b", "scan"]


def test_sessions_that_link_to_one_scan_stay_apart(tmp_path: Path) -> None:
    """A name of BIDS is an identity: sessions, runs, kinds and subjects alike."""
    (stored,) = touch(tmp_path, ".git/annex/objects/k.nii.gz")
    names = ("sub-01_ses-1_T1w", "sub-01_ses-2_T1w", "sub-01_ses-2_run-2_T1w", "sub-02_ses-1_T2w")
    for name in names:
        subject, session, *_ = name.split("_")
        link = tmp_path / subject / session / "anat" / f"{name}.nii.gz"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(stored)
    assert sorted(ids(collect_samples([tmp_path]))) == sorted(names)


def test_a_link_to_nothing_says_how_to_fetch_it(tmp_path: Path) -> None:
    """Alone as among others; a name that no file can have is not there either."""
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / "gone")
    with pytest.raises(MissingFileError, match="git annex get"):
        collect_samples([tmp_path / "a.nii.gz"])
    for name in ("x" * 300, "~nobody-has-this-name/x.nii.gz", "a\0b"):
        with pytest.raises(MissingFileError, match="There is no file or folder"):
            collect_samples([name])


def test_images_whose_formats_are_not_read_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside others they would be missed by nobody; the header of a pair is none."""
    touch(tmp_path, "a.nii", "b.img", "b.hdr", "c.NHDR", "d.nii.bz2", "notes.txt", "e.bmp")
    assert ids(collect_samples([tmp_path])) == ["a"]
    assert "left out 3 images whose formats are not read: 'b.img', 'c.NHDR', 'd.nii.bz2'" in (
        caplog.text
    )


def test_an_accent_of_its_own_stays_in_the_id(tmp_path: Path) -> None:
    """macOS keeps names so; both spellings in one folder are still two scans."""
    touch(tmp_path, "Mu\u0308ller.nii.gz")
    assert ids(collect_samples([tmp_path])) == ["M\u00fcller"]
    touch(tmp_path, "M\u00fcller.nii.gz")
    assert len(set(ids(collect_samples([tmp_path])))) == 2


def test_dicom_beside_other_images_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The images are taken, the series are said to be left out."""
    touch(tmp_path, "a.nii.gz", "0001.dcm", "t1/0001.dcm", "notes/readme.txt")
    assert ids(collect_samples([tmp_path])) == ["a"]
    assert "left out the DICOM series in 'the folder itself', 't1'" in caplog.text


def test_masks_of_other_programs_are_no_scans(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside scans they are left out, aloud; alone, or named one by one, they are taken."""
    scans = touch(tmp_path, "a.nii.gz", "b.nii.gz", "unmasked.nii.gz", "a_brain.nii.gz")
    masks = touch(tmp_path, "a_mask.nii.gz", "b-brainmask.nii", "b_brain_mask.nii.gz")
    assert ids(collect_samples([tmp_path])) == ["a", "a_brain", "b", "unmasked"]
    assert "left out 3 of the images" in caplog.text
    assert len(collect_samples([*scans, *masks])) == 7
    for scan in scans:
        scan.unlink()
    assert len(collect_samples([tmp_path])) == 3


def test_files_of_one_name_get_the_names_of_their_folders(tmp_path: Path) -> None:
    """Only those that clash, and only as many folders as it takes."""
    paths = touch(tmp_path, "p1/mri/orig.mgz", "p2/mri/orig.mgz", "p1/mri/other.mgz")
    assert ids(collect_samples(paths)) == ["p1_mri_orig", "p2_mri_orig", "other"]


def test_ids_stay_unique_where_case_is_ignored(tmp_path: Path) -> None:
    """Scan and scan would overwrite each other on a Mac."""
    paths = touch(tmp_path, "x/Scan.nii", "y/scan.nii")
    assert ids(collect_samples(paths)) == ["x_Scan", "y_scan"]


def test_files_that_differ_by_suffix_alone_are_numbered(tmp_path: Path) -> None:
    """No folder tells a.nii from a.nii.gz, so the names of folders stay out of it."""
    paths = touch(tmp_path, "x/a.nii", "x/a.nii.gz", "b.nii", "b.mgz", "y/a.nii")
    assert ids(collect_samples(paths)) == ["x_a", "x_a-2", "b", "b-2", "y_a"]


def test_a_link_to_nothing_in_a_folder_is_a_sample(tmp_path: Path) -> None:
    """A scan that was never fetched fails aloud instead of being passed over."""
    touch(tmp_path, "a.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to("../.git/annex/objects/b")
    assert ids(collect_samples([tmp_path])) == ["a", "b"]


def test_an_id_never_holds_what_a_file_name_must_not(tmp_path: Path) -> None:
    """Blanks and brackets go, as does what would look like a flag; letters of any alphabet stay."""
    found = collect_samples(touch(tmp_path, "Gehirn (Kopie) é.nii", "-x (1).nii", "\udcff.nii"))
    assert ids(found) == ["Gehirn-Kopie-é", "x-1", "image"]


def test_a_table_gives_a_sample_a_row(tmp_path: Path) -> None:
    """With several inputs, the missing ones left out, and the row's own cells."""
    touch(tmp_path, "x/1.nii", "x/2.nii", "x/1f.nii")
    path = tmp_path / "t.csv"
    path.write_text("who,t1,flair,age\np1,x/1.nii,x/1f.nii,40\np2,x/2.nii,,\n", encoding="utf-8")
    columns = Columns(id="who", inputs={"t1": "t1", "flair": "flair"}, optional=("flair",))
    first, second = collect_samples([path], columns)
    assert first.id == "p1"
    assert first.inputs == {"t1": tmp_path / "x/1.nii", "flair": tmp_path / "x/1f.nii"}
    assert first.row["age"] == "40"
    assert second.inputs == {"t1": tmp_path / "x/2.nii"}


def test_a_table_to_predict_from_needs_no_target(tmp_path: Path) -> None:
    """A recipe's target, group and split columns are for training."""
    touch(tmp_path, "1.nii")
    (tmp_path / "t.csv").write_text("id,image\np1,1.nii\n", encoding="utf-8")
    columns = Columns(target="mask", group="person", split="split")
    assert ids(collect_samples([tmp_path / "t.csv"], columns)) == ["p1"]


def test_ids_of_a_table_are_kept_as_they_are(tmp_path: Path) -> None:
    """Results are joined to the table by them."""
    touch(tmp_path, "1.nii")
    (tmp_path / "t.csv").write_text("id,image\n-P 1 (left),1.nii\n", encoding="utf-8")
    assert ids(collect_samples([tmp_path / "t.csv"])) == ["-P 1 (left)"]


def test_a_row_without_any_image_fails_alone(tmp_path: Path) -> None:
    """It spoils no other row of the batch: its file is missed when it is read."""
    touch(tmp_path, "1.nii")
    (tmp_path / "t.csv").write_text("id,image\na,1.nii\nb,\n", encoding="utf-8")
    full, bare = collect_samples([tmp_path / "t.csv"], Columns(optional=("image",)))
    assert full.file("image").name == "1.nii"
    with pytest.raises(InputError, match=r"b: its row names no file for 'image'"):
        bare.file("image")


@pytest.mark.parametrize("cell", ["a\0b.nii", "~nobody-has-this-name/x.nii", "x" * 300])
def test_a_cell_that_is_no_file_name_spoils_its_own_row_alone(cell: str, tmp_path: Path) -> None:
    """A NUL byte, a home that nobody has, more letters than a name may have."""
    touch(tmp_path, "a.nii.gz")
    (tmp_path / "t.csv").write_text(f"id,image\nA,a.nii.gz\nB,{cell}\n", encoding="utf-8")
    good, bad = collect_samples([tmp_path / "t.csv"])
    assert good.file("image") == tmp_path / "a.nii.gz"
    with pytest.raises((InputError, OSError)):  # of the name, where the system says so
        read_image(bad.file("image"))


def test_a_table_without_any_image_is_refused(tmp_path: Path) -> None:
    """A recipe may train on rows without a scan; a model answers from them that takes any part."""
    (tmp_path / "t.csv").write_text("id,image,age\na,,3\nb,,4\n", encoding="utf-8")
    with pytest.raises(TableError, match="names no file in 'image'"):
        collect_samples([tmp_path / "t.csv"], Columns(optional=("image",)))
    any_part = Columns(covariates={"age": "number"}, optional=("image", "age"))
    assert ids(collect_samples([tmp_path / "t.csv"], any_part)) == ["a", "b"]


def test_rows_that_share_an_image_stay_two_samples(tmp_path: Path) -> None:
    """Covariates may differ where the picture does not."""
    touch(tmp_path, "1.nii")
    (tmp_path / "t.csv").write_text("id,image\na,1.nii\nb,1.nii\n", encoding="utf-8")
    assert ids(collect_samples([tmp_path / "t.csv"])) == ["a", "b"]


def test_a_faulty_table_is_refused_before_any_work(tmp_path: Path) -> None:
    """With the row at fault."""
    (tmp_path / "t.csv").write_text("id,image\np1,1.nii\n", encoding="utf-8")
    with pytest.raises(TableError, match="row 2, 'image': there is no file"):
        collect_samples([tmp_path / "t.csv"])


def test_what_is_not_there_or_holds_no_images_is_refused(tmp_path: Path) -> None:
    """The sentence names the path."""
    with pytest.raises(MissingFileError, match=r"no file or folder .*gone\.nii"):
        collect_samples([tmp_path / "gone.nii"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        collect_samples([tmp_path / "empty"])


def test_what_is_not_there_is_kept_beside_what_is(tmp_path: Path) -> None:
    """With an id of its own, so that its sentence says that it is not there, and no more."""
    (good,) = touch(tmp_path, "a/scan.nii")
    gone = [tmp_path / "b" / "scan.nii", tmp_path / "c" / "1.dcm", tmp_path / "c" / "2.dcm"]
    found = collect_samples([good, *gone], role="t1", keep_absent=True)
    assert ids(found) == ["a_scan", "b_scan", "c"]
    assert found[2].inputs == {"t1": tmp_path / "c"}
    with pytest.raises(MissingFileError):
        collect_samples(gone, keep_absent=True)


def test_a_bids_dataset_gives_its_images(tmp_path: Path) -> None:
    """Chosen by kind and participant; the entities travel with the sample."""
    text = json.dumps({"Name": "x", "BIDSVersion": "1.9.0"})
    (tmp_path / "dataset_description.json").write_text(text, encoding="utf-8")
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
    )
    assert ids(collect_samples([tmp_path], suffixes=["T1w"])) == ["sub-01_T1w", "sub-02_T1w"]
    (sample,) = collect_samples([tmp_path], suffixes=["T1w"], participants=["02"])
    assert sample.bids is not None
    assert sample.bids.entities["sub"] == "02"
    with pytest.raises(MissingFileError, match="no image named"):
        collect_samples([tmp_path], suffixes=["FLAIR"])


def test_a_folder_of_pictures_gives_its_pictures(tmp_path: Path) -> None:
    """To a model of pictures; ids by the rule of its recipe."""
    touch(tmp_path, "S1V1_a.tif", "S2V1_b.PNG", "S3V1.jpeg", "._S4.tif", "scan.nii", "deeper/x.tif")
    assert ids(collect_samples([tmp_path], kind="picture")) == ["S1V1_a", "S2V1_b", "S3V1"]
    columns = Columns(id_rule="before-underscore")
    assert ids(collect_samples([tmp_path], columns, kind="picture")) == ["S1V1", "S2V1", "S3V1"]
    assert ids(collect_samples([tmp_path / "S1V1_a.tif"], columns, kind="picture")) == ["S1V1"]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("scan.nii.gz", "picture", r"holds volumes such as scan\.nii\.gz, but .* takes pictures"),
        ("a.tif", "volume", r"holds pictures such as a\.tif, but .* takes volumes"),
        ("below/a.tif", "picture", r"holds no pictures .* encephalon table images"),
    ],
)
def test_a_folder_of_the_other_kind_is_one_sentence(
    tmp_path: Path, name: str, kind: Literal["volume", "picture"], words: str
) -> None:
    """Micrographs for a model of heads, and the other way round."""
    touch(tmp_path, name)
    with pytest.raises(InputError, match=words):
        collect_samples([tmp_path], kind=kind)


def test_a_bids_dataset_of_microscopy_gives_its_pictures(tmp_path: Path) -> None:
    """Those in micr/; masks in derivatives stay where they are."""
    touch(
        tmp_path,
        "sub-rat1/micr/sub-rat1_sample-data1_SEM.png",
        "sub-rat2/ses-1/micr/sub-rat2_ses-1_sample-data5_TEM.ome.tif",
        "derivatives/labels/sub-rat1/micr/sub-rat1_sample-data1_SEM_seg-axon-manual.png",
    )
    names = ["sub-rat1_sample-data1_SEM", "sub-rat2_ses-1_sample-data5_TEM"]
    assert ids(collect_samples([tmp_path], kind="picture")) == names
    (sample,) = collect_samples([tmp_path], kind="picture", suffixes=["TEM"])
    assert sample.bids is not None
    assert sample.bids.entities["sample"] == "data5"
    with pytest.raises(MissingFileError, match=r"no image named .* was found in sub-\*/anat"):
        collect_samples([tmp_path])


@pytest.mark.data
def test_real_microscopy_in_bids_is_found(data: Path) -> None:
    """Six scanning electron micrographs of four rats."""
    found = collect_samples([data / "em" / "axon-sem"], kind="picture")
    assert len(found) == 6
    assert {sample.bids.entities["sub"] for sample in found if sample.bids} == {
        *("rat1", "rat2", "rat3", "rat4")
    }


def test_a_covariate_that_cannot_be_used_spoils_its_own_row_alone(tmp_path: Path) -> None:
    """It is refused when that row is read; a column that is not there at all, at once."""
    touch(tmp_path, "1.tif")
    table = tmp_path / "t.csv"
    table.write_text("id,image,sex,age\na,1.tif,X,NaN\nb,1.tif,F,3\n", encoding="utf-8")
    columns = Columns(covariates={"sex": ("F", "M"), "age": "number"})
    first, second = collect_samples([table], columns, kind="picture")
    assert encode_covariates([second.row], columns).tolist() == [[1, 0, 3]]
    with pytest.raises(InputError, match=r"a: the covariate 'sex' must be one of 'F', 'M'"):
        encode_covariates([first.row], columns)
    with pytest.raises(TableError, match="has no column 'region'"):
        collect_samples([table], Columns(covariates={"region": ("CC", "HC")}), kind="picture")


def test_ids_that_cannot_be_used_spoil_their_own_rows_alone(tmp_path: Path) -> None:
    """Of two rows with one id the first is taken; the second, and an empty one, are faults."""
    touch(tmp_path, "a.png", "b.png", "c.png")
    table = tmp_path / "table.csv"
    table.write_text("id,image\nx,a.png\nx,b.png\n,c.png\ny,c.png\n", encoding="utf-8")
    samples = collect_samples([table], Columns(), kind="picture")
    assert ids(samples) == ["x", "row-3", "row-4", "y"]
    assert samples[0].file("image").name == "a.png"
    with pytest.raises(InputError, match=r"row 3, 'id': the id 'x' is already that of row 2"):
        samples[1].file("image")
    with pytest.raises(InputError, match="row 4, 'id': the id is empty"):
        samples[2].file("image")
