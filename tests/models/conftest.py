# SPDX-License-Identifier: Apache-2.0
"""A home of its own for every test, a small model, and a writer of Keras files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from encephalon.io.home import HOME_VARIABLE
from encephalon.models import files
from encephalon.models.description import ModelDescription
from encephalon.models.folder import ModelFolder, save_model

A_GRAPH = b"\x08\x0a"
"""The smallest file of ONNX: one that says its version, 10, and nothing more."""

Arrays = Mapping[str, np.ndarray]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds installed models; no packaged ones, no settings from outside."""
    home = tmp_path / "home"
    packaged = tmp_path / "packaged"
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    monkeypatch.setattr(files, "packaged_folder", lambda: packaged)
    for variable in ("ENCEPHALON_MIRROR", "ENCEPHALON_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    return home / "models"


@pytest.fixture
def description() -> ModelDescription:
    return ModelDescription(
        name="tiny",
        version="1.2.0",
        study="extraction",
        task="segmentation",
        title="A tiny model",
        labels={1: "brain"},
        recipe={"training": {"epochs": 3, "rate": 1e-4, "patience": None}},
        scores={"dice": np.float32(0.5), "per_head": np.array([1, 2])},
        card={"caveats": "Never trained."},
    )


@pytest.fixture
def state() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "second.weight": generator.normal(size=(2, 3)).astype(np.float32).T,
        "first.weight": generator.normal(size=4).astype(np.float32),
        "first.steps": np.array(7, dtype=np.int64),
    }


@pytest.fixture
def model(
    tmp_path: Path, description: ModelDescription, state: dict[str, np.ndarray]
) -> ModelFolder:
    return save_model(tmp_path / "tiny-model", description, state, graph=A_GRAPH)


@pytest.fixture
def write_keras() -> Callable[..., Path]:
    def write(
        path: Path,
        layers: Sequence[tuple[str, Arrays]],
        *,
        text: type = bytes,
        root: str = "model_weights",
        parts: int = 0,
    ) -> Path:
        """Write `layers` as Keras 2 does; `parts` splits layer_names as Keras does when long."""
        with h5py.File(path, "w") as file:
            group = file.require_group(root)
            names = [name for name, _ in layers]
            chunks: dict[str, Any] = {"layer_names": names}
            if parts:
                pieces = np.array_split(names, parts)
                chunks = {f"layer_names{i}": list(piece) for i, piece in enumerate(pieces)}
            for attribute, piece in chunks.items():
                group.attrs[attribute] = _spelt(piece, text)
            for name, arrays in layers:
                layer = group.create_group(name)
                weights = [f"{name}/{kind}:0" for kind in arrays]
                layer.attrs["weight_names"] = _spelt(weights, text)
                for weight, array in zip(weights, arrays.values(), strict=True):
                    layer[weight] = array
        return path

    return write


def _spelt(names: Sequence[str], text: type) -> np.ndarray:
    if text is bytes:
        return np.array([name.encode() for name in names], dtype="S64")
    return np.array(names, dtype=h5py.string_dtype())
