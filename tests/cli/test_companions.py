# SPDX-License-Identifier: Apache-2.0
"""`predict` with more images than one: --t1w, --stack, datasets, and the options of slices."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon import api
from encephalon.inference.predictor import OutputImage, OutputKind, Prediction
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Columns
from tests.cli.conftest import Run
from tests.studies.calls import plain_study

COLUMNS = Columns(
    inputs={"t2w": "t2w", "t1w": "t1w", "stack2": "stack2", "stack3": "stack3"},
    suffixes={"t2w": ("T2w",), "t1w": ("T1w",)},
    optional=("t1w", "stack2", "stack3"),
)


@dataclass
class Adding:
    """A stand-in for a model of several images: it adds them up."""

    asked: dict[str, Any] = field(default_factory=dict)
    name: str = "adding"
    outputs: dict[str, OutputKind] = field(
        default_factory=lambda: {"t2w": OutputKind("T2w", "isotropic")}
    )

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def read(self, sample: Sample) -> dict[str, Image]:
        sample.file("t2w")
        return {role: read_image(path) for role, path in sample.inputs.items()}

    def predict(self, loaded: dict[str, Image]) -> Prediction:
        total = np.sum([image.data for image in loaded.values()], axis=0)
        image = OutputImage(total, loaded["t2w"], desc="isotropic", suffix="T2w")
        return Prediction({"t2w": image}, {"images": len(loaded)})


@pytest.fixture(autouse=True)
def adding(monkeypatch: pytest.MonkeyPatch) -> Adding:
    """Replace `load_model`, wherever it is called from."""
    predictor = Adding()

    def load(model: str, **arguments: Any) -> api.Model:
        del model
        predictor.asked = arguments
        return api.Model(predictor, plain_study(), COLUMNS)

    monkeypatch.setattr(api, "load_model", load)
    return predictor


@pytest.fixture
def scans(tmp_path: Path, head: Image) -> Path:
    """A folder with one T2w, its T1w and a further scan."""
    for name in ("T2w", "T1w", "coronal"):
        write_image(head.data, tmp_path / f"{name}.nii.gz", head)
    return tmp_path


def rows(result_out: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result_out)["rows"]
    return found


def test_flags_add_images_to_a_single_input(run: Run, scans: Path) -> None:
    """--t1w once, --stack as often as there are further scans; the sidecar names them all."""
    words = ["--t1w", scans / "T1w.nii.gz", "--stack", scans / "coronal.nii.gz"]
    words += ["--stack", scans / "coronal.nii.gz"]
    result = run("predict", "any", scans / "T2w.nii.gz", "-o", scans / "out.nii.gz", *words)
    assert result.code == 0, result.err
    about = json.loads((scans / "out.json").read_text("utf-8"))
    assert [Path(path).name for path in about["Sources"]] == [
        *("T2w.nii.gz", "T1w.nii.gz", "coronal.nii.gz", "coronal.nii.gz"),
    ]
    assert about["Values"]["images"] == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("{0}/T1w.nii.gz", "--t1", "{0}/coronal.nii.gz"), "folder, a table or a BIDS dataset"),
        (("--stack", "{0}/coronal.nii.gz") + ("--stack", "{0}/T1w.nii.gz") * 2, "'stack4'"),
        (("--spacing", "fine"), "--spacing"),
    ],
)
def test_wrong_flags_exit_2_before_any_work(
    run: Run, scans: Path, words: tuple[str, ...], sentence: str
) -> None:
    """Among several inputs nobody could tell whose T1w it is."""
    other = scans / "b_T2w.nii.gz"
    other.write_bytes((scans / "T2w.nii.gz").read_bytes())
    first = [other] if words[0].startswith("{0}") else []
    given = [word.format(scans) for word in words]
    result = run("predict", "any", scans / "T2w.nii.gz", *first, "-o", scans / "out", *given)
    assert result.code == 2
    assert sentence in result.err
    assert not (scans / "out").exists()


def test_a_companion_that_is_not_there_is_named(run: Run, scans: Path) -> None:
    """Before anything is read or written."""
    words = ("--t1", scans / "absent.nii")
    result = run("predict", "any", scans / "T2w.nii.gz", "-o", scans / "out", *words)
    assert result.code == 1
    assert "absent.nii" in result.err
    assert not (scans / "out").exists()


@pytest.mark.parametrize("word", ["slice-", ""])
def test_options_of_slices_reach_the_study(
    run: Run, scans: Path, adding: Adding, word: str
) -> None:
    """By their own flags, each under its name: those of the field and the shorter ones."""
    words = ["--spacing", "1", f"--{word}thickness", "4", f"--{word}gap", "1"]
    words += ["--slice-plane" if word else "--axis", "axial"]
    words += [f"--{word}profile", "gaussian", "--method", "guided", "--registration", "none"]
    words += ["--save", "t2w,t1w"]
    run("predict", "any", scans / "T2w.nii.gz", "-o", scans / "out", *words)
    known = {"device", "threads", "offline"}
    assert {name: value for name, value in adding.asked.items() if name not in known} == {
        "spacing": 1.0,
        "thickness": 4.0,
        "gap": 1.0,
        "axis": "axial",
        "profile": "gaussian",
        "method": "guided",
        "registration": "none",
        "save": ["t2w", "t1w"],
    }


def test_a_dataset_is_paired_and_the_missing_named(run: Run, scans: Path, head: Image) -> None:
    """Two people, one without a T1w: both are done, and the plan says which lacks what."""
    root = scans / "bids"
    for name in ("sub-01_T1w", "sub-01_T2w", "sub-02_T2w"):
        folder = root / name[:6] / "anat"
        folder.mkdir(parents=True, exist_ok=True)
        write_image(head.data, folder / f"{name}.nii.gz", head)
    about = {"Name": "Two heads", "BIDSVersion": "1.10.0"}
    (root / "dataset_description.json").write_text(json.dumps(about), encoding="utf-8")
    out = scans / "derivatives"
    words = ("predict-bids", root, out, "participant", "-m", "any", "--json")
    plan = json.loads(run(*words, "--dry-run").out)["planned"]
    assert [list(one["absent"]) for one in plan] == [[], ["t1w"]]
    assert "absent" in run(*words[:-1], "--dry-run").out.splitlines()[0]
    result = run(*words, "--thickness", "3")
    assert result.code == 0, result.err
    assert [row["images"] for row in rows(result.out)] == [2, 1]
    assert (out / "sub-02" / "anat" / "sub-02_desc-isotropic_T2w.nii.gz").is_file()


def test_a_batch_goes_on_after_a_bad_companion(run: Run, scans: Path, head: Image) -> None:
    """A folder with one damaged T1w loses that sample alone."""
    folder = scans / "two"
    folder.mkdir()
    for name in ("a_T2.nii", "a_T1.nii", "b_T2.nii", "b_T1.nii"):
        write_image(head.data, folder / name, head)
    (folder / "a_T1.nii").write_bytes(b"no image")
    result = run("predict", "any", folder, "-o", scans / "out")
    assert result.code == 1
    assert "a_T1.nii" in result.err
    assert "2 samples: 1 done, 1 failed" in result.out


def test_python_takes_companions_too(scans: Path, head: Image) -> None:
    """As files for a batch, by role or in order for one prediction in memory."""
    done = api.predict(
        "any",
        scans / "T2w.nii.gz",
        scans / "python",
        companions={"t1w": str(scans / "T1w.nii.gz"), "stack2": [scans / "coronal.nii.gz"]},
    )
    assert done.rows[0]["images"] == 3
    model = api.load_model("any")
    by_role = model.predict(t2w=head, t1w=scans / "T1w.nii.gz")
    in_order = model.predict(head, t1w=scans / "T1w.nii.gz")
    assert by_role.values["images"] == in_order.values["images"] == 2
