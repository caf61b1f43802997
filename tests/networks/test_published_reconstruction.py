# SPDX-License-Identifier: Apache-2.0
"""BABY-AI's network: its 221 names and shapes, and weights that fit it by each of them."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encephalon.errors import ModelError, RecipeError
from encephalon.models.catalogue import find_model
from encephalon.models.weights import read_state_dict
from encephalon.networks import build_network
from encephalon.networks.published_reconstruction import (
    CHANNELS,
    PublishedReconstruction,
    build_published_reconstruction,
    weight_shapes,
)

SMALL = {"channels": (2, 3, 4), "units": 2}


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """The names and shapes of BABY-AI's weights, written out."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = (shape[1] if ".2.0." in name else shape[0],)

    def units(prefix: str, before: int, here: int) -> None:
        for n in range(10):
            convolution(f"{prefix}.conv.unit{n}.conv", here, here if n else before, 3, 3, 3)
            shapes[f"{prefix}.conv.unit{n}.adn.A.weight"] = (1,)

    prefix, before = "model", 2
    for depth, here in enumerate(CHANNELS[:5]):
        units(f"{prefix}.0", before, here)
        convolution(f"{prefix}.0.residual", here, before, 3, 3, 3)
        joined, out = {0: (64, 1), 4: (1536, 256)}.get(depth, (4 * before, before))
        convolution(f"{prefix}.2.0.conv", joined, out, 3, 3, 3)
        shapes[f"{prefix}.2.0.adn.A.weight"] = (1,)
        convolution(f"{prefix}.2.1.conv.unit0.conv", out, out, 3, 3, 3)
        if depth:
            shapes[f"{prefix}.2.1.conv.unit0.adn.A.weight"] = (1,)
        prefix, before = f"{prefix}.1.submodule", here
    units(prefix, 512, 1024)
    convolution(f"{prefix}.residual", 1024, 512, 1, 1, 1)
    return shapes


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    return PublishedReconstruction(**SMALL).eval()  # type: ignore[arg-type]


@pytest.fixture
def tensors(network: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


def test_the_network_is_the_published_one() -> None:
    """379,053,826 parameters in 221 tensors, each with its name and shape; none is allocated."""
    shapes = weight_shapes()
    assert len(shapes) == 221
    assert sum(map(prod, shapes.values())) == 379_053_826
    assert 4 * sum(map(prod, shapes.values())) == 1_516_215_304
    assert shapes == expected_shapes()


def test_it_is_monais_unet_with_the_published_options(network: Any) -> None:
    """The same names, and the same answer to the last bit."""
    from monai.networks.nets.unet import UNet

    options: Any = {"num_res_units": 2, "norm": None}
    twin = UNet(3, 2, 1, channels=(2, 3, 4), strides=(2, 2), **options).eval()
    twin.load_state_dict(network.state_dict())
    images = torch.rand(1, 2, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(images), twin(images))


def test_a_file_becomes_the_network_that_wrote_it(network: Any, tmp_path: Path) -> None:
    """Names as published, tensors alone; the file is recognised by them, whatever its name."""
    path = tmp_path / "own.pth"
    torch.save(network.state_dict(), path)
    model = find_model(path)
    about = (model.study, model.name, model.network, model.recipe)  # type: ignore[union-attr]
    assert about == ("isotropic", "own", "published-reconstruction", "isotropic-published")
    loaded = build_published_reconstruction(model.tensors(), str(path)).eval()
    images = torch.rand(2, 2, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))
    assert not any(value.is_meta for value in loaded.state_dict().values())


def test_half_precision_becomes_single(network: Any, tensors: dict[str, np.ndarray]) -> None:
    """Weights that were rounded to save space are computed with as single precision."""
    halves = {name: value.astype(np.float16) for name, value in tensors.items()}
    loaded = build_published_reconstruction(halves, "own.pth")
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model.2.0.conv.bias": None}, r"missing 'model\.2\.0\.conv\.bias'"),
        ({"extra": np.zeros(2)}, "unexpected 'extra'"),
        (
            {"model.2.0.conv.bias": np.zeros(3)},
            r"'model\.2\.0\.conv\.bias' is \(3,\) instead of \(1,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    change: dict[str, np.ndarray | None], words: str, tensors: dict[str, np.ndarray]
) -> None:
    """The file, the weight, its shape, and what to do."""
    changed = {k: v for k, v in {**tensors, **change}.items() if v is not None}
    with pytest.raises(ModelError, match=rf"^own\.pth: .*{words}.*use the recipe"):
        build_published_reconstruction(changed, "own.pth")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((33, 2, 3, 3, 3), r"is \(33, 2, 3, 3, 3\) instead of \(32, 2, 3, 3, 3\)\)"),
        ((1,), r"is \(1,\) instead of"),
        (None, r"\(missing 'model\.0\.residual\.weight'\)"),
    ],
)
def test_a_fault_in_a_published_file_is_told_against_the_published_layout(
    shape: tuple[int, ...] | None, words: str
) -> None:
    """Also in the weight that tells how many channels there are."""
    shapes: dict[str, Any] = {**weight_shapes(), "model.0.residual.weight": shape}
    zero = np.float32(0)
    tensors = {k: np.broadcast_to(zero, v) for k, v in shapes.items() if v is not None}
    with pytest.raises(ModelError, match=words):
        build_published_reconstruction(tensors, "own.pth")


def test_another_architecture_is_not_listed_weight_by_weight() -> None:
    """One sentence says that this is not it."""
    with pytest.raises(ModelError, match=r"own\.pth.*'fc\.weight'\): this is another architecture"):
        build_published_reconstruction({"fc.weight": np.zeros(2)}, "own.pth")


def test_a_truncated_file_is_refused(network: Any, tmp_path: Path) -> None:
    """As a whole, before a weight of it is used."""
    path = tmp_path / "own.pth"
    torch.save(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-500])
    assert find_model(path).study == "isotropic"
    with pytest.raises(ModelError, match=r"own\.pth.*cannot be read as tensors alone"):
        find_model(path).tensors()


def test_code_in_a_file_of_the_published_names_is_not_run(tmp_path: Path) -> None:
    """The names make it this network's file, and still only tensors are let in."""
    target = tmp_path / "written"

    class Attack:
        def __reduce__(self) -> Any:
            return (Path.touch, (target,))

    torch.save({"model.0.conv.unit0.conv.weight": Attack()}, tmp_path / "own.pth")
    assert find_model(tmp_path / "own.pth").study == "isotropic"
    with pytest.raises(ModelError, match="cannot be read as tensors alone"):
        read_state_dict(tmp_path / "own.pth")
    assert not target.exists()


@pytest.mark.parametrize("options", [{"channels": [8]}, {"units": 0}, {"channels": [4, 0]}])
def test_impossible_options_are_faults_of_the_recipe(options: dict[str, Any]) -> None:
    """One level, no unit, no channel."""
    with pytest.raises(RecipeError, match="two or more levels"):
        build_network("published-reconstruction", options)
