# SPDX-License-Identifier: Apache-2.0
"""Folds that other processes train are told from the histories in their folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from encephalon.cli.console import Console
from encephalon.cli.train import _Reporter
from encephalon.experiments.cross_validation import CrossValidation, CrossValidationRun
from encephalon.training.runs import write_history


def told(path: Path, report: Any, left: list[int]) -> None:
    """Tell `report` of the folds `left` of a run of three, each of four epochs of ten steps."""
    run = CrossValidationRun(path)
    folds = [SimpleNamespace(number=number) for number in range(3)]
    about = SimpleNamespace(
        recipe=SimpleNamespace(training=SimpleNamespace(epochs=4, steps_per_epoch=10)),
        splits=SimpleNamespace(folds=folds),
        _folder=lambda fold: run.fold(fold.number),
    )
    CrossValidation._tell(cast(Any, about), report, [cast(Any, folds[one]) for one in left])


def test_epochs_of_folds_are_told_as_they_end_and_move_the_bar(tmp_path: Path, capsys: Any) -> None:
    """Two at a time, one of which goes on; a history that cannot be read tells nothing."""
    steps: list[int] = []
    rows: list[Mapping[str, float]] = [{"epoch": n, "loss": 1 / n} for n in (1.0, 2.0, 4.0)]
    runs = [CrossValidationRun(tmp_path).fold(number) for number in (1, 2)]
    for run in runs:
        run.path.mkdir(parents=True)
    reporter = _Reporter(Console(), lambda done, *_: steps.append(done))
    write_history(runs[0].history, rows[:1])
    runs[1].history.write_text("epoch,loss\n1,half", encoding="utf-8")
    told(tmp_path, reporter, [1, 2])
    for run in runs:
        write_history(run.history, rows[:2])
    told(tmp_path, reporter, [1, 2])
    assert capsys.readouterr().err.splitlines() == [
        "folds/1  resumed at epoch 2",
        "folds/1  epoch 2  loss 0.5",
        "folds/2  epoch 1  loss 1",
        "folds/2  epoch 2  loss 0.5",
    ]
    assert steps == [50, 50, 80, 80]
