# SPDX-License-Identifier: Apache-2.0
"""The grids that ship suit the tables that they are for, and the smallest is run whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from encephalon.api.grid import list_grids, plan_grid, show_grid
from encephalon.io.text import read_records
from encephalon.studies.microtomography import study
from tests.cli.conftest import Run, run
from tests.studies.microtomography.tiny_tiles import write_table

__all__ = ["run"]

NAMES = [grid.name for grid in list_grids()]
METHODS = "byol frozen microstructure myow myow-merged nmf pca region-mixup region-supervised"
TINY = {"depth": 32, "side": 32, "tile": 32, "cubes": 1}


@pytest.mark.parametrize("name", NAMES)
def test_every_grid_suits_a_table_of_tiles(name: str, tmp_path: Path) -> None:
    """Its recipes are in order, and so is what it says of itself."""
    found = plan_grid(name, write_table(tmp_path))
    assert found.grid.name == name
    assert {cell.recipe.study.name for cell in found.cells} == {"microtomography"}
    assert show_grid(name).startswith("# SPDX")


@pytest.mark.parametrize(("name", "seeds"), [("tiny", 1), ("small", 3), ("full", 3)])
def test_a_grid_has_every_method(name: str, seeds: int, tmp_path: Path) -> None:
    """Supervised or not, two decoders or all eight, and factors once."""
    cells = plan_grid(f"microtomography-{name}", write_table(tmp_path)).cells
    counts = Counter(cell.recipe.name for cell in cells)
    assert sorted(counts) == METHODS.split()
    decoders = 8 if name == "full" else 2
    assert (counts["byol"], counts["pca"]) == (seeds, 1)
    assert counts["microstructure"] == decoders * seeds


def test_the_full_grid_trains_as_the_recipes_say(tmp_path: Path) -> None:
    """Nothing but seeds and decoders differs from what ships."""
    from encephalon import api
    from encephalon.recipes.loading import recipe_data

    for cell in plan_grid("microtomography-full", write_table(tmp_path)).cells:
        changes = {key: str(value) for key, value in cell.values.items() if key != "recipe"}
        shipped = api.load_recipe(cell.recipe.name, changes)
        assert recipe_data(cell.recipe) == recipe_data(shipped)


def test_the_demonstration_trains_every_method_and_compares_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a made-up volume to a leaderboard; the second time all of it is there."""
    pytest.importorskip("torch")
    monkeypatch.setattr(study, "DEMO", TINY)
    words = ("demo", "--model", "microtomography", "-o", tmp_path, "--device", "cpu", "--json")
    result = run(*words, "--threads", 2)
    assert result.code == 0, result.err
    said = json.loads(result.out)
    assert (said["done"], said["failed"], said["left"]) == (10, 0, 0)
    assert Path(said["report"]).name == "leaderboard.html"
    _, rows = read_records(Path(said["report"]).with_suffix(".csv"))
    methods = {row["method"].split(",")[0] for row in rows}
    expected = {"supervised", "mix-up", "byol", "myow", "myow-merged", "pca", "nmf", "frozen"}
    assert methods == {*expected, "unet", "fpn"}
    assert {row["seeds"] for row in rows} == {"1"}
    again = json.loads(run(*words).out)
    assert again["cells"] == said["cells"]
    assert run("demo", "--model", "microtomography", "--image", "scan.nii.gz").code == 2
