# SPDX-License-Identifier: Apache-2.0
"""Training on several devices: what comes after it is done once, by the first process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from encephalon.models.folder import open_model
from tests.studies.extraction.tiny_heads import DEFAULT, label_table
from tests.studies.extraction.tiny_heads import recipe as extraction_recipe
from tests.studies.isotropic.tiny_isotropic import QUICK, write_table
from tests.training.test_loop import python


def heads(folder: Path) -> Path:
    label_table(folder, extraction_recipe("brain-extraction", DEFAULT))
    return folder / "heads.csv"


@pytest.mark.parametrize(
    ("recipe", "changes", "make"),
    [("brain-extraction", DEFAULT, heads), ("isotropic", QUICK, write_table)],
)
def test_two_processes_measure_and_finish_once(
    tmp_path: Path, recipe: str, changes: dict[str, str], make: Callable[[Path], Path]
) -> None:
    """Both train; one writes the model and says so, and the other has ended by then."""
    table, run = make(tmp_path), tmp_path / "run"
    said = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    asked = ["-t", str(table), "-o", str(run), "--device", "cpu", "--devices", "2", *said]
    finished = python("encephalon", "train", recipe, *asked, "--threads", "1", "--workers", "1")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("model: ") == 1, finished.stdout
    assert finished.stdout.endswith(f"model: {run / 'model'}\nreport: {run / 'report.html'}\n")
    assert finished.stderr.count("epoch 2") == 1, finished.stderr
    assert open_model(run / "model").graph is not None
    assert not list(run.rglob("*.part*"))
