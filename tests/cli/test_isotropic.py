# SPDX-License-Identifier: Apache-2.0
"""`simulate phantoms` and `predict isotropic` as a new user runs them, with the shipped weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from encephalon.io.reading import read_image
from encephalon.studies.isotropic.synthetic import write_heads
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BIDS dataset of two small heads, the second without its T1w."""
    folder = tmp_path_factory.mktemp("study")
    write_heads(folder, subjects=2, shape=(64, 80, 64), spacing=2.0, thickness=6.0)
    for file in (folder / "sub-02").rglob("*_T1w.*"):
        file.unlink()
    return folder


def test_a_dataset_comes_back_isotropic_and_paired_by_subject(
    run: Run, study: Path, tmp_path: Path
) -> None:
    """Two in, two out; whoever has no T1w is done alone, and that is said."""
    out = tmp_path / "derivatives"
    result = run("predict", "isotropic", study, "-o", out, "--threads", "1", "--spacing", "2")
    assert result.code == 0, result.err
    for subject, guided in (("sub-01", True), ("sub-02", False)):
        image = out / subject / "anat" / f"{subject}_desc-isotropic_T2w.nii.gz"
        thick = read_image(study / subject / "anat" / f"{subject}_T2w.nii.gz")
        result_image = read_image(image)
        assert result_image.spacing == pytest.approx((2, 2, 2), abs=1e-4)
        np.testing.assert_allclose(result_image.grid.centre, thick.grid.centre, atol=1e-3)
        record = json.loads(Path(str(image).replace(".nii.gz", ".json")).read_text("utf-8"))
        assert any("T1w" in source for source in record["Sources"]) is guided
        assert record["Values"]["guide"] == ("used" if guided else "absent")
        assert record["Values"]["inconsistency"] < 0.01
    assert (out / "report.html").exists()


def test_the_t1w_of_one_scan_is_given_by_name(run: Run, study: Path, tmp_path: Path) -> None:
    """`--t1w` and `--t1` are for a single scan; --fast leaves the network out."""
    scan = study / "sub-01" / "anat" / "sub-01_T2w.nii.gz"
    t1w = study / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    flags = ("--registration", "none", "--save", "t2w,transform", "--spacing", "2")
    words = ("predict", "isotropic", scan, "--t1w", t1w, "-o", tmp_path / "one", "--fast")
    result = run(*words, *flags)
    assert result.code == 0, result.err
    about = json.loads((tmp_path / "one" / "sub-01_T2w_t2w.json").read_text("utf-8"))
    assert (about["Settings"]["method"], "fast" in about["Settings"]) == ("guided", False)
    moved = (tmp_path / "one" / "sub-01_T2w_transform.tfm").read_text("utf-8")
    assert "Parameters: 1 0 0 0 1 0 0 0 1 0 0 0" in moved
    result = run(*words, "--method", "network")
    assert (result.code, "it asks for the method network, which" in result.err) == (2, True)
    assert (tmp_path / "one" / "sub-01_T2w_t2w.nii.gz").exists()
    other = study / "sub-02" / "anat" / "sub-02_T2w.nii.gz"
    two = run("predict", "isotropic", scan, other, "--t1", t1w, "-o", tmp_path / "two")
    assert two.code == 2
