# SPDX-License-Identifier: Apache-2.0
"""Files of thick slices: names, table, sidecars, and what a bad file leaves of the others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import (
    InputError,
    MissingFileError,
    OutputError,
    OutputExistsError,
    UsageError,
)
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.studies.isotropic.acquisition.inputs import find_scans
from encephalon.studies.isotropic.published.preprocessing import decimate
from encephalon.studies.isotropic.simulate import COLUMNS, SimulationConfig, write_thick_slices
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_slices

SHAPE = (10, 12, 16)


def put(path: Path, seed: int = 0) -> Path:
    """A small isotropic scan of positive noise."""
    data = np.random.default_rng(seed).gamma(4, 100, SHAPE).astype(np.float32)
    return write_image(data, path, Image(data, Affine.from_spacing(1.0, (-5, -6, -8))))


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with table.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two subjects with T1w and T2w, one of them in a session, and one without a T1w."""
    root = tmp_path / "bids"
    for number, folder in enumerate(("sub-01/anat/sub-01", "sub-02/ses-a/anat/sub-02_ses-a")):
        put(root / f"{folder}_T2w.nii.gz", number)
        put(root / f"{folder}_T1w.nii.gz", number + 5)
    put(root / "sub-03/anat/sub-03_acq-space_T2w.nii.gz", 9)
    return root


def test_names_of_bids_are_kept_and_paired(dataset: Path, tmp_path: Path) -> None:
    """Each T2w gets acq-<plane><mm>, its T1w of the same session, its truth and its subject."""
    out = tmp_path / "out"
    config = SimulationConfig(("axial", "coronal"), (4.0, 3.3), gap=0.5)
    result = write_thick_slices(find_scans([dataset]), out, config)
    assert result.failures == []
    rows = rows_of(result.table)
    assert len(rows) == 3 * 2 * 2
    assert tuple(rows[0]) == COLUMNS
    by_id = {row["id"]: row for row in rows}
    row = by_id["sub-02_ses-a_acq-coronal3p3mmgap0p5mm_T2w"]
    assert row["t2w"] == ("sub-02/ses-a/anat/sub-02_ses-a_acq-coronal3p3mmgap0p5mm_T2w.nii.gz")
    assert (
        (out / row["reference"])
        .resolve()
        .samefile(dataset / "sub-02/ses-a/anat/sub-02_ses-a_T2w.nii.gz")
    )
    assert (out / row["t1w"]).resolve().name == "sub-02_ses-a_T1w.nii.gz"
    assert (row["axis"], row["thickness"], row["group"]) == ("coronal", "3.3", "sub-02")
    assert by_id["sub-03_acq-spaceaxial4mmgap0p5mm_T2w"]["t1w"] == ""
    description = json.loads((out / "dataset_description.json").read_text("utf-8"))
    assert description["DatasetType"] == "derivative"


def test_files_hold_what_was_simulated(dataset: Path, tmp_path: Path) -> None:
    """Voxels, affine and sidecar are those of the slices; noise is another for every file."""
    config = SimulationConfig(("sagittal",), (3.0,), gap=0.3, profile="gaussian")
    result = write_thick_slices(find_scans([dataset]), tmp_path / "out", config)
    row = result.rows[0]
    image = read_image(tmp_path / "out" / row["t2w"])
    source = read_image(dataset / "sub-01/anat/sub-01_T2w.nii.gz")
    from encephalon.transforms.slices import SliceProfile

    thick = simulate_slices(source, SliceSettings("sagittal", 3.0, 0.3, SliceProfile("gaussian")))
    np.testing.assert_allclose(image.data, thick.data, rtol=1e-6)
    assert image.affine.is_close(thick.affine, 1e-5)
    sidecar = (tmp_path / "out" / row["t2w"]).with_name(f"{row['id']}.json")
    facts = json.loads(sidecar.read_text("utf-8"))
    assert (facts["SliceThickness"], facts["SpacingBetweenSlices"]) == (3.0, 3.3)
    assert facts["SliceEncodingDirection"] == "i"
    assert facts["Simulation"] == {"Profile": "gaussian", "Noise": 0.0, "Seed": 0}


def test_noise_does_not_depend_on_the_other_files(dataset: Path, tmp_path: Path) -> None:
    """A file alone has the noise that it has among others, and no two have the same."""
    config = SimulationConfig(("axial",), (4.0,), noise=0.1)
    many = write_thick_slices(find_scans([dataset]), tmp_path / "many", config)
    path = dataset / "sub-02/ses-a/anat/sub-02_ses-a_T2w.nii.gz"
    one = write_thick_slices(find_scans([path]), tmp_path / "one", config)
    assert one.rows[0]["id"] == many.rows[1]["id"]
    alone, among = (
        read_image(tmp_path / "one" / one.rows[0]["t2w"]),
        read_image(tmp_path / "many" / many.rows[1]["t2w"]),
    )
    np.testing.assert_array_equal(alone.data, among.data)


def test_plain_names_find_their_t1w_beside_them(tmp_path: Path) -> None:
    """A file named alone, or a folder, is paired with the T1w of the same name."""
    folder = tmp_path / "scans"
    for name in ("anna_T2", "anna_T1", "bert_T2", "FLAIR"):
        put(folder / f"{name}.nii.gz")
    (alone,) = find_scans([folder / "anna_T2.nii.gz"])
    assert (alone.t1w, alone.group) == (folder / "anna_T1.nii.gz", "anna")
    both = find_scans([folder])
    assert [(scan.group, scan.t1w is None) for scan in both] == [("anna", False), ("bert", True)]
    assert alone.path_in(Path("out"), "axial4mm") == Path("out/anna_T2_axial4mm.nii.gz")


def test_a_bad_file_spoils_nothing_else(dataset: Path, tmp_path: Path) -> None:
    """NaN, 4-D, damaged, absent and too coarse scans are a sentence each, and the rest is done."""
    bad = tmp_path / "bad"
    put(bad / "nan_T2w.nii.gz")
    import nibabel

    data = np.ones((4, 4, 4), np.float32)
    data[1:3, 1:3, 1:3] = np.nan
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), bad / "nan_T2w.nii.gz")
    nibabel.save(
        nibabel.Nifti1Image(np.ones((4, 4, 4, 3), np.float32), np.eye(4)), bad / "four_T2w.nii.gz"
    )
    (bad / "cut_T2w.nii.gz").write_bytes(b"\x1f\x8b not really")
    coarse = np.arange(10 * 10 * 10, dtype=np.float32).reshape(10, 10, 10)
    write_image(coarse, bad / "coarse_T2w.nii.gz", Image(coarse, Affine.from_spacing((1, 1, 5.0))))
    names = ("nan", "four", "cut", "coarse", "gone")
    inputs = [dataset, *(bad / f"{name}_T2w.nii.gz" for name in names)]
    told: list[int] = []
    result = write_thick_slices(
        find_scans(inputs), tmp_path / "out", SimulationConfig(thicknesses=(4.0,)),
        progress=lambda *words: told.append(words[0]),
    )  # fmt: skip
    assert len(result.rows) == 3
    assert len(rows_of(result.table)) == 3
    assert len(result.failures) == 5
    for name, words in {
        "nan": "NaN", "four": "4", "cut": "damaged", "coarse": "thinner than its voxels",
        "gone": "no such file",
    }.items():  # fmt: skip
        (sentence,) = (one for one in result.failures if f"{name}_T2w" in one)
        assert words in sentence
    assert told == sorted(told)


def test_nothing_is_overwritten_unasked(dataset: Path, tmp_path: Path) -> None:
    """A table that is there stops all; a file that is there fails alone; --overwrite replaces."""
    out, config = tmp_path / "out", SimulationConfig(thicknesses=(4.0,))
    scans = find_scans([dataset])
    first = write_thick_slices(scans, out, config)
    before = (out / first.rows[0]["t2w"]).stat().st_mtime_ns
    with pytest.raises(OutputExistsError, match=r"table\.csv exists"):
        write_thick_slices(scans, out, config)
    first.table.unlink()
    (out / first.rows[2]["t2w"]).unlink()
    (out / first.rows[2]["t2w"].replace(".nii.gz", ".json")).unlink()
    second = write_thick_slices(scans, out, config)
    assert len(second.failures) == 2
    assert len(second.rows) == 1
    assert (out / first.rows[0]["t2w"]).stat().st_mtime_ns == before
    third = write_thick_slices(scans, out, config, overwrite=True)
    assert third.failures == []
    assert len(third.rows) == 3


def test_two_files_of_one_name_are_not_written_over_each_other(tmp_path: Path) -> None:
    """The second says which one is in its way."""
    for folder in ("one", "two"):
        put(tmp_path / folder / "sub-01_T2w.nii.gz")
    scans = find_scans([tmp_path / folder / "sub-01_T2w.nii.gz" for folder in ("one", "two")])
    result = write_thick_slices(scans, tmp_path / "out", SimulationConfig(thicknesses=(4.0,)))
    assert len(result.rows) == 1
    assert "one" in result.failures[0]
    assert "would be written as" in result.failures[0]


def test_a_scan_that_was_given_is_not_written_over(tmp_path: Path) -> None:
    """Not even with --overwrite: what was made the last time lies among the inputs now."""
    scan, made = put(tmp_path / "a.nii.gz"), put(tmp_path / "a_axial4mm.nii.gz")
    before = made.read_bytes()
    config = SimulationConfig(thicknesses=(4.0,))
    result = write_thick_slices(find_scans([scan, made]), tmp_path, config, overwrite=True)
    assert made.read_bytes() == before
    assert [row["id"] for row in result.rows] == ["a_axial4mm_axial4mm"]
    assert "would be written as" in result.failures[0]


def test_a_raw_dataset_is_not_written_into(dataset: Path) -> None:
    """Derivatives belong elsewhere."""
    (dataset / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    with pytest.raises(OutputError, match="raw BIDS dataset"):
        write_thick_slices(find_scans([dataset]), dataset, SimulationConfig(thicknesses=(4.0,)))


def test_published_files_are_named_and_filled_as_published(tmp_path: Path) -> None:
    """Each direction and factor has its folder; the table has the distance of kept slices."""
    source = put(tmp_path / "scans" / "sub-01_T2w.nii.gz")
    out = tmp_path / "LR_data"
    config = SimulationConfig(("axial", "coronal"), factors=(2, 5))
    result = write_thick_slices(find_scans([source]), out, config)
    assert result.failures == []
    path = out / "coronal" / "LR5" / "sub-01_T2w_coronal_T2w_LR5.nii.gz"
    expected = decimate(read_image(source).data, 5, 1)
    np.testing.assert_allclose(read_image(path).data, expected, rtol=1e-6)
    assert not list(out.rglob("*.json"))
    assert [row["thickness"] for row in rows_of(result.table)] == ["2", "5", "2", "5"]
    few = write_thick_slices(
        find_scans([source]), tmp_path / "few", SimulationConfig(("i",), factors=(10,))
    )
    assert few.rows == []
    assert not few.table.exists()
    assert "sub-01_T2w.nii.gz: Of 10 slices only 1" in few.failures[0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"axes": ("axial", "oblique"), "thicknesses": (4.0,)}, "slice axis 'oblique'"),
        ({"axes": (), "thicknesses": (4.0,)}, "slice axis"),
        ({}, "how thick"),
        ({"thicknesses": (4.0,), "factors": (2,)}, "how thick"),
        ({"thicknesses": (4.0, 0.0)}, "above 0 mm, but it is 0"),
        ({"thicknesses": (float("nan"),)}, "above 0 mm, but it is nan"),
        (
            {"thicknesses": (4.0,), "gap": -1.0},
            "gap between slices must be 0 mm or more, but it is -1",
        ),
        ({"thicknesses": (4.0,), "noise": -0.1}, r"noise must be 0 or more, .* is -0\.1"),
        ({"factors": (1,)}, "factor must be 2 or more, but 1"),
        ({"factors": (2,), "gap": -1.0}, "gap between slices must be 0 mm or more"),
        ({"factors": (2,), "noise": -1.0}, "noise must be 0 or more"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(config: dict[str, object], said: str) -> None:
    """One sentence, before any file is read."""
    with pytest.raises(UsageError, match=said):
        SimulationConfig(**config)  # type: ignore[arg-type]


def test_profiles_come_by_name_or_file(tmp_path: Path) -> None:
    """An unknown profile names those there are; a file is read once for each thickness."""
    with pytest.raises(MissingFileError, match="no slice profile 'bell'"):
        SimulationConfig(thicknesses=(4.0,), profile="bell")
    (tmp_path / "profile.txt").write_text("-2 0\n0 1\n2 0\n", encoding="utf-8")
    source = put(tmp_path / "T2w.nii.gz")
    config = SimulationConfig(thicknesses=(4.0,), profile=str(tmp_path / "profile.txt"))
    result = write_thick_slices(find_scans([source]), tmp_path / "out", config)
    assert result.failures == []


def test_an_input_without_t2w_is_refused(tmp_path: Path) -> None:
    """A folder of nothing but T1w, and a folder that is not there."""
    put(tmp_path / "only" / "a_T1w.nii.gz")
    with pytest.raises(InputError, match="T2w"):
        find_scans([tmp_path / "only"])
    with pytest.raises(MissingFileError):
        find_scans([tmp_path / "gone"])
