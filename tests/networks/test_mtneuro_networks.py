# SPDX-License-Identifier: Apache-2.0
"""The networks that MTNeuro took from two libraries are those of the libraries, weight by weight.

Names, shapes and numbers of weights were taken from segmentation_models_pytorch 0.3.0 and from
MedicalZooPytorch themselves; what the networks say is compared with NumPy (`mtneuro_reference`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encephalon.errors import ModelError
from encephalon.models.published import open_published
from encephalon.networks.published_segmenters import build_published_segmenter
from encephalon.networks.published_volume_networks import build_published_volume_network
from encephalon.networks.registry import build_network
from encephalon.networks.torch_runtime import load_network
from encephalon.training.transfer import start_from
from tests.networks import mtneuro_reference
from tests.networks.reference import Array, State, lively
from tests.networks.test_parity import assert_close, image, imported

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet++": ("published-segmenter", {"decoder": "unet++"}),
    "manet": ("published-segmenter", {"decoder": "manet"}),
    "fpn": ("published-segmenter", {"decoder": "fpn"}),
    "pan": ("published-segmenter", {"decoder": "pan"}),
    "pspnet": ("published-segmenter", {"decoder": "pspnet"}),
    "vnet-light": ("published-vnet-light", {}),
    "vnet-light-elu": ("published-vnet-light", {"activation": "elu"}),
    "highresnet": ("published-highresnet", {}),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def shapes(name: str, **options: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a network."""
    network, known = NETWORKS[name]
    with torch.device("meta"):
        state = build_network(network, known | options).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.mark.parametrize(
    ("name", "weights", "tensors", "digest"),
    [
        ("unet++", 15_964_612, 254, "28e37b349edc0502"),
        ("manet", 21_669_636, 270, "3a5a86ccff332c0c"),
        ("fpn", 13_041_348, 151, "6b24ff4d8fc029be"),
        ("pan", 11_362_251, 220, "8183539741bb96fe"),
        ("pspnet", 11_337_380, 148, "63e7ef244f1dfa4d"),
        ("vnet-light", 12_247_988, 152, "d4c41e350a9e1b29"),
        ("highresnet", 809_876, 142, "949b46b987d50642"),
    ],
)
def test_names_and_shapes_are_those_of_the_libraries(
    name: str, weights: int, tensors: int, digest: str
) -> None:
    """Of four classes and one channel; the digest is of the sorted lines "name shape"."""
    found = shapes(name)
    lines = "\n".join(f"{key} {shape}" for key, shape in sorted(found.items()))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == digest
    learnt = {k: s for k, s in found.items() if "running" not in k and "tracked" not in k}
    assert sum(int(np.prod(shape)) for shape in learnt.values()) == weights
    assert len(found) == tensors


@pytest.mark.parametrize(
    ("name", "reference", "width", "sides"),
    [
        ("unet++", mtneuro_reference.unet_plus_plus, 8, (64, 96)),
        ("manet", mtneuro_reference.manet, 8, (64, 96)),
        ("fpn", mtneuro_reference.fpn, 16, (64, 96)),
        ("pan", mtneuro_reference.pan, 8, (128, 160)),
        ("pspnet", mtneuro_reference.pspnet, 8, (64, 96)),
        ("vnet-light", mtneuro_reference.vnet_light, 2, (8, 16, 24)),
        ("vnet-light-elu", mtneuro_reference.vnet_light, 2, (8, 16, 24)),
        ("highresnet", mtneuro_reference.highresnet, 2, (8, 12, 10)),
    ],
)
def test_it_is_computed_as_published(
    name: str,
    reference: Callable[[State, Array], Array],
    width: int,
    sides: tuple[int, ...],
    tmp_path: Path,
) -> None:
    """A file is known by its names, and what its network says is what NumPy says."""
    state = lively(shapes(name, width=width, classes=3))
    x, given = image(1, *sides)
    network = imported(tmp_path, state)
    assert network.known_as == name.removesuffix("-elu")
    assert_close(network(given), reference(state, x))


@pytest.mark.parametrize(("name", "sides"), [("fpn", (33, 70)), ("pan", (40, 130))])
def test_a_picture_of_any_size_is_padded_and_cut(name: str, sides: tuple[int, int]) -> None:
    """By repeating its edges: to multiples of 32, and for PAN to 128 at the least."""
    network = build_network(NETWORKS[name][0], {**NETWORKS[name][1], "width": 16}).eval()
    given = torch.rand(1, 1, *sides)
    step = 128 if name == "pan" else 32
    rows, columns = (-side % step for side in sides)
    edges = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    whole = network(torch.nn.functional.pad(given, edges, mode="replicate"))
    inside = whole[..., edges[2] : edges[2] + sides[0], edges[0] : edges[0] + sides[1]]
    torch.testing.assert_close(network(given), inside)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("manet", {"decoder.extra": np.zeros(2)}, r"unexpected 'decoder\.extra'"),
        ("pan", {"decoder.gau1.conv2.bn.bias": None}, r"missing 'decoder\.gau1\.conv2\.bn\.bias'"),
        ("fpn", {"decoder.p5.bias": np.zeros(3)}, r"'decoder\.p5\.bias' is \(3,\) instead of"),
        ("pspnet", {"encoder.conv1.weight": None}, "another architecture"),
        ("vnet-light", {"up_tr32.bn1.bias": None}, r"missing 'up_tr32\.bn1\.bias'"),
        ("vnet-light", {"out_tr.conv2.weight": None}, "another architecture"),
        ("highresnet", {"dil2block1.0.conv_dil.2.bias": np.zeros(3)}, r"is \(3,\) instead of"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    name: str, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """Missing, unexpected, mis-shaped, and another architecture: one sentence each."""
    state = lively(shapes(name, width=16 if name == "fpn" else 4)) | change
    state = {key: value for key, value in state.items() if value is not None}
    with pytest.raises(ModelError, match=rf"own\.pt: .*{words}"):
        imported(tmp_path, state)


def test_what_is_neither_is_refused() -> None:
    for build in (build_published_segmenter, build_published_volume_network):
        with pytest.raises(ModelError, match=r"own\.pt: expected .*begin with 'x'"):
            build({"x": np.zeros(1)}, "own.pt")


@pytest.mark.parametrize("name", ["pan", "vnet-light", "highresnet"])
def test_a_network_starts_from_such_a_file_with_a_new_head(name: str, tmp_path: Path) -> None:
    """Of other classes nothing but the head is drawn anew."""
    path = tmp_path / "own.pt"
    state = lively(shapes(name, width=4))
    torch.save({key: torch.from_numpy(value) for key, value in state.items()}, path)
    assert open_published(path).network == NETWORKS[name][0]
    network = build_network(NETWORKS[name][0], NETWORKS[name][1] | {"width": 4, "classes": 2})
    fresh = start_from(network, str(path))
    assert fresh
    assert all(key.startswith(network.head_parts) for key in fresh)
    assert load_network(open_published(path)).state_dict().keys() == state.keys()
