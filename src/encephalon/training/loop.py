# SPDX-License-Identifier: Apache-2.0
"""The training loop: any task, any device, and an exact resume after a kill at any moment.

A batch is a pure function of its number, so that the position in the stream of samples is that
number. Together with the weights, optimiser, schedule, averaged weights, early stopping, the
epoch's running sums and every random generator it is all that a checkpoint holds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Protocol, cast, runtime_checkable

import lightning
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from encephalon.errors import RunError
from encephalon.recipes.schema import Training
from encephalon.training.checkpoint import (
    WRONG_STRUCTURE,
    load_own_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from encephalon.training.losses import WeightedLoss
from encephalon.training.optimisers import (
    L2SP,
    build_optimiser,
    build_scheduler,
    freeze,
    frozen_norms,
    rate_factors,
)
from encephalon.training.runs import Progress, Report, RunFolder, write_history

Batch = tuple[Tensor | tuple[Tensor, ...], Tensor]
"""The input of a network, or its several inputs, and the target."""


class Task(Protocol):
    """What a study hands to the loop."""

    def batch(self, number: int) -> Batch:
        """Input and target of batch `number`, on the CPU, depending on nothing but the number."""

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Metrics of `network` on the validation samples; none where there are no such samples.

        Training then goes on to its last epoch, whose weights are the result.
        """


@runtime_checkable
class OwnLoss(Protocol):
    """What a task has beside, whose loss is more than a comparison of output and target.

    The `losses` of the recipe are then not asked for.
    """

    def loss(self, network: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of `batch`, on the device of `network`, and its terms, which have no gradient.

        `network` is to be called, not looked into: on several devices it is a wrapper.
        """

    def after_step(self, network: nn.Module, step: int) -> None:
        """Change what no optimiser does, in the network itself, after the optimiser's step."""


class Loop:
    """One training run.

    task, network      What to learn, and with what.
    settings           The `[training]` section of the recipe.
    run                Where checkpoints and the history go.
    fabric             Device, precision and processes; see `make_fabric`.
    report             Called after every step with the progress and the step's losses, in the first
                       process.
    freeze_statistics  Batch normalisations that are frozen keep their means and variances too;
                       without it every training batch changes them, as in much published work.
    """

    def __init__(
        self,
        task: Task,
        network: nn.Module,
        settings: Training,
        run: RunFolder,
        fabric: lightning.Fabric,
        report: Report | None = None,
        freeze_statistics: bool = True,
    ) -> None:
        self.task, self.settings, self.run, self.fabric = task, settings, run, fabric
        self.own = task if isinstance(task, OwnLoss) else None
        self.report = report if report and fabric.is_global_zero else lambda *_: None
        freeze(network, settings.freeze, settings.unfreeze)
        self.frozen_norms = frozen_norms(network) if freeze_statistics else []
        self.total_steps = settings.epochs * settings.steps_per_epoch
        self.loss = WeightedLoss(settings.losses)
        self.to_start = L2SP(network, settings.l2_to_start)
        optimiser = build_optimiser(settings, network.parameters(), rate_factors(network, settings))
        self.scheduler = build_scheduler(settings, optimiser)
        self.average = copy.deepcopy(network).to(fabric.device)
        self.network, self.optimiser = fabric.setup(network, optimiser)
        self.to_start.to(fabric.device)
        self.best_state: dict[str, Tensor] = {}
        self.progress = Progress()

    def fit(self) -> dict[str, Tensor]:
        """Train to the end and return the best weights by the monitored metric, on the CPU.

        On several devices every process but the first ends here: what comes after training belongs
        to the first alone. Raises RunError where no epoch had a best.
        """
        world, rank = self.fabric.world_size, self.fabric.global_rank
        loader = _Prefetch(lambda step: self.task.batch(step * world + rank))
        try:
            while self.progress.step < self.total_steps and not self.progress.stopped:
                losses = self._step(loader.get(self.progress.step))
                self.report(self.progress, losses)
                if self.progress.step % self.settings.steps_per_epoch == 0:
                    self._end_epoch()
                    self._keep()
                elif self.progress.step % self.settings.checkpoint_every == 0:
                    self.save()
        finally:
            loader.close()
        self._keep_history()
        if not self.best_state:
            raise RunError(
                f"{self.run.path}: {self.settings.monitor} was not a number in any epoch: lower "
                "the learning rate, or monitor something else."
            )
        # The other processes run the same program and would do all of what comes after again.
        self.fabric.barrier()
        if not self.fabric.is_global_zero:
            raise SystemExit(0)
        return self.best_state

    def _keep(self) -> None:
        """Write what an epoch leaves: first its checkpoint, which the rest can be made from."""
        self.save()
        self._keep_history()
        if self.fabric.is_global_zero:
            from torch.utils.tensorboard import SummaryWriter

            row = self.progress.history[-1]
            with SummaryWriter(str(self.run.tensorboard)) as writer:
                for name, value in row.items():
                    writer.add_scalar(name, value, int(row["epoch"]))

    def _keep_history(self) -> None:
        if self.fabric.is_global_zero:
            write_history(self.run.history, self.progress.history)

    def _step(self, batch: Batch) -> dict[str, float]:
        self.network.train()
        for module in self.frozen_norms:
            module.eval()
        total, terms = self._judged(cast(Batch, self.fabric.to_device(batch)))
        if self.settings.l2_to_start > 0:
            total = total + self.to_start(self.network.module)
        # Before the weights are touched, and reduced first so that all processes stop together.
        losses = {
            name: float(cast(Tensor, self.fabric.all_reduce(value)))
            for name, value in {"loss": total.detach(), **terms}.items()
        }
        self._require_finite("loss", losses["loss"])
        self.fabric.backward(total)
        if self.settings.gradient_clip is not None:
            norm = self.fabric.clip_gradients(
                self.network,
                self.optimiser,
                max_norm=self.settings.gradient_clip,
                error_if_nonfinite=False,
            )
            # The scaler of half precision overflows now and then, and leaves such a step out.
            if self.settings.precision != "16-mixed":
                self._require_finite("gradient", float(cast(Tensor, norm)))
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.own:
            self.own.after_step(self.network.module, self.progress.step)
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        self._average_weights()
        for name, value in losses.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
        self.progress.step += 1
        return losses

    def _judged(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if self.own:
            return self.own.loss(self.network, batch, self.progress.step)
        given, target = batch
        inputs = given if isinstance(given, tuple) else (given,)
        return self.loss(self.network(*inputs).float(), target)

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise RunError(
                f"{self.run.path}: the {what} became {value} at step {self.progress.step}: lower "
                "the learning rate or clip gradients."
            )

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Follow the weights with an exponential average, shorter while there are few steps."""
        step = self.progress.step
        keep = min(self.settings.ema, (1 + step) / (10 + step))
        current = self.network.module.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name].to(value.dtype), 1 - keep)
            else:
                value.copy_(current[name])

    def _end_epoch(self) -> None:
        progress, steps = self.progress, self.settings.steps_per_epoch
        row: dict[str, float] = {"epoch": float(len(progress.history) + 1)}
        row |= {f"train_{name}": value / steps for name, value in progress.sums.items()}
        group = self.optimiser.param_groups[0]
        row["learning_rate"] = float(group["lr"]) / group.get("factor", 1.0)
        self.average.eval()
        metrics = self.task.validate(self.average, self.fabric.device)
        row |= {f"val_{name}": value for name, value in metrics.items()}
        progress.sums = {}
        progress.history.append(row)
        self._judge(row, validated=bool(metrics) and self.settings.keep is None)

    def _judge(self, row: Mapping[str, float], validated: bool) -> None:
        """Keep the best weights; stop when `patience` epochs brought nothing better.

        What is not a finite number is never better. Without validation, or where the recipe keeps
        the last weights, those are the best, and a plateau is one of the training loss.
        """
        settings, progress, epoch = self.settings, self.progress, int(row["epoch"])
        sign = 1.0 if settings.monitor_mode == "max" else -1.0
        if validated and settings.monitor not in row:
            raise RunError(
                f"The recipe monitors {settings.monitor!r}, which an epoch does not have: "
                f"monitor one of {', '.join(sorted(row))}."
            )
        value = row[settings.monitor] if validated else -sign * row["train_loss"]

        def gain(reference: float) -> float:
            if not math.isfinite(value):
                return -math.inf
            is_first = not validated or math.isnan(reference)
            return math.inf if is_first else sign * (value - reference)

        if gain(progress.best) > 0:
            progress.best, progress.best_epoch = value, epoch
            self.best_state = {
                k: v.detach().cpu().clone() for k, v in self.average.state_dict().items()
            }
        if gain(progress.gained) > settings.min_delta:
            progress.gained, progress.gained_epoch = value, epoch
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(value)
        waited = epoch - progress.gained_epoch
        progress.stopped = settings.patience is not None and waited >= settings.patience

    def save(self) -> None:
        """Write a checkpoint (the first process only)."""
        if not self.fabric.is_global_zero:
            return
        state = {
            "run": self.run.identity,
            "progress": asdict(self.progress),
            "network": self.network.module.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best_state,
            "start": self.to_start.start,
            "optimiser": self.optimiser.state_dict(),
            # Without its functions, which the recipe builds again.
            "scheduler": {
                name: value
                for name, value in self.scheduler.state_dict().items()
                if name not in {"lr_lambdas", "mode_worse"}
            },
            "precision": self.fabric.strategy.precision.state_dict(),
            "random": random_state(),
        }
        save_checkpoint(self.run.checkpoint, state)

    def resume(self) -> None:
        """Go on from the run's checkpoint; a run killed before its first one starts anew."""
        if not self.run.checkpoint.exists():
            return
        state = load_own_checkpoint(self.run)
        try:
            self.network.module.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            scheduler = dict(state["scheduler"])
            if not isinstance(self.scheduler, ReduceLROnPlateau):
                # LambdaLR wants empty places for its functions.
                scheduler["lr_lambdas"] = [None] * len(self.scheduler.lr_lambdas)
            self.scheduler.load_state_dict(scheduler)
            self.fabric.strategy.precision.load_state_dict(state["precision"])
            progress = Progress(**state["progress"])
            self.progress = replace(progress, resumed=len(progress.history) + 1)
            self.best_state = state["best"]
            self.to_start.start = state["start"]
            self.to_start.to(self.fabric.device)
            restore_random_state(state["random"])
        except WRONG_STRUCTURE as error:
            raise RunError(
                f"{self.run.checkpoint} does not fit this recipe ({error}): start anew."
            ) from error


class _Prefetch:
    """Make the next batch in a thread while the current one is learnt from."""

    def __init__(self, make: Callable[[int], Batch]) -> None:
        self.make = make
        # One thread beside the network's: two teams of threads on the same cores slow both.
        self.pool = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
        self.next: tuple[int, Future[Batch]] | None = None

    def get(self, step: int) -> Batch:
        """The batch of `step`, with that of the next step begun."""
        future = self.next[1] if self.next and self.next[0] == step else None
        future = future or self.pool.submit(self.make, step)
        self.next = (step + 1, self.pool.submit(self.make, step + 1))
        return future.result()

    def close(self) -> None:
        """Drop what has not begun."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def make_fabric(
    device: str, precision: str, devices: int = 1, leaves_out: bool = False
) -> lightning.Fabric:
    """Fabric for "cpu", "cuda", "cuda:N" or "mps"; several `devices` train with DDP.

    A network that `leaves_out` weights in some batches, as of a source that nobody has, says so.
    """
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment

    kind, _, index = device.partition(":")
    chosen: int | list[int] = [int(index)] if index else devices
    # One device is one process, also as a job of Slurm, which would be asked what it knows.
    alone = LightningEnvironment() if devices == 1 else None
    ddp = "ddp_find_unused_parameters_true" if leaves_out else "ddp"
    fabric = lightning.Fabric(
        accelerator="cpu" if kind == "cpu" else kind,
        devices=chosen,
        strategy=ddp if devices > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        plugins=alone,
    )
    fabric.launch()
    return fabric
