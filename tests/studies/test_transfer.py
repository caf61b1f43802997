# SPDX-License-Identifier: Apache-2.0
"""In every study training starts from a model, and each option of transfer does what it says.

What a training does is seen at its first step, after which it is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from encephalon import api
from encephalon.models.description import ModelDescription
from encephalon.models.folder import save_model
from encephalon.networks.registry import head_of
from encephalon.recipes.loading import load_recipe
from encephalon.training.loop import Loop
from tests.studies.extraction import tiny_heads
from tests.studies.isotropic import tiny_isotropic
from tests.studies.legibility import tiny_people
from tests.studies.micrographs import tiny as tiny_micrographs
from tests.studies.microtomography import tiny_tiles

#: The step of plain gradient descent, of which every weight's is a known multiple.
PLAIN = {
    "training.optimiser": "sgd",
    "training.momentum": "0.0",
    "training.weight_decay": "0.0",
    "training.learning_rate": "0.01",
    "training.schedule": "constant",
    "training.warmup_steps": "0",
    "training.gradient_clip": "1e9",
}
#: What is no weight, but measured on those who train.
MEASURED = (".centre", ".spread", ".reference")


@dataclass(frozen=True)
class Case:
    """A recipe, what makes it small, its table, a part to freeze and one to hurry."""

    recipe: str
    quick: Mapping[str, str]
    table: Callable[[Path], Path]
    frozen: str
    hurried: str


def heads(folder: Path) -> Path:
    tiny_heads.label_table(folder, load_recipe("brain-extraction"))
    return folder / "heads.csv"


CASES = {
    "extraction": Case("brain-extraction", tiny_heads.DEFAULT, heads, "stem", "up"),
    "isotropic": Case("isotropic", tiny_isotropic.QUICK, tiny_isotropic.write_table, "stem", "up"),
    "micrographs": Case(
        "micrographs",
        tiny_micrographs.QUICK,
        tiny_micrographs.write_images,
        "encoder.layer1",
        "encoder.layer4",
    ),
    "microtomography": Case(
        "region-supervised",
        tiny_tiles.QUICK,
        tiny_tiles.write_table,
        "encoder.layer1",
        "encoder.layer4",
    ),
    "legibility": Case(
        "legibility",
        tiny_people.QUICK,
        tiny_people.write_people,
        "encoders.connectivity",
        "tokens",
    ),
}


@dataclass
class First:
    """The first step of a training: weights before and after, loss, and what the head is called."""

    before: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)
    loss: float = 0.0
    head: tuple[str, ...] = ()
    trained: set[str] = field(default_factory=set)

    def moves(self) -> dict[str, Tensor]:
        return {name: self.after[name].double() - self.before[name].double() for name in self.after}

    def under(self, *parts: str) -> set[str]:
        return {n for n in self.before if any(n == p or n.startswith(f"{p}.") for p in parts)}


class _EnoughError(Exception):
    """The first step is done."""


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def begin(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., First]:
    """Begin a training with changes of its recipe, and see its first step."""
    (tmp_path / "data").mkdir()
    table, step, runs = case.table(tmp_path / "data"), Loop._step, []

    def watched(loop: Loop, batch: Any) -> dict[str, float]:
        network, seen = loop.network.module, runs[-1]
        seen.head, seen.trained = head_of(network), {n for n, _ in network.named_parameters()}
        seen.before = {k: v.detach().clone() for k, v in network.state_dict().items()}
        seen.loss = step(loop, batch)["loss"]
        seen.after = {k: v.detach().clone() for k, v in network.state_dict().items()}
        raise _EnoughError

    def training(**changes: str) -> First:
        runs.append(First())
        asked = {f"training.{key}": value for key, value in changes.items()}
        with pytest.raises(_EnoughError):
            api.train(
                case.recipe,
                table,
                tmp_path / f"run{len(runs)}",
                overrides={**case.quick, **PLAIN, **asked},
                device="cpu",
                workers=1,
                threads=1,
            )
        return runs[-1]

    monkeypatch.setattr(Loop, "_step", watched)
    return training


def learnt(folder: Path, network: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """A model folder of such a network that has learnt something, and its weights."""
    torch.manual_seed(3)
    state = {
        name: value + 0.02 * torch.rand_like(value) if value.is_floating_point() else value
        for name, value in network.items()
    }
    about = ModelDescription(name="base", version="1", study="any", task="segmentation")
    save_model(folder, about, {name: value.numpy() for name, value in state.items()}, None)
    return str(folder), {k: v for k, v in state.items() if not k.endswith(MEASURED)}


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor], names: Iterable[str]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in names)


def test_transfer_acts_on_weights_and_loss(
    begin: Callable[..., First], case: Case, tmp_path: Path
) -> None:
    """Start, new head, frozen part, and rates by part, of one network at its first step."""
    scratch = begin()
    base, theirs = learnt(tmp_path / "base", scratch.before)
    started = begin(start_from=base)
    assert equal(started.before, theirs, theirs)
    assert started.loss != scratch.loss

    headless = begin(start_from=base, fresh='["head"]')
    head = headless.under(*headless.head)
    assert head
    assert equal(headless.before, scratch.before, head)
    assert not any(torch.equal(headless.before[name], theirs[name]) for name in head)
    assert equal(headless.before, theirs, theirs.keys() - head)
    assert headless.loss != started.loss

    factors = f'{{ "{case.hurried}" = 4.0, head = 0.5 }}'
    plain = started.moves()
    for name, move in begin(start_from=base, learning_rate_factors=factors).moves().items():
        factor = 0.5 if name in head else 4.0 if name in started.under(case.hurried) else 1.0
        factor = factor if name in started.trained else 1.0  # what is counted or averaged
        torch.testing.assert_close(move, plain[name] * factor, rtol=1e-3, atol=1e-6)
    assert all(plain[name].any() for name in head)

    frozen = begin(start_from=base, freeze=f'["{case.frozen}"]')
    still = frozen.under(case.frozen)
    assert not equal(started.after, started.before, still)
    assert equal(frozen.after, frozen.before, still)
    assert equal(frozen.before, theirs, still & theirs.keys())
    assert all(frozen.moves()[name].any() for name in head)
