# SPDX-License-Identifier: Apache-2.0
"""The loop: what it keeps, when it stops, and that a killed run loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encephalon.errors import RunError
from encephalon.training.checkpoint import load_checkpoint
from encephalon.training.loop import Loop, make_fabric
from encephalon.training.runs import RunFolder
from tests.training.tiny import TinyNetwork, TinyTask, make_loop, seeded_network, training

ROOT = Path(__file__).resolve().parents[2]


class StopError(Exception):
    """An interruption from outside."""


def stop_at(step: int) -> Any:
    def report(progress: Any, _losses: Any) -> None:
        if progress.step == step:
            raise StopError

    return report


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of these tests as a program of its own."""
    plain = {k: v for k, v in os.environ.items() if k not in {"RANK", "LOCAL_RANK", "WORLD_SIZE"}}
    environment = plain | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_run_killed_in_mid_epoch_goes_on_to_the_same_curve_and_weights(tmp_path: Path) -> None:
    """kill -9 at step 8 of 20, two steps after a checkpoint: history and weights, bit for bit."""
    whole = make_loop(tmp_path / "whole")
    expected = whole.fit()
    killed = python("tests.training.tiny", str(tmp_path / "killed"), "8")
    assert killed.returncode == -9, killed.stderr
    resumed = make_loop(tmp_path / "killed")
    resumed.resume()
    assert resumed.progress.step == 6
    assert same(resumed.fit(), expected)
    history = (tmp_path / "whole" / "history.csv").read_bytes()
    assert (tmp_path / "killed" / "history.csv").read_bytes() == history
    assert same(resumed.network.module.state_dict(), whole.network.module.state_dict())


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_every_schedule_and_optimiser_resumes_exactly(
    tmp_path: Path, schedule: str, optimiser: str
) -> None:
    """An interruption at any step, here 11, changes nothing."""
    settings = training(schedule=schedule, optimiser=optimiser)
    expected = make_loop(tmp_path / "whole", settings).fit()
    with pytest.raises(StopError):
        make_loop(tmp_path / "cut", settings, report=stop_at(11)).fit()
    resumed = make_loop(tmp_path / "cut", settings)
    resumed.resume()
    assert same(resumed.fit(), expected)
    history = (tmp_path / "whole" / "history.csv").read_bytes()
    assert (tmp_path / "cut" / "history.csv").read_bytes() == history


def test_a_run_without_a_checkpoint_resumes_from_the_beginning(tmp_path: Path) -> None:
    """A job script can always say --resume."""
    loop = make_loop(tmp_path, training(epochs=1))
    loop.resume()
    loop.fit()
    assert loop.progress.step == 5


def test_a_finished_run_resumes_to_its_own_end(tmp_path: Path) -> None:
    """Resuming what is done trains no further and gives the same weights."""
    best = make_loop(tmp_path, training(epochs=1)).fit()
    again = make_loop(tmp_path, training(epochs=1))
    again.resume()
    assert same(again.fit(), best)
    assert len(again.progress.history) == 1


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    """The error says that the recipe is another, and nothing is loaded by halves."""
    make_loop(tmp_path, training(epochs=1)).fit()
    other = make_loop(tmp_path, training(epochs=1), network=TinyNetwork(width=4))
    with pytest.raises(RunError, match="does not fit this recipe"):
        other.resume()


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    """Of the same recipe and table too, as in another fold; what is removed is trained again."""
    for name in ("one", "other"):
        RunFolder(tmp_path / name).begin("recipe", "table")
        make_loop(tmp_path / name, training(epochs=1)).fit()
    taken = Path("checkpoint", "last.safetensors")
    (tmp_path / "one" / taken).write_bytes((tmp_path / "other" / taken).read_bytes())
    loop = make_loop(tmp_path / "one", training(epochs=1))
    with pytest.raises(RunError, match="belongs to another run or another of its networks"):
        loop.resume()
    (tmp_path / "one" / taken).unlink()
    loop.resume()
    assert loop.progress.step == 0


def test_a_resumed_run_says_at_which_epoch(tmp_path: Path) -> None:
    """Five steps an epoch: step 11 belongs to the third."""
    with pytest.raises(StopError):
        make_loop(tmp_path, report=stop_at(12)).fit()
    resumed = make_loop(tmp_path)
    assert resumed.progress.resumed == 0
    resumed.resume()
    assert resumed.progress.resumed == 3


def test_a_history_that_was_lost_is_written_again(tmp_path: Path) -> None:
    """The checkpoint has it, also after the last epoch."""
    make_loop(tmp_path).fit()
    history = (tmp_path / "history.csv").read_bytes()
    (tmp_path / "history.csv").write_text("edited")
    again = make_loop(tmp_path)
    again.resume()
    again.fit()
    assert (tmp_path / "history.csv").read_bytes() == history


def test_a_loss_that_is_not_finite_ends_the_run_with_advice(tmp_path: Path) -> None:
    """The error names the run, the step and what to do; the bad weights are not kept."""

    class Broken(TinyTask):
        def batch(self, number: int) -> tuple[Tensor, Tensor]:
            image, target = super().batch(number)
            return (image * torch.nan if number == 4 else image), target

    with pytest.raises(RunError, match=r"nan at step 4: lower the learning rate"):
        make_loop(tmp_path, task=Broken()).fit()
    state = load_checkpoint(tmp_path / "checkpoint" / "last.safetensors")
    assert all(value.isfinite().all() for value in state["network"].values())


def test_a_gradient_that_is_not_finite_ends_the_run_too(tmp_path: Path) -> None:
    """A finite loss may have a slope that is not; the weights must not be moved by it."""

    class Steep(TinyNetwork):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            return out + (out - out.detach()).abs().sqrt()

    with pytest.raises(RunError, match=r"the gradient became (nan|inf) at step 0"):
        make_loop(tmp_path, network=Steep()).fit()


def test_small_gains_do_not_reset_patience_but_the_best_is_the_best(tmp_path: Path) -> None:
    """Published runs kept the first epoch here; only gains of more than min_delta buy time."""
    task = TinyTask(planned=(0.5, 0.495, 0.4, 0.395, 0.392, 0.1))
    settings = training(epochs=6, patience=2, min_delta=0.01)
    loop = make_loop(tmp_path, settings, task)
    best = loop.fit()
    assert [row["val_loss"] for row in loop.progress.history] == [0.5, 0.495, 0.4, 0.395, 0.392]
    assert (loop.progress.best, loop.progress.best_epoch) == (0.392, 5)
    assert same(best, task.seen[4])


def test_small_gains_add_up(tmp_path: Path) -> None:
    """Slow progress is progress: the gain is counted from the last one that was large enough."""
    task = TinyTask(planned=(0.50, 0.494, 0.488, 0.482, 0.476))
    loop = make_loop(tmp_path, training(epochs=5, patience=2, min_delta=0.01), task)
    loop.fit()
    assert len(loop.progress.history) == 5


def test_patience_goes_on_counting_after_a_resume(tmp_path: Path) -> None:
    """An interruption between a small gain and the end of patience changes nothing."""
    settings = training(epochs=6, patience=2, min_delta=0.01)
    with pytest.raises(StopError):
        make_loop(tmp_path, settings, TinyTask((0.5, 0.495)), report=stop_at(11)).fit()
    resumed = make_loop(tmp_path, settings, TinyTask((0.494, 0.1, 0.1)))
    resumed.resume()
    resumed.fit()
    assert [row["val_loss"] for row in resumed.progress.history] == [0.5, 0.495, 0.494]


class Refit(TinyTask):
    """All samples are learnt from, so that none are left to validate on."""

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        return {}


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_without_validation_the_last_weights_are_the_result(
    tmp_path: Path, schedule: str, mode: str
) -> None:
    """Every epoch is run whatever the monitor and patience say, and a resume is exact."""
    settings = training(epochs=3, monitor_mode=mode, patience=1, schedule=schedule)
    loop = make_loop(tmp_path / "whole", settings, Refit())
    last = loop.fit()
    assert same(last, loop.average.state_dict())
    assert [row["epoch"] for row in loop.progress.history] == [1, 2, 3]
    assert set(loop.progress.history[0]) == {
        *("epoch", "train_loss", "train_dice", "train_focal", "learning_rate")
    }
    with pytest.raises(StopError):
        make_loop(tmp_path / "cut", settings, Refit(), report=stop_at(7)).fit()
    resumed = make_loop(tmp_path / "cut", settings, Refit())
    resumed.resume()
    assert same(resumed.fit(), last)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_without_validation_a_plateau_is_one_of_the_training_loss(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that falls is progress, also where the monitor would have been raised."""
    seen: list[float] = []
    monkeypatch.setattr(
        torch.optim.lr_scheduler.ReduceLROnPlateau, "step", lambda _s, value: seen.append(value)
    )
    settings = training(epochs=2, monitor_mode=mode, schedule="plateau")
    loop = make_loop(tmp_path, settings, Refit())
    loop.fit()
    sign = 1 if mode == "min" else -1
    assert seen == [sign * row["train_loss"] for row in loop.progress.history]


class Beside(nn.Module):
    """A network of two inputs: an image, and one number beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2), nn.Dropout(0.2))
        self.free = nn.BatchNorm3d(2)
        self.head = nn.Linear(3, 2)

    def forward(self, image: Tensor, beside: Tensor) -> Tensor:
        """(B, 1, I, J, K) and (B, 1) to (B, 2)."""
        features = self.free(self.frozen(image)).relu().mean((2, 3, 4))
        out: Tensor = self.head(torch.cat([features, beside], dim=1))
        return out


class TwoInputs(TinyTask):
    """Two classes, told by the number beside the image."""

    def batch(self, number: int) -> Any:
        image, _ = super().batch(number)
        beside = image.flatten(1).mean(1, keepdim=True) * 8
        target = torch.cat([beside > 0, beside <= 0], dim=1).float()
        return (image, beside), target

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        inputs, target = self.batch(10**6)
        with torch.no_grad():
            logits = network(*(tensor.to(device) for tensor in inputs)).cpu()
        return {"loss": float(nn.functional.cross_entropy(logits, target))}


def beside_loop(folder: Path, report: Any = None, **changes: Any) -> Loop:
    torch.manual_seed(5)
    losses = [{"name": "class-cross-entropy", "options": {"weights": [1.0, 2.0]}}]
    still = changes.pop("freeze_statistics", True)
    settings = training(losses=losses, **changes)
    return Loop(
        TwoInputs(), Beside(), settings, RunFolder(folder), make_fabric("cpu", "32"), report, still
    )


def test_a_network_of_several_inputs_learns_and_resumes_exactly(tmp_path: Path) -> None:
    """A batch may be a tuple of inputs and the target; the loss falls."""
    whole = beside_loop(tmp_path / "whole")
    expected = whole.fit()
    history = [row["train_loss"] for row in whole.progress.history]
    assert history[-1] < history[0]
    with pytest.raises(StopError):
        beside_loop(tmp_path / "cut", stop_at(8)).fit()
    resumed = beside_loop(tmp_path / "cut")
    resumed.resume()
    assert same(resumed.fit(), expected)


@pytest.mark.parametrize("still", [True, False])
def test_frozen_normalisations_keep_their_statistics_unless_told(
    tmp_path: Path, still: bool
) -> None:
    """The published training moved them; one that is trained always follows its batches."""
    loop = beside_loop(tmp_path, epochs=1, freeze=["frozen"], freeze_statistics=still)
    best = loop.fit()
    assert bool((best["frozen.1.running_mean"] == 0).all()) == still
    assert (best["free.running_mean"] != 0).all()
    assert loop.network.module.frozen[2].training


def test_an_unknown_monitor_is_named_with_the_known_ones(tmp_path: Path) -> None:
    """A slip in the recipe costs an epoch at most."""
    with pytest.raises(RunError, match=r"'val_dice'.*val_loss"):
        make_loop(tmp_path, training(monitor="val_dice")).fit()


def test_frozen_weights_do_not_move(tmp_path: Path) -> None:
    """Neither the optimiser, weight decay nor the average touches them."""
    loop = make_loop(tmp_path, training(epochs=1, freeze=["down"], weight_decay=0.5))
    before = {k: v.clone() for k, v in loop.network.module.state_dict().items()}
    best = loop.fit()
    assert torch.equal(best["down.weight"], before["down.weight"])
    assert not torch.equal(best["downsample.weight"], before["downsample.weight"])


def test_a_penalty_on_the_distance_to_the_start_keeps_weights_near_it(tmp_path: Path) -> None:
    """The stronger the penalty, the shorter the way that the weights go."""

    def way(strength: float) -> float:
        settings = training(l2_to_start=strength, ema=0.0, weight_decay=0.0, optimiser="sgd")
        loop = make_loop(tmp_path / str(strength), settings)
        start = loop.network.module.down.weight.detach().clone()
        loop.fit()
        return float((loop.network.module.down.weight - start).detach().norm())

    assert way(20.0) < 0.5 * way(0.0)


def test_the_average_forgets_the_start_while_there_are_few_steps(tmp_path: Path) -> None:
    """After n steps the next keeps (1 + n) / (10 + n) of it: a tenth of the start at first."""
    task = TinyTask()
    settings = training(epochs=1, steps_per_epoch=1, warmup_steps=0, ema=0.9999)
    loop = make_loop(tmp_path, settings, task)
    loop.fit()
    (judged,), start = task.seen, seeded_network().state_dict()
    for name, value in loop.network.module.state_dict().items():
        torch.testing.assert_close(judged[name], start[name] + (value - start[name]) * 0.9)
        assert not torch.equal(value, start[name])


def test_without_averaging_the_judged_weights_are_the_trained_ones(tmp_path: Path) -> None:
    """ema = 0 means no average at all."""
    loop = make_loop(tmp_path, training(ema=0.0))
    loop.fit()
    assert same(loop.average.state_dict(), loop.network.module.state_dict())


def test_the_history_and_the_events_are_written_epoch_by_epoch(tmp_path: Path) -> None:
    """One row an epoch, with every loss term, the rate and the metrics."""
    loop: Loop = make_loop(tmp_path, training(epochs=2))
    loop.fit()
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,train_dice,train_focal,learning_rate,val_loss"
    assert len(lines) == 3
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_two_processes_learn_what_one_learns_from_both_their_batches(tmp_path: Path) -> None:
    """Averaged gradients of two processes are those of one batch twice as large."""
    finished = python("tests.training.two_processes", str(tmp_path / "two"))
    assert finished.returncode == 0, finished.stderr
    task, network = TinyTask(merge=2), seeded_network(dropout=0.0)
    expected = make_loop(tmp_path / "one", training(epochs=1), task, network).fit()
    both = load_checkpoint(tmp_path / "two" / "best")
    assert all(torch.allclose(both[k], expected[k], atol=1e-5) for k in expected)
