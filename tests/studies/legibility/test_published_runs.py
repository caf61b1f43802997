# SPDX-License-Identifier: Apache-2.0
"""Runs of the published study: its varied copies, and a recipe that meets a cohort."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from encephalon import api
from encephalon.errors import RecipeError
from encephalon.io.text import read_records, write_records
from encephalon.studies.legibility.data import Encoding
from encephalon.studies.legibility.published.data import PublishedInputs
from encephalon.studies.legibility.published.task import PublishedTask
from tests.studies.legibility.published_people import asked, people_of, recipe_of

COHORT = """
split = "part"
[blocks.constitutional]
columns = ["sex", "age"]
[blocks.serology]
columns = ["hdl", "ldl"]
[targets.sex]
kind = "binary"
domain = "constitutional"
"""


def test_copies_of_training_images_come_by_turns(tmp_path: Path) -> None:
    """Epoch e sees copy e mod K, all images of a person alike; nothing else is varied."""
    varied = {"augmentation": {"probability": 1.0}, "copies": 2}
    settings = asked(inputs=["t1", "dwi", "metadata"], **varied)
    assert settings.cohort is not None
    people = people_of(settings.cohort, tmp_path, count=2)
    people.images["dwi"] = people.images["t1"]  # type: ignore[index]
    recipe, rows = recipe_of(settings), np.arange(1)
    given = PublishedInputs(people, settings)
    task = PublishedTask(
        *(given, Encoding(people.cohort, {}, {}), rows, rows, settings, recipe.training)
    )
    plain = given(rows)
    seen = [task.varied(plain, rows, epoch) for epoch in range(3)]
    for place in (0, 1):
        assert torch.equal(seen[0][place], seen[2][place])
        assert not torch.equal(seen[0][place], seen[1][place])
        assert not torch.equal(seen[0][place], plain[place])
    assert torch.equal(seen[1][2], plain[2])
    off = replace(task, settings=settings.model_copy(update={"augmentation": None}))
    assert off.varied(plain, rows, 1) is plain


def test_a_recipe_that_meets_a_cohort_trains_to_a_model(tmp_path: Path) -> None:
    """All columns are counted, a complete recipe stays so, and a finished run gives its model."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "id": f"p{n:02}",
            "sex": "FM"[n // 2 % 2],
            "age": n,
            "hdl": n % 2,
            "ldl": rng.normal(),
            "part": "train" if n < 48 else "test",
        }
        for n in range(60)
    ]
    table = write_records(rows, tmp_path / "people.csv")
    (tmp_path / "cohort.toml").write_text(COHORT, encoding="utf-8")
    changes = {"training.epochs": "2", "training.batch_size": "8", "network.options.width": "2"}
    changes["network.options.connections"] = "3"
    recipe = api.load_recipe("legibility-published", changes, table)
    assert recipe.study.settings["columns"] == 3
    assert recipe.study.settings["inputs"] == ["metadata"]
    assert list(recipe.study.settings["cohort"]["blocks"]) == ["serology"]
    assert api.check_recipe(recipe, table) == recipe
    run = tmp_path / "run"
    model = api.train("legibility-published", table, run, overrides=changes, device="cpu")
    assert (model / "graph.onnx").is_file()
    parts = [row["part"] for row in read_records(run / "table.csv")[1]]
    assert sorted(parts) == ["test"] * 6 + ["train"] * 48 + ["validation"] * 6
    assert list((run / "folds" / "0").glob("performance_metrics_sex_metadata_serology.csv"))
    weights = (model / "weights.safetensors").read_bytes()
    api.train("legibility-published", table, run, overrides=changes, device="cpu", resume=True)
    assert (model / "weights.safetensors").read_bytes() == weights
    with pytest.raises(RecipeError, match="has no 'diet'"):
        api.load_recipe("legibility-published", {"study.metadata_blocks": '["diet"]'}, table)
