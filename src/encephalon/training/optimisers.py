# SPDX-License-Identifier: Apache-2.0
"""Optimisers and learning-rate schedules by the names that recipes use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from encephalon.errors import RecipeError
from encephalon.networks.registry import HEAD, head_of
from encephalon.recipes.schema import Training

Scheduler = LambdaLR | ReduceLROnPlateau


def build_optimiser(
    training: Training,
    parameters: Iterable[nn.Parameter],
    factors: Mapping[nn.Parameter, float] | None = None,
) -> Optimizer:
    """An Adam, AdamW, SGD or LARS optimiser.

    With `exclude_bias_and_norm` weights that are vectors neither decay nor, by LARS, have a rate of
    their own. What `factors` names, see `rate_factors`, has that multiple of the learning rate; its
    group of the optimiser says so as "factor".
    """
    trainable = [p for p in parameters if p.requires_grad]
    if not trainable:
        raise RecipeError("The recipe freezes every parameter: leave at least one layer to train.")
    name, groups = training.optimiser, [{"params": trainable}]
    if training.exclude_bias_and_norm:
        spared: dict[str, Any] = {"params": [p for p in trainable if p.dim() < 2]}
        spared |= {"weight_decay": 0.0, **({"eta": None} if name == "lars" else {})}
        groups = [{"params": [p for p in trainable if p.dim() > 1]}, spared]
    if factors:
        groups = [one for group in groups for one in _by_factor(group, factors, training)]
    groups = [group for group in groups if group["params"]]
    given: dict[str, Any] = {"lr": training.learning_rate, "weight_decay": training.weight_decay}
    if name in {"sgd", "lars"}:
        given["momentum"] = 0.9 if training.momentum is None else training.momentum
    if name == "sgd":
        nesterov = training.nesterov
        given["nesterov"] = given["momentum"] > 0 if nesterov is None else nesterov
    kinds: dict[str, type[Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "lars": LARS,
        "sgd": torch.optim.SGD,
    }
    return kinds[name](groups, **given)


def _by_factor(
    group: Mapping[str, Any], factors: Mapping[nn.Parameter, float], training: Training
) -> list[dict[str, Any]]:
    """The group once for each factor, with the rate that it makes."""
    return [
        {
            **group,
            "params": [p for p in group["params"] if factors.get(p, 1.0) == factor],
            "lr": training.learning_rate * factor,
            "factor": factor,
        }
        for factor in sorted({1.0, *factors.values()})
    ]


def rate_factors(network: nn.Module, training: Training) -> dict[nn.Parameter, float]:
    """By how much each weight learns faster than the recipe's rate, where that is not 1.

    Of nested parts the inner one counts. Raises RecipeError for a part that does not exist.
    """
    asked = training.learning_rate_factors or {}
    named, found = dict(network.named_parameters()), {}
    for part in sorted(asked, key=lambda part: part.count(".")):
        for name in _select(list(named), in_network(network, [part]), "changes the rate of"):
            found[named[name]] = asked[part]
    return {weights: factor for weights, factor in found.items() if factor != 1}


def in_network(network: nn.Module, parts: Iterable[str]) -> list[str]:
    """The parts as the network calls them: "head" is what it ends in, whatever its name there."""
    ends = head_of(network) or (HEAD,)
    return [own for part in parts for own in (ends if part == HEAD else (part,))]


class LARS(Optimizer):
    """Momentum with a rate for each tensor, `eta` |w| / |g + decay w| (You et al. 2017).

    It is arXiv:1708.03888 as self-supervision uses it. Where a norm is 0, or `eta` None, the rate
    is the learning rate alone.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float | None = 0.001,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                change = weight.grad.add(weight, alpha=group["weight_decay"])
                if group["eta"] is not None:
                    ratio = group["eta"] * weight.norm() / change.norm()
                    change *= torch.where(ratio.isfinite() & (ratio > 0), ratio, 1.0)
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].mul_(group["momentum"]).add_(change)
                weight.sub_(state["momentum"], alpha=group["lr"])


def build_scheduler(training: Training, optimiser: Optimizer) -> Scheduler:
    """A schedule: "constant" or "cosine", both after a linear warm-up, or "plateau".

    The first two are stepped after every optimiser step, "plateau" after every epoch with the
    monitored value (a tenth after five epochs without progress). "cosine" falls to the share
    `cosine_end` of the rate, 1 % if not given.
    """
    if training.schedule == "plateau":
        return ReduceLROnPlateau(optimiser, mode=training.monitor_mode, factor=0.1, patience=5)
    warmup, total = training.warmup_steps, training.epochs * training.steps_per_epoch
    end = 0.01 if training.cosine_end is None else training.cosine_end

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / max(1, warmup))
        if training.schedule == "constant":
            return warm
        done = max(0, step - warmup) / max(1, total - warmup)
        return warm * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    return LambdaLR(optimiser, factor)


def freeze(network: nn.Module, prefixes: Sequence[str], unfreeze: Sequence[str] = ()) -> list[str]:
    """Stop training every parameter whose module path starts with one of `prefixes`.

    What the network itself does not train, as a target that follows other weights, stays so.

    A prefix matches whole path elements ("down" matches "down.0.weight", never "downsample").
    What lies under one of `unfreeze` is trained all the same. Returns the frozen names; raises
    RecipeError for a prefix that matches nothing, or unfreezes what was not frozen.
    """
    names = [name for name, _ in network.named_parameters()]
    frozen = _select(names, in_network(network, prefixes), "freezes")
    freed = _select(frozen, in_network(network, unfreeze), "unfreezes")
    frozen = [name for name in frozen if name not in freed]
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name not in frozen)
    return frozen


def frozen_norms(network: nn.Module) -> list[nn.Module]:
    """The batch normalisations of `network` none of whose weights is trained.

    In training mode they would go on to change their means and variances with every batch.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    weights = [(module, list(module.parameters(recurse=False))) for module in norms]
    return [module for module, own in weights if own and not any(p.requires_grad for p in own)]


def _select(names: Sequence[str], prefixes: Sequence[str], does: str) -> list[str]:
    """Those of `names` under one of `prefixes`, each of which must have some."""
    for prefix in prefixes:
        if not any(_under(name, prefix) for name in names):
            there = "what it freezes only has" if does == "unfreezes" else "the network only has"
            parts = ", ".join(_parts(names, prefix)) or "nothing"
            raise RecipeError(f"The recipe {does} {prefix!r}, but {there} {parts}.")
    return [name for name in names if any(_under(name, prefix) for prefix in prefixes)]


def _parts(names: Sequence[str], path: str) -> list[str]:
    """What there is beside `path`, in the deepest part of the network that leads to it."""
    parents = path.split(".")[:-1]
    while parents and not any(_under(name, ".".join(parents)) for name in names):
        parents.pop()
    inside = [name for name in names if not parents or _under(name, ".".join(parents))]
    return sorted({".".join(name.split(".")[: len(parents) + 1]) for name in inside})


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


class L2SP:
    """An L2 penalty that keeps the trained weights near those that they started from (L2-SP).

    Unlike a regulariser that is attached after the layers were built, this is a term of the loss,
    so it changes the gradient of every step (Li et al. 2018, arXiv:1802.01483).
    """

    def __init__(self, network: nn.Module, strength: float) -> None:
        self.strength = strength
        self.start = {
            name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad
        }

    def to(self, device: torch.device) -> None:
        """Keep the start on the device that the network is trained on."""
        self.start = {name: value.to(device) for name, value in self.start.items()}

    def __call__(self, network: nn.Module) -> Tensor:
        """Half the strength times the summed squared distance to the start."""
        current = dict(network.named_parameters())
        squares = [((current[name] - start) ** 2).sum() for name, start in self.start.items()]
        return 0.5 * self.strength * torch.stack(squares).sum()
