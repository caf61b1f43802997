# SPDX-License-Identifier: Apache-2.0
"""The same graph gives the same numbers in each runtime, and falling back is said aloud."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import MissingExtraError, MissingFileError, ModelError, UsageError
from encephalon.inference import runtimes
from encephalon.inference.runtimes import open_runtime, resolve_device, resolve_threads


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph of two outputs, 2x + 1 and its rectified value, for inputs (B, 1, I, J, K)."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = ["B", 1, "I", "J", "K"]
    kernel = helper.make_tensor("w", kind, [1, 1, 1, 1, 1], [2.0])
    bias = helper.make_tensor("b", kind, [1], [1.0])
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    values = [helper.make_tensor_value_info(name, kind, shape) for name in "xyz"]
    body = helper.make_graph(nodes, "g", values[:1], values[1:], [kernel, bias])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("graph") / "graph.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_both_runtimes_compute_the_same(name: str, graph: Path) -> None:
    """Every output, for several shapes, in arrays that a further run leaves alone."""
    pytest.importorskip(name)
    runtime = open_runtime(graph, "cpu", threads=1, prefer=[name])
    x = np.random.default_rng(0).normal(size=(1, 1, 4, 5, 6)).astype(np.float32)
    first = runtime.run(x)
    second = runtime.run(np.zeros((2, 1, 2, 3, 4), np.float32))
    np.testing.assert_allclose(first[0], 2 * x + 1, rtol=1e-6)
    np.testing.assert_allclose(first[1], np.maximum(2 * x + 1, 0), rtol=1e-6)
    assert second[0].shape == (2, 1, 2, 3, 4)
    assert runtime.name.startswith(f"{name} 2") or runtime.name.startswith(f"{name} 1")
    assert runtime.device == "cpu"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_shape_that_the_graph_refuses_is_one_sentence(name: str, graph: Path) -> None:
    """The message names the graph and the shape that came."""
    pytest.importorskip(name)
    runtime = open_runtime(graph, "cpu", threads=1, prefer=[name])
    with pytest.raises(ModelError, match=r"graph\.onnx.*\(1, 3, 4, 4, 4\)"):
        runtime.run(np.zeros((1, 3, 4, 4, 4), np.float32))


@pytest.fixture(scope="module")
def halving_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph that adds what a step back makes of every second value: even lengths only."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = ["B", 1, "N"]
    kernel = helper.make_tensor("w", kind, [1, 1, 2], [1.0, 1.0])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["half"], strides=[2]),
        helper.make_node("ConvTranspose", ["half", "w"], ["whole"], strides=[2]),
        helper.make_node("Concat", ["x", "whole"], ["y"], axis=1),
    ]
    values = [
        helper.make_tensor_value_info("x", kind, shape),
        helper.make_tensor_value_info("y", kind, ["B", 2, "N"]),
    ]
    body = helper.make_graph(nodes, "g", values[:1], values[1:], [kernel])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("halving") / "graph.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_size_that_the_graph_refuses_leaves_it_as_it_was(name: str, halving_graph: Path) -> None:
    """It is refused each time, also after one that fits, which fits for ever."""
    pytest.importorskip(name)
    runtime = open_runtime(halving_graph, "cpu", threads=1, prefer=[name])
    for length in (7, 8, 7, 9, 8):
        x = np.ones((1, 1, length), np.float32)
        if length % 2:
            with pytest.raises(ModelError, match=rf"graph\.onnx.*\(1, 1, {length}\)"):
                runtime.run(x)
        else:
            np.testing.assert_array_equal(runtime.run(x)[0][0], [[1] * length, [2] * length])


@pytest.fixture(scope="module")
def sum_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph that hands its input "first" (B, 2) on at once, beside first + 2 * second."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Identity", ["first"], ["same"]),
        helper.make_node("Add", ["first", "second"], ["one"]),
        helper.make_node("Add", ["one", "second"], ["two"]),
    ]
    names = ("first", "second", "same", "two")
    values = [helper.make_tensor_value_info(name, kind, ["B", 2]) for name in names]
    body = helper.make_graph(nodes, "g", values[:2], values[2:])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("sum") / "sum.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_several_inputs_go_by_name(name: str, sum_graph: Path) -> None:
    """In any order, with names that the graph does not know passed over; a missing one is told."""
    pytest.importorskip(name)
    runtime = open_runtime(sum_graph, "cpu", threads=1, prefer=[name])
    first, second = np.float32([[1, 2], [3, 4]]), np.float32([[10, 20], [30, 40]])
    same, two = runtime.run({"other": second, "second": second, "first": first})
    np.testing.assert_array_equal(same, first)
    np.testing.assert_array_equal(two, first + 2 * second)
    with pytest.raises(ModelError, match=r"sum\.onnx.*first, second, but second did not come"):
        runtime.run(first)


def test_the_first_runtime_that_can_is_taken_and_failing_ones_are_named(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken OpenVINO costs a warning, not the run."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("libopenvino is missing")

    monkeypatch.setitem(runtimes._OPENERS, "openvino", broken)
    monkeypatch.setattr(runtimes, "find_spec", lambda _: object())
    assert open_runtime(graph, "cpu", threads=1).name.startswith("onnxruntime")
    assert "libopenvino is missing" in caplog.text


def test_without_any_runtime_the_message_says_what_to_install(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing dependency is an error of its own."""
    monkeypatch.setattr(runtimes, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="pip install onnxruntime"):
        open_runtime(graph)


def test_a_file_that_is_no_graph_is_a_model_error(tmp_path: Path, graph: Path) -> None:
    """Missing, empty and truncated files each name the file."""
    with pytest.raises(MissingFileError, match=r"none\.onnx"):
        open_runtime(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    for content in (b"", b"not a graph", graph.read_bytes()[:60]):
        broken.write_bytes(content)
        with pytest.raises(ModelError, match=r"broken\.onnx"):
            open_runtime(broken, "cpu", threads=1)
    with pytest.raises(UsageError, match="Unknown runtime 'tensorrt'"):
        open_runtime(graph, prefer=["tensorrt"])


def test_inference_brings_neither_torch_nor_telemetry(graph: Path) -> None:
    """In a fresh process, after opening and running the graph."""
    pytest.importorskip("openvino")
    program = (
        "import sys, numpy; from encephalon.inference.runtimes import open_runtime;"
        f"r = open_runtime({str(graph)!r}, 'cpu', 1);"
        "r.run(numpy.zeros((1, 1, 2, 2, 2), 'float32')); import openvino;"
        "print(r.name, [m for m in sys.modules if 'telemetry' in m or m == 'torch'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split(maxsplit=2)[0] == "openvino"
    assert done.stdout.strip().endswith("[]")


def test_onnx_runtime_leaves_no_identifier_behind(graph: Path, tmp_path: Path) -> None:
    """Its telemetry is off before it starts: nothing appears in the home of a fresh process."""
    program = (
        "from encephalon.inference.runtimes import resolve_device;"
        "from encephalon.inference.runtimes import open_runtime; resolve_device('auto');"
        f"open_runtime({str(graph)!r}, 'cpu', 1, prefer=['onnxruntime'])"
    )
    clean = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(tmp_path))
    subprocess.run([sys.executable, "-c", program], env=clean | homes, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_falls_back_aloud(caplog: pytest.LogCaptureFixture) -> None:
    """auto is quiet, an explicit wish that fails is a warning, a name that is none an error."""
    caplog.set_level(logging.WARNING)
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == "cpu" or "cuda" in resolve_device("auto")
    assert caplog.text == ""
    assert resolve_device("cuda:7", needs_torch=True) == "cpu"
    assert "cuda:7" in caplog.text
    with pytest.raises(UsageError, match="Unknown device 'gpu'"):
        resolve_device("gpu")


def test_devices_are_those_of_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's providers decide; Apple's half precision is taken only when asked for."""
    monkeypatch.setattr(runtimes, "_onnx_devices", lambda: ["mps"])
    assert resolve_device("auto") == "cpu"
    assert resolve_device("MPS") == "mps"
    monkeypatch.setattr(runtimes, "_onnx_devices", lambda: ["cuda"])
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    monkeypatch.setattr(runtimes, "_torch_devices", lambda: ["cuda", "cuda:0"])
    assert resolve_device("cuda:0", needs_torch=True) == "cuda:0"
    assert resolve_device("cuda:1", needs_torch=True) == "cpu"


def test_threads_follow_the_argument_then_the_environment_then_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never more than the process may use, and never fewer than one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for variable in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "NCPUS"):
        monkeypatch.delenv(variable, raising=False)
    assert resolve_threads(3) == 3
    assert resolve_threads() == cores
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "100000")
    assert resolve_threads() == cores
    monkeypatch.setenv("OMP_NUM_THREADS", "1,2")
    assert resolve_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert resolve_threads() == cores
    with pytest.raises(UsageError, match="1 or more"):
        resolve_threads(0)
