# SPDX-License-Identifier: Apache-2.0
"""`predict` and `evaluate` with a model of classes: what is said, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.studies.micrographs.linear_model import write_model, write_pictures


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A classifier that calls images aged that are bright on the right."""
    monkeypatch.setenv("ENCEPHALON_HOME", str(tmp_path / "home"))
    return write_model(tmp_path / "model").path


def test_each_image_is_told_with_class_probability_and_light(
    run: Run, model: Path, tmp_path: Path
) -> None:
    """A line an image, and at the end how many there are of each class."""
    table = write_pictures(tmp_path)
    result = run("predict", model, table, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("done  S0  Young 0.")
    assert lines[0].endswith("  Green")
    assert "classes: 4 Young, 4 Aged" in lines


def test_options_of_the_study_come_by_option(run: Run, model: Path, tmp_path: Path) -> None:
    """Thresholds are changed with --option; a wrong one is a sentence and exit code 2."""
    table = write_pictures(tmp_path)
    wanted = ("--option", "green=0", "--option", "amber=1")
    result = run("predict", model, table, "-o", tmp_path / "out", *wanted)
    assert all(line.endswith("Amber") for line in result.out.splitlines()[:8])
    wrong = run("predict", model, table, "-o", tmp_path / "b", "--option", "grean=0.2")
    assert wrong.code == 2
    assert "did you mean 'green'?" in wrong.err


def test_images_without_their_table_are_refused_in_one_sentence(
    run: Run, model: Path, tmp_path: Path
) -> None:
    """The sentence comes once, not once an image, and says which columns are needed."""
    write_pictures(tmp_path)
    result = run("predict", model, *sorted(tmp_path.glob("*.tif")), "-o", tmp_path / "out")
    assert result.code == 2
    assert result.err.count("give a table with the columns id, image, sex, region") == 1


def test_an_evaluation_prints_its_figures(run: Run, model: Path, tmp_path: Path) -> None:
    """Text for people, and JSON with the intervals for programs."""
    table = write_pictures(tmp_path)
    result = run("evaluate", model, "-t", table, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert "balanced accuracy: 1" in result.out
    result = run("evaluate", model, "-t", table, "-o", tmp_path / "out", "--overwrite", "--json")
    figures = json.loads(result.out)["assessment"]["figures"]
    assert figures["balanced_accuracy"]["value"] == 1
