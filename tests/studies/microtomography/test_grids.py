# SPDX-License-Identifier: Apache-2.0
"""The grids that ship suit the tables that they are for, and the smallest is run whole."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from encephalon.api.grid import Here, list_grids, plan_grid, show_grid
from encephalon.experiments.grid_cells import finish_cell
from encephalon.studies.microtomography import study
from tests.cli.conftest import Run, run
from tests.studies.microtomography.tiny_tiles import write_table

__all__ = ["run"]

NAMES = [grid.name for grid in list_grids() if grid.study == "microtomography"]
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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table of the smallest grid, and its cells."""
    folder = tmp_path_factory.mktemp("tiny")
    write_table(folder / "tiles")
    return folder


@pytest.mark.parametrize("number", range(10))
def test_every_cell_of_the_smallest_grid_is_trained_and_scored(place: Path, number: int) -> None:
    """On the CPU, one after the other."""
    pytest.importorskip("torch")
    cell = plan_grid("microtomography-tiny", place / "tiles" / "tiles.csv").cells[number]
    state = finish_cell(cell, place / cell.folder, Here("cpu", threads=2))
    assert (state.state, state.message) == ("done", "")


def test_the_demonstration_makes_tiles_and_a_leaderboard(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time all of it is there; a model of the grid is shown with the same tiles."""
    pytest.importorskip("torch")
    grid = tmp_path / "factors.toml"
    text = '[axes]\nrecipe = ["pca"]\n[settings]\n"study.components" = 4\n'
    grid.write_text(f'name = "factors"\ntitle = "Factors"\n{text}', encoding="utf-8")
    assert study.STUDY.demo is not None
    assert study.STUDY.demo.grid == "microtomography-tiny"
    shown = replace(study.STUDY, demo=replace(study.STUDY.demo, grid=str(grid)))
    monkeypatch.setattr("encephalon.studies.registry.load_study", lambda _: shown)
    monkeypatch.setattr(study, "DEMO", TINY)
    words = ("demo", "--model", "microtomography", "-o", tmp_path, "--device", "cpu", "--json")
    result = run(*words)
    assert result.code == 0, result.err
    said = json.loads(result.out)
    assert (said["done"], said["failed"], said["left"]) == (1, 0, 0)
    assert Path(said["report"]) == tmp_path / "grid" / "report" / "leaderboard.html"
    assert json.loads(run(*words).out)["cells"] == said["cells"]
    own = Path(said["cells"][0]["folder"]) / "run"
    alone = run("demo", "--model", own, "-o", tmp_path)
    assert alone.code == 0, alone.err
    assert f"scan: {tmp_path / 'samples' / 'tiles.csv'}" in alone.out
    assert run("demo", "--model", "microtomography", "--image", "scan.nii.gz").code == 2
