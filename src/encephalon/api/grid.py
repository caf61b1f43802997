# SPDX-License-Identifier: Apache-2.0
"""Grids: many trainings by one file, each evaluated, and all of them compared."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import OutputExistsError, RunError, UsageError, require_extra
from encephalon.experiments.grid import Cell, Grid, cells_of, load_grid, traits_of
from encephalon.experiments.grid_cells import run_cells
from encephalon.experiments.grid_folder import GridFolder, GridStatus
from encephalon.inference.outputs import Place
from encephalon.inference.workers import HERE, Workers
from encephalon.io.atomic import make_folder, sha256
from encephalon.io.files import expanded, need_file
from encephalon.recipes.loading import find_named, parse_value, read_named
from encephalon.tables.reading import is_table, read_table
from encephalon.training.record import table_files

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

    from encephalon.experiments.grid_report import GridReport
    from encephalon.inference.batch import Progress
    from encephalon.recipes.schema import Recipe
    from encephalon.statistics.forecast import Forecast

__all__ = [
    "GridPlan",
    "GridSummary",
    "grid_scores",
    "grid_status",
    "list_grids",
    "plan_grid",
    "report_grid",
    "run_grid",
    "serve_grid",
    "show_grid",
    "watch_grid",
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
    """A grid and its cells on a table, checked; `minutes` of all where others were measured.

    files  that the table names, by what it calls them
    """

    grid: Grid
    cells: tuple[Cell, ...]
    files: Mapping[str, Path] = field(repr=False)
    minutes: Forecast | None = None


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


def plan_grid(
    grid: Place,
    table: Place,
    *,
    overrides: Mapping[str, str] | None = None,
    measured: Place | None = None,
) -> GridPlan:
    """The cells of a grid on a table of samples, all recipes and the table checked; no training.

    `grid` is a built-in name or a TOML file; `overrides` are settings of every cell that stand
    above those of the file, in TOML spelling, such as {"training.epochs": "2"}. `measured` is the
    folder of a grid, or a table of results, by whose minutes those of this one are told beforehand.
    Raises RecipeError with the cell, MissingFileError, or TableError with every fault, and RunError
    where nothing was measured.
    """
    from encephalon.api import load_samples, recipe_checker

    path, samples = _find(grid), expanded(table)
    settings = {key: parse_value(value) for key, value in (overrides or {}).items()}
    loaded = load_grid(path).with_settings(settings)
    need_file(samples)
    cells = cells_of(loaded, path.parent, samples, sha256(samples), recipe_checker(samples))
    read, files = read_table(samples), dict[str, Path]()
    # Most recipes read a table in the same way, which is looked at once.
    for recipe in {repr(cell.recipe.table): cell.recipe for cell in cells}.values():
        files |= table_files(load_samples(recipe, read))
    minutes = None if measured is None else _forecast(expanded(measured), cells)
    return GridPlan(loaded, tuple(cells), files, minutes)


def run_grid(
    grid: Place,
    table: Place,
    output: Place,
    *,
    overrides: Mapping[str, str] | None = None,
    device: str = "auto",
    workers: int = 1,
    threads: int | None = None,
    jobs: Workers = HERE,
    progress: Progress | None = None,
) -> GridStatus:
    """Train and evaluate every cell of a grid that is not done in the folder `output`.

    A cell that fails is in the result with its sentence, and the others are done. Those that are
    done are compared in `output`/report. `workers` are processes that prepare samples of a cell,
    `threads` those of the CPU of each, and `jobs`, see `Workers`, do the cells. Raises what
    `plan_grid` and `in_workers` raise, OutputExistsError for a folder that holds something else,
    OutputError where another process is at it or nothing can be written, and MissingExtraError
    without the extra `train`.
    """
    require_extra("torch", "train", "Training")
    require_extra("lightning", "train", "Training")
    plan = plan_grid(grid, table, overrides=overrides)
    folder = GridFolder(expanded(output))
    with folder.opened(plan.grid, plan.cells, plan.files):
        steps = Here(device, workers, jobs.threads_each(threads))
        run_cells(folder, plan.cells, steps, jobs, progress)
        folder.require_same(plan.cells, plan.files)  # cells of before and after are not compared
        status = folder.status()
        if not status.of("done"):
            return status
        found = _report(folder, status)
        return replace(status, report=found.dashboard or found.page)


def grid_status(output: Place) -> GridStatus:
    """What became of each cell of the grid in a folder; raises MissingFileError for none."""
    return GridFolder(expanded(output)).status()


def grid_scores(output: Place) -> list[dict[str, Any]]:
    """The main score of what is done in a folder so far: a row a set of inputs, a column a target.

    Of a study whose models are not told apart by their inputs a row a cell. None stands for what
    there is not yet. Raises what `grid_status` raises.
    """
    from encephalon.studies.registry import load_study

    status = grid_status(output)
    study, done = load_study(status.study), status.of("done")
    if not done:
        return []
    if study.results is None:
        scored = {cell.name: study.main_score(cell) for cell in done} if study.main_score else {}
        return [{"cell": name, "score": _known(one.value)} for name, one in scored.items()]
    frame = study.results(done).heatmap()
    return [
        {"inputs": inputs, **{str(target): _known(one) for target, one in row.items()}}
        for inputs, row in frame.iterrows()
    ]


def _known(score: float) -> float | None:
    return None if isnan(score) else round(float(score), 3)


def watch_grid(output: Place, every: float = 5.0) -> Iterator[GridStatus]:
    """The same whenever it has changed, until no process runs the grid; looks `every` seconds."""
    folder, told = GridFolder(expanded(output)), None
    while True:
        at_work, found = folder.at_work, folder.status()
        if found != told:
            yield found
            told = found
        if not at_work:
            return
        time.sleep(every)


def report_grid(
    source: Place, output: Place | None = None, *, people: int | None = None
) -> GridReport:
    """Write the comparison and the statistics of a grid, or the statistics of a table of results.

    source  the folder of a grid, or a table that a report wrote, or the published one
    output  the folder that is written to: "report" in that of the grid by default; a table needs it
    people  how many were scored, where the table does not say it

    Raises MissingFileError for a folder without a grid, RunError where no cell is finished,
    TableError for a table of something else, UsageError for a table without `output`, and
    OutputExistsError for an `output` that holds something else than a report.
    """
    place = expanded(source)
    if not is_table(place):
        folder = GridFolder(place)
        return _report(folder, folder.status(), _report_folder(output) if output else None, people)
    from encephalon.experiments.grid_report import write_statistics
    from encephalon.experiments.results_table import read_results

    results = read_results(place)
    if output is None:
        raise UsageError(f"{place} is a table: say which folder its report is written to.")
    return write_statistics(results, make_folder(_report_folder(output)), people=people)


def serve_grid(output: Place, *, port: int = 0) -> ThreadingHTTPServer:
    """A server of the dashboard of the grid in a folder, for this machine; see `serve_forever`.

    `port` 0 takes any that is free. Raises MissingFileError for a folder without a grid, UsageError
    for a study whose models are not told apart by their inputs, MissingExtraError without the extra
    `grid`, and OutputError for a port that is taken.
    """
    from encephalon.experiments.grid_server import grid_server
    from encephalon.studies.registry import load_study

    folder = GridFolder(expanded(output))
    study = load_study(folder.status().study)
    if study.results is None:
        raise UsageError(
            f"{folder.path} is a grid of {study.name}, whose models are not told apart by their "
            "inputs: see  encephalon grid report."
        )
    return grid_server(folder, study.results, port)


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


def _report(
    folder: GridFolder, status: GridStatus, output: Path | None = None, people: int | None = None
) -> GridReport:
    from encephalon.experiments.grid_report import (
        GridReport,
        compare_summaries,
        write_statistics,
    )
    from encephalon.studies.registry import load_study

    done = status.of("done")
    if not done:
        raise RunError(f"{folder.path}: no cell is done: there is nothing to compare yet.")
    study, place = load_study(status.study), make_folder(output or folder.report)
    page = (study.compare or compare_summaries)(done, place)
    if study.results is None:
        return GridReport(place, page)
    return write_statistics(study.results(done), place, page=page, people=people, status=status)


def _report_folder(output: Place) -> Path:
    """The folder, which must be new or empty, or have an earlier report."""
    from encephalon.experiments.grid_report import OVERVIEW

    place = expanded(output)
    if place.is_dir() and any(place.iterdir()) and not (place / OVERVIEW).exists():
        raise OutputExistsError(
            f"{place} holds something else than a report: choose another folder."
        )
    return place


def _forecast(measured: Path, cells: Sequence[Cell]) -> Forecast:
    from encephalon.experiments.costs import forecast_minutes
    from encephalon.experiments.results_table import read_results
    from encephalon.statistics.forecast import forecast_total

    wanted = [traits_of(cell.values) for cell in cells]
    if is_table(measured):
        return forecast_minutes(read_results(measured), wanted)
    done = GridFolder(measured).status().measured
    if not done:
        raise RunError(f"{measured}: no cell is done: nothing says how long another will take.")
    traits = [traits_of(cell.values) for cell in done]
    return forecast_total(traits, [cell.seconds / 60 for cell in done], wanted)


def _built_in() -> list[tuple[str, Path]]:
    """The study and the file of each built-in grid."""
    from encephalon.studies.registry import list_studies, load_study

    folders = [(name, load_study(name).grids) for name in list_studies()]
    return [(name, path) for name, place in folders if place for path in place.glob("*.toml")]


def _find(grid: Place) -> Path:
    return find_named(str(grid), [path for _, path in _built_in()], "grid")
