# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, kill -9 and full disks leave whole files or none."""

from __future__ import annotations

import csv
import errno
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from encephalon.inference.outputs import OutputLayout
from tests.inference.conftest import predict_all

# A predictor whose second sample stops in the middle of its second file, and says so.
PROGRAM = """
import signal, sys, time
from pathlib import Path
import numpy as np
from encephalon.geometry.affine import Affine
from encephalon.inference.outputs import OutputLayout
from encephalon.inference.predictor import OutputImage, OutputKind, Prediction
from encephalon.io.image import Image
from encephalon.tables.samples import Sample
from tests.inference.conftest import predict_all

out = Path(sys.argv[1])
like = Image(np.zeros((8, 8, 8), np.float32), Affine.from_spacing(1.0))

def slow(data, path):
    path.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(200)

class Slow:
    name = "slow"
    outputs = {"mask": OutputKind("mask", "brain"), "other": OutputKind("T1w")}
    def describe(self):
        return {"model": {"name": "slow"}}
    def read(self, sample):
        return sample.id
    def predict(self, name):
        ones = np.ones((8, 8, 8), bool)
        images = {"mask": OutputImage(ones, like)}
        if name == "b":
            images["other"] = OutputImage(ones, None, suffix="T1w", writer=slow)
        return Prediction(images, {"n": 1})

# A shell that starts a job in the background has it ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
samples = [Sample(name, {"image": Path(name)}) for name in "abc"]
try:
    predict_all(Slow(), samples, OutputLayout(out, table=out / "predictions.csv"))
except KeyboardInterrupt:
    sys.exit(130)
"""


def interrupted(out: Path, number: int) -> int:
    """Run PROGRAM until it writes its second sample, send the signal, and return its exit code."""
    command = [sys.executable, "-c", PROGRAM, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "writing\n"
            program.send_signal(number)
            return program.wait(timeout=120)
        finally:
            program.kill()


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def rows(folder: Path) -> list[str]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return [row["id"] for row in csv.DictReader(stream)]


def test_ctrl_c_leaves_the_finished_samples_and_nothing_of_the_present_one(tmp_path: Path) -> None:
    """Not even the image of the present sample that was written already."""
    assert interrupted(tmp_path, signal.SIGINT) == 130
    assert visible(tmp_path) == ["a_mask.json", "a_mask.nii.gz", "predictions.csv"]
    assert rows(tmp_path) == ["a"]
    assert [path for path in tmp_path.iterdir() if ".part" in path.name] == []


def test_kill_leaves_no_half_file_under_a_final_name(tmp_path: Path) -> None:
    """After kill -9 what has a final name is whole, and the same command can go on."""
    assert interrupted(tmp_path, signal.SIGKILL) == -signal.SIGKILL
    assert visible(tmp_path) == ["a_mask.json", "a_mask.nii.gz", "predictions.csv"]
    assert rows(tmp_path) == ["a"]
    assert np.asarray(nibabel.load(tmp_path / "a_mask.nii.gz").dataobj).all()


def test_a_full_disk_is_one_sentence_about_the_file_the_user_knows(
    bright: Any, samples: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample fails, nothing of it stays, and the next sample is tried."""
    from encephalon.io import nifti

    write, calls = nifti.write, 0

    def full(path: Path, *rest: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:  # the brain of the first sample, after its mask
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *rest, **named)

    batch = samples("a", "b")
    monkeypatch.setattr(nifti, "write", full)
    out = tmp_path / "out"
    result = predict_all(bright(), batch, OutputLayout(out, table=out / "predictions.csv"))
    (failure,) = result.failures
    assert failure.id == "a"
    assert f"{out / 'a_brain.nii.gz'} could not be written: the disk is full" in failure.message
    assert [name for name in visible(out) if name.startswith("a")] == []
    assert (out / "b_brain.nii.gz").exists()


def test_a_table_that_cannot_be_written_is_a_failure_and_the_images_stay(
    bright: Any, samples: Any, tmp_path: Path
) -> None:
    """Something else in the table's place costs the table only."""
    out = tmp_path / "out"
    layout = OutputLayout(out, table=out / "file" / "predictions.csv")
    out.mkdir()
    (out / "file").touch()
    result = predict_all(bright(), samples("a"), layout)
    assert [failure.id for failure in result.failures] == ["predictions.csv"]
    assert (out / "a_mask.nii.gz").exists()
