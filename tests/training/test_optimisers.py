# SPDX-License-Identifier: Apache-2.0
"""Optimisers, schedules, freezing and the penalty on leaving the start."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from encephalon.errors import RecipeError
from encephalon.networks import build_network
from encephalon.recipes.schema import Training
from encephalon.training.optimisers import (
    L2SP,
    build_optimiser,
    build_scheduler,
    freeze,
    frozen_norms,
    rate_factors,
)
from tests.training.tiny import TinyNetwork


@pytest.mark.parametrize("name", ["adam", "adamw", "lars", "sgd"])
def test_every_optimiser_goes_downhill(name: str) -> None:
    """Ten steps on a parabola, with the rate and decay of the recipe in its groups."""
    weight = nn.Parameter(torch.tensor([2.0]))
    asked: dict[str, Any] = {"optimiser": name, "learning_rate": 0.05, "weight_decay": 0.01}
    optimiser = build_optimiser(Training(**asked), [weight])
    assert optimiser.param_groups[0]["lr"] == 0.05
    assert optimiser.param_groups[0]["weight_decay"] == 0.01
    for _ in range(10):
        optimiser.zero_grad()
        (weight**2).sum().backward()
        optimiser.step()
    assert weight.detach().abs().item() < 2.0


def test_plain_gradient_descent_has_no_momentum() -> None:
    """As the published supervised training: each step is the rate times the gradient."""
    weight = nn.Parameter(torch.tensor([2.0]))
    optimiser = build_optimiser(
        Training(optimiser="sgd", learning_rate=0.01, momentum=0.0), [weight]
    )
    assert optimiser.param_groups[0]["nesterov"] is False
    for _ in range(2):
        optimiser.zero_grad()
        (3 * weight).sum().backward()
        optimiser.step()
    assert weight.item() == pytest.approx(2 - 2 * 0.03)


def test_momentum_is_nesterovs_unless_it_is_said_not_to_be() -> None:
    """0.9 if nothing is said."""
    weight = [nn.Parameter(torch.zeros(1))]

    def group(**asked: Any) -> dict[str, Any]:
        return build_optimiser(Training(**asked), weight).param_groups[0]

    plain = group(optimiser="sgd")
    assert (plain["momentum"], plain["nesterov"]) == (0.9, True)
    other = group(optimiser="sgd", nesterov=False)
    assert (other["momentum"], other["nesterov"]) == (0.9, False)
    assert group(optimiser="lars")["momentum"] == 0.9


def test_lars_by_hand() -> None:
    """Two steps of a matrix: eta |w| / |g + decay w| of each direction, gathered by momentum."""
    start, slope = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.5, -1.0]])
    weight = nn.Parameter(start.clone())
    training = Training(optimiser="lars", learning_rate=0.2, weight_decay=0.1, momentum=0.9)
    optimiser = build_optimiser(training, [weight])
    expected, gathered = start.clone(), torch.zeros(1, 2)
    for _ in range(2):
        optimiser.zero_grad()
        (slope * weight).sum().backward()
        optimiser.step()
        change = slope + 0.1 * expected
        gathered = 0.9 * gathered + 0.001 * expected.norm() / change.norm() * change
        expected = expected - 0.2 * gathered
    torch.testing.assert_close(weight.detach(), expected)


def test_lars_moves_what_is_0_by_the_rate_alone() -> None:
    """A norm of 0 has no ratio; what has no gradient stays."""
    weight, idle = nn.Parameter(torch.zeros(1, 2)), nn.Parameter(torch.ones(2))
    training = Training(optimiser="lars", learning_rate=0.5, momentum=0.0)
    optimiser = build_optimiser(training, [weight, idle])
    weight.sum().backward()
    optimiser.step()
    assert weight.tolist() == [[-0.5, -0.5]]
    assert idle.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["adam", "adamw", "lars", "sgd"])
def test_biases_and_norms_can_be_spared(name: str) -> None:
    """They are the vectors; they do not decay, and LARS gives them no rate of their own."""
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    asked: dict[str, Any] = {"optimiser": name, "weight_decay": 0.01}
    training = Training(**asked, exclude_bias_and_norm=True)
    optimiser = build_optimiser(training, network.parameters())
    matrices, vectors = optimiser.param_groups
    assert [tuple(p.shape) for p in matrices["params"]] == [(2, 3)]
    assert [tuple(p.shape) for p in vectors["params"]] == [(2,)] * 3
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.01, 0.0)
    if name == "lars":
        assert (matrices["eta"], vectors["eta"]) == (0.001, None)


def rates(name: str, warmup: int, total: int) -> list[float]:
    asked: dict[str, Any] = {"schedule": name, "warmup_steps": warmup, "steps_per_epoch": total}
    training = Training(optimiser="sgd", learning_rate=1.0, epochs=1, **asked)
    optimiser = build_optimiser(training, [nn.Parameter(torch.zeros(1))])
    scheduler = build_scheduler(training, optimiser)
    found = []
    for _ in range(total):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()  # type: ignore[call-arg]
    return found


def test_warm_up_is_linear_and_then_constant() -> None:
    """Four steps of warm-up reach the rate at the fourth."""
    assert rates("constant", 4, 6) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


def test_cosine_falls_to_a_hundredth() -> None:
    """Half way between 1 and 0.01 in the middle, and never rising after the warm-up."""
    found = rates("cosine", 2, 102)
    assert found[52] == pytest.approx(0.505)
    assert found[-1] == pytest.approx(0.01, abs=0.001)
    assert found[2:] == sorted(found[2:], reverse=True)


def test_cosine_ends_where_it_is_told_to() -> None:
    """At 0, or any share of the rate."""
    for end in (0.0, 0.25):
        asked: dict[str, Any] = {"schedule": "cosine", "warmup_steps": 4, "cosine_end": end}
        training = Training(**asked, epochs=2, steps_per_epoch=10)
        optimiser = build_optimiser(training, [nn.Parameter(torch.zeros(1))])
        scheduler = build_scheduler(training, optimiser)
        (factor,) = scheduler.lr_lambdas  # type: ignore[union-attr]
        assert (factor(0), factor(3), factor(4)) == (0.25, 1.0, 1.0)
        assert factor(12) == pytest.approx((1 + end) / 2)
        assert factor(20) == pytest.approx(end)


@pytest.mark.parametrize(("mode", "stuck"), [("min", 1.0), ("max", 0.0)])
def test_a_plateau_lowers_the_rate_to_a_tenth(mode: str, stuck: float) -> None:
    """After more than five epochs without a better value, in the recipe's direction."""
    asked: dict[str, Any] = {"schedule": "plateau", "monitor_mode": mode}
    training = Training(optimiser="sgd", learning_rate=1.0, **asked)
    optimiser = build_optimiser(training, [nn.Parameter(torch.zeros(1))])
    scheduler = build_scheduler(training, optimiser)
    for value in [0.5, *[stuck] * 5]:
        scheduler.step(value)  # type: ignore[arg-type]
    assert optimiser.param_groups[0]["lr"] == 1.0
    scheduler.step(stuck)  # type: ignore[arg-type]
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.1)


def test_freezing_goes_by_path_not_by_letters() -> None:
    """ "down" freezes down.weight and down.bias, and leaves downsample alone."""
    network = TinyNetwork()
    assert freeze(network, ["down"]) == ["down.weight", "down.bias"]
    free = {name for name, p in network.named_parameters() if p.requires_grad}
    assert free == {"downsample.weight", "downsample.bias", "head.weight", "head.bias"}


def test_a_single_weight_can_be_frozen() -> None:
    """A whole path matches as well."""
    assert freeze(TinyNetwork(), ["head.bias"]) == ["head.bias"]


def test_what_the_network_itself_does_not_train_stays_so() -> None:
    """As a target that follows other weights; it cannot be unfrozen by accident."""
    network = TinyNetwork()
    network.downsample.requires_grad_(False)
    freeze(network, ["down"])
    free = {name for name, p in network.named_parameters() if p.requires_grad}
    assert free == {"head.weight", "head.bias"}


def test_a_frozen_part_that_does_not_exist_is_an_error() -> None:
    """A slip must not silently train everything."""
    with pytest.raises(RecipeError, match=r"'dow'.*down, downsample, head"):
        freeze(TinyNetwork(), ["dow"])


class Deep(nn.Module):
    """An encoder of two stages with batch normalisation, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({name: self.stage() for name in ("layer3", "layer4")})
        self.head = nn.Linear(2, 2)

    def stage(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))


def test_a_part_of_what_is_frozen_can_be_trained() -> None:
    """The usual fine-tuning: an encoder frozen but for its last stage."""
    network = Deep()
    frozen = freeze(network, ["encoder"], ["encoder.layer4"])
    assert frozen == [f"encoder.layer3.{name}" for name in ("0.weight", "1.weight", "1.bias")]
    free = [name for name, p in network.named_parameters() if p.requires_grad]
    parts = ("0.weight", "1.weight", "1.bias")
    assert free == [*(f"encoder.layer4.{part}" for part in parts), "head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("frozen", "freed", "words"),
    [
        (["encoder"], ["encoder.layer"], r"only has encoder\.layer3"),
        (["encoder"], ["encoder.layer5"], r"'encoder\.layer5'.*encoder\.layer3, encoder\.layer4"),
        (["encoder"], ["head"], r"unfreezes 'head'.*only has encoder"),
        ([], ["encoder"], "unfreezes 'encoder'.*only has nothing"),
        (["encoder.layr4"], [], r"freezes 'encoder\.layr4'.*encoder\.layer3, encoder\.layer4"),
        (["encoder.layer4.0.bias"], [], r"only has encoder\.layer4\.0\.weight"),
    ],
)
def test_what_is_unfrozen_must_have_been_frozen(
    frozen: list[str], freed: list[str], words: str
) -> None:
    """A slip is answered with what there is at that place of the network."""
    with pytest.raises(RecipeError, match=words):
        freeze(Deep(), frozen, freed)


def test_normalisations_that_are_not_trained_are_found() -> None:
    """Only those whose every weight is frozen."""
    network = Deep()
    assert frozen_norms(network) == []
    freeze(network, ["encoder"], ["encoder.layer4.1.bias"])
    assert frozen_norms(network) == [network.get_submodule("encoder.layer3.1")]


def rates_by_name(network: nn.Module, **asked: Any) -> dict[str, float]:
    """The learning rate of each weight, by name."""
    settings = Training(learning_rate=0.1, **asked)
    optimiser = build_optimiser(settings, network.parameters(), rate_factors(network, settings))
    found = {p: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    return {name: found[p] for name, p in network.named_parameters() if p in found}


@pytest.mark.parametrize("spared", [None, True])
def test_parts_learn_at_their_own_rates_by_name(spared: bool | None) -> None:
    """Of nested parts the inner one counts, and what is not named learns as the recipe says."""
    found = rates_by_name(
        TinyNetwork(),
        learning_rate_factors={"down.bias": 3.0, "down": 0.5, "head": 10.0},
        exclude_bias_and_norm=spared,
    )
    assert found == {
        "down.weight": pytest.approx(0.05),
        "down.bias": pytest.approx(0.3),
        "downsample.weight": 0.1,
        "downsample.bias": 0.1,
        "head.weight": pytest.approx(1.0),
        "head.bias": pytest.approx(1.0),
    }


def test_the_head_is_what_a_network_ends_in() -> None:
    """Also where it has another name there, to freeze it or to change its rate."""
    unet = build_network("published-unet", {"width": 2})
    assert set(freeze(unet, ["head"])) == {"conv_final.weight", "conv_final.bias"}
    found = rates_by_name(
        build_network("published-unet", {"width": 2}), learning_rate_factors={"head": 2}
    )
    assert {name for name, rate in found.items() if rate != 0.1} == {
        "conv_final.weight",
        "conv_final.bias",
    }


def test_the_rate_of_a_part_that_is_not_there_is_an_error() -> None:
    """With the parts that are."""
    settings = Training(learning_rate_factors={"up": 2.0})
    with pytest.raises(RecipeError, match=r"changes the rate of 'up', but the network only has"):
        rate_factors(TinyNetwork(), settings)
    with pytest.raises(RecipeError, match="changes the rate of 'head'"):
        rate_factors(
            build_network("tile-encoder", {"encoder_options": {"width": 2}}),
            Training(learning_rate_factors={"head": 2.0}),
        )


def test_freezing_everything_is_an_error() -> None:
    """There is nothing left to train."""
    network = TinyNetwork()
    freeze(network, ["down", "downsample", "head"])
    with pytest.raises(RecipeError, match="freezes every parameter"):
        build_optimiser(Training(), network.parameters())


def test_the_distance_to_the_start_by_hand() -> None:
    """Half the strength times the squared length of the way; nothing at the start."""
    network = TinyNetwork()
    penalty = L2SP(network, 0.1)
    assert penalty(network).item() == 0
    with torch.no_grad():
        network.head.bias += 3.0
        network.down.bias -= 1.0
    assert penalty(network).item() == pytest.approx(0.5 * 0.1 * (9.0 + 3 * 1.0))


def test_the_distance_to_the_start_pulls_back() -> None:
    """Its gradient is the strength times the way: a real term, unlike the published regulariser."""
    network = TinyNetwork()
    penalty = L2SP(network, 0.1)
    with torch.no_grad():
        network.head.bias += 3.0
    penalty(network).backward()
    assert network.head.bias.grad is not None
    assert network.head.bias.grad.item() == pytest.approx(0.3)


def test_frozen_weights_have_no_distance() -> None:
    """Only what is trained can leave its start."""
    network = TinyNetwork()
    freeze(network, ["down"])
    assert "down.weight" not in L2SP(network, 1.0).start
