# SPDX-License-Identifier: Apache-2.0
"""Self-supervision: schedules in closed form, losses by hand, a target that follows, a resume."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encephalon.errors import RecipeError
from encephalon.networks import build_network
from encephalon.networks.encoders import user_code
from encephalon.networks.self_supervised import SelfSupervised, mine, prediction_error
from encephalon.recipes.schema import Training
from encephalon.training.loop import Loop, OwnLoss, make_fabric
from encephalon.training.optimisers import build_optimiser, build_scheduler
from encephalon.training.runs import RunFolder
from encephalon.training.self_supervised import SelfSupervision, mined_weight, target_momentum
from tests.networks.test_encoders import USERS
from tests.training.test_loop import StopError, same, stop_at
from tests.training.tiny import TinyTask

METHODS = ("byol", "myow", "myow-merged")
#: Steps of the published training, of its warm-up and of its ramp: 800 and 10 epochs of 134.
STEPS, WARMUP = 107_200, 1_340


def network(method: str = "byol", **options: Any) -> SelfSupervised:
    """A tiny one, with the same weights every time."""
    torch.manual_seed(3)
    sizes = {"projection": 5, "hidden": 7, "mined_projection": 4, "mined_hidden": 6}
    with user_code():
        made: Any = build_network(
            "self-supervised",
            {"method": method, "encoder": f"{USERS}:PlainEncoder", **sizes, **options},
        )
    assert isinstance(made, SelfSupervised)
    return made


def views(*numbers: int) -> tuple[Tensor, ...]:
    """Batches of four images."""
    made = [np.random.default_rng([1, n]).random((4, 1, 8, 8)) for n in numbers]
    return tuple(torch.from_numpy(one).float() for one in made)


def test_the_momentum_of_the_target_in_closed_form() -> None:
    """0.996 at the first step, half way in the middle, 1 after the last; always rising."""
    assert target_momentum(0, STEPS) == pytest.approx(0.996)
    assert target_momentum(STEPS // 2, STEPS) == pytest.approx(0.998)
    assert target_momentum(STEPS, STEPS) == 1
    warm = 1 - 0.004 * (1 + math.cos(math.pi / 80)) / 2
    assert target_momentum(WARMUP, STEPS) == pytest.approx(warm)
    values = [target_momentum(step, 50) for step in range(51)]
    assert all(low < high for low, high in pairwise(values))


def test_the_weight_of_neighbours_in_closed_form() -> None:
    """Nothing while warming up, then linearly over ten epochs to 0.1."""
    assert mined_weight(0, 0, WARMUP, 0.1) == 0
    assert mined_weight(WARMUP // 2, 0, WARMUP, 0.1) == pytest.approx(0.05)
    assert mined_weight(WARMUP, 0, WARMUP, 0.1) == 0.1
    assert mined_weight(STEPS - 1, 0, WARMUP, 0.1) == 0.1
    assert mined_weight(99, 100, 10, 1.0) == 0
    assert mined_weight(105, 100, 10, 1.0) == pytest.approx(0.5)
    assert mined_weight(7, 7, 0, 1.0) == 1


def test_the_published_rate_in_closed_form() -> None:
    """0.03 / 256 x 8 = 9.375e-4 after the warm-up, a cosine of the rest, and 0 after the last."""
    rate = 0.03 / 256 * 8
    asked: dict[str, Any] = {"schedule": "cosine", "cosine_end": 0.0, "warmup_steps": WARMUP}
    training = Training(**asked, epochs=800, steps_per_epoch=134, learning_rate=rate)
    optimiser = build_optimiser(training, [nn.Parameter(torch.zeros(1))])
    schedule: Any = build_scheduler(training, optimiser)
    assert rate == pytest.approx(9.375e-4)
    (factor,) = schedule.lr_lambdas
    assert factor(0) == pytest.approx(1 / WARMUP)
    assert factor(WARMUP - 1) == 1
    assert factor(WARMUP) == 1
    middle = WARMUP + (STEPS - WARMUP) // 2
    assert factor(middle) == pytest.approx(0.5)
    last = (1 + math.cos(math.pi * (STEPS - 1 - WARMUP) / (STEPS - WARMUP))) / 2
    assert factor(STEPS - 1) == pytest.approx(last)
    assert factor(STEPS) == 0


def test_an_error_is_the_squared_distance_of_unit_vectors() -> None:
    """2 - 2 cos, whatever the lengths; and the target has no gradient."""
    predicted = torch.randn(6, 5, requires_grad=True)
    target = torch.randn(6, 5, requires_grad=True)
    unit = [one / one.norm(dim=1, keepdim=True) for one in (predicted, target)]
    errors = prediction_error(predicted, target)
    torch.testing.assert_close(errors, (unit[0] - unit[1]).square().sum(dim=1))
    errors.sum().backward()
    assert predicted.grad is not None
    assert target.grad is None


@pytest.mark.parametrize("neighbours", [1, 3, 20])
def test_mining_finds_what_a_search_of_all_finds(neighbours: int) -> None:
    """One of the k nearest by the angle, and with its distance; each of them is drawn."""
    rng = np.random.default_rng(0)
    features, pool = rng.normal(size=(4, 6)), rng.normal(size=(9, 6))
    lengths = np.linalg.norm(features, axis=1)[:, None] * np.linalg.norm(pool, axis=1)
    distances = 1 - features @ pool.T / lengths
    seen: list[set[int]] = [set() for _ in features]
    for seed in range(100):
        torch.manual_seed(seed)
        chosen, found = mine(torch.from_numpy(features), torch.from_numpy(pool), neighbours)
        for row, number in enumerate(chosen.tolist()):
            seen[row].add(number)
            assert found[row].item() == pytest.approx(distances[row, number], abs=1e-6)
    for row, numbers in enumerate(seen):
        assert numbers == set(np.argsort(distances[row])[:neighbours].tolist())


def by_hand(net: SelfSupervised, first: Tensor, second: Tensor) -> Tensor:
    """The loss of two views as the paper writes it, without a shortcut."""
    online = [net.predictor(net.projector(net.features(one))) for one in (first, second)]
    target = [net.target["projector"](net._target_features(one)) for one in (first, second)]
    halves = [2 - 2 * nn.functional.cosine_similarity(online[n], target[1 - n]) for n in (0, 1)]
    return (halves[0].mean() + halves[1].mean()) / 2


def test_the_loss_of_two_views_is_symmetric_and_by_the_book() -> None:
    """It is 0 only if each predicts the other's target, and the same either way round."""
    net = network().eval()
    first, second = views(0, 1)
    assert net(first, second).shape == (1,)
    torch.testing.assert_close(net(first, second)[0], by_hand(net, first, second))
    torch.testing.assert_close(net(first, second), net(second, first))


@pytest.mark.parametrize("layout", ["cascaded", "parallel"])
def test_neighbours_are_predicted_through_their_own_heads(layout: str) -> None:
    """The second projector sees what the first gives, or the representation itself."""
    net = network("myow", layout=layout).eval()
    first, second, pool = views(0, 1, 2)
    losses = net(first, second, pool)
    features, candidates = net.features(first), net._target_features(pool)
    chosen, _ = mine(features, candidates, 1)
    parts = net.target
    own, wanted = features, candidates[chosen]
    if layout == "cascaded":
        own, wanted = net.projector(own), parts["projector"](wanted)
    predicted = net.mined_predictor(net.mined_projector(own))
    expected = prediction_error(predicted, parts["mined_projector"](wanted)).mean()
    torch.testing.assert_close(losses, torch.stack([by_hand(net, first, second), expected]))


def test_merged_neighbours_are_views_through_the_first_head() -> None:
    """Both ways round; there is no second head."""
    net = network("myow-merged").eval()
    first, second, pool = views(0, 1, 2)
    chosen, _ = mine(net.features(first), net._target_features(pool), 1)
    torch.testing.assert_close(net(first, second, pool)[1], by_hand(net, first, pool[chosen]))
    assert not [name for name in net.state_dict() if "mined" in name]


@torch.no_grad()
def test_neighbours_that_are_too_far_do_not_count() -> None:
    """With a threshold between the distances the rest alone is averaged; below all, nothing."""
    first, second, pool = views(0, 1, 2)
    net = network("myow").eval()
    chosen, distances = mine(net.features(first), net._target_features(pool), 1)
    errors = net._mined(net.features(first), net._target_features(pool)[chosen])
    net.threshold = float(distances.sort().values[1:3].mean())
    expected = errors[distances <= net.threshold]
    assert len(expected) == 2
    torch.testing.assert_close(net(first, second, pool)[1], expected.mean())
    net.threshold = -1.0
    assert net(first, second, pool)[1] == 0


@pytest.mark.parametrize("method", METHODS)
def test_every_weight_but_the_targets_is_learnt(method: str) -> None:
    """The gradient stops at the target."""
    net = network(method).train()
    net(*views(0, 1, 2)[: 2 if method == "byol" else 3]).sum().backward()
    with_gradient = {name for name, p in net.named_parameters() if p.grad is not None}
    online = {name for name, _ in net.named_parameters() if not name.startswith("target.")}
    assert with_gradient == online
    assert all(not p.requires_grad for p in net.target.parameters())


def test_the_target_begins_as_a_copy_and_follows_by_the_momentum() -> None:
    """Weights by the formula; the buffers of its normalisations are its own."""
    net = network()
    for part, target in net.target.items():
        assert same(dict(net.get_submodule(part).state_dict()), dict(target.state_dict()))
    before = {name: p.clone() for name, p in net.target.named_parameters()}
    buffers = {name: b.clone() for name, b in net.target.named_buffers()}
    for p in net.encoder.parameters():
        p.data += 1.0
    net.follow(0.75)
    for name, p in net.target.named_parameters():
        moved = 0.25 if name.startswith("encoder.") else 0.0
        torch.testing.assert_close(p, before[name] + moved)
    assert same(buffers, dict(net.target.named_buffers()))
    net.train()(*views(0, 1))
    assert not same(buffers, dict(net.target.named_buffers()))


class TinyViews(SelfSupervision):
    """Noisy views of eight images, and for mining others of them."""

    def __init__(self, steps: int, mines: bool) -> None:
        super().__init__(steps, momentum=0.9, mined_weight=0.5, mined_warmup=2, mined_ramp=4)
        self.mines = mines

    def batch(self, number: int) -> Any:
        rng = np.random.default_rng([5, number])
        samples = np.stack(views(*range(2))).reshape(8, 1, 8, 8)

        def view() -> Tensor:
            chosen = samples[rng.integers(8, size=4)]
            noise = rng.normal(scale=0.1, size=chosen.shape)
            return torch.from_numpy(chosen + noise).float()

        return tuple(view() for _ in range(3 if self.mines else 2)), torch.zeros(0)

    def validate(self, net: nn.Module, device: torch.device) -> dict[str, float]:
        return {}


def loop(folder: Path, method: str, report: Any = None, **changes: Any) -> Loop:
    torch.set_num_threads(1)
    plain: dict[str, Any] = {
        "epochs": 3,
        "steps_per_epoch": 4,
        "checkpoint_every": 3,
        "optimiser": "lars",
        "exclude_bias_and_norm": True,
        "learning_rate": 0.5,
        "weight_decay": 5e-4,
        "schedule": "cosine",
        "cosine_end": 0.0,
        "warmup_steps": 3,
    }
    settings = Training.model_validate(plain | changes)
    task = TinyViews(12, mines=method != "byol")
    net = network(method, neighbours=2)
    return Loop(task, net, settings, RunFolder(folder), make_fabric("cpu", "32"), report)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(tmp_path: Path, method: str) -> None:
    """In mid-epoch, after a checkpoint: the target and what was mined included."""
    whole = loop(tmp_path / "whole", method)
    expected = whole.fit()
    with pytest.raises(StopError):
        loop(tmp_path / "cut", method, report=stop_at(8)).fit()
    resumed = loop(tmp_path / "cut", method)
    resumed.resume()
    assert resumed.progress.step == 6
    assert same(resumed.fit(), expected)
    last = [one.network.module.state_dict() for one in (whole, resumed)]
    assert same(*last)
    history = (tmp_path / "whole" / "history.csv").read_bytes()
    assert (tmp_path / "cut" / "history.csv").read_bytes() == history
    assert (b"train_mined" in history) == (method != "byol")


def test_the_loop_trains_what_is_to_be_trained(tmp_path: Path) -> None:
    """The target is in the checkpoint, and no optimiser has it; it follows what was learnt."""
    run = loop(tmp_path, "byol", optimiser="sgd", momentum=0.0, learning_rate=0.2)
    start = {name: p.clone() for name, p in run.network.module.named_parameters()}
    held = {id(p) for group in run.optimiser.param_groups for p in group["params"]}
    targets = {id(p) for p in run.network.module.target.parameters()}
    assert not held & targets
    run.fit()
    moved = {name for name, p in run.network.module.named_parameters() if not p.equal(start[name])}
    assert "encoder.fine.weight" in moved
    assert "target.encoder.fine.weight" in moved
    assert "target.encoder.fine.weight" in run.best_state


def test_only_a_task_with_both_parts_owns_its_loss() -> None:
    """All other tasks go through the losses of the recipe."""
    assert isinstance(TinyViews(1, mines=False), OwnLoss)
    assert not isinstance(TinyTask(), OwnLoss)


def test_options_that_are_none_are_refused() -> None:
    """With those that there are."""
    with pytest.raises(RecipeError, match="method must be one of byol, myow, myow-merged"):
        network("simclr")
    with pytest.raises(RecipeError, match="layout must be one of cascaded, parallel"):
        network("myow", layout="stacked")
    with pytest.raises(RecipeError, match="neighbours must be 1 or more, not 0"):
        network("myow", neighbours=0)


def test_the_published_heads_have_the_published_size() -> None:
    """512 to 4096 to 256 and back, the last layer without a bias."""
    with torch.device("meta"):
        net: Any = build_network("self-supervised", {"method": "myow"})
    shapes = [tuple(p.shape) for p in net.projector.parameters()]
    assert shapes == [(4096, 512), (4096,), (4096,), (4096,), (256, 4096)]
    assert tuple(net.mined_projector[0].weight.shape) == (4096, 256)
    assert net(torch.zeros(2, 1, 8, 8, device="meta")).shape == (2, 512)
