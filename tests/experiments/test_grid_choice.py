# SPDX-License-Identifier: Apache-2.0
"""Which model of a grid predicts, by scores that stand in its cells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.api import load_model
from encephalon.errors import MissingFileError, ModelError
from encephalon.experiments.grid_choice import (
    Choice,
    GridModels,
    Scored,
    best_model,
    model_folder,
    models_of,
)
from encephalon.experiments.grid_folder import CellState, is_grid
from encephalon.io.cache import write_checksummed
from encephalon.models.description import ModelDescription
from encephalon.models.folder import save_model
from encephalon.studies.registry import load_study

TOLD = {"name": "m", "version": "1", "study": "extraction", "task": "segmentation"}


@pytest.fixture
def grid(tmp_path: Path) -> GridModels:
    """Three finished cells, each with a model."""
    cells = tuple(CellState(name, tmp_path / name, {}, "done") for name in ("a", "b", "c"))
    for number, cell in enumerate(cells):
        description = ModelDescription(**TOLD, mode="default", title="M")
        save_model(model_folder(cell), description, {"w": np.full(2, number, np.float32)})
    return GridModels(tmp_path, "mine", "extraction", cells)


def chosen(grid: GridModels, **scores: Scored) -> Mapping[str, Any]:
    """What is told of the one that is chosen."""
    model, _ = best_model(grid, lambda cell: scores[cell.name])
    told: Mapping[str, Any] = model.describe()["chosen"]
    assert model.describe()["name"] == told["model"]
    return told


def test_the_largest_score_is_chosen_and_told(grid: GridModels) -> None:
    """Of equal ones the interval that begins higher, then the first; what has no score is last."""
    some = {name: Scored("dice", 0.5, 0.4, 9) for name in "abc"}
    found = chosen(grid, **{**some, "b": Scored("dice", 0.6, 0.1, 7)})
    words = ("model", "metric", "score", "scored", "candidates")
    assert [found[name] for name in words] == ["b", "dice", 0.6, 7, 3]
    assert (
        "b, the best of 3 (dice 0.6, n = 7). The best of several is best by luck" in found["note"]
    )
    assert chosen(grid, **{**some, "c": Scored("dice", 0.5, 0.45, 9)})["model"] == "c"
    assert chosen(grid, **some)["model"] == "a"
    assert chosen(grid, **{**some, "a": Scored("dice")})["model"] == "b"
    assert Choice("a", Scored("dice"), 2).record()["score"] is None


def test_a_model_that_is_gone_or_was_edited_is_passed_over(
    grid: GridModels, caplog: pytest.LogCaptureFixture
) -> None:
    """That is logged, and it is no candidate; where none is left one sentence says so."""
    scores = {
        name: Scored("dice", value, n=5) for name, value in zip("abc", (3, 2, 1), strict=True)
    }
    (model_folder(grid.cells[0]) / "model.toml").unlink()
    (model_folder(grid.cells[1]) / "weights.safetensors").write_bytes(b"edited")
    found = chosen(grid, **scores)
    assert (found["model"], found["candidates"]) == ("c", 1)
    assert sum("is passed over" in one for one in caplog.messages) == 2
    assert best_model(grid, None)[1].cells == grid.cells[2:]
    (model_folder(grid.cells[2]) / "model.toml").unlink()
    with pytest.raises(ModelError, match=r"none of its 3 models can be used; first: .*model.toml"):
        chosen(grid, **scores)


def test_scores_of_other_things_are_not_compared(grid: GridModels) -> None:
    """Such as those of regions and of structures."""
    with pytest.raises(ModelError, match=r"scored by F1 and accuracy, which cannot.*/a/run"):
        chosen(grid, a=Scored("F1", 1), b=Scored("accuracy", 1), c=Scored("F1", 1))


def test_a_grid_without_a_finished_cell_has_no_model(tmp_path: Path) -> None:
    """Nor has a folder that is no grid, or whose record was edited."""
    about = {"grid": "mine", "title": "", "study": "extraction"}
    cells = [{"folder": "a", "name": "a", "values": {}}]
    write_checksummed(tmp_path / "grid.json", {**about, "cells": cells})
    assert is_grid(tmp_path)
    with pytest.raises(ModelError, match="no cell of the grid is done"):
        load_model(tmp_path)
    (tmp_path / "grid.json").write_text("{}", encoding="utf-8")
    with pytest.raises(MissingFileError, match=r"its grid.json is not as it was written"):
        models_of(tmp_path)
    (tmp_path / "grid.json").unlink()
    with pytest.raises(MissingFileError, match="expected a model folder"):
        load_model(tmp_path)


CLASSES = {"n": 9, "figures": {"balanced_accuracy": {"value": 0.7, "low": 0.6}}}
TILES: dict[str, Any] = {"tiles": 4, "regions": [], "pooled": {}, "readouts": []}
SUMMARIES: list[tuple[str, Any, Scored]] = [
    (
        "extraction",
        {"overall": {"dice": {"n": 2, "median_interval": {"value": 0.9, "low": 0.8}}}},
        Scored("median Dice", 0.9, 0.8, 2),
    ),
    (
        "isotropic",
        {"overall": [{"n": 3, "metrics": {"psnr_foreground": {"mean": 28, "interval": [27, 29]}}}]},
        Scored("mean PSNR", 28.0, 27.0, 3),
    ),
    ("micrographs", {"assessment": CLASSES}, Scored("balanced accuracy", 0.7, 0.6, 9)),
    (
        "microtomography",
        {**TILES, "regions": [{"metrics": {"accuracy": {"value": 0.5, "low": 0.4}}}]},
        Scored("accuracy", 0.5, 0.4, 4),
    ),
    ("microtomography", {**TILES, "pooled": {"f1": 0.3}}, Scored("F1", 0.3, n=4)),
    (
        "microtomography",
        {**TILES, "readouts": [{"target": "axon", "r2": {"value": 0.2, "low": 0.1}}]},
        Scored("R² of axon", 0.2, 0.1, 4),
    ),
]


@pytest.mark.parametrize(("study", "summary", "expected"), SUMMARIES)
def test_a_study_has_a_main_score(
    tmp_path: Path, study: str, summary: Any, expected: Scored
) -> None:
    """By the summary of its evaluation."""
    score, cell = load_study(study).main_score, CellState("a", tmp_path, {}, "done")
    assert score is not None
    cell.evaluation.mkdir()
    (cell.evaluation / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert str(score(cell)) == str(expected)  # NaN is not itself


def test_a_cross_validation_of_micrographs_is_scored_by_its_own_folds(tmp_path: Path) -> None:
    """Its model has seen every image in the end."""
    score, cell = load_study("micrographs").main_score, CellState("a", tmp_path, {}, "done")
    assert score is not None
    for place, said in ((cell.evaluation, {"assessment": {}}), (tmp_path / "run/evaluation", {})):
        place.mkdir(parents=True)
        text = json.dumps(said or {"model": CLASSES})
        (place / "summary.json").write_text(text, encoding="utf-8")
    assert score(cell).value == 0.7
