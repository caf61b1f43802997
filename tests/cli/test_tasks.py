# SPDX-License-Identifier: Apache-2.0
"""One command a task, in the words of mri_synthstrip and HD-BET; each does what `predict` does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encephalon.models import files
from tests.cli.conftest import Asked, Run


@pytest.mark.parametrize(
    ("task", "own", "foreign"),
    [
        ("brain", "--mask --sdt --border", "--t1 --spacing --use --tile --fill --slurm"),
        (
            "isotropic",
            "--t1w, --stack --spacing --fast --slice-gap,",
            "--border --mask --use --value --slurm",
        ),
        ("classify", "--use --source --value", "--border --mask --t1 --spacing --slurm"),
    ],
)
def test_help_shows_the_options_of_its_task_alone(
    run: Run, task: str, own: str, foreign: str
) -> None:
    """With an example, and without the name of a study."""
    text = run(task, "--help").out
    assert all(f"{flag} " in text for flag in own.split())
    assert not [flag for flag in foreign.split() if f"{flag} " in text]
    assert f"    encephalon {task} -i " in text
    assert "[extraction]" not in text
    assert "[isotropic]" not in text


def test_the_first_screen_names_the_models_that_ship(run: Run) -> None:
    """And what each does."""
    shown = run().err
    for folder in Path(files.__file__).with_name("packaged").iterdir():
        assert f"\n    {folder.name} " in shown
    assert "Brain extraction: any contrast" in shown


def test_flags_reach_the_model(run: Run, stand_in: Asked, scan: Path, tmp_path: Path) -> None:
    """-m is the file of the mask, -b the border in mm."""
    mask = tmp_path / "there" / "m.nii.gz"
    result = run("brain", "-i", scan, "-m", mask, "-b", "1.5", "--jobs", "1", "--slurm", "-q")
    assert (result.code, result.err) == (0, "")
    assert {"border": 1.5, "save": ["mask"], "model": "brain-extraction"}.items() <= stand_in[
        0
    ].items()
    assert mask.is_file()
    assert mask.with_name("m.json").is_file()


def _planned(run: Run, *words: object) -> list[str]:
    result = run(*words, "--dry-run", "--json")
    assert result.code == 0, result.err
    return [Path(one).name for one in json.loads(result.out)["planned"][0]["outputs"].values()]


def test_each_image_goes_where_it_is_told(run: Run, scan: Path, tmp_path: Path) -> None:
    """The others beside the first, and all of them into a folder by their usual names."""
    files_ = ["-o", tmp_path / "b.nii.gz", "-m", tmp_path / "m.nii.gz", "-d", tmp_path / "d.nii.gz"]
    assert _planned(run, "brain", "-i", scan, *files_) == ["m.nii.gz", "b.nii.gz", "d.nii.gz"]
    more = ["-o", tmp_path / "b.nii.gz", "--save", "mask"]
    assert _planned(run, "brain", "-i", scan, *more) == ["b_mask.nii.gz", "b.nii.gz"]
    assert _planned(run, "brain", scan, "-o", tmp_path / "out") == ["scan_brain.nii.gz"]


def test_the_last_of_several_words_is_the_output(run: Run, scan: Path, tmp_path: Path) -> None:
    """As BET and HD-BET take them; the earlier name of a command is understood."""
    assert _planned(run, "skullstrip", scan, tmp_path / "bet.nii.gz") == ["bet.nii.gz"]


def test_places_that_do_not_go_together_are_refused(run: Run, scan: Path, tmp_path: Path) -> None:
    """As is no place at all."""
    folder, file = tmp_path / "out", tmp_path / "m.nii.gz"
    result = run("brain", scan, "-o", folder, "-m", file)
    assert (result.code, "not one folder" in result.err) == (2, True)
    twice = ("-o", tmp_path / "b.nrrd", "-m", tmp_path / "b.mha")
    result = run("brain", scan, *twice, "--dry-run")
    assert (result.code, "b.json would be written for two images" in result.out) == (1, True)
    result = run("brain", scan)
    assert (result.code, "-o PLACE" in result.err) == (2, True)
