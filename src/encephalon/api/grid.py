# SPDX-License-Identifier: Apache-2.0
"""Grids: many trainings by one file, each evaluated, and all of them compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.api.model import Place
from encephalon.errors import RunError, require_extra
from encephalon.experiments.grid import Cell, Grid, cells_of, load_grid
from encephalon.experiments.grid_folder import GridFolder, GridStatus, run_cells
from encephalon.io.atomic import make_folder, sha256
from encephalon.io.files import expanded, need_file
from encephalon.recipes.loading import find_named, parse_value, read_named

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress
    from encephalon.recipes.schema import Recipe

__all__ = [
    "GridPlan",
    "GridSummary",
    "grid_status",
    "list_grids",
    "plan_grid",
    "report_grid",
    "run_grid",
    "show_grid",
]


@dataclass(frozen=True)
class GridSummary:
    """One line of `encephalon grid list`."""

    name: str
    study: str
    title: str
    description: str


@dataclass(frozen=True)
class GridPlan:
    """A grid and its cells on a table, checked."""

    grid: Grid
    cells: tuple[Cell, ...]


def list_grids() -> list[GridSummary]:
    """The built-in grids, by name."""
    found = []
    for study, path in _built_in():
        said = read_named(path, "grid")[1]
        words = {key: str(said.get(key, "")) for key in ("title", "description")}
        found.append(GridSummary(path.stem, study, **words))
    return sorted(found, key=lambda one: one.name)


def show_grid(name: str) -> str:
    """The TOML text of a built-in grid or of a grid file, comments included."""
    return read_named(_find(name), "grid")[0]


def plan_grid(grid: Place, table: Place, *, overrides: Mapping[str, str] | None = None) -> GridPlan:
    """The cells of a grid on a table of samples, all recipes and the table checked; no training.

    `grid` is a built-in name or a TOML file; `overrides` are settings of every cell that stand
    above those of the file, in TOML spelling, such as {"training.epochs": "2"}. Raises RecipeError
    with the cell, MissingFileError, or TableError with every fault.
    """
    from encephalon.api import load_samples, recipe_checker

    path, samples = _find(grid), expanded(table)
    settings = {key: parse_value(value) for key, value in (overrides or {}).items()}
    loaded = load_grid(path).with_settings(settings)
    need_file(samples)
    cells = cells_of(loaded, path.parent, samples, sha256(samples), recipe_checker(samples))
    # Most recipes read a table in the same way, which is looked at once.
    for recipe in {repr(cell.recipe.table): cell.recipe for cell in cells}.values():
        load_samples(recipe, samples)
    return GridPlan(loaded, tuple(cells))


def run_grid(
    grid: Place,
    table: Place,
    output: Place,
    *,
    overrides: Mapping[str, str] | None = None,
    device: str = "auto",
    workers: int = 1,
    threads: int | None = None,
    progress: Progress | None = None,
) -> GridStatus:
    """Train and evaluate every cell of a grid that is not done in the folder `output`.

    A cell that fails is in the result with its sentence, and the others are done. Those that are
    done are compared in `output`/report. `workers` are processes that prepare samples, `threads`
    those of the CPU. Raises what `plan_grid` raises, OutputExistsError for a folder that holds
    something else, OutputError where another process is at it or nothing can be written, and
    MissingExtraError without the extra `train`.
    """
    require_extra("torch", "train", "Training")
    require_extra("lightning", "train", "Training")
    plan = plan_grid(grid, table, overrides=overrides)
    folder = GridFolder(expanded(output))
    with folder.opened(plan.grid, plan.cells):
        run_cells(folder, plan.cells, Here(device, workers, threads), progress)
        status = folder.status()
        return replace(status, report=_compare(folder, status) if status.of("done") else None)


def grid_status(output: Place) -> GridStatus:
    """What became of each cell of the grid in a folder; raises MissingFileError for none."""
    return GridFolder(expanded(output)).status()


def report_grid(output: Place) -> Path:
    """Write the comparison of all finished cells of the grid in a folder; returns its page.

    Raises MissingFileError for a folder without a grid, RunError where no cell is finished.
    """
    folder = GridFolder(expanded(output))
    return _compare(folder, folder.status())


@dataclass(frozen=True)
class Here:
    """Trains and evaluates on this machine, see `experiments.grid_folder.Steps`."""

    device: str = "auto"
    workers: int = 1
    threads: int | None = None

    def train(self, recipe: Recipe, table: Path, run: Path) -> Path:
        """Train, or go on; returns the model folder."""
        from encephalon.api import train

        how: dict[str, Any] = {"device": self.device, "threads": self.threads}
        return train(recipe, table, run, resume=True, workers=self.workers, **how)

    def evaluate(self, run: Path, table: Path, output: Path) -> Sequence[Mapping[str, str]]:
        """Score the model of the run; returns what failed of it."""
        from encephalon.api import evaluate

        found = evaluate(run, table, output, device=self.device, threads=self.threads)
        return found.failures


def _compare(folder: GridFolder, status: GridStatus) -> Path:
    from encephalon.experiments.grid_report import compare_summaries
    from encephalon.studies.registry import load_study

    done = status.of("done")
    if not done:
        raise RunError(f"{folder.path}: no cell is done: there is nothing to compare yet.")
    compare = load_study(status.study).compare or compare_summaries
    return compare(done, make_folder(folder.report))


def _built_in() -> list[tuple[str, Path]]:
    """The study and the file of each built-in grid."""
    from encephalon.studies.registry import list_studies, load_study

    folders = [(name, load_study(name).grids) for name in list_studies()]
    return [(name, path) for name, place in folders if place for path in place.glob("*.toml")]


def _find(grid: Place) -> Path:
    return find_named(str(grid), [path for _, path in _built_in()], "grid")
