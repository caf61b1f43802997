# SPDX-License-Identifier: Apache-2.0
"""The folder of a grid: its cells, what became of each, and how long it took.

    grid.json     the grid as it was last run: its cells, and the table
    files.json    how the files of the table look, see `experiments.grid_data`
    cells/KEY-name/
        attempt-…/    the training while it is at work, and where it was killed
        run/          the training when it is over, see `training.runs`
        evaluation/   put there whole when the cell is done, with its record cell.json
        failed.json   why the last attempts failed
    told.json     what its models tell from what, as it was last asked; made again at will
    report/       the comparison of all cells that are done

What is done stays done: a cell whose recipe or table is another has another key, and a grid with
such a cell in place of one that is done is refused, as is one whose files are others now.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from encephalon.errors import (
    MissingFileError,
    OutputExistsError,
    listed,
)
from encephalon.experiments.grid import SEED, Cell, Grid, axis_words, flat_settings, traits_of
from encephalon.experiments.grid_data import FILES, require_same_files
from encephalon.io.atomic import held, locked, sha256, sweep
from encephalon.io.cache import read_checksummed, write_checksummed
from encephalon.io.files import is_file
from encephalon.recipes.loading import read_named, recipe_data
from encephalon.recipes.schema import Recipe
from encephalon.statistics.forecast import forecast_total

__all__ = ["CellState", "GridFolder", "GridStatus", "cell_state"]

GRID, CELLS, REPORT, TOLD = "grid.json", "cells", "report", "told.json"
EVALUATION, RECORD, FAILED = "evaluation", "cell.json", "failed.json"
RUN, ATTEMPT, LOCK = "run", "attempt-", ".cell"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellState:
    """What became of a cell.

    folder   its folder
    values   of the axes
    seconds  that it took, over all attempts that ended
    message  why it failed
    reasons  why attempts failed, one after the other
    passing  whether another attempt may well succeed: it was no fault of the recipe or the table
    """

    name: str
    folder: Path
    values: Mapping[str, Any]
    state: Literal["done", "failed", "running", "left"]
    seconds: float = 0.0
    message: str = ""
    reasons: tuple[str, ...] = ()
    passing: bool = False

    @property
    def evaluation(self) -> Path:
        """The folder of its evaluation."""
        return self.folder / EVALUATION

    @property
    def words(self) -> list[str]:
        """The values of the axes but the seed: what is told of cells that share them."""
        return axis_words({axis: one for axis, one in self.values.items() if axis != SEED})


@dataclass(frozen=True)
class GridStatus:
    """Where a grid is.

    cells    in the order of the grid
    foreign  folders beside them that belong to none: of another table, or of an earlier grid
    report   the page that compares those that are done, if it was written
    """

    grid: str
    title: str
    study: str
    cells: tuple[CellState, ...]
    foreign: tuple[Path, ...] = ()
    report: Path | None = None

    def of(self, state: str) -> list[CellState]:
        """The cells that are "done", "failed", "running" or "left"."""
        return [cell for cell in self.cells if cell.state == state]

    @property
    def measured(self) -> list[CellState]:
        """The cells that are done and say how long it took."""
        return [cell for cell in self.of("done") if cell.seconds]

    @property
    def seconds(self) -> float:
        """What all attempts that ended took together."""
        return sum(cell.seconds for cell in self.cells)

    @property
    def seconds_left(self) -> float | None:
        """What is not done will take about so long, by the others; None where none is done."""
        known = self.measured
        if not known:
            return None
        left = [traits_of(cell.values) for cell in self.cells if cell.state != "done"]
        traits, took = [traits_of(cell.values) for cell in known], [cell.seconds for cell in known]
        return forecast_total(traits, took, left, repeats=0).total

    @property
    def seconds_to_wait(self) -> float | None:
        """The same, shared by the cells that are at work now; None where that is unknown."""
        left, running = self.seconds_left, len(self.of("running"))
        return left / running if left is not None and running else None


class GridFolder:
    """The folder of a grid, or one that is to become it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def report(self) -> Path:
        """The folder of the comparison."""
        return self.path / REPORT

    @property
    def at_work(self) -> bool:
        """Whether a process runs the grid."""
        return held(self.path / ".grid")

    def place(self, cell: Cell) -> Path:
        """The folder of a cell."""
        return self.path / CELLS / cell.folder

    @contextmanager
    def opened(
        self, grid: Grid, cells: Sequence[Cell], files: Mapping[str, Path] = MappingProxyType({})
    ) -> Iterator[None]:
        """Record what is run now, and keep every other process out of the folder meanwhile.

        `files` are those that the table names, by what it calls them. Raises OutputExistsError for
        a folder that holds something else, or results of the same cells with another recipe, table
        or file; and OutputError where another process is at it.
        """
        self._refuse_foreign()  # before a lock is laid into somebody's folder
        self._refuse_changed(cells)
        with locked(self.path / ".grid", timeout=0):
            sweep(self.path)
            self.require_same(cells, files)
            about = {
                "grid": grid.name,
                "title": grid.title,
                "study": cells[0].recipe.study.name,
                "table": cells[0].table,
                "sha256": cells[0].digest,
                "cells": [
                    {"folder": one.folder, "name": one.name, "values": one.values} for one in cells
                ],
            }
            write_checksummed(self.path / GRID, about)
            yield

    def require_same(self, cells: Sequence[Cell], files: Mapping[str, Path]) -> None:
        """Raise OutputExistsError unless `files` are those that the cells were made from."""
        require_same_files(self.path, files, map(self.place, cells))

    def status(self) -> GridStatus:
        """Where the grid is that was last run here; raises MissingFileError where none was."""
        known = read_checksummed(self.path / GRID)
        if known is None:
            raise MissingFileError(
                f"{self.path} is not the folder of a grid, or its {GRID} is not as it was written: "
                "give one that  encephalon grid run  wrote, or run the grid there again."
            )
        cells = [
            cell_state(self.path / CELLS / one["folder"], one["name"], one["values"])
            for one in known["cells"]
        ]
        folders = {cell.folder for cell in cells}
        there = sorted((self.path / CELLS).glob("[!.]*"))
        foreign = tuple(path for path in there if path not in folders)
        return GridStatus(known["grid"], known["title"], known["study"], tuple(cells), foreign)

    def _refuse_changed(self, cells: Sequence[Cell]) -> None:
        """Of cells that are done none may be another; cells may be added, left out or mended."""
        known = read_checksummed(self.path / GRID)
        if not known:
            return
        folders = {_spelt(one["values"]): one["folder"] for one in known["cells"]}
        for cell in cells:
            before = self.path / CELLS / folders.get(_spelt(cell.values), cell.folder)
            if before == self.place(cell) or not (before / EVALUATION).is_dir():
                continue
            what = f"of another table than {cell.table} is now"
            if known["sha256"] == cell.digest:
                what = _changes(before / RUN / "recipe.toml", cell.recipe)
            raise OutputExistsError(
                f"{self.path} has results of the cell {cell.name!r} already, but {what}: undo the "
                "change, or choose another folder."
            )

    def _refuse_foreign(self) -> None:
        record = self.path / GRID
        if not self.path.is_dir() or read_checksummed(record):
            return
        ours = () if record.exists() else (CELLS, REPORT, FILES)
        found = sorted(path.name for path in self.path.glob("[!.]*") if path.name not in ours)
        if found:
            raise OutputExistsError(
                f"{self.path} holds something else than a grid ({listed(found, 3)}): choose "
                "another folder, or move that away."
            )


def _spelt(values: Mapping[str, Any]) -> str:
    """Values of axes, however they were read."""
    return json.dumps(dict(values), sort_keys=True, default=str)


def _changes(path: Path, recipe: Recipe) -> str:
    """How a recipe differs from that of a file, in words."""
    if not is_file(path):
        return "with another recipe"
    old, new = (flat_settings(one) for one in (read_named(path, "recipe")[1], recipe_data(recipe)))
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if not keys:
        return "with another recipe"
    first = f"with {keys[0]} = {old.get(keys[0])!r}, which is {new.get(keys[0])!r} now"
    return first if len(keys) == 1 else f"{first}, and {len(keys) - 1} more settings that differ"


def is_grid(path: Path) -> bool:
    """Whether a grid was run in this folder, as its record says, whole or not."""
    return is_file(path / GRID)


def cell_state(folder: Path, name: str, values: Mapping[str, Any]) -> CellState:
    """What became of the cell in `folder`.

    An evaluation that is no longer as it was put there does not count, and that is logged.
    """
    evaluation = folder / EVALUATION
    if evaluation.is_dir():
        record, summary = read_checksummed(evaluation / RECORD), evaluation / "summary.json"
        if record and summary.is_file() and sha256(summary) == record["summary"]:
            reasons = tuple(record.get("reasons", ()))
            return CellState(name, folder, values, "done", record["seconds"], reasons=reasons)
        logger.warning(
            "%s is not as it was written: it does not count, and the next run makes it.", evaluation
        )
    failed = read_checksummed(folder / FAILED) or {}
    message, seconds = failed.get("message", ""), failed.get("seconds", 0.0)
    state: Literal["failed", "running", "left"] = "failed" if failed else "left"
    if held(folder / LOCK):
        state = "running"
    reasons = tuple(failed.get("reasons", ()))
    return CellState(name, folder, values, state, seconds, message, reasons)
