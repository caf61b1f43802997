# SPDX-License-Identifier: Apache-2.0
"""`encephalon simulate`: images whose answer is known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from encephalon.io.image import Image
from encephalon.io.reading import write_image
from tests.cli.conftest import Run


@pytest.fixture
def isotropic(tmp_path: Path, head: Image) -> Path:
    """A T2w whose voxels can be cut into thick slices."""
    return write_image(head.data, tmp_path / "sub-01_T2w.nii.gz", head)


def test_the_command_writes_a_row_an_image(run: Run, tmp_path: Path) -> None:
    """`simulate micrographs` writes the images that its sheet names, half of them aged."""
    words = ("--animals", "4", "--images", "2", "--size", "64")
    result = run("simulate", "micrographs", "-o", str(tmp_path / "trial"), *words)
    assert result.code == 0
    with (tmp_path / "trial" / "sheet.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["Class"] for row in rows].count("Aged") == 4
    assert all((tmp_path / "trial" / f"{row['Image ID']}_phantom.tif").exists() for row in rows)


@pytest.mark.parametrize(
    "words",
    [
        ("micrographs", "--size", "1000000000"),
        ("micrographs", "--size", "4097"),
        ("micrographs", "--animals", "1000000000"),
        ("micrographs", "--images", "1000000000"),
        ("micrographs", "--seed", "-1"),
        ("phantoms", "--subjects", "1000000000"),
        ("phantoms", "--seed", "-1"),
        ("phantoms", "--seed", "99999999999999999999"),
    ],
)
def test_sizes_and_seeds_are_bounded(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    """The sentence names the bounds, and nothing is begun."""
    result = run("simulate", *words, "-o", tmp_path / "trial")
    assert result.code == 2
    assert f"Invalid value for {words[1]!r}: Input should be" in result.err
    assert not (tmp_path / "trial").exists()


def test_thick_slices_of_several_planes_and_thicknesses(
    run: Run, tmp_path: Path, isotropic: Path
) -> None:
    """Every pair of them is a file and a row; the result says where the table is."""
    words = ("--axis", "axial,coronal", "--thickness", "5,6", "--gap", "1", "--noise", "0.02")
    result = run("simulate", "thick-slices", isotropic, "-o", tmp_path / "out", *words, "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert Path(told["table"]) == tmp_path / "out" / "table.csv"
    assert [row["thickness"] for row in told["rows"]] == [5, 6, 5, 6]
    assert all((tmp_path / "out" / row["t2w"]).is_file() for row in told["rows"])


def test_published_slices_have_factors(run: Run, tmp_path: Path, isotropic: Path) -> None:
    """`--mode published` keeps every so many slices and names files as BABY-AI does."""
    words = ("--mode", "published", "--factor", "2,3", "--axis", "sagittal")
    result = run("simulate", "thick-slices", isotropic, "-o", tmp_path / "LR_data", *words)
    assert result.code == 0, result.err
    assert "2 files" in result.out
    name = "sub-01_T2w_sagittal_T2w_LR3.nii.gz"
    assert (tmp_path / "LR_data" / "sagittal" / "LR3" / name).is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--slice-thickness 4"),
        (("--thickness", "four"), "--slice-thickness takes numbers"),
        (("--thickness", "4", "--factor", "2"), "--factor belongs to --mode published"),
        (("--mode", "published"), "--factor 2,3,4,5"),
        (("--thickness", "4", "--start-slice", "1"), "--start-slice belongs to --mode published"),
        (("--mode", "published", "--factor", "2,3", "--start-slice", "2"), "must be 0 to 1"),
        (("--mode", "published", "--factor", "2.5"), "--factor 2,3,4,5"),
        (("--mode", "published", "--factor", "inf"), "[factor] should be a finite number"),
        (("--mode", "published", "--factor", "2", "--gap", "1"), "--slice-gap belongs to"),
        (("--thickness", "4", "--axis", "axal"), "no slice axis 'axal'"),
        (("--thickness", "4", "--gap", "-1"), "gap between slices must be 0 mm or more"),
        (("--thickness", "-4"), "thickness of a slice must be above 0 mm"),
    ],
)
def test_wrong_words_are_one_sentence(
    run: Run, tmp_path: Path, isotropic: Path, words: tuple[str, ...], said: str
) -> None:
    """What cannot be asked for ends with exit code 2, before anything is written."""
    result = run("simulate", "thick-slices", isotropic, "-o", tmp_path / "out", *words)
    assert result.code == 2
    assert said in result.err
    assert not (tmp_path / "out").exists()


def test_bad_files_fail_the_command_and_not_the_others(
    run: Run, tmp_path: Path, isotropic: Path
) -> None:
    """Exit code 1, a sentence for the bad one, and the good one is there."""
    (tmp_path / "bad_T2w.nii.gz").write_bytes(np.arange(9).tobytes())
    words = ("-o", tmp_path / "out", "--thickness", "5")
    result = run("simulate", "thick-slices", isotropic, tmp_path / "bad_T2w.nii.gz", *words)
    assert result.code == 1
    assert "bad_T2w.nii.gz" in result.err
    assert "1 files, 1 failures" in result.out
    again = run("simulate", "thick-slices", isotropic, *words)
    assert again.code == 1
    assert "--overwrite" in again.err
    assert run("simulate", "thick-slices", isotropic, *words, "--overwrite").code == 0


def test_heads_are_a_dataset(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`simulate phantoms` hands its words on and says where the table is."""
    from encephalon.studies.isotropic import synthetic as phantom

    asked: dict[str, object] = {}

    def write(folder: Path, **words: object) -> Path:
        asked.update(words)
        return folder / "table.csv"

    monkeypatch.setattr(phantom, "write_heads", write)
    words = ("--subjects", "3", "--infants", "--axis", "coronal", "--thickness", "3")
    result = run("simulate", "phantoms", "-o", tmp_path / "heads", *words)
    assert result.code == 0, result.err
    assert "3 heads" in result.out
    assert (asked["subjects"], asked["infants"], asked["axis"]) == (3, True, "coronal")
    assert asked["thickness"] == 3.0
