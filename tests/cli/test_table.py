# SPDX-License-Identifier: Apache-2.0
"""`table bids | check | split | join | verify-labels`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from encephalon.io.image import Image
from encephalon.io.reading import write_image
from tests.cli.conftest import Run
from tests.studies.micrographs.published_demographics import demographics, middle_aged
from tests.studies.micrographs.rows import write_rows


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve samples of six people, in a folder with their (empty) files."""
    folder = tmp_path / "table"
    folder.mkdir()
    lines = ["id,image,person"]
    for number in range(12):
        (folder / f"{number}.nii").touch()
        lines.append(f"s{number},{number}.nii,p{number // 2}")
    path = folder / "heads.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_check_counts_the_rows(run: Run, table: Path) -> None:
    """A table without faults says so."""
    result = run("table", "check", table)
    assert result.code == 0
    assert "12 rows, no faults" in result.out


def test_check_says_that_one_group_cannot_be_split(run: Run, table: Path) -> None:
    """Before `table split` does; several groups, and a table that is split, say nothing of it."""
    one = table.with_name("one.csv")
    one.write_text("id,image,person\ns0,0.nii,p0\ns1,1.nii,p0\n")
    assert "all rows are of one group, 'p0'" in run("table", "check", one, "--group", "person").out
    assert "one group" not in run("table", "check", table, "--group", "person").out


def test_check_names_the_row_of_a_fault(run: Run, table: Path) -> None:
    """A missing file is found before any work starts, and its row is named."""
    (table.parent / "3.nii").unlink()
    result = run("table", "check", table)
    assert result.code == 1
    assert "row 5" in result.err
    assert "3.nii" in result.err


def test_split_keeps_people_whole(run: Run, table: Path) -> None:
    """No group straddles the parts, and the same seed draws the same parts."""
    pytest.importorskip("sklearn")
    out = table.parent / "split.csv"
    words = ("--group", "person", "--validation", "0.2", "--test", "0.2", "--seed", "3")
    result = run("table", "split", table, "-o", out, *words, "--json")
    assert result.code == 0, result.err
    rows = _rows(out)
    parts = {(row["person"], row["split"]) for row in rows}
    assert len(parts) == 6
    assert json.loads(result.out)["rows"] == 12
    again = table.parent / "again.csv"
    run("table", "split", table, "-o", again, *words)
    assert _rows(again) == rows


def test_a_column_named_by_a_flag_must_be_there(run: Run, table: Path, tmp_path: Path) -> None:
    """A slip in --group would let people straddle the parts without a word."""
    for words in (["split", str(table), "-o", str(tmp_path / "s.csv")], ["check", str(table)]):
        done = run("table", *words, "--group", "persn")
        assert done.code == 1
        assert "has no column 'persn'; did you mean 'person'?" in done.err
    assert not (tmp_path / "s.csv").exists()


def test_split_moves_relative_paths(run: Run, table: Path, tmp_path: Path) -> None:
    """A split written elsewhere still finds its images."""
    pytest.importorskip("sklearn")
    out = tmp_path / "elsewhere" / "split.csv"
    assert run("table", "split", table, "-o", out).code == 0
    assert run("table", "check", out).code == 0
    assert _rows(out)[0]["image"] == "../table/0.nii"


def test_split_writes_folds(run: Run, table: Path) -> None:
    """--folds numbers the fold that tests each row."""
    pytest.importorskip("sklearn")
    out = table.parent / "folds.csv"
    assert run("table", "split", table, "-o", out, "--group", "person", "--folds", "3").code == 0
    assert {row["fold"] for row in _rows(out)} == {"0", "1", "2"}


def test_check_finds_a_leak(run: Run, table: Path) -> None:
    """A person in two parts is an error, told with the rows."""
    lines = table.read_text().splitlines()
    parts = ["split", *["train"] * 11, "test"]
    leaky = table.parent / "leaky.csv"
    leaky.write_text("\n".join(f"{a},{b}" for a, b in zip(lines, parts, strict=True)) + "\n")
    words = ("--group", "person", "--split", "split")
    result = run("table", "check", leaky, *words)
    assert result.code == 1
    assert "p5" in result.err
    result = run("table", "check", leaky, "--split", "split", "--contents")
    assert result.code == 1
    assert "identical" in result.err


def test_check_audits_the_published_demographics_which_name_no_images(
    run: Run, tmp_path: Path
) -> None:
    """By image every test row shares its mouse; by mouse none; and the classes are counted."""
    sheet = write_rows(tmp_path / "sheet.csv", demographics())
    ids = ("--id", "Image ID")
    by_mouse, by_image = tmp_path / "mouse.csv", tmp_path / "image.csv"
    assert run("table", "split", sheet, "-o", by_mouse, *ids, "--group", "Mouse ID").code == 0
    assert run("table", "split", sheet, "-o", by_image, *ids).code == 0
    found = run("table", "check", by_mouse, *ids, "--group", "Mouse ID", "--split", "split")
    assert found.code == 0
    assert "412 rows, no faults; there are no images, so no files were looked at" in found.out
    assert "No group, file or id is shared" in found.out
    leaky = run("table", "check", by_image, *ids, "--group", "Mouse ID", "--split", "split")
    assert leaky.code == 1
    assert "a leak" in leaky.err
    recipe = tmp_path / "classes.toml"
    text = run("recipes", "show", "micrographs-published").out
    recipe.write_text(text.replace("covariates = ", "covariates = {} #"), "utf-8")
    words = ("table", "check", sheet, *ids, "--recipe", recipe, "--target", "Class")
    assert "has none" in run(*words).err
    assert "161 Aged, 52 Middle age, 199 Young" in run(*words, "--no-images").out


def test_join_adds_columns(run: Run, table: Path) -> None:
    """Two tables of the same ids become one; an id without a partner is named."""
    ages = table.parent / "ages.csv"
    ages.write_text("name,age\n" + "".join(f"s{n},{n}\n" for n in range(12)))
    out = table.parent / "joined.csv"
    words = ("table", "join", table, ages, "-o", out, "--other-id", "name")
    assert run(*words).code == 0
    assert _rows(out)[3]["age"] == "3"
    ages.write_text("name,age\ns0,1\n")
    result = run(*words, "--overwrite")
    assert result.code == 1
    assert "s11" in result.err or "more" in result.err


def test_verify_labels_reads_every_image(
    run: Run, head: Image, brain: np.ndarray, tmp_path: Path
) -> None:
    """A label image on another grid is a fault; one on the grid of its scan is none."""
    write_image(head.data, tmp_path / "scan.nii.gz", head)
    write_image(brain.astype(np.uint8), tmp_path / "mask.nii.gz", head)
    path = tmp_path / "heads.csv"
    path.write_text("id,image,mask\na,scan.nii.gz,mask.nii.gz\n")
    words = ("table", "verify-labels", path, "--target", "mask")
    assert run(*words).code == 0
    small = Image(brain[:-1].astype(np.uint8), head.affine)
    write_image(small.data, tmp_path / "mask.nii.gz", small, overwrite=True)
    result = run(*words)
    assert result.code == 1
    assert "row 2" in result.err


def test_bids_lists_the_images(run: Run, head: Image, tmp_path: Path) -> None:
    """A row an image, its path relative to the table."""
    anat = tmp_path / "study" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    write_image(head.data, anat / "sub-01_T1w.nii.gz", head)
    about = {"Name": "One head", "BIDSVersion": "1.10.0"}
    (tmp_path / "study" / "dataset_description.json").write_text(json.dumps(about))
    out = tmp_path / "study.csv"
    assert run("table", "bids", tmp_path / "study", "-o", out).code == 0
    (row,) = _rows(out)
    assert row["subject"] == "01"
    assert row["image"] == "study/sub-01/anat/sub-01_T1w.nii.gz"
    assert run("table", "bids", tmp_path / "study", "-o", out).code == 1  # it exists now


def test_images_and_a_spreadsheet_become_a_table(run: Run, tmp_path: Path) -> None:
    """One command; what does not match is an error with everything in it, or left out aloud."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("S1V1_a.tif", "S2V1_b.tif", "S3V1_c.tif"):
        (folder / name).touch()
    sheet, out = tmp_path / "sheet.csv", tmp_path / "out" / "vessels.csv"
    sheet.write_text("Image ID,Class\nS1V1,Young\nS2V1,Aged\nS4V1,Aged\n")
    words = ("table", "images", folder, sheet, "-o", out, "--id", "Image ID")
    result = run(*words)
    assert result.code == 1
    assert "--id-rule before-underscore" in result.err
    words = (*words, "--id-rule", "before-underscore", "--rename", "Class=class")
    result = run(*words)
    assert result.code == 1
    assert "'S3V1'" in result.err
    assert "'S4V1'" in result.err
    assert not out.exists()
    result = run(*words, "--remainder", "--images-only")
    assert result.code == 0, result.err
    assert "2 rows" in result.out
    assert "left out" in result.err
    assert _rows(out) == [
        {"id": "S1V1", "image": "../images/S1V1_a.tif", "class": "Young"},
        {"id": "S2V1", "image": "../images/S2V1_b.tif", "class": "Aged"},
    ]
    assert run("table", "check", out).code == 0


def test_count_lights_counts_the_published_predictions(run: Run, tmp_path: Path) -> None:
    """The middle-aged images of 3BTRON by region, as in its `middle_age_deep_look.csv`."""
    file = write_rows(tmp_path / "middle_age.csv", middle_aged())
    words = ("--by", "Sex,Brain Region", "--light", "Traffic Lights", "--json")
    counts = json.loads(run("table", "count-lights", file, *words).out)["counts"]
    found = {row["Brain Region"]: [row[c] for c in ("Green", "Amber", "Red")] for row in counts}
    assert found == {"CC": [4, 9, 16], "PFC": [2, 15, 6]}


def test_count_lights_names_a_column_that_is_missing(run: Run, tmp_path: Path) -> None:
    """A table without lights, or without the wished column, is one sentence."""
    file = tmp_path / "predictions.csv"
    file.write_text("id,light,sex\na,Green,F\nb,Blue,M\n")
    missing = run("table", "count-lights", file, "--by", "region")
    assert missing.code == 1
    assert "no column 'region'" in missing.err
    strange = run("table", "count-lights", file, "--by", "sex")
    assert strange.code != 0
    assert "one is 'Blue'" in strange.err
