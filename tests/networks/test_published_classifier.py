# SPDX-License-Identifier: Apache-2.0
"""3BTRON's weights file: its 322 names, and nothing but tensors let in."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encephalon.errors import MissingFileError, ModelError
from encephalon.models.weights import read_state_dict
from encephalon.networks import build_network
from encephalon.networks.image_classifier import (
    build_published_classifier,
    from_published_names,
    to_published_names,
)


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    options = {"block": "bottleneck", "layers": (3, 4, 6, 3), "channels": 3, "covariates": 5}
    made: Any = build_network("image-classifier", options)
    return made.eval()


@pytest.fixture(scope="module")
def path(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the published layout, as the published training saved it."""
    path = tmp_path_factory.mktemp("published") / "own.pt"
    torch.save(to_published_names(network.state_dict()), path)
    return path


def test_a_published_file_becomes_the_network_that_wrote_it(network: Any, path: Path) -> None:
    """The size of the published file, 322 tensors, and the same logits to the last bit."""
    tensors = read_state_dict(path)
    assert len(tensors) == 322
    assert tensors["image_features_.layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert tensors["combined_features_.0.weight"].shape == (512, 2053)
    assert path.stat().st_size == pytest.approx(98_571_096, rel=1e-3)
    loaded = build_published_classifier(tensors, str(path)).eval()
    assert sum(p.numel() for p in loaded.parameters()) == 24_560_706
    inputs = torch.rand(1, 3, 64, 64), torch.rand(1, 5)
    with torch.no_grad():
        assert torch.equal(loaded(*inputs), network(*inputs))


def test_the_head_takes_the_sizes_of_the_file(network: Any) -> None:
    """Own weights of this layout may have other classes and covariates."""
    tensors = {k: v.numpy() for k, v in to_published_names(network.state_dict()).items()}
    tensors["combined_features_.0.weight"] = np.zeros((7, 2048 + 3), np.float32)
    tensors["combined_features_.0.bias"] = np.zeros(7, np.float32)
    tensors["combined_features_.3.weight"] = np.zeros((4, 7), np.float32)
    tensors["combined_features_.3.bias"] = np.arange(4, dtype=np.float32)
    loaded = build_published_classifier(tensors, "own.pt").eval()
    logits = loaded(torch.rand(1, 3, 64, 64), torch.rand(1, 3)).detach()
    assert torch.equal(logits, torch.arange(4.0)[None])


def test_names_go_there_and_back() -> None:
    """Whatever is not published keeps its name, so that it is reported as it is."""
    ours = {"encoder.conv1.weight": 1, "head.3.bias": 2, "extra": 3}
    theirs = {"image_features_.conv1.weight": 1, "combined_features_.3.bias": 2, "extra": 3}
    assert to_published_names(ours) == theirs
    assert from_published_names(theirs) == ours


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_features_.bn1.bias": None}, "missing 'image_features_.bn1.bias'"),
        ({"extra": torch.zeros(2)}, "unexpected 'extra'"),
        ({"image_features_.bn1.bias": torch.zeros(3)}, r"bn1.bias' is \(3,\) instead of \(64,\)"),
        ({"combined_features_.0.weight": torch.zeros(512, 517)}, "takes 517: this is another"),
        ({"combined_features_.3.weight": None}, "another architecture"),
    ],
)
def test_weights_that_do_not_fit_are_named_as_in_the_file(
    network: Any, change: dict[str, Any], words: str
) -> None:
    """Missing, unexpected, mis-shaped, and another architecture: one sentence each."""
    state = to_published_names(network.state_dict()) | change
    tensors = {name: value.numpy() for name, value in state.items() if value is not None}
    with pytest.raises(ModelError, match=rf"^own\.pt.*{words}"):
        build_published_classifier(tensors, "own.pt")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """A pickle that calls a function when it is opened is not opened."""
    target = tmp_path / "written"

    class Attack:
        def __reduce__(self) -> Any:
            return (Path.touch, (target,))

    for name, save in (("zip.pt", torch.save), ("plain.pth", _pickle)):
        save({"weight": Attack()}, tmp_path / name)
        with pytest.raises(ModelError, match=r"cannot be read as tensors alone"):
            read_state_dict(tmp_path / name)
    assert not target.exists()


def _pickle(value: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"weight": torch.ones(2), "epoch": 3}, "'epoch' is int"),
        ({"weights": {"weight": torch.ones(2)}}, "'weights' is dict"),
        ({}, "a dictionary of tensors"),
        (torch.ones(2), "a dictionary of tensors"),
        ({"weight": torch.tensor([1.0, torch.nan])}, "'weight' are not finite"),
        ({"weight": torch.ones(1).expand(10**12)}, "more than 838,860,800 bytes in all"),
        ({"weight": torch.ones(1).expand(10**6)}, "fewer values of 'weight'"),
        ({"weight": torch.ones(2).to_sparse()}, "'weight' is Tensor"),
    ],
)
def test_anything_but_a_flat_dictionary_of_finite_tensors_is_refused(
    tmp_path: Path, content: Any, words: str
) -> None:
    """Checkpoints with more in them, and shapes that would fill the memory, are one sentence."""
    torch.save(content, tmp_path / "own.pt")
    with pytest.raises(ModelError, match=rf"own\.pt.*{words}"):
        read_state_dict(tmp_path / "own.pt")


def test_a_checkpoint_of_one_network_is_that_network(tmp_path: Path) -> None:
    """Whatever the key is called, and whatever stands beside it."""
    for key in ("model", "state_dict", "model_state_dict"):
        state = {
            key: {"a.weight": torch.ones(2)},
            "optimizer_state_dict": {"state": {}},
            "epoch": 3,
        }
        torch.save(state, tmp_path / "own.pt")
        assert list(read_state_dict(tmp_path / "own.pt")) == ["a.weight"]


def test_half_precision_of_both_kinds_is_read(tmp_path: Path) -> None:
    """NumPy has no bfloat16, so that becomes single; integers stay what they are."""
    state = {"a": torch.ones(2).bfloat16(), "b": torch.ones(2).half(), "c": torch.tensor(7)}
    torch.save(state, tmp_path / "own.pt")
    found = read_state_dict(tmp_path / "own.pt")
    assert {name: array.dtype.name for name, array in found.items()} == {
        "a": "float32",
        "b": "float16",
        "c": "int64",
    }
    assert found["c"] == 7


def test_a_damaged_or_absent_file_is_one_sentence(tmp_path: Path) -> None:
    """Truncated, text, empty, a Git LFS pointer, and nothing at all."""
    torch.save({"weight": torch.ones(100)}, tmp_path / "whole.pt")
    broken = tmp_path / "broken.pt"
    for content in ((tmp_path / "whole.pt").read_bytes()[:-200], b"weights", b"PK\x03\x04"):
        broken.write_bytes(content)
        with pytest.raises(ModelError, match=r"broken\.pt.*cannot be read") as caught:
            read_state_dict(broken)
        assert "\n" not in str(caught.value)
    for content, words in ((b"", "empty"), (b"version https://git-lfs.github.com", "git lfs pull")):
        broken.write_bytes(content)
        with pytest.raises(ModelError, match=words):
            read_state_dict(broken)
    with pytest.raises(MissingFileError, match=r"none\.pt"):
        read_state_dict(tmp_path / "none.pt")
