# SPDX-License-Identifier: Apache-2.0
"""`predict` and `predict-bids`, with a stand-in for the model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from encephalon.cli.predict import gather_labels
from encephalon.errors import OutputError
from encephalon.inference.predictions_table import PredictionsTable
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from tests.cli.conftest import Asked, Run

pytestmark = pytest.mark.usefixtures("stand_in")


@pytest.fixture
def dataset(tmp_path: Path, head: Image) -> Path:
    """A BIDS dataset of two people."""
    root = tmp_path / "study"
    for name in ("01", "02"):
        folder = root / f"sub-{name}" / "anat"
        folder.mkdir(parents=True)
        write_image(head.data, folder / f"sub-{name}_T1w.nii.gz", head)
    about = {"Name": "Two heads", "BIDSVersion": "1.10.0"}
    (root / "dataset_description.json").write_text(json.dumps(about))
    return root


def test_a_mask_lies_on_the_grid_of_its_scan(run: Run, scan: Path, tmp_path: Path) -> None:
    """Shape and affine of the mask are those of the scan, and its sidecar lies beside it."""
    result = run("predict", "any", "-i", scan, "-o", tmp_path / "mask.nii.gz")
    assert result.code == 0, result.err
    assert f"written: {tmp_path / 'mask.nii.gz'} (mask)" in result.out
    mask, image = nibabel.load(tmp_path / "mask.nii.gz"), nibabel.load(scan)
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
    assert json.loads((tmp_path / "mask.json").read_text())["Quality"]["Status"] == "ok"


def test_a_folder_gets_a_table_and_a_line_a_scan(run: Run, scan: Path, tmp_path: Path) -> None:
    """Each scan is told with its volume, and the table is named."""
    result = run("predict", "any", scan, "-o", tmp_path / "masks")
    assert result.code == 0
    assert "ok  scan  12.5 mL" in result.out
    assert (tmp_path / "masks" / "predictions.csv").is_file()
    assert str(tmp_path / "masks" / "predictions.csv") in result.out


def test_a_bad_file_fails_alone(run: Run, scan: Path, tmp_path: Path) -> None:
    """The rest of a batch is done; the exit code and a sentence name the bad one."""
    bad = tmp_path / "bad.nii.gz"
    bad.write_text("no image")
    result = run("predict", "any", bad, scan, "-o", tmp_path / "masks")
    assert result.code == 1
    assert result.err.startswith("error: ")
    assert str(bad) in result.err
    assert (tmp_path / "masks" / "scan_mask.nii.gz").is_file()
    assert "2 samples: 1 ok, 1 failed" in result.out


def test_an_absent_file_fails_alone(run: Run, scan: Path, tmp_path: Path) -> None:
    """A path to nothing is one failure of the batch, not the end of it."""
    result = run("predict", "any", tmp_path / "absent.nii", scan, "-o", tmp_path / "masks")
    assert result.code == 1
    assert "absent.nii" in result.err
    assert (tmp_path / "masks" / "scan_mask.nii.gz").is_file()


def test_json_tells_rows_and_failures(run: Run, scan: Path, tmp_path: Path) -> None:
    """--json prints one document, on standard output, and nothing else there."""
    bad = tmp_path / "bad.nii.gz"
    bad.write_text("no image")
    result = run("predict", "any", bad, scan, "-o", tmp_path / "masks", "--json")
    found = json.loads(result.out)
    assert [row["id"] for row in found["rows"]] == ["bad", "scan"]
    assert [failure["id"] for failure in found["failures"]] == ["bad"]
    assert found["model"]["name"] == "stand-in"


def test_dry_run_writes_nothing(run: Run, scan: Path, tmp_path: Path) -> None:
    """The plan names input and output."""
    result = run("predict", "any", scan, "-o", tmp_path / "masks", "--dry-run")
    assert result.code == 0
    assert str(tmp_path / "masks" / "scan_mask.nii.gz") in result.out
    assert not (tmp_path / "masks").exists()


def test_a_finished_sample_is_skipped_and_the_exit_code_is_0(
    run: Run, scan: Path, tmp_path: Path
) -> None:
    """Running again is normal: lines, summary, JSON and plan call it skipped."""
    mask = tmp_path / "mask.nii.gz"
    assert run("predict", "any", scan, "-o", mask).code == 0
    before = mask.stat().st_mtime_ns
    again = run("predict", "any", scan, "-o", mask)
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("skipped  scan  ")
    assert "1 sample: 1 skipped\n" in again.out
    said = json.loads(run("predict", "any", scan, "-o", mask, "--json").out)
    assert [row["status"] for row in said["rows"]] == ["skipped"]
    assert run("predict", "any", scan, "-o", mask, "--dry-run").out.endswith("  skipped\n")
    assert mask.stat().st_mtime_ns == before
    assert "1 ok" in run("predict", "any", scan, "-o", mask, "--overwrite").out
    assert mask.stat().st_mtime_ns != before


def test_a_file_that_is_not_ours_is_refused_until_overwrite(
    run: Run, scan: Path, tmp_path: Path
) -> None:
    """Nothing is replaced in silence; the plan says so before the work does."""
    mask = tmp_path / "mask.nii.gz"
    mask.write_bytes(b"mine")
    for words in ((), ("--dry-run",)):
        refused = run("predict", "any", scan, "-o", mask, *words)
        assert refused.code == 1
        assert "--overwrite" in refused.err + refused.out
    assert mask.read_bytes() == b"mine"
    assert run("predict", "any", scan, "-o", mask, "--overwrite").code == 0


def test_what_changed_is_said(run: Run, scan: Path, tmp_path: Path) -> None:
    """Another input of the same name is done again, and one sentence says why."""
    out = tmp_path / "masks"
    assert run("predict", "any", scan, "-o", out).code == 0
    image = read_image(scan)
    scan.unlink()
    write_image(image.data * 2, scan, image)
    again = run("predict", "any", scan, "-o", out)
    assert again.code == 0
    assert "done again, since the input changed" in again.out
    assert again.err == "warning: 1 sample was done again: the input changed.\n"


def test_the_table_is_no_sample(
    run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written is said, and the counts are of samples."""

    def full(_: PredictionsTable) -> None:
        raise OutputError("predictions.csv could not be written: the disk is full.")

    monkeypatch.setattr(PredictionsTable, "save", full)
    result = run("predict", "any", scan, "-o", tmp_path / "masks")
    assert result.code == 1
    assert "1 sample: 1 ok\n" in result.out
    assert "error: predictions.csv could not be written" in result.err


def test_quiet_says_nothing_of_success(run: Run, scan: Path, tmp_path: Path) -> None:
    """A job script gets an exit code and no words."""
    result = run("predict", "any", scan, "-o", tmp_path / "masks", "-q")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_reasons_to_check_are_said(run: Run, tmp_path: Path, head: Image) -> None:
    """A doubtful mask is done, and says why it is doubtful."""
    write_image(head.data, tmp_path / "odd.nii.gz", head)
    result = run("predict", "any", tmp_path / "odd.nii.gz", "-o", tmp_path / "masks")
    assert result.code == 0
    assert "check  odd  12.5 mL  it looks odd" in result.out


def test_only_options_that_were_given_reach_the_study(
    run: Run, stand_in: Asked, scan: Path, tmp_path: Path
) -> None:
    """The study's own defaults hold for the rest."""
    words = ["--border", "2", "--no-csf", "--save", "mask,distance"]
    words += ["--option", "edge-case=true", "--option", "block=64"]
    run("predict", "any", scan, "-o", tmp_path / "masks", "--threads", "1", *words)
    assert stand_in == [
        {
            "model": "any",
            "device": "auto",
            "threads": 1,
            "offline": False,
            "border": 2.0,
            "csf": False,
            "save": ["mask", "distance"],
            "edge_case": True,
            "block": 64,
        }
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--device", "tpu"), "'tpu'"),
        (("--option", "border"), "KEY=VALUE"),
        (("--value", "a=1", "--value", "a=2"), "--value is given twice for 'a', '1' and '2'"),
        (("--source", "t1=x.nii", "--source", "t1=y.nii"), "--source is given twice for 't1'"),
        (("--option", "border=2", "--border", "3"), "'border' is given twice"),
        (("--option", "device=cpu"), "'device' is none of it"),
        (("--participant-label", "01"), "01 would choose images of a BIDS dataset"),
        (("--threads", "0"), "--threads"),
        (("--border", "wide"), "--border"),
    ],
)
def test_a_wrong_value_exits_2_before_any_work(
    run: Run, scan: Path, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    """Values are checked before anything is read or written."""
    result = run("predict", "any", scan, "-o", tmp_path / "masks", *words)
    assert result.code == 2
    assert sentence in result.err
    assert not (tmp_path / "masks").exists()


def test_bids_in_gives_derivatives_out(run: Run, dataset: Path, tmp_path: Path) -> None:
    """The order of a BIDS-App works, and labels choose people."""
    out = tmp_path / "derivatives"
    words = ("--participant_label", "sub-02")
    result = run("predict-bids", dataset, out, "participant", *words)
    assert result.code == 0, result.err
    assert [path.name for path in out.rglob("*_mask.nii.gz")] == ["sub-02_desc-brain_mask.nii.gz"]
    about = json.loads((out / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"


@pytest.mark.parametrize("between", [(), ("--participant-label",)])
def test_two_labels_may_be_apart(
    run: Run, dataset: Path, tmp_path: Path, between: tuple[str, ...]
) -> None:
    """`--participant-label 01 02` is how BIDS-Apps are called, and the flag may be repeated."""
    words = ("--participant-label", "01", *between, "02", "--dry-run", "--json")
    result = run("predict-bids", dataset, tmp_path / "out", "participant", *words)
    assert [one["id"] for one in json.loads(result.out)["planned"]] == ["sub-01_T1w", "sub-02_T1w"]


def test_labels_before_the_folders_take_one_word() -> None:
    """Ahead of the analysis level, the words that follow a label are folders."""
    before = ["predict-bids", "--participant-label", "01", "in", "out", "participant"]
    assert gather_labels(before) == before
    after = ["in", "out", "participant", "--session_label", "a", "b", "-q"]
    assert gather_labels(after) == ["in", "out", "participant", "--session_label", "a,b", "-q"]


def test_predict_bids_refuses_other_levels_and_folders(
    run: Run, dataset: Path, scan: Path, tmp_path: Path
) -> None:
    """`participant` and `group` are analysis levels, and only a dataset is a dataset."""
    level = run("predict-bids", dataset, tmp_path / "out", "session")
    folder = run("predict-bids", scan.parent, tmp_path / "out", "participant")
    assert level.code == folder.code == 2
    assert "'session'" in level.err
    assert "dataset_description.json" in folder.err


def test_the_group_level_makes_one_table_with_its_dictionary(
    run: Run, dataset: Path, tmp_path: Path
) -> None:
    """Of all that is there, with n/a where there is nothing; it is refused before."""
    out = tmp_path / "derivatives"
    early = run("predict-bids", dataset, out, "group")
    assert (early.code, "participant first" in early.err) == (1, True)
    for label in ("01", "02"):
        words = ["--participant-label", label, "-w", str(tmp_path), "--skip-bids-validation"]
        words += ["--notrack", "--no-sub"]
        assert run("predict-bids", dataset, out, "participant", *words).code == 0
    assert run("predict-bids", dataset, out, "group").code == 0
    names, *rows = (
        line.split("\t")
        for line in (out / "group_stand-in.tsv").read_text(encoding="utf-8").splitlines()
    )
    told = [dict(zip(names, row, strict=True)) for row in rows]
    assert [one["participant_id"] for one in told] == ["sub-01", "sub-02"]
    assert {(one["volume_ml"], one["reasons"]) for one in told} == {("12.5", "n/a")}
    about = json.loads((out / "group_stand-in.json").read_text(encoding="utf-8"))
    assert list(about) == names
    assert about["volume_ml"]["Units"] == "mL"
    assert all(one.get("Description") for one in about.values())


def test_a_bids_filter_file_chooses_images(run: Run, dataset: Path, tmp_path: Path) -> None:
    """As fMRIPrep reads it; what is no entity is named."""
    file = tmp_path / "filter.json"
    file.write_text('{"t1w": {"subject": "02", "acquisition": null}}', encoding="utf-8")
    words = ("predict-bids", dataset, tmp_path / "out", "participant", "--dry-run", "--json")
    found = run(*words, "--bids-filter-file", file)
    assert [one["id"] for one in json.loads(found.out)["planned"]] == ["sub-02_T1w"]
    file.write_text('{"t1w": {"sesion": "02"}}', encoding="utf-8")
    result = run(*words, "--bids-filter-file", file)
    assert (result.code, "did you mean 'session'?" in result.err) == (1, True)


def test_verbose_output_describes_the_model_in_words(run: Run, scan: Path, tmp_path: Path) -> None:
    """The model's name on a line, and no Python dictionary."""
    result = run("predict", "any", scan, "-o", tmp_path / "masks", "-v")
    assert result.code == 0
    assert "model: name stand-in, version 1.0.0" in result.err
    assert "{" not in result.err


def test_derivatives_never_go_into_the_raw_dataset(run: Run, head: Image, tmp_path: Path) -> None:
    """But for its folder `derivatives`; a link does not hide it."""
    raw = tmp_path / "raw"
    for name in ("01", "02"):
        folder = raw / f"sub-{name}" / "anat"
        folder.mkdir(parents=True)
        write_image(head.data, folder / f"sub-{name}_T1w.nii.gz", head)
    (raw / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    (tmp_path / "link").symlink_to(raw / "sub-01")
    before = sorted(raw.rglob("*"))
    for out in (raw / "sub-01", raw / "code", tmp_path / "link" / "deep", raw):
        result = run("predict-bids", raw, out, "participant", "-m", "any")
        assert result.code == 1, out
        assert "derivatives" in result.err
    assert sorted(raw.rglob("*")) == before
    for out in (raw / "derivatives" / "enc", tmp_path / "rawer"):
        assert run("predict-bids", raw, out, "participant", "-m", "any").code == 0


def test_what_a_derivative_cannot_tell_apart_names_both_inputs(
    run: Run, head: Image, tmp_path: Path
) -> None:
    """A packed and a plain image of one name: the second fails, and the advice works."""
    folder = tmp_path / "raw" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    for ending in (".nii", ".nii.gz"):
        write_image(head.data, folder / f"sub-01_T1w{ending}", head)
    description = tmp_path / "raw" / "dataset_description.json"
    description.write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    result = run("predict", "any", tmp_path / "raw", "-o", tmp_path / "out")
    assert result.code == 1
    for words in ("T1w.nii.gz: its result would be", "T1w.nii, since", "another output folder"):
        assert words in result.err
    given = folder / "sub-01_T1w.nii.gz"
    assert run("predict", "any", given, "-o", tmp_path / "other").code == 0


def test_a_home_that_nobody_has_is_no_folder_to_be_made(
    run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~nobody99/out` would become a folder of that name here."""
    monkeypatch.chdir(tmp_path)
    result = run("predict", "any", scan, "-o", "~nobody99/out")
    assert result.code == 2
    assert "that home folder is not known" in result.err
    assert not (tmp_path / "~nobody99").exists()


def test_one_bad_row_never_stops_a_table(run: Run, scan: Path, tmp_path: Path) -> None:
    """NUL bytes, unknown homes and names that no disk takes fail alone, the others are done."""
    (tmp_path / "scan.json").write_text("[" * 100_000)
    cells = ["x\0y.nii.gz", "~nobody99/x.nii.gz", "m" * 300 + ".nii.gz", str(scan)]
    rows = [f"{name},{cell}" for name, cell in zip("abcd", cells, strict=True)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["id,image", *rows, f"{'z' * 300},{scan}", f"e,{scan}"]))
    result = run("predict", "any", table, "-o", tmp_path / "out")
    assert result.code == 1
    assert "6 samples: 2 ok, 4 failed" in result.out
    assert "Unexpected" not in result.err
    assert "unexpected" not in result.err


def test_one_bad_input_never_stops_the_others(run: Run, scan: Path, tmp_path: Path) -> None:
    """A pipe, an empty folder, a broken table and nothing at all fail alone, each in a sentence."""
    os.mkfifo(tmp_path / "pipe.nii.gz")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.csv").write_bytes(b"\xff\xfe")
    names = ("pipe.nii.gz", "empty", "broken.csv", "absent.nii.gz")
    bad = [tmp_path / name for name in names]
    result = run("predict", "any", bad[0], scan, *bad[1:], "-o", tmp_path / "out")
    assert result.code == 1
    assert "5 samples: 1 ok, 4 failed" in result.out
    for name in names:
        assert name in result.err
    alone = run("predict", "any", *bad, "-o", tmp_path / "none")
    assert alone.code == 1
    assert not (tmp_path / "none").exists()
