# SPDX-License-Identifier: Apache-2.0
"""The cells of a grid are done: in any order, anywhere, each once, whatever was killed before.

Whoever does a cell holds its lock, see `grid_folder` for what lies where. Where a file system keeps
no locks an attempt still has a place of its own, to which it moves what the one before it left, and
a cell that is done meanwhile is not put in its place again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from encephalon.errors import EncephalonError, RunError
from encephalon.experiments.grid import Cell
from encephalon.experiments.grid_folder import (
    ATTEMPT,
    EVALUATION,
    FAILED,
    LOCK,
    RECORD,
    RUN,
    CellState,
    GridFolder,
    cell_state,
)
from encephalon.inference.batch import Progress
from encephalon.inference.one_sample import sentence_on
from encephalon.inference.workers import HERE, Workers, in_workers
from encephalon.io.atomic import atomic_folder, remove, sha256, sweep
from encephalon.io.cache import write_checksummed
from encephalon.recipes.schema import Recipe
from encephalon.training.runs import RunFolder, alone

__all__ = ["Steps", "finish_cell", "lose_cell", "run_cells"]

#: Reasons of attempts that are kept, the last ones.
MOST_REASONS = 20


class Steps(Protocol):
    """What a cell is made of; both raise what stops it."""

    def train(self, recipe: Recipe, table: Path, run: Path) -> object:
        """Train in the folder of a run, or go on there."""
        ...

    def evaluate(self, run: Path, table: Path, output: Path) -> Sequence[Mapping[str, str]]:
        """Score the model of the run into an empty folder; returns what failed of it."""
        ...


class _OvertakenError(Exception):
    """Another attempt was quicker."""


def finish_cell(cell: Cell, folder: Path, steps: Steps) -> CellState:
    """Do of a cell what is not done, in its folder; what stops it is kept there, in a sentence.

    It needs nothing else, so that cells may be done in any order, and anywhere. What another
    process does of it is waited for. Raises OutputError where not even that can be kept.
    """
    with alone(folder / LOCK):
        before = _state(cell, folder)
        if before.state == "done":
            return before
        begun = time.perf_counter()

        def spent() -> float:
            return round(before.seconds + time.perf_counter() - begun, 1)

        sweep(folder)
        passing = False
        try:
            _do(cell, folder, steps, spent, before.reasons)
        except _OvertakenError:
            pass
        except Exception as error:  # noqa: BLE001  whatever one cell does, the others must be done
            passing = not isinstance(error, EncephalonError)
            _note_failure(folder, before, sentence_on(error, cell.name), spent())
        else:
            (folder / FAILED).unlink(missing_ok=True)
        return replace(_state(cell, folder), passing=passing)


def lose_cell(cell: Cell, folder: Path, why: str) -> CellState:
    """What is said of a cell whose worker died again and again: that is kept in its folder.

    One that was never begun, and only waited there, may well be done by another.
    """
    before = _state(cell, folder)
    if before.state not in {"done", "running"}:
        begun = bool(_attempts(folder))
        message = f"{cell.name}: {why}"
        _note_failure(folder, before, message, before.seconds)
        return replace(_state(cell, folder), passing=not begun)
    return before


def _state(cell: Cell, folder: Path) -> CellState:
    """Of a cell whose lock is ours."""
    found = cell_state(folder, cell.name, cell.values)
    return replace(found, state="left") if found.state == "running" else found


def _note_failure(folder: Path, before: CellState, message: str, seconds: float) -> None:
    message = re.sub(rf"{ATTEMPT}\w+", RUN, message)  # whose name it has from now on
    reasons = [*before.reasons, message][-MOST_REASONS:]
    write_checksummed(folder / FAILED, {"message": message, "seconds": seconds, "reasons": reasons})


def _do(
    cell: Cell, folder: Path, steps: Steps, spent: Callable[[], float], reasons: Sequence[str]
) -> None:
    run = RunFolder(folder / RUN)
    if not cell.table.is_file() or sha256(cell.table) != cell.digest:
        raise RunError(f"{cell.table} changed while its grid was run: run the grid again.")
    # The page is what a run writes last, but for the model of some.
    if not (run.model.is_dir() and run.report.is_file()):
        with _attempt(folder) as place:
            steps.train(cell.recipe, cell.table, place)
    with atomic_folder(folder / EVALUATION, overwrite=True) as part:
        failures = steps.evaluate(run.path, cell.table, part)
        if failures:
            raise RunError(
                f"{len(failures)} of its samples could not be scored; first: "
                f"{failures[0]['message']}"
            )
        done = {
            "summary": sha256(part / "summary.json"),
            "seconds": spent(),
            "reasons": list(reasons),
        }
        write_checksummed(part / RECORD, done)
        if _state(cell, folder).state == "done":
            raise _OvertakenError
    remove(run.cache)  # the same images once more in every cell


@contextmanager
def _attempt(folder: Path) -> Iterator[Path]:
    """A place for a training alone, with what the one before it left; it becomes the run."""
    place = folder / f"{ATTEMPT}{uuid4().hex[:12]}"
    for earlier in (*_attempts(folder), folder / RUN):
        if RunFolder(earlier).identity:
            earlier.rename(place)
            break
    try:
        yield place
    finally:
        if place.is_dir():
            remove(folder / RUN)
            place.rename(folder / RUN)
            for left in _attempts(folder):
                remove(left)


def _attempts(folder: Path) -> list[Path]:
    """What killed attempts left, the last first."""
    found = [path for path in folder.glob(f"{ATTEMPT}*") if path.is_dir()]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def run_cells(
    folder: GridFolder,
    cells: Sequence[Cell],
    steps: Steps,
    workers: Workers = HERE,
    progress: Progress | None = None,
) -> None:
    """Do every cell that is not done; workers of this machine are those of Dask.

    What failed by chance, which is all but an error of ours, is tried again after the others.
    """
    states = [cell_state(folder.place(one), one.name, one.values) for one in cells]
    left = [one for one, known in zip(cells, states, strict=True) if known.state != "done"]
    done = len(cells) - len(left)
    work = partial(_finish, steps, folder.path.absolute())
    lost = partial(_lose, folder.path.absolute())
    for attempt in range(workers.retries + 1):
        if progress is not None and left:
            progress(done, len(cells), left[0].name)
        again = []
        for cell, state in in_workers(work, left, workers, "dask", lost) if left else ():
            if state.passing and attempt < workers.retries:
                again.append(cell)
                continue
            done += 1
            if progress is not None:
                progress(done, len(cells), cell.name)
        left = again
    if progress is not None:
        progress(len(cells), len(cells), "")


def _finish(steps: Steps, folder: Path, cell: Cell) -> tuple[Cell, CellState]:
    return cell, finish_cell(cell, GridFolder(folder).place(cell), steps)


def _lose(folder: Path, cell: Cell, why: str) -> tuple[Cell, CellState]:
    return cell, lose_cell(cell, GridFolder(folder).place(cell), why)
