# SPDX-License-Identifier: Apache-2.0
"""Opening a run for training: what it reads beside its table, and how it computes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from encephalon.errors import RunError
from encephalon.io.home import HOME_VARIABLE
from encephalon.models import files
from encephalon.recipes.loading import dump_recipe, in_earlier_words
from encephalon.recipes.schema import Recipe
from encephalon.tables.reading import table_text
from encephalon.tables.schema import Table
from encephalon.training.record import RunRecord, table_contents
from encephalon.training.run import open_run
from encephalon.training.runs import RunFolder, TrainingContext
from tests.studies.calls import context
from tests.studies.extraction.tiny_heads import (
    DEFAULT,
    PUBLISHED,
    install_brain_model,
    pair_table,
    recipe,
)

Named = Mapping[str, str | None] | None


def opened(
    run: Path,
    of: Recipe,
    table: Table,
    models: Mapping[str, str | None] | None = None,
    **asked: Any,
) -> AbstractContextManager[TrainingContext]:
    return open_run(RunFolder(run), of, table, context(**asked), models=models)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing installed but what a test installs."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(files, "packaged_folder", lambda: tmp_path / "packaged")
    return tmp_path / "home" / "models"


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Three scans with their masks."""
    return pair_table(tmp_path, recipe("brain-extraction", DEFAULT))


def test_scans_masks_and_conditions_are_recorded(tmp_path: Path, table: Table) -> None:
    """The device is handed on, and torch computes with as many threads as were asked for."""
    with opened(tmp_path / "run", recipe("brain-extraction", DEFAULT), table) as placed:
        assert placed.device == "cpu"
        assert torch.get_num_threads() == 1
    record = RunRecord.read(tmp_path / "run" / "run.json")
    assert record is not None
    names = {f"{kind}{number}.nii.gz" for kind in ("scan", "mask") for number in range(3)}
    assert set(record.contents) == names
    assert record.conditions == {"threads": "1", "device": "cpu", "torch": torch.__version__}


@pytest.mark.parametrize("name", ["scan1.nii.gz", "mask2.nii.gz"])
def test_a_scan_or_mask_that_changed_is_refused(tmp_path: Path, table: Table, name: str) -> None:
    """By the cell that names it."""
    brain = recipe("brain-extraction", DEFAULT)
    with opened(tmp_path / "run", brain, table):
        (tmp_path / "run" / "history.csv").touch()  # something to lose
    shutil.copyfile(tmp_path / "scan0.nii.gz", tmp_path / name)
    with pytest.raises(RunError, match=name), opened(tmp_path / "run", brain, table, resume=True):
        pass


def test_a_dataset_that_moved_is_the_same(tmp_path: Path, table: Table) -> None:
    """Content counts, not place or time."""
    brain = recipe("brain-extraction", DEFAULT)
    with opened(tmp_path / "run", brain, table):
        pass
    moved = tmp_path / "moved"
    moved.mkdir()
    with opened(tmp_path / "run", brain, pair_table(moved, brain), resume=True):
        pass


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path, table: Table) -> None:
    """Its recipe names modes and built-in recipes as they were called; another value is refused."""
    brain = recipe("brain-extraction-published", PUBLISHED)
    text, run = in_earlier_words(dump_recipe(brain)), RunFolder(tmp_path / "run")
    contents = table_contents(table)
    run.begin(text, table_text(table.frame), lambda: contents)
    with opened(run.path, brain, table, resume=True):
        assert run.recipe.read_text(encoding="utf-8") == text
    other = recipe("brain-extraction-published", PUBLISHED | {"training.seed": "7"})
    reason = r"differs from the recipe given \(training.seed: 0 there, 7 here\)"
    with pytest.raises(RunError, match=reason), opened(run.path, other, table, resume=True):
        pass


def test_a_start_that_changed_is_refused(tmp_path: Path, table: Table, home: Path) -> None:
    """A model folder by any of its files; one that is gone is missed where it is needed."""
    install_brain_model(home)
    start = home / "brain-extraction"
    brain = recipe("brain-extraction", DEFAULT | {"training.start_from": str(start)})
    run, named = tmp_path / "run", {"the brain model": str(start)}
    with opened(run, brain, table, models=named):
        (run / "history.csv").touch()  # something to lose
    with opened(run, brain, table, resume=True, models=named):
        pass
    shutil.rmtree(start)
    install_brain_model(home, threshold=0.3)
    reason = "training.start_from and 1 more: the content"
    again = opened(run, brain, table, resume=True, models=named)
    with pytest.raises(RunError, match=reason), again:
        pass
    shutil.rmtree(start)
    with opened(run, brain, table, resume=True, models=named):
        pass


def test_other_threads_are_said(
    tmp_path: Path, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    """In one sentence, which names both numbers."""
    brain = recipe("brain-extraction", DEFAULT)
    with opened(tmp_path / "run", brain, table):
        pass
    with (
        caplog.at_level(logging.WARNING, "encephalon"),
        opened(tmp_path / "run", brain, table, resume=True, threads=2),
    ):
        torch.set_num_threads(1)
    assert [message.split(":")[0] for message in caplog.messages] == [
        f"{tmp_path / 'run'} began with threads 1 and goes on with 2"
    ]
