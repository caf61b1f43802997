# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run, and the rules for opening it.

What is in it:

    recipe.toml          the recipe with its overrides applied
    table.csv            the table and split as used
    history.csv          one row an epoch
    tensorboard/         the same curves for TensorBoard
    checkpoint/          last.safetensors: where --resume goes on
    cache/               prepared inputs, safe to delete
    model/               the finished model folder
    report.html          the curves
    evaluation/          predictions and figures

A run that trains several networks has a run folder of this kind for each: `folds/0` ..., `final/`.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from encephalon.errors import OutputExistsError, RunError
from encephalon.io.atomic import write_text


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and the rules for opening it."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The recipe as used."""
        return self.path / "recipe.toml"

    @property
    def table(self) -> Path:
        """The table as used, with its split."""
        return self.path / "table.csv"

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.path / "history.csv"

    @property
    def checkpoint(self) -> Path:
        """Where `--resume` goes on."""
        return self.path / "checkpoint" / "last.safetensors"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def cache(self) -> Path:
        """Prepared inputs that can be made again."""
        return self.path / "cache"

    @property
    def model(self) -> Path:
        """The finished model folder."""
        return self.path / "model"

    @property
    def report(self) -> Path:
        """The page with the curves."""
        return self.path / "report.html"

    def begin(self, recipe_text: str, table_text: str) -> None:
        """Record what a new run will use; raises OutputExistsError for a folder with a run.

        A start that failed before its first checkpoint has nothing to lose and may be repeated.

        The further processes of a run on several devices find what the first one recorded.
        """
        if _is_further_process():
            self.reopen(recipe_text, table_text)
            return
        if self.recipe.exists() and self.checkpoint.exists():
            message = (
                f"{self.path} already holds a run: go on with it (--resume) or choose another "
                "folder."
            )
            raise OutputExistsError(message)
        self._record(recipe_text, table_text)

    def reopen(self, recipe_text: str, table_text: str) -> None:
        """Check that a run to be resumed used this very recipe and table; raises RunError.

        A folder in which no run was begun becomes a new run, so that a job script can always
        say `--resume`.
        """
        if not self.recipe.exists():
            self._record(recipe_text, table_text)
            return
        for path, text, what in (
            (self.recipe, recipe_text, "recipe"),
            (self.table, table_text, "table"),
        ):
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                message = (
                    f"{path} differs from the {what} given: a run resumes only with the {what} "
                    "it began with, so give that one or choose another folder."
                )
                raise RunError(message)

    def _record(self, recipe_text: str, table_text: str) -> None:
        write_text(self.table, table_text)
        write_text(self.recipe, recipe_text)


def _is_further_process() -> bool:
    """Whether a launcher (Fabric's own, torchrun, srun) started this process beside a first."""
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return any(rank not in {"", "0"} for rank in ranks)


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write `rows` as CSV, every float with the digits that restore it exactly."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: repr(value) for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())
