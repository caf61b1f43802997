# SPDX-License-Identifier: Apache-2.0
"""Recipes, models, weights, graphs and checkpoints, for the fuzzer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.crafted_models import crafted_recipes, crafted_weights, crafted_zips
from tests.fuzz.reader import Reader, Seed


def _recipes(folder: Path) -> Sequence[Seed]:
    from encephalon.recipes.loading import list_recipes, show_recipe

    seeds = []
    for summary in list_recipes()[:3]:
        path = folder / f"{summary.name}.toml"
        path.write_text(show_recipe(summary.name), encoding="utf-8")
        seeds.append(Seed(path))
    return seeds


def _recipe(path: Path) -> Any:
    from encephalon.recipes.loading import dump_recipe, load_recipe

    return dump_recipe(load_recipe(path))


def _state() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "first.weight": random.normal(size=(3, 2, 3)).astype(np.float32),
        "first.bias": random.normal(size=3).astype(np.float32),
        "steps": np.array(7, dtype=np.int64),
    }


def _folder(folder: Path, graph: bytes | None = None) -> Path:
    from encephalon.models.description import ModelDescription
    from encephalon.models.folder import save_model

    description = ModelDescription(
        name="tiny",
        version="1.2.0",
        study="extraction",
        task="segmentation",
        title="A tiny model",
        labels={1: "brain"},
        recipe={"training": {"epochs": 3, "rate": 1e-4}},
        scores={"dice": 0.5},
        card={"caveats": "Never trained."},
    )
    return save_model(folder / "tiny-model", description, _state(), graph=graph).path


def _models(folder: Path) -> Sequence[Seed]:
    return [Seed(_folder(folder), victims=("model.toml", "model.toml", "weights.safetensors"))]


def _model(path: Path) -> Any:
    from encephalon.models.folder import open_model

    model = open_model(path)
    return model.describe(), model.tensors()


def _weights(folder: Path) -> Sequence[Seed]:
    return [Seed(_folder(folder) / "weights.safetensors")]


def _tensors(path: Path) -> Any:
    from encephalon.models.folder import read_tensors

    return read_tensors(path)


def _zips(folder: Path) -> Sequence[Seed]:
    from encephalon.models.exchange import export_model

    return [Seed(export_model(_folder(folder), folder / "tiny.zip"))]


def _imported(path: Path) -> Any:
    from encephalon.io.home import HOME_VARIABLE
    from encephalon.models.exchange import import_model

    with tempfile.TemporaryDirectory() as home:
        os.environ[HOME_VARIABLE] = home
        return import_model(path)


def _graphs(folder: Path) -> Sequence[Seed]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, 8, 8])
        for name, count in (("x", 1), ("y", 2))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "graph.onnx")
    return [Seed(folder / "graph.onnx")]


def _run(path: Path) -> Any:
    from encephalon.inference.runtimes import open_runtime

    return open_runtime(path, "cpu", 1, prefer=("onnxruntime",)).run(
        np.ones((1, 1, 8, 8), np.float32)
    )


def _run_fast(path: Path) -> Any:
    from encephalon.inference.runtimes import open_runtime

    return open_runtime(path, "cpu", 1, prefer=("openvino",)).run(np.ones((1, 1, 8, 8), np.float32))


_LAYERS = {"conv": {"kernel": (3, 3, 3, 1, 2), "bias": (2,)}, "top": {"kernel": (1, 1, 1, 2, 1)}}


def _keras(folder: Path) -> Sequence[Seed]:
    import h5py

    random = np.random.default_rng(0)
    with h5py.File(folder / "a.h5", "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in _LAYERS]
        for name, shapes in _LAYERS.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/{kind}:0".encode() for kind in shapes]
            for kind, shape in shapes.items():
                layer[f"{name}/{kind}:0"] = random.normal(size=shape).astype(np.float32)
    return [Seed(folder / "a.h5")]


def _layers(path: Path) -> Any:
    from encephalon.models.keras import read_keras_h5

    return read_keras_h5(path, list(_LAYERS.values()))


def _pickles(folder: Path) -> Sequence[Seed]:
    import torch

    state = {name: torch.from_numpy(value) for name, value in _state().items()}
    torch.save(state, folder / "a.pt")
    torch.save(dict(reversed(state.items())), folder / "b.pth")
    torch.save(state, folder / "c.pt", _use_new_zipfile_serialization=False)
    return [Seed(folder / name) for name in ("a.pt", "b.pth", "c.pt")]


def _state_dict(path: Path) -> Any:
    from encephalon.models.weights import read_state_dict

    return read_state_dict(path)


def _checkpoints(folder: Path) -> Sequence[Seed]:
    import torch

    from encephalon.training.checkpoint import save_checkpoint

    state = {
        "weights": {"a": torch.ones(2, 3), "half": torch.ones(4).bfloat16()},
        "plain": [1, 0.1, None, True, {"ä": [1.0, 2]}],
    }
    save_checkpoint(folder / "a.safetensors", state)
    return [Seed(folder / "a.safetensors")]


def _checkpoint(path: Path) -> Any:
    from encephalon.training.checkpoint import load_checkpoint

    return load_checkpoint(path)


MODEL_READERS = (
    Reader("recipe", _recipes, _recipe, crafted_recipes),
    Reader("model folder", _models, _model),
    Reader("safetensors", _weights, _tensors, crafted_weights),
    Reader("model .zip", _zips, _imported, crafted_zips),
    Reader("ONNX Runtime", _graphs, _run, needs=("onnx",)),
    Reader("OpenVINO", _graphs, _run_fast, needs=("onnx", "openvino")),
    Reader("Keras .h5", _keras, _layers, needs=("h5py",)),
    Reader(".pt and .pth", _pickles, _state_dict, needs=("torch",)),
    Reader("checkpoint", _checkpoints, _checkpoint, needs=("torch",)),
)
