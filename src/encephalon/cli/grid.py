# SPDX-License-Identifier: Apache-2.0
"""`encephalon grid list | show | plan | run | status | report`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, error, table
from encephalon.inference.workers import Workers

if TYPE_CHECKING:
    from encephalon.api.grid import GridPlan
    from encephalon.experiments.grid_folder import GridStatus

STATES = ("done", "failed", "running", "left")

GridFile = Annotated[
    str, typer.Argument(metavar="GRID", help="A built-in grid's name, or a TOML file.")
]
Done = Annotated[
    Path, typer.Argument(metavar="OUT", help="A folder that `encephalon grid run` wrote.")
]


def list_(as_json: flags.AsJson = False) -> None:
    """List the built-in grids.

    \b
    Example:
        encephalon grid list
    """
    from encephalon.api.grid import list_grids

    found = [asdict(grid) for grid in list_grids()]
    Console(as_json=as_json).result(found, lambda: table(found, ["name", "study", "title"]))


def show(grid: GridFile) -> None:
    """Print a grid as TOML, to start your own with.

    \b
    Example:
        encephalon grid show microtomography-tiny > mine.toml
    """
    from encephalon.api.grid import show_grid

    Console().result(None, show_grid(grid).rstrip("\n"))


def plan(
    console: Console,
    grid: GridFile,
    samples: flags.Table,
    changes: flags.Set = None,
    measured: Annotated[
        Path | None,
        typer.Option(
            "--measured", help="A grid's folder, or results, whose minutes say how long it takes."
        ),
    ] = None,
) -> None:
    """List the cells of a grid: its recipes and the table are checked, and nothing is trained.

    \b
    Example:
        encephalon grid plan microtomography-tiny -t tiles/tiles.csv
    """
    from encephalon.api.grid import plan_grid

    overrides = flags.settings(changes)
    _say_plan(console, plan_grid(grid, samples, overrides=overrides, measured=measured))


def run(
    console: Console,
    grid: GridFile,
    samples: flags.Table,
    output: flags.Output,
    jobs: Workers,
    changes: flags.Set = None,
    device: flags.Device = "auto",
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that prepare samples of a cell.", min=1)
    ] = 1,
    threads: flags.Threads = None,
    dry_run: flags.DryRun = False,
) -> None:
    """Train and evaluate every cell of a grid, and compare them in OUT/report.

    The same command again does what is left; --set changes every cell but its axes. A cell that
    fails is named at the end, the others are done, and the exit code is 1. --jobs does several
    at a time, each in a process of its own; --scheduler and --slurm, --pbs or --sge do them on
    other machines that see the same files.

    \b
    Example:
        encephalon grid run microtomography-tiny -t tiles/tiles.csv -o grid
    """
    from encephalon.api.grid import plan_grid, run_grid

    overrides = flags.settings(changes)
    if dry_run:
        _say_plan(console, plan_grid(grid, samples, overrides=overrides))
        return
    with console.progress(None, "cells") as advance:
        found = run_grid(
            grid,
            samples,
            output,
            overrides=overrides,
            device=device,
            workers=workers,
            threads=threads,
            jobs=jobs,
            progress=advance,
        )
    say_status(console, found)


def status(
    console: Console,
    output: Done,
    watch: Annotated[
        bool, typer.Option("--watch", help="Say it whenever it changes, until nobody runs it.")
    ] = False,
    scores: Annotated[
        bool, typer.Option("--scores", help="Say the scores so far: inputs by targets.")
    ] = False,
) -> None:
    """Say what of a grid is done, failed and left, how long it took, and what it may take yet.

    \b
    Example:
        encephalon grid status grid --scores
    """
    from encephalon.api.grid import grid_scores, grid_status, watch_grid

    if scores:
        found_scores = grid_scores(output)
        console.result({"scores": found_scores}, lambda: table(found_scores))
        return
    if not watch:
        say_status(console, grid_status(output))
        return
    told = set[str]()
    for found in watch_grid(output):
        for cell in found.of("failed"):
            if cell.message not in told:
                console.note(f"{cell.name}: {cell.message}")
        told |= {cell.message for cell in found.of("failed")}
        console.say(_lines(found)[0])
    say_status(console, found)


def report(
    console: Console,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder that `encephalon grid run` wrote, or a table of results.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder to write to; SOURCE/report if not given."),
    ] = None,
    people: Annotated[
        int | None,
        typer.Option("--people", help="People who were scored, if SOURCE does not say it.", min=2),
    ] = None,
) -> None:
    """Compare all cells that are done: what each input adds, what is best, and what it cost.

    A table is one that a report wrote, results.csv, or the published table of 700 models.

    \b
    Example:
        encephalon grid report grid
        encephalon grid report metrics_comparison_test.csv -o published --people 2381
    """
    from encephalon.api.grid import report_grid

    found = report_grid(source, output, people=people)
    written = [*filter(None, (found.dashboard, found.page)), *found.tables]
    console.result(asdict(found), "\n".join(map(str, written)))


def say_status(console: Console, found: GridStatus) -> None:
    """Say where a grid is; the exit code is 1 where a cell failed."""
    failed = found.of("failed")
    for cell in failed:
        error(f"{cell.name}: {cell.message}")
    data: dict[str, Any] = asdict(found)
    data |= {name: len(found.of(name)) for name in STATES}
    data |= {"seconds": round(found.seconds, 1), "seconds_left": found.seconds_left}
    data["seconds_to_wait"] = found.seconds_to_wait
    console.result(data, lambda: "\n".join(_lines(found)))
    if failed:
        raise typer.Exit(1)


def _lines(found: GridStatus) -> list[str]:
    counts = {name: len(found.of(name)) for name in STATES}
    if not counts["running"]:
        del counts["running"]
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    lines = [f"{found.grid}: {len(found.cells)} cells, {words}; {_time(found.seconds)} spent"]
    if found.seconds_left:
        lines[0] += f", about {_time(found.seconds_left)} left"
    if found.seconds_to_wait:
        lines[0] += f", so {_time(found.seconds_to_wait)} to wait"
    lines += [f"belongs to no cell: {folder}" for folder in found.foreign]
    return [*lines, f"report: {found.report}"] if found.report else lines


def _time(seconds: float) -> str:
    """Seconds in the units of a person."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"


def _say_plan(console: Console, found: GridPlan) -> None:
    rows = [
        {"key": cell.folder.partition("-")[0], **dict(cell.values), "name": cell.name}
        for cell in found.cells
    ]
    columns = ["key", *dict.fromkeys(axis for cell in found.cells for axis in cell.values)]
    data: dict[str, Any] = {"grid": found.grid.name, "cells": rows}
    count = f"{len(rows)} cells, recipes and table in order"
    if (took := found.minutes) is not None:
        data["minutes"] = asdict(took)
        total, low, high = (_time(60 * each) for each in (took.total, took.low, took.high))
        count += f"\nabout {total} ({low} to {high}), by {took.measured} that were measured"
    console.result(data, lambda: f"{table(rows, columns)}\n{count}")


def serve(
    console: Console,
    output: Done,
    port: Annotated[
        int,
        typer.Option("--port", help="Port of this machine; 0 takes a free one.", min=0, max=65535),
    ] = 8750,
) -> None:
    """Show the dashboard of a grid in the browser while it runs, until Ctrl-C.

    Only this machine can open it, and nothing is written.

    \b
    Example:
        encephalon grid serve grid
    """
    from encephalon.api.grid import serve_grid

    with serve_grid(output, port=port) as server:
        console.result({"port": server.server_port}, f"http://127.0.0.1:{server.server_port}/")
        server.serve_forever()


grid = (list_, show, plan, run, status, report, serve)
