# SPDX-License-Identifier: Apache-2.0
"""Keras files of every spelling are read by order; anything else is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from encephalon.errors import EncephalonError, MissingFileError, ModelError
from encephalon.models import keras
from encephalon.models.keras import read_keras_h5

SHAPES = [
    {"kernel": (3, 3, 3, 1, 2), "bias": (2,)},
    {"kernel": (2, 2, 2, 2, 2), "bias": (2,)},
    {"kernel": (1, 1, 1, 2, 1), "bias": (1,)},
]
Layers = list[tuple[str, dict[str, np.ndarray]]]
Writer = Callable[..., Path]


@pytest.fixture
def layers() -> Layers:
    generator = np.random.default_rng(3)
    return [
        (name, {kind: generator.normal(size=shape).astype("f4") for kind, shape in kinds.items()})
        for name, kinds in zip(("conv3d_15", "conv3d_transpose_3", "conv3d_2"), SHAPES, strict=True)
    ]


@pytest.fixture
def path(tmp_path: Path, layers: Layers, write_keras: Writer) -> Path:
    return write_keras(tmp_path / "weights.h5", layers)


def _assert_same(found: Layers, expected: Layers) -> None:
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, arrays), (_, wanted) in zip(found, expected, strict=True):
        assert set(arrays) == set(wanted)
        for kind, array in arrays.items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, wanted[kind])


@pytest.mark.parametrize(
    "spelling",
    [
        {"text": text, "root": root, "parts": parts}
        for text in (bytes, str)
        for root in ("model_weights", "/")
        for parts in (0, 2)
    ],
)
def test_every_spelling_gives_the_same_weights(
    tmp_path: Path, layers: Layers, write_keras: Writer, spelling: dict[str, Any]
) -> None:
    """Bytes or str, whole model or weights alone, names in one attribute or split: all are read."""
    path = write_keras(tmp_path / "spelt.h5", layers, **spelling)
    _assert_same(read_keras_h5(path, SHAPES), layers)


def test_layers_come_in_graph_order_not_by_name(path: Path, layers: Layers) -> None:
    """conv3d_2 stays last although it sorts before conv3d_15 by number."""
    assert [name for name, _ in read_keras_h5(path, SHAPES)][-1] == "conv3d_2"


def test_layers_without_weights_are_passed_over(
    tmp_path: Path, layers: Layers, write_keras: Writer
) -> None:
    """Inputs, activations, poolings and concatenations are named in the file but hold nothing."""
    mixed = [("input_1", {}), layers[0], ("max_pooling3d", {}), *layers[1:]]
    _assert_same(read_keras_h5(write_keras(tmp_path / "m.h5", mixed), SHAPES), layers)


def test_the_optimizer_is_ignored(path: Path, layers: Layers) -> None:
    """Whatever lies in optimizer_weights, the layers are the same."""
    with h5py.File(path, "a") as file:
        file["optimizer_weights/Adam/iterations:0"] = np.array(["no number"], dtype="S9")
    _assert_same(read_keras_h5(path, SHAPES), layers)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("wrong shape", r"layer 1 \('conv3d_transpose_3'\) has kernel \(2, 2, 2, 2, 3\).*instead"),
        ("missing", "3 layers with weights expected, 2 found; layer 2 is missing"),
        ("missing first", r"layer 0 \('conv3d_trans.*; layer 1 \('conv3d_2'\).*expected, 2 found"),
        ("extra", "3 layers with weights expected, 4 found; one too many is 'conv3d_9'"),
        ("normalisation", r"layer 1 \('batch_norm'\) has gamma \(2,\), beta \(2,\) instead"),
        ("no bias", r"layer 0 \('conv3d_15'\) has kernel \(3, 3, 3, 1, 2\) instead of"),
        ("float64", "layer 'conv3d_2' keeps its bias as float64, not as float32"),
        ("nan", "layer 'conv3d_15' has values that are not finite in its kernel"),
    ],
)
def test_another_network_is_refused(
    tmp_path: Path, layers: Layers, write_keras: Writer, change: str, sentence: str
) -> None:
    """Each difference from the expected layers is named with its layer."""
    arrays = dict(layers)
    if change == "wrong shape":
        arrays["conv3d_transpose_3"]["kernel"] = np.zeros((2, 2, 2, 2, 3), "f4")
    elif change == "missing":
        del layers[2]
    elif change == "missing first":
        del layers[0]
    elif change == "extra":
        layers.append(("conv3d_9", layers[2][1]))
    elif change == "normalisation":
        two = np.ones(2, "f4")
        layers.insert(1, ("batch_norm", {"gamma": two, "beta": two}))
    elif change == "no bias":
        del arrays["conv3d_15"]["bias"]
    elif change == "float64":
        arrays["conv3d_2"]["bias"] = np.zeros(1)
    else:
        arrays["conv3d_15"]["kernel"][0, 0, 0, 0, 0] = np.nan
    path = write_keras(tmp_path / "other.h5", layers)
    with pytest.raises(ModelError, match=sentence) as caught:
        read_keras_h5(path, SHAPES)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    """Wherever the copy stopped, the error is a ModelError that names the file."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"weights\.h5.*(damaged or truncated|not HDF5)"):
        read_keras_h5(path, SHAPES)


def test_flipped_bits_never_escape_as_another_error(path: Path) -> None:
    """A damaged structure gives an error of this program, or weights of the right shapes."""
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 150)):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        try:
            found = keras._read_here(path, path, SHAPES)  # a process each would take minutes
        except EncephalonError:
            continue
        for (_, arrays), shapes in zip(found, SHAPES, strict=True):
            assert {kind: array.shape for kind, array in arrays.items()} == shapes


@pytest.mark.parametrize("instead", ["while True: pass", "x = bytearray(1 << 31); x[:] = x"])
def test_a_file_that_hangs_or_fills_the_memory_is_one_sentence(
    instead: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 does both on some damaged files; the process that reads is ended."""
    limits = "import resource as r; r.setrlimit(r.RLIMIT_CPU, (2, 2));"
    limits += "r.setrlimit(r.RLIMIT_DATA, (1 << 30, 1 << 30))"
    monkeypatch.setattr(keras, "_CHILD", f"{limits}\n{instead}")
    with pytest.raises(ModelError, match=r"did not end, or filled the memory"):
        read_keras_h5(path, SHAPES)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:17d9\n",
            "fetch it with  git lfs pull",
        ),
        (b"/annex/objects/SHA256E-s19169888--17d9.h5\n", "fetch it with  git annex get"),
        (b"\n<!DOCTYPE html><html>Not found</html>", "is a web page"),
        (b"just some text", "it is not HDF5"),
    ],
)
def test_a_stand_in_for_the_file_is_recognised(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    """What downloads and version control leave behind is told apart, with what to do."""
    path = tmp_path / "brainy.h5"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=sentence):
        read_keras_h5(path, SHAPES)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A path to nothing, a folder, and a git-annex link without content each say so."""
    with pytest.raises(MissingFileError, match="no such file"):
        read_keras_h5(tmp_path / "none.h5", SHAPES)
    with pytest.raises(ModelError, match="it is a folder"):
        read_keras_h5(tmp_path, SHAPES)
    link = tmp_path / "annexed.h5"
    link.symlink_to(".git/annex/objects/none")
    with pytest.raises(MissingFileError, match="git annex get, datalad get"):
        read_keras_h5(link, SHAPES)


def test_hdf5_without_keras_layers_is_refused(tmp_path: Path) -> None:
    """Some other HDF5 file, or one of Keras 3, is told from Keras 2 weights."""
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["layers/conv3d/vars/0"] = np.zeros(3)
    with pytest.raises(ModelError, match="there is no 'layer_names'"):
        read_keras_h5(path, SHAPES)


def test_weights_outside_the_file_are_not_followed(path: Path, tmp_path: Path) -> None:
    """A link to another file, data kept elsewhere and a name that leads nowhere are refused."""
    place = "model_weights/conv3d_2/conv3d_2/bias:0"
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.zeros(1, "f4")
    (tmp_path / "secret.bin").write_bytes(bytes(4))

    with h5py.File(path, "a") as file:
        del file[place]
    with pytest.raises(ModelError, match="is named but not in the file"):
        read_keras_h5(path, SHAPES)
    with h5py.File(path, "a") as file:
        file[place] = h5py.ExternalLink(tmp_path / "secret.h5", "/x")
    with pytest.raises(ModelError, match="is named but not in the file"):
        read_keras_h5(path, SHAPES)
    with h5py.File(path, "a") as file:
        del file[place]
        file.create_dataset(place, (1,), "f4", external=[(str(tmp_path / "secret.bin"), 0, 4)])
    with pytest.raises(ModelError, match="lies outside the file"):
        read_keras_h5(path, SHAPES)
    with h5py.File(path, "a") as file:
        del file["model_weights/conv3d_2/conv3d_2"]
        file["model_weights/conv3d_2/conv3d_2"] = h5py.ExternalLink(tmp_path / "secret.h5", "/")
    with h5py.File(tmp_path / "secret.h5", "a") as file:
        file["kernel:0"] = file["bias:0"] = np.zeros(1, "f4")
    with pytest.raises(ModelError, match="lies outside the file"):
        read_keras_h5(path, SHAPES)


def test_names_of_another_kind_are_refused(path: Path) -> None:
    """A number for a list of names, and data in the place of a layer, are no crash."""
    with h5py.File(path, "a") as file:
        del file["model_weights/conv3d_2"]
        file["model_weights/conv3d_2"] = np.zeros(1)
        file["model_weights/conv3d_2"].attrs["weight_names"] = ["kernel:0"]
    with pytest.raises(ModelError, match="conv3d_2/kernel:0 is named but not in the file"):
        read_keras_h5(path, SHAPES)
    with h5py.File(path, "a") as file:
        file["model_weights"].attrs["layer_names"] = 5
    with pytest.raises(ModelError, match="damaged or truncated"):
        read_keras_h5(path, SHAPES)


def test_a_weight_named_twice_is_refused(path: Path) -> None:
    """Two kernels in one layer would be taken for one."""
    with h5py.File(path, "a") as file:
        file["model_weights/conv3d_2"].attrs["weight_names"] = ["conv3d_2/bias:0"] * 2
    with pytest.raises(ModelError, match="names one weight twice"):
        read_keras_h5(path, SHAPES)
