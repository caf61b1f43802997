# SPDX-License-Identifier: Apache-2.0
"""A graph is run as it was checked, and nothing outside its file is ever part of it."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import ModelError
from encephalon.inference.runtimes import open_runtime
from encephalon.models.description import ModelDescription
from encephalon.models.folder import open_model, save_model
from encephalon.models.graph import Graph
from tests.models.conftest import A_GRAPH

onnx = pytest.importorskip("onnx")


def model_of(*nodes: Any, tensors: tuple[Any, ...] = (), outputs: str = "y") -> Any:
    """A model x (2000,) -> y (2000,) of these nodes."""
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2000])
        for name in ("x", outputs)
    ]
    graph = onnx.helper.make_graph(list(nodes), "g", ends[:1], ends[1:], list(tensors))
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)


def external(name: str = "w", location: str = "extra.bin") -> Any:
    """A tensor (2000,) whose values lie in another file."""
    tensor = onnx.numpy_helper.from_array(np.arange(2000, dtype=np.float32), name)
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value=str(len(raw)))
    return tensor


def save(folder: Path, model: Any) -> Path:
    path = folder / "graph.onnx"
    path.write_bytes(model.SerializeToString())
    np.arange(2000, dtype=np.float32).tofile(folder / "extra.bin")
    return path


def nowhere(**changes: Any) -> Any:
    """A node that adds a tensor kept in another file, as the attribute of a constant."""
    return onnx.helper.make_node("Constant", [], ["w"], value=external(**changes))


ADD = onnx.helper.make_node("Add", ["x", "w"], ["y"])


def in_a_branch() -> Any:
    """A model whose external tensor lies in a graph within the graph."""
    made = [onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [2000])]
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["w"], ["b"])], "branch", [], made, [external()]
    )
    truth = onnx.numpy_helper.from_array(np.array(True), "yes")
    node = onnx.helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    return model_of(node, tensors=(truth,))


def in_a_function() -> Any:
    """A model whose external tensor lies in a function of its own."""
    model = model_of(onnx.helper.make_node("f", ["x"], ["y"], domain="own"))
    opsets = [onnx.helper.make_opsetid("", 17)]
    body = [nowhere(), ADD]
    model.functions.append(onnx.helper.make_function("own", "f", ["x"], ["y"], body, opsets))
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    return model


def sparse() -> Any:
    """A model whose external tensor holds the values of a sparse one."""
    model = model_of(ADD)
    model.graph.sparse_initializer.add(values=external(), dims=[2000])
    return model


@pytest.mark.parametrize(
    "made",
    [
        lambda: model_of(ADD, tensors=(external(),)),
        lambda: model_of(ADD, tensors=(external(location="/etc/passwd"),)),
        lambda: model_of(nowhere(), ADD),
        in_a_branch,
        in_a_function,
        sparse,
    ],
    ids=["initialiser", "absolute", "constant", "branch", "function", "sparse"],
)
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_tensor_outside_the_file_is_refused_wherever_it_stands(
    made: Any, runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from the folder that holds the tensors, where both runtimes would find them."""
    pytest.importorskip(runtime)
    path = save(tmp_path, made())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"graph\.onnx: the graph keeps tensors in another file"):
        open_runtime(path, "cpu", 1, prefer=[runtime])


def test_a_model_folder_with_tensors_outside_its_graph_is_not_opened(
    tmp_path: Path, description: ModelDescription
) -> None:
    """Nor saved: the sha256 of the graph may be right, but nothing would compare the tensors."""
    model = save_model(tmp_path / "model", description, None, graph=A_GRAPH)
    graph = save(model.path, model_of(ADD, tensors=(external(),)))
    text = (model.path / "model.toml").read_text()
    old, new = (sha256(content).hexdigest() for content in (A_GRAPH, graph.read_bytes()))
    (model.path / "model.toml").write_text(text.replace(old, new))
    with pytest.raises(ModelError, match="keeps tensors in another file"):
        open_model(model.path)
    with pytest.raises(ModelError, match="keeps tensors in another file"):
        save_model(tmp_path / "again", description, None, graph=graph)
    assert not (tmp_path / "again").exists()


def test_what_runs_is_what_was_compared(tmp_path: Path) -> None:
    """A graph that was exchanged after its model was opened is refused when it is run."""
    weight = onnx.numpy_helper.from_array(np.ones(2000, np.float32), "w")
    path = save(tmp_path, model_of(ADD, tensors=(weight,)))
    listed = Graph(path, sha256(path.read_bytes()).hexdigest())
    assert open_runtime(listed, "cpu", 1).run(np.zeros(2000, np.float32))[0][5] == 1
    other = onnx.numpy_helper.from_array(np.full(2000, 2, np.float32), "w")
    save(tmp_path, model_of(ADD, tensors=(other,)))
    with pytest.raises(ModelError, match=r"graph\.onnx: expected sha256 .*was changed"):
        open_runtime(listed, "cpu", 1)


def test_a_chain_longer_than_any_network_is_refused_at_once(tmp_path: Path) -> None:
    """50,000 nodes would keep OpenVINO busy for minutes."""
    names = ["x", *map(str, range(1, 50_000)), "y"]
    nodes = [onnx.helper.make_node("Identity", [one], [two]) for one, two in pairwise(names)]
    path = save(tmp_path, model_of(*nodes))
    with pytest.raises(ModelError, match=r"more than 10,000 nodes"):
        open_runtime(path, "cpu", 1)


def constant(*values: float, of: type = np.int64) -> Any:
    return onnx.numpy_helper.from_array(np.array(values, of), "s")


def shape_of(tensor: Any, how: str) -> tuple[list[Any], tuple[Any, ...]]:
    """The tensor "s" as an initialiser, or as the result of a node; its numbers packed or raw."""
    if how == "node":
        return [onnx.helper.make_node("Constant", [], ["s"], value=tensor)], ()
    if how == "numbers":
        values = onnx.numpy_helper.to_array(tensor).ravel()
        tensor = onnx.helper.make_tensor("s", tensor.data_type, values.shape, values)
    return [], (tensor,)


@pytest.mark.parametrize("how", ["initialiser", "node", "numbers"])
@pytest.mark.parametrize(
    ("operator", "inputs"),
    [("ConstantOfShape", ["s"]), ("Expand", ["x", "s"]), ("Tile", ["x", "s"]), ("Pad", ["x", "s"])],
)
def test_a_constant_shape_beyond_any_image_is_refused(
    operator: str, inputs: list[str], how: str, tmp_path: Path
) -> None:
    """3 GiB of zeros take a graph of 100 bytes; a runtime makes them as it opens it."""
    before, tensors = shape_of(constant(1024, 1024, 800), how)
    node = onnx.helper.make_node(operator, inputs, ["y"])
    with pytest.raises(ModelError, match="makes more than 268,435,456 values of a few"):
        open_runtime(save(tmp_path, model_of(*before, node, tensors=tensors)), "cpu", 1)
    before, tensors = shape_of(constant(2000), how)
    node = onnx.helper.make_node("Expand", ["x", "s"], ["y"])
    path = save(tmp_path, model_of(*before, node, tensors=tensors))
    assert open_runtime(path, "cpu", 1).run(np.ones(2000, np.float32))[0].sum() == 2000


@pytest.mark.parametrize(
    "content",
    [b"a graph", b"<?xml version='1.0'?><net/>", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
     b"\x3a" + b"\xff" * 20, b"\x3a\x02\x0a\x7f", b"\x0b\x08\x0c"],
)  # fmt: skip
def test_what_is_no_onnx_graph_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    """Text, another format, and lengths that lead out of the file."""
    (tmp_path / "graph.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"graph\.onnx: expected an ONNX graph") as raised:
        open_runtime(tmp_path / "graph.onnx", "cpu", 1)
    assert "\n" not in str(raised.value)
