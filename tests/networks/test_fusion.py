# SPDX-License-Identifier: Apache-2.0
"""A network of any set of sources: what is absent adds nothing, and is not moved by training."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from encephalon.errors import ModelError, RecipeError
from encephalon.inference.runtimes import PREFERRED, open_runtime
from encephalon.networks import build_network
from encephalon.networks.export import export_graph, half_precision
from encephalon.networks.fusion import drop_sources
from encephalon.networks.registry import output_shape
from encephalon.networks.torch_runtime import TorchRuntime
from encephalon.recipes.schema import Training
from encephalon.training.optimisers import build_optimiser

SOURCES: dict[str, dict[str, Any]] = {
    "t1": {"kind": "image"},
    "dwi": {"kind": "image"},
    "connectivity": {"kind": "connectivity", "features": 10},
    "metadata": {"kind": "table", "features": 3},
}
TARGETS: dict[str, dict[str, Any]] = {
    "sex": {"kind": "binary"},
    "age": {"kind": "continuous"},
    "group": {"kind": "multiclass", "classes": 3},
    "grade": {"kind": "ordinal", "classes": 5},
}
SHAPES = {"t1": (1, 8, 8, 8), "dwi": (1, 8, 8, 8), "connectivity": (10,), "metadata": (3,)}
#: Every non-empty set of four sources, a person each.
SUBSETS = torch.tensor([one for one in product([True, False], repeat=4) if any(one)])


def tiny(**options: Any) -> Any:
    """A network of a few thousand weights, always the same, in evaluation mode."""
    torch.manual_seed(0)
    options = {"sources": SOURCES, "targets": TARGETS, "width": 8, "hidden": 8} | options
    return build_network("masked-fusion", {"encoder_options": {"width": 2}} | options).eval()


def people(count: int, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, *shape, generator=generator) for shape in SHAPES.values()]


def replaced(given: list[Tensor], present: Tensor, value: float) -> list[Tensor]:
    """The sources with `value` wherever one is absent."""
    return [
        torch.where(present[:, i].view(-1, *[1] * (one.dim() - 1)), one, value)
        for i, one in enumerate(given)
    ]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("share", [False, True])
def test_what_stands_for_an_absent_source_changes_no_bit(training: bool, share: bool) -> None:
    """Zeros, huge numbers, no numbers: every set of sources in one batch says the same."""
    given, network = (
        people(len(SUBSETS)),
        tiny(dropout=0.0, edge_dropout=0.0, share_images=share).train(training),
    )
    expected = network(*given, SUBSETS)
    assert expected.shape == (15, 1 + 1 + 3 + 4)
    assert expected.isfinite().all()
    for value in (0.0, 1e30, torch.nan, torch.inf):
        assert torch.equal(network(*replaced(given, SUBSETS, value), SUBSETS), expected)


def test_an_absent_source_is_as_if_the_network_had_none_such() -> None:
    """Its token takes no share of the attention: the same weights without its encoder say that."""
    given, network = people(3), tiny()
    torch.nn.init.normal_(network.queries)
    without = tiny(sources={name: SOURCES[name] for name in ("t1", "metadata")})
    weights = network.state_dict()
    without.load_state_dict({name: weights[name] for name in without.state_dict()})
    output = network(*given, torch.tensor([[True, False, False, True]] * 3))
    torch.testing.assert_close(output, without(given[0], given[3]))


def test_every_present_source_is_looked_at() -> None:
    """Another value of it is another answer, for every set and for each of its sources."""
    given, network = people(len(SUBSETS)), tiny()
    before = network(*given, SUBSETS)
    for i, other in enumerate(people(len(SUBSETS), seed=2)):
        after = network(*given[:i], other, *given[i + 1 :], SUBSETS)
        assert torch.equal((before != after).any(dim=1), SUBSETS[:, i])


def test_an_absent_source_of_a_person_has_no_gradient() -> None:
    """Not a small one: zeros, where its neighbours in the batch have some."""
    given = [one.requires_grad_() for one in people(len(SUBSETS))]
    tiny().train()(*given, SUBSETS).square().sum().backward()
    for i, one in enumerate(given):
        assert one.grad is not None
        assert torch.equal(one.grad.flatten(1).any(dim=1), SUBSETS[:, i])


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd", "lars"])
def test_a_source_that_a_batch_lacks_is_not_moved(optimiser: Any) -> None:
    """Neither by weight decay nor by the momentum of an earlier batch, which had it."""
    network = tiny().train()
    settings = Training.model_validate(
        {"optimiser": optimiser, "weight_decay": 0.5, "learning_rate": 0.1}, strict=False
    )
    stepper, given = build_optimiser(settings, network.parameters()), people(4)
    for has in ([True] * 4, [True, False, True, False]):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network(*given, torch.tensor([has] * 4)).square().sum().backward()
        stepper.step()
        stepper.zero_grad()
        still = {n for n, v in network.state_dict().items() if torch.equal(v, before[n])}
        idle = ("encoders.dwi.", "tokens.dwi.", "encoders.metadata.", "tokens.metadata.")
        own = {name for name in before if name.startswith(idle)}
        assert (own <= still) == (not all(has))
        assert not {n for n in still if n.endswith(".weight")} & (before.keys() - own)


def test_a_source_that_nobody_has_may_be_left_out() -> None:
    """By None, by name, and with or without the mask, which then follows from what is given."""
    given, network = people(3), tiny()
    present = torch.tensor([[True, False, False, True]] * 3)
    expected = network(*given, present)
    assert torch.equal(network(given[0], None, None, given[3], present), expected)
    assert torch.equal(network(t1=given[0], metadata=given[3]), expected)


def test_a_person_without_anything_is_refused_by_row() -> None:
    """And so is a source that is said to be there and is not, and one that nobody knows."""
    given, network = people(2), tiny()
    with pytest.raises(ModelError, match=r"^Row 1 of the batch has none of t1, dwi"):
        network(*given, torch.tensor([[True] * 4, [False] * 4]))
    with pytest.raises(ModelError, match=r"^'dwi' is said to be present, but was not given"):
        network(given[0], None, *given[2:], torch.ones(2, 4))
    with pytest.raises(ModelError, match=r"given 0 inputs by place and \['flair'\] by name"):
        network(flair=given[0])
    with pytest.raises(ModelError, match=r"takes t1, dwi, .* given 6 inputs by place"):
        network(*given, torch.ones(2, 4), torch.ones(2, 4))
    with pytest.raises(ModelError, match=r"'present' has the shape \(2, 3\): give it a row"):
        network(*given, torch.ones(2, 3))


def test_an_unknown_cell_of_a_table_is_not_a_zero() -> None:
    """The encoder is told by a bit of each column; the other cells still count."""
    network, table = tiny(), torch.tensor([[0.0, 1.0, 2.0], [torch.nan, 1.0, 2.0]])
    output = network(metadata=table)
    assert output.isfinite().all()
    assert not torch.equal(output[0], output[1])
    assert not torch.equal(network(metadata=table + torch.tensor([0.0, 0.0, 1.0])), output)


def test_the_log_odds_of_being_above_a_grade_never_rise() -> None:
    """Whatever the weights: thresholds are in order, and begin a unit apart around 0."""
    network = tiny()
    thresholds = network.heads["grade"][-1]
    torch.testing.assert_close(
        thresholds(torch.zeros(1, 1)), torch.tensor([[1.5, 0.5, -0.5, -1.5]]), atol=1e-3, rtol=0
    )
    torch.nn.init.normal_(thresholds.gaps, std=5.0)
    grades = network(*people(6))[:, network.columns["grade"]]
    assert grades.shape == (6, 4)
    assert (grades.diff(dim=1) <= 0).all()


def test_two_images_share_an_encoder_and_are_told_apart() -> None:
    """One set of weights, but the same volume as another source is another token."""
    network, image = tiny(share_images=True), people(2)[0]
    assert set(network.encoders) == {"images", "connectivity", "metadata"}
    assert not torch.equal(network(t1=image), network(dwi=image))


def test_a_graph_says_what_the_network_says_for_every_set(tmp_path: Path) -> None:
    """With the names of the sources and of the mask, and whatever stands for what is absent."""
    network, present = tiny(), SUBSETS.float()
    rounded = half_precision(network.state_dict())
    network.load_state_dict({name: torch.from_numpy(value) for name, value in rounded.items()})
    names = (*SOURCES, "present")
    export_graph(network, tmp_path / "graph.onnx", (*people(2), torch.ones(2, 4)), names)
    given = replaced(people(len(SUBSETS)), SUBSETS, torch.nan)
    inputs = {n: v.numpy() for n, v in zip(names, (*given, present), strict=True)}
    (found,) = open_runtime(tmp_path / "graph.onnx", "cpu", threads=1).run(inputs)
    (expected,) = TorchRuntime(network, "cpu", threads=1).run(inputs)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_graph_encodes_a_person_once_for_every_set(tmp_path: Path) -> None:
    """Sources of one row serve all rows of the mask, in every runtime that is installed."""
    network, present = tiny(), SUBSETS.float().numpy()
    rounded = half_precision(network.state_dict())
    network.load_state_dict({name: torch.from_numpy(value) for name, value in rounded.items()})
    names = (*SOURCES, "present")
    export_graph(network, tmp_path / "graph.onnx", (*people(2), torch.ones(2, 4)), names)
    one = dict(zip(SOURCES, (each.numpy() for each in people(1)), strict=True))
    many = {name: np.repeat(each, len(present), axis=0) for name, each in one.items()}
    for runtime in PREFERRED:
        opened = open_runtime(tmp_path / "graph.onnx", "cpu", threads=1, prefer=[runtime])
        (found,) = opened.run({**one, "present": present})
        (expected,) = opened.run({**many, "present": present})
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_shape_of_the_output_is_known_without_values() -> None:
    """As of other networks, before anything is trained."""
    network = tiny().to("meta")
    shapes = [(5, *shape) for shape in SHAPES.values()]
    assert output_shape(network, "recipe", *shapes, (5, 4)) == (5, 9)


def test_modality_dropout_is_told_by_seed_and_step() -> None:
    """The same twice, another at the next step and for another person of the same sources."""
    present = torch.ones(200, 3, dtype=torch.bool)
    first = drop_sources(present, rate=0.5, seed=3, step=7)
    assert torch.equal(first, drop_sources(present, rate=0.5, seed=3, step=7))
    assert not torch.equal(first, drop_sources(present, rate=0.5, seed=3, step=8))
    assert not torch.equal(first, drop_sources(present, rate=0.5, seed=4, step=7))
    assert len(first.unique(dim=0)) == 7  # every non-empty set of three


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_modality_dropout_adds_nothing_and_leaves_everybody_something(rate: float) -> None:
    """Who has nothing keeps nothing; at the rate 1 each keeps one source, any of theirs."""
    present = torch.cat([SUBSETS.repeat(20, 1), torch.zeros(1, 4, dtype=torch.bool)])
    kept = drop_sources(present, rate, seed=0, step=0)
    assert kept.dtype == present.dtype
    assert not (kept & ~present).any()
    assert torch.equal(kept.any(dim=1), present.any(dim=1))
    assert torch.equal(kept, present) == (rate == 0)
    if rate == 1:
        assert (kept[:-1].sum(dim=1) == 1).all()
        assert kept.any(dim=0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sources": {}}, "at least one source and one target"),
        ({"sources": {"present": {"kind": "image"}}}, "cannot be called 'present'"),
        ({"sources": {"t1": {"kind": "scan"}}}, "kind of the source 't1' must be one of image"),
        ({"sources": {"fc": {"kind": "connectivity"}}}, "'fc' needs features, a number above 0"),
        ({"targets": {"sex": {}}}, "kind of the target 'sex' must be one of binary"),
        ({"targets": {"grade": {"kind": "ordinal"}}}, "'grade' needs classes, a number above 1"),
    ],
)
def test_sources_and_targets_that_make_no_network_are_refused(
    options: dict[str, Any], words: str
) -> None:
    """By name, with what is missing."""
    with pytest.raises(RecipeError, match=words):
        tiny(**options)
