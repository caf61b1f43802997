# SPDX-License-Identifier: Apache-2.0
"""Which epoch is the best, and when training stops for want of a better one."""

from __future__ import annotations

from pathlib import Path

import pytest

from encephalon.errors import RunError
from encephalon.training.checkpoint import load_checkpoint
from encephalon.training.runs import best_row
from tests.training.test_loop import same
from tests.training.tiny import TinyTask, make_loop, training

NAN, INF = float("nan"), float("inf")


def test_training_stops_when_patience_is_over(tmp_path: Path) -> None:
    """Two epochs without a better value end a run with a patience of two."""
    task = TinyTask(planned=(0.5, 0.4, 0.45, 0.41, 0.1))
    loop = make_loop(tmp_path, training(epochs=5, patience=2), task)
    loop.fit()
    assert [row["val_loss"] for row in loop.progress.history] == [0.5, 0.4, 0.45, 0.41]


def test_the_best_epoch_by_validation_is_returned(tmp_path: Path) -> None:
    """The weights are those that were judged best, not the last ones."""
    task = TinyTask(planned=(0.5, 0.2, 0.3, 0.4))
    best = make_loop(tmp_path, task=task).fit()
    assert same(best, task.seen[1])
    assert not same(best, task.seen[3])


def test_the_last_epoch_is_returned_where_the_recipe_keeps_it(tmp_path: Path) -> None:
    """As published codes do that never look back; the figures are those of that epoch too."""
    task = TinyTask(planned=(0.5, 0.2, 0.3, 0.4))
    loop = make_loop(tmp_path, training(keep="last"), task)
    assert same(loop.fit(), task.seen[3])
    assert best_row(loop.progress.history, loop.settings)["val_loss"] == 0.4


def test_a_monitor_to_be_raised_keeps_the_highest(tmp_path: Path) -> None:
    """With monitor_mode "max" the third of these is the best."""
    task = TinyTask(planned=(0.5, 0.2, 0.9, 0.4))
    loop = make_loop(tmp_path, training(monitor_mode="max"), task)
    assert same(loop.fit(), task.seen[2])
    assert loop.progress.best_epoch == 3


@pytest.mark.parametrize(
    ("planned", "best"),
    [((NAN, 0.5, 0.4, NAN), 3), ((0.4, NAN, 0.5, NAN), 1), ((NAN, NAN, NAN, 0.9), 4)],
)
def test_an_epoch_without_a_number_is_never_the_best(
    tmp_path: Path, planned: tuple[float, ...], best: int
) -> None:
    """Neither the first nor the last, also where it is worse than any number could be."""
    task = TinyTask(planned=planned)
    loop = make_loop(tmp_path, task=task)
    assert same(loop.fit(), task.seen[best - 1])
    assert loop.progress.best_epoch == best
    state = load_checkpoint(tmp_path / "checkpoint" / "last.safetensors")
    assert same(state["best"], task.seen[best - 1])
    assert state["progress"]["best"] == planned[best - 1]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_infinity_is_never_the_best(tmp_path: Path, mode: str) -> None:
    """Neither way round."""
    loop = make_loop(tmp_path, training(monitor_mode=mode), TinyTask(planned=(INF, -INF, 0.4, INF)))
    loop.fit()
    assert loop.progress.best_epoch == 3


def test_epochs_without_a_number_count_as_no_gain(tmp_path: Path) -> None:
    """Patience of two: gained in the second epoch, over after the fourth."""
    task = TinyTask(planned=(NAN, 0.5, NAN, NAN, 0.1))
    loop = make_loop(tmp_path, training(epochs=5, patience=2), task)
    loop.fit()
    assert len(loop.progress.history) == 4
    early = make_loop(tmp_path / "early", training(epochs=5, patience=2), TinyTask((NAN, NAN, 1.0)))
    with pytest.raises(RunError, match="val_loss was not a number in any epoch"):
        early.fit()
    assert len(early.progress.history) == 2
