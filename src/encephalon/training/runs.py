# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run, and the rules for opening it.

What is in it:

    run.json             what the run began with: the sign that the folder is a run's
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
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from encephalon.errors import OutputExistsError, RunError, listed
from encephalon.inference.workers import HERE, Workers
from encephalon.io.atomic import held, locked, sha256, sweep, write_text
from encephalon.recipes.loading import in_earlier_words
from encephalon.training.record import RunRecord, differences, text_hash

if TYPE_CHECKING:
    from encephalon.recipes.schema import Training

__all__ = [
    "Progress",
    "Report",
    "RunFolder",
    "TrainingContext",
    "alone",
    "best_row",
    "write_history",
]

#: What a run writes before its first checkpoint, and what only after it.
EARLY = ("recipe.toml", "table.csv", "cache", "tensorboard", "checkpoint", "folds")
LATE = (
    *("history.csv", "final", "baselines", "learning-curve", "evaluation", "report.html", "model"),
)
#: What is written when every network is trained.
LAST = ("evaluation", "report.html", "model")

Report = Callable[["Progress", Mapping[str, float]], None]
"""Called after every step with the progress and the step's losses, in the first process."""
Contents = Callable[[], Mapping[str, str]]
"""Hashes what a run reads; called when nothing else speaks against the run."""

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a run is; everything here is stored in a checkpoint.

    `resumed` is the epoch at which this process went on, 0 for one that began the run.
    """

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = math.nan
    best_epoch: int = 0
    gained: float = math.nan
    gained_epoch: int = 0
    stopped: bool = False
    resumed: int = 0


@dataclass(frozen=True)
class TrainingContext:
    """How a run computes, which its recipe does not say.

    resume   whether it goes on with what is in its folder
    device   auto, cpu, cuda, cuda:N or mps
    devices  the number of GPUs
    workers  processes that prepare samples
    threads  of the CPU; all by default
    report   whom it tells
    jobs     who trains the networks of a cross-validation
    """

    resume: bool = False
    device: str = "auto"
    devices: int = 1
    workers: int = 2
    threads: int | None = None
    report: Report | None = None
    jobs: Workers = HERE


#: Draws of a training are those of its process, so that a process trains one thing at a time.
_ALONE = threading.RLock()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock file `path`.lock, and this process, for a training; waits for whoever has it.

    That may be a copy which goes on although it was given up, as after its scheduler died.
    """
    with _ALONE:
        if held(path):
            logger.warning("%s is at work in another process, which is waited for.", path.parent)
        with locked(path, timeout=math.inf):
            yield


class _Inside:
    """A file or folder of a run, by its path in the run's folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __get__(self, run: RunFolder, _: type) -> Path:
        return run.path / self.path


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and the rules for opening it; what they hold is told above."""

    path: Path

    record = _Inside("run.json")
    recipe = _Inside("recipe.toml")
    table = _Inside("table.csv")
    history = _Inside("history.csv")
    checkpoint = _Inside("checkpoint/last.safetensors")
    tensorboard = _Inside("tensorboard")
    cache = _Inside("cache")
    model = _Inside("model")
    report = _Inside("report.html")

    @property
    def identity(self) -> str:
        """What tells this run from every other, "" where none was begun."""
        record = RunRecord.read(self.record)
        return record.run if record else ""

    @property
    def contents(self) -> Mapping[str, str]:
        """Hashes of what it began with, by name; none where nothing would be lost with the run."""
        record = RunRecord.read(self.record)
        return record.contents if record and self._has_something() else {}

    @contextmanager
    def opened(
        self,
        recipe_text: str,
        table_text: str,
        *,
        resume: bool,
        contents: Contents = dict,
        conditions: Mapping[str, str] | None = None,
    ) -> Iterator[None]:
        """Begin or reopen the run, and keep every other process out of its folder meanwhile.

        Raises what `begin` and `reopen` raise, and OutputError where another process is at it. The
        further processes of a run on several devices join the one that the first has opened.
        """
        record = RunRecord.read(self.record)
        # Whether a launcher (Fabric's own, torchrun, srun) started this process beside a first.
        ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
        if any(rank not in {"", "0"} for rank in ranks):
            if record is not None:
                _require_same(self.recipe, recipe_text, "recipe", record.recipe)
                _require_same(self.table, table_text, "table", record.table)
            yield
            return
        if not (resume and record):
            self._refuse_begun()  # before a lock is laid into somebody's folder
        open_run = self.reopen if resume else self.begin
        with locked(self.path / ".run", timeout=0):
            open_run(recipe_text, table_text, contents, conditions)
            # What a process that was killed left half written, in the run's own folders.
            own = [path for name in (*EARLY, *LATE) for path in (self.path / name).rglob("*")]
            for folder in {self.path, *(path.parent for path in own)}:
                sweep(folder)
            yield

    def begin(
        self,
        recipe_text: str,
        table_text: str,
        contents: Contents = dict,
        conditions: Mapping[str, str] | None = None,
    ) -> None:
        """Record what a new run will use; raises OutputExistsError for a folder that has a run.

        The same for a folder with a file that the run would replace and did not make. A start that
        failed before its first checkpoint has nothing to lose and may be repeated. `contents`
        hashes what the run reads, `conditions` are what its last digits depend on.
        """
        self._refuse_begun()
        record = RunRecord.new(recipe_text, table_text)
        record = replace(record, contents=contents(), conditions=conditions or {})
        for path in (self.table, self.recipe):
            path.unlink(missing_ok=True)  # of a start that failed
        record.write(self.record)
        write_text(self.table, table_text)
        write_text(self.recipe, recipe_text)

    def reopen(
        self,
        recipe_text: str,
        table_text: str,
        contents: Contents = dict,
        conditions: Mapping[str, str] | None = None,
    ) -> None:
        """Check that a run to be resumed uses what it began with; raises RunError.

        That is its recipe, its table and the content of every file that it reads. Another number of
        threads, device or version of torch is said. A folder in which no run was begun becomes a
        new run, so that a job script can always say `--resume`.
        """
        record = RunRecord.read(self.record)
        whole = self.recipe.is_file() and self.table.is_file()
        if record is None or not (whole or self._has_checkpoint()):
            self.begin(recipe_text, table_text, contents, conditions)
            return
        given = ((self.recipe, recipe_text, "recipe"), (self.table, table_text, "table"))
        for path, text, kind in given:
            _require_same(path, text, kind, getattr(record, kind))
        changed = [k for k, content in contents().items() if record.contents.get(k) != content]
        if changed and not self._has_something():  # what stopped it was mended, say
            self.begin(recipe_text, table_text, contents, conditions)
            return
        if changed:
            raise RunError(
                f"{listed(changed, 1)}: the content is not what the run in {self.path} began with: "
                "put it back as it was, or begin anew in another folder."
            )
        self._refuse_foreign([] if record.finishing else LAST)
        for name, value in (conditions or {}).items():
            before = record.conditions.get(name)
            if before is not None and before != value:
                logger.warning(
                    "%s began with %s %s and goes on with %s: its last digits will differ from "
                    "those of a run that was not broken off.",
                    *(self.path, name, before, value),
                )
        for path, text, _ in given:
            if not path.exists():
                write_text(path, text)

    def finishing(self) -> None:
        """Record that training is over, and that what comes now, such as a model, is the run's."""
        record = RunRecord.read(self.record)
        if record is not None and not record.finishing:
            record.write(self.record, finishing=True)

    def record_trained(self, *names: str) -> None:
        """Record that training is over, and what these files of the run hold now."""
        record = RunRecord.read(self.record)
        if record is not None:
            trained = {name: sha256(self.path / name) for name in names}
            record.write(self.record, trained=trained)

    def is_unchanged(self, name: str) -> bool:
        """Whether a file holds what it held when training was over."""
        record, path = RunRecord.read(self.record), self.path / name
        known = record.trained.get(name) if record else None
        return known is not None and path.is_file() and sha256(path) == known

    def _refuse_begun(self) -> None:
        record = RunRecord.read(self.record)
        if record is None:
            self._refuse_foreign((self.record.name, *EARLY, *LATE))
            return
        if self._has_checkpoint():
            raise OutputExistsError(
                f"{self.path} already holds a run: go on with it (--resume) or choose another "
                "folder."
            )
        kept = ((self.recipe, record.recipe), (self.table, record.table))
        changed = [path.name for path, known in kept if path.exists() and sha256(path) != known]
        self._refuse_foreign([*LATE, *changed])

    def _refuse_foreign(self, names: Sequence[str]) -> None:
        """Raise OutputExistsError where one of these, which the run would write, is there."""
        for name in names:
            if os.path.lexists(self.path / name):
                raise OutputExistsError(
                    f"{self.path / name} exists already, but not as a run of this folder wrote it, "
                    "and would be replaced: choose another folder, or move it away."
                )

    def _has_checkpoint(self) -> bool:
        """Whether the run, or a network of it, can go on from somewhere."""
        return any(self.path.rglob(self.checkpoint.name))

    def _has_something(self) -> bool:
        """Whether something would be lost with it."""
        return self._has_checkpoint() or any((self.path / name).exists() for name in LATE)


def _require_same(path: Path, text: str, kind: str, known: str) -> None:
    """Raise RunError unless `text` is what a run began with, which has the hash `known`."""
    there = path.read_bytes() if path.is_file() else b""
    if path.exists() and text_hash(there) != known:
        raise RunError(
            f"{path} is no longer what its run began with: put it back as it was, or begin anew in "
            "another folder."
        )
    written = [text, in_earlier_words(text)] if kind == "recipe" else [text]
    if known in map(text_hash, written):
        return
    # A recipe stands for itself; the paths of a table start from the folder that it came from.
    advice = f"give {path} itself" if kind == "recipe" else "give that one"
    where = differences(kind, there.decode(errors="replace"), text)
    raise RunError(
        f"{path} differs from the {kind} given{where}: a run resumes only with the {kind} it "
        f"began with, so {advice}, or choose another folder."
    )


def best_row(history: Sequence[Mapping[str, float]], training: Training) -> dict[str, float]:
    """The epoch that is kept: the first of the best by what is monitored, or the last.

    {} where that was never a number.
    """
    if training.keep == "last":
        return dict(history[-1]) if history else {}
    name, sign = training.monitor, 1 if training.monitor_mode == "max" else -1
    known = [row for row in history if math.isfinite(row.get(name, math.nan))]
    return dict(max(known, key=lambda row: sign * row[name], default={}))


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write `rows` as CSV, every float with the digits that restore it exactly."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: _digits(value) for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def _digits(value: float) -> str:
    """The digits that restore it exactly, without the name of its type."""
    return repr(value) if isinstance(value, int) else repr(float(value))
