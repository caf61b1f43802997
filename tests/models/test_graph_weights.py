# SPDX-License-Identifier: Apache-2.0
"""What a model's graph and its weights both hold lies in one of the two, and is compared."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import ModelError
from encephalon.inference.runtimes import open_runtime
from encephalon.models.description import ModelDescription
from encephalon.models.folder import GRAPH, WEIGHTS, ModelFolder, open_model, save_model
from encephalon.models.graph_weights import share
from tests.models.test_graph import ADD, model_of

onnx = pytest.importorskip("onnx")
PACKAGED = Path(__file__).parents[2] / "src" / "encephalon" / "models" / "packaged"
VALUES = np.linspace(-1, 1, 2000, dtype=np.float32)


def graph_with(*tensors: tuple[str, np.ndarray]) -> bytes:
    """A graph x + w, with further tensors."""
    made = tuple(onnx.numpy_helper.from_array(one, name) for name, one in tensors)
    content: bytes = model_of(ADD, tensors=made).SerializeToString()
    return content


WHOLE = graph_with(("w", VALUES), ("few", np.arange(9.0, dtype=np.float32)))


@pytest.fixture
def shared(tmp_path: Path, description: ModelDescription) -> ModelFolder:
    """A model whose graph holds the tensor "w" that its weights call "layer"."""
    state = {"layer": VALUES.reshape(2, 1000), "layer.few": np.arange(9.0, dtype=np.float32)}
    return save_model(tmp_path / "model", description, state, WHOLE)


def initialisers(content: bytes) -> dict[str, np.ndarray]:
    model = onnx.ModelProto.FromString(content)
    return {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}


def _say(model: ModelFolder, change: Any) -> ModelFolder:
    """The model with another place of its tensor "w", and the sha256 of that graph."""
    path = model.path / GRAPH
    graph, before = onnx.ModelProto.FromString(path.read_bytes()), path.read_bytes()
    change({one.key: one for one in graph.graph.initializer[0].external_data})
    path.write_bytes(graph.SerializeToString())
    text = (model.path / "model.toml").read_text(encoding="utf-8")
    old, new = (sha256(content).hexdigest() for content in (before, path.read_bytes()))
    (model.path / "model.toml").write_text(text.replace(old, new), encoding="utf-8")
    return model


def test_values_lie_once_and_come_back_whole(shared: ModelFolder) -> None:
    """The graph on disk is small; what it is read as holds every value, small tensors included."""
    assert (shared.path / GRAPH).stat().st_size < 1000 < VALUES.nbytes
    assert shared.graph is not None
    found, expected = initialisers(shared.graph.read()), initialisers(WHOLE)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_runtime_gets_the_whole_graph(shared: ModelFolder, runtime: str) -> None:
    """From any working directory, since it is given no file to look for."""
    pytest.importorskip(runtime)
    assert shared.graph is not None
    opened = open_runtime(shared.graph, "cpu", 1, prefer=[runtime])
    np.testing.assert_array_equal(opened.run(np.zeros(2000, np.float32))[0], VALUES)


def test_other_programs_open_the_graph_from_its_folder(shared: ModelFolder) -> None:
    """The place is told as ONNX tells it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        str(shared.path / GRAPH), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": np.zeros(2000, np.float32)})
    np.testing.assert_array_equal(found, VALUES)


def test_a_model_saved_again_is_the_same_bytes(
    shared: ModelFolder, tmp_path: Path, description: ModelDescription
) -> None:
    """What was put together is taken apart in the same way."""
    assert shared.graph is not None
    again = save_model(tmp_path / "again", description, shared.tensors(), shared.graph.read())
    assert (again.path / GRAPH).read_bytes() == (shared.path / GRAPH).read_bytes()
    assert again.sha256 == shared.sha256


def test_weights_stand_in_for_one_tensor_each(
    tmp_path: Path, description: ModelDescription
) -> None:
    """A graph that holds a tensor twice keeps one of them, so that it never asks for more bytes
    than the weights have."""
    graph = graph_with(("w", VALUES), ("v", VALUES))
    model = save_model(tmp_path / "model", description, {"layer": VALUES}, graph)
    assert model.graph is not None
    assert VALUES.nbytes < (model.path / GRAPH).stat().st_size < 2 * VALUES.nbytes
    assert initialisers(model.graph.read()).keys() == {"w", "v"}


def test_other_values_and_other_types_are_not_shared(
    tmp_path: Path, description: ModelDescription
) -> None:
    """The same bytes as whole numbers are no weights of this graph."""
    state = {"bits": VALUES.view(np.int32), "half": VALUES.astype(np.float16)}
    model = save_model(tmp_path / "model", description, state, WHOLE)
    assert (model.path / GRAPH).read_bytes() == WHOLE


def test_weights_that_were_exchanged_are_refused(shared: ModelFolder) -> None:
    """The graph is as it was, but what lies in the weights would be run."""
    path = shared.path / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert shared.graph is not None
    with pytest.raises(ModelError, match=r"weights\.safetensors: expected sha256"):
        shared.graph.read()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("length", "9000"),
        ("offset", "8000"),
        ("offset", "-1"),
        ("length", ""),
        ("offset", "9" * 30),
    ],
)
def test_a_place_beyond_the_weights_is_one_sentence(
    shared: ModelFolder, key: str, value: str
) -> None:
    def change(told: dict[str, Any]) -> None:
        told[key].value = value

    with pytest.raises(ModelError, match=r"graph\.onnx: its tensors do not lie in weights"):
        open_model(_say(shared, change).path)


def test_any_other_file_is_refused(shared: ModelFolder, tmp_path: Path) -> None:
    """Also one of the same name elsewhere."""

    def change(told: dict[str, Any]) -> None:
        told["location"].value = "../weights.safetensors"

    (tmp_path / WEIGHTS).write_bytes((shared.path / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match="keeps tensors in another file"):
        open_model(_say(shared, change).path)


@pytest.mark.parametrize("folder", sorted(PACKAGED.iterdir()), ids=lambda folder: folder.name)
def test_what_ships_has_no_tensor_twice(folder: Path) -> None:
    """`python tools/package_model.py src/encephalon/models/packaged/NAME --card …` shares them."""
    graph, weights = (folder / GRAPH).read_bytes(), (folder / WEIGHTS).read_bytes()
    assert share(graph, weights, WEIGHTS) == graph
    assert len(graph) < len(weights) / 10
