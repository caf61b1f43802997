# SPDX-License-Identifier: Apache-2.0
"""Heads small enough to train on in a test: files, tables and a stand-in for the brain model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.models.description import ModelDescription
from encephalon.models.folder import save_model
from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Recipe
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Columns, Table

SPLITS = ("train", "train", "validation")
DEFAULT = {
    "study.grids": "{ coarse = [16, 16, 16], fine = [24, 24, 24] }",
    "study.coarse_steps": "1",
    "study.coarse_batch": "2",
    "study.validation_samples": "2",
    "network.options": "{ channels = [2, 3], borders = 2 }",
    "training.epochs": "2",
    "training.steps_per_epoch": "2",
    "training.checkpoint_every": "1",
}
PUBLISHED = {
    "study.conform": "{ shape = [32, 32, 32], spacing_mm = 2.0 }",
    "study.block": "[16, 16, 16]",
    "network.options": "{ n_classes = 1, filters = 2 }",
    "training.epochs": "2",
    "training.steps_per_epoch": "2",
}


def radius(shape: tuple[int, int, int], centre: Sequence[float]) -> np.ndarray:
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return np.sqrt(sum((x - c) ** 2 for x, c in zip(axes, centre, strict=True)))


def label_map(
    shape: tuple[int, int, int] = (48, 52, 46), shift: float = 0.0, size: float = 14.0
) -> np.ndarray:
    """White matter, cortex, fluid, skull and skin as shells around the middle, int16."""
    far = radius(shape, [(n - 1) / 2 + shift for n in shape]) / size
    names = {2: 0.7, 3: 1.0, 24: 1.1, 515: 1.25, 510: 1.5}
    return np.select([far < edge for edge in names.values()], list(names), 0).astype(np.int16)


def scan_of(labels: np.ndarray) -> np.ndarray:
    """A T1w-like scan of `label_map`, float32, with a little noise."""
    levels = {2: 900, 3: 600, 24: 100, 515: 30, 510: 400}
    image = np.zeros(labels.shape)
    for label, level in levels.items():
        image[labels == label] = level
    return (image + np.random.default_rng(0).uniform(0, 20, labels.shape)).astype(np.float32)


def write(data: np.ndarray, path: Path, affine: Affine | None = None) -> Path:
    like = Image(data, affine or Affine.from_spacing(1.0))
    return write_image(data, path, like, overwrite=True)


def write_table(
    folder: Path, rows: Sequence[Mapping[str, str]], columns: Columns, name: str = "heads.csv"
) -> Table:
    keys = list(rows[0])
    lines = [",".join(keys), *(",".join(row.get(key, "") for key in keys) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return read_table(folder / name, columns)


def recipe(name: str, changes: Mapping[str, str]) -> Recipe:
    return load_recipe(name, dict(changes))


def label_table(folder: Path, of: Recipe) -> Table:
    """Two label maps to learn from, one to be judged by."""
    rows = []
    for index, split in enumerate(SPLITS):
        write(label_map(shift=index), folder / f"map{index}.nii.gz")
        rows.append(
            {
                "id": f"h{index}",
                "image": "",
                "labels": f"map{index}.nii.gz",
                "group": str(index),
                "split": split,
            }
        )
    return write_table(folder, rows, of.table)


def pair_table(folder: Path, of: Recipe, brain: tuple[int, ...] = (2, 3)) -> Table:
    """The same heads as scans with masks."""
    rows = []
    for index, split in enumerate(SPLITS):
        labels = label_map(shift=index)
        write(scan_of(labels), folder / f"scan{index}.nii.gz")
        write(np.where(np.isin(labels, brain), labels, 0), folder / f"mask{index}.nii.gz")
        rows.append(
            {
                "id": f"h{index}",
                "image": f"scan{index}.nii.gz",
                "labels": f"mask{index}.nii.gz",
                "group": str(index),
                "split": split,
            }
        )
    return write_table(folder, rows, of.table)


def install_brain_model(folder: Path, threshold: float = 0.55) -> None:
    """A model whose graph calls brain what is brighter than `threshold`, two borders alike."""
    names = {"threshold": threshold, "gain": 4.0}
    constants = [helper.make_tensor(k, TensorProto.FLOAT, [1], [v]) for k, v in names.items()]
    nodes = [
        helper.make_node("Sub", ["image", "threshold"], ["above"]),
        helper.make_node("Mul", ["above", "gain"], ["border"]),
        helper.make_node("Concat", ["border", "border"], ["output"], axis=1),
    ]

    def value(name: str, channels: int) -> Any:
        return helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["B", channels, "I", "J", "K"]
        )

    graph = helper.make_graph(nodes, "bright", [value("image", 1)], [value("output", 2)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    about = ModelDescription(
        name="brain-extraction", version="1", study="extraction", task="segmentation"
    )
    save_model(folder / "brain-extraction", about, None, model.SerializeToString())
