# SPDX-License-Identifier: Apache-2.0
"""`encephalon train RECIPE -t TABLE -o RUN`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Advance, Console
from encephalon.errors import UsageError
from encephalon.inference.workers import Workers

if TYPE_CHECKING:
    from encephalon.recipes.schema import Recipe


Run = Annotated[Path, typer.Option("-o", "--output", help="The folder of the run.", metavar="RUN")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run that is in RUN.")]


@dataclass(frozen=True)
class Transfer:
    """What a training takes from a trained model, and how it learns from there."""

    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Start from a trained model: its name, its folder, its run, or a weights file.",
            metavar="MODEL",
        ),
    ] = None
    fresh: Annotated[
        list[str] | None,
        typer.Option(
            "--fresh",
            help="Parts that are drawn anew all the same, such as head.",
            metavar="PARTS",
        ),
    ] = None
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            "--freeze",
            help="Parts that stay as they are, such as encoder.layer1,encoder.layer2.",
            metavar="PARTS",
        ),
    ] = None
    rate: Annotated[
        list[str] | None,
        typer.Option(
            "--rate",
            help="How much faster or slower a part learns, such as encoder=0.1; may be repeated.",
            metavar="PART=FACTOR",
        ),
    ] = None

    def overrides(self) -> dict[str, str]:
        """What the flags change in the recipe, in the spelling of TOML; UsageError for a factor."""
        asked = {
            "start_from": self.start,
            "fresh": flags.words(self.fresh),
            "freeze": flags.words(self.freeze),
        }
        said = {f"training.{key}": json.dumps(value) for key, value in asked.items() if value}
        factors = flags.settings(self.rate, "--rate", "PART=FACTOR")
        for part, factor in factors.items():
            if not re.fullmatch(r"\d*\.?\d+([eE][+-]?\d+)?", factor):
                raise UsageError(
                    f"--rate takes PART=FACTOR, and the factor of {part!r} is {factor!r}."
                )
        if factors:
            pairs = (f"{json.dumps(part)} = {float(factor)!r}" for part, factor in factors.items())
            said["training.learning_rate_factors"] = f"{{ {', '.join(pairs)} }}"
        return said


def train(
    console: Console,
    recipe: flags.Recipe,
    table: flags.Table,
    output: Run,
    jobs: Workers,
    transfer: Transfer,
    resume: Resume = False,
    changes: flags.Set = None,
    seed: flags.Seed = None,
    device: flags.Device = "auto",
    devices: Annotated[int, typer.Option("--devices", help="Number of GPUs.", min=1)] = 1,
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that prepare samples.", min=1)
    ] = 2,
    threads: flags.Threads = None,
    dry_run: flags.DryRun = False,
) -> None:
    """The run's folder holds the recipe and table as used, the history, TensorBoard events, the
    checkpoint and, at the end, the model. An interrupted run goes on with --resume, with the
    same history as one that was not. --jobs, --scheduler, --slurm, --pbs and --sge share out
    the folds of a cross-validation.

    --from starts from another model, whose head is replaced where it tells other things; --fresh
    replaces further parts, --freeze keeps some as they are, and --rate lets some learn slower.

    \b
    Examples:
        encephalon train brain-extraction -t heads.csv -o runs/first
        encephalon train meningioma -t tumours.csv -o runs/2 --from runs/1 --rate head=10
    """
    from encephalon import api

    overrides = flags.settings(changes) | transfer.overrides()
    if seed is not None:
        overrides["training.seed"] = str(seed)
    loaded = api.load_recipe(recipe, overrides, table)
    if dry_run:
        _say_plan(console, loaded, table, output)
        return
    with console.progress(api.total_steps(loaded), "training") as advance:
        reporter = _Reporter(console, advance)
        model = api.train(
            recipe,
            table,
            output,
            resume=resume,
            overrides=overrides,
            device=device,
            devices=devices,
            workers=workers,
            threads=threads,
            report=reporter,
            **({"jobs": jobs} if jobs.elsewhere else {}),
        )
        reporter.say()
    page = output / "report.html"
    console.result(
        {"model": model, "run": output, "report": page}, f"model: {model}\nreport: {page}"
    )


class _Reporter:
    """Moves the bar at each step, and says a line for each epoch of each network."""

    def __init__(self, console: Console, advance: Advance) -> None:
        self._console, self._advance = console, advance
        self._rows: dict[str, Sequence[Mapping[str, float]]] = {}
        self._said: dict[str, int] = {}

    def __call__(self, progress: Any, losses: Mapping[str, float]) -> None:
        self._advance(progress.step, None, f"loss {losses.get('loss', 0.0):.4f}")
        place, history = getattr(progress, "place", ""), progress.history
        if place not in self._said or len(history) < self._said[place]:  # another network
            self.say()
            self._said[place] = len(history)
            if progress.resumed:
                self._note(place, f"resumed at epoch {progress.resumed}")
        self._rows[place] = history
        self.say()

    def say(self) -> None:
        """Say the epochs that have ended since; the last one ends after the last step."""
        for place, rows in self._rows.items():
            for row in rows[self._said[place] :]:
                self._note(place, *(f"{name} {value:.4g}" for name, value in row.items()))
            self._said[place] = len(rows)

    def _note(self, *words: str) -> None:
        self._console.note("  ".join(filter(None, words)))


def _say_plan(console: Console, recipe: Recipe, table: Path, output: Path) -> None:
    from collections import Counter

    from encephalon import api

    api.check_network(recipe)
    samples = api.load_samples(recipe, table)
    split = recipe.table.split
    parts = Counter(samples.texts(split)) if samples.has(split) and split is not None else {}
    training = recipe.training
    plan = {
        "recipe": recipe.name,
        "rows": len(samples),
        "parts": dict(parts),
        "epochs": training.epochs,
        "steps_per_epoch": training.steps_per_epoch,
        "run": str(output),
    }
    console.result(plan, lambda: "\n".join(f"{name}: {value}" for name, value in plan.items()))
