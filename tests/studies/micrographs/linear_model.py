# SPDX-License-Identifier: Apache-2.0
"""A model folder whose answer is known: its logits are a weighted sum of pixels and covariates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tifffile
from onnx import TensorProto, helper, numpy_helper

from encephalon.api import Model, load_model
from encephalon.metrics.calibration import Calibration
from encephalon.models.description import ModelDescription
from encephalon.models.fitted import FittedState
from encephalon.models.folder import ModelFolder, save_model
from encephalon.recipes.loading import load_recipe, recipe_data
from encephalon.recipes.schema import class_names
from encephalon.studies.micrographs.preprocessing import Preprocessing
from encephalon.studies.micrographs.settings import micrograph_settings
from tests.studies.micrographs.rows import write_rows

SIDE = 32
COVARIATES = 5
CALIBRATION = Calibration(2.0, (0.25, -0.25))
OVERRIDES = {
    "study.size": str(SIDE),
    "study.levels": '["vessel"]',
    "table.score_only": '["Middle age"]',
}


def pixel_weights(classes: int) -> np.ndarray:
    """(SIDE * SIDE, classes): the right half of the image speaks for the last class."""
    plane = np.zeros((SIDE, SIDE, classes), np.float32)
    plane[:, SIDE // 2 :, -1] = 8.0 / SIDE**2
    return plane.reshape(-1, classes)


def covariate_weights(classes: int) -> np.ndarray:
    """(COVARIATES, classes): females and PFC speak for the first class."""
    weights = np.zeros((COVARIATES, classes), np.float32)
    weights[[0, 4], 0] = (0.3, 0.5)
    return weights


def graph(classes: int = 2, covariates: bool = True) -> bytes:
    """The network as ONNX."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 1, SIDE, SIDE])
    inputs, nodes = [image], [helper.make_node("Flatten", ["image"], ["flat"], axis=1)]
    tensors = [numpy_helper.from_array(pixel_weights(classes), "pixels")]
    nodes.append(helper.make_node("MatMul", ["flat", "pixels"], ["seen" if covariates else "out"]))
    if covariates:
        shape = ["B", COVARIATES]
        inputs.append(helper.make_tensor_value_info("covariates", TensorProto.FLOAT, shape))
        tensors.append(numpy_helper.from_array(covariate_weights(classes), "cells"))
        nodes.append(helper.make_node("MatMul", ["covariates", "cells"], ["known"]))
        nodes.append(helper.make_node("Add", ["seen", "known"], ["out"]))
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["B", classes])
    whole = helper.make_graph(nodes, "linear", inputs, [output], tensors)
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(whole, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def write_model(
    folder: Path, overrides: Mapping[str, str] | None = None, **learned: Any
) -> ModelFolder:
    """Write the model folder; `learned` changes what its training is said to have left."""
    recipe = load_recipe("micrographs", {**OVERRIDES, **(overrides or {})})
    classes, settings = class_names(recipe), micrograph_settings(recipe)
    known = {
        "classes": classes,
        "covariates": tuple(recipe.table.covariates),
        "calibration": CALIBRATION if len(classes) == 2 else None,
        "thresholds": (0.4, 0.6) if len(classes) == 2 else None,
        "key": Preprocessing(settings, "default").key,
    }
    description = ModelDescription(
        name="linear",
        version="1.0",
        study="micrographs",
        task="classification",
        labels=dict(enumerate(classes)),
        recipe=recipe_data(recipe),
        preprocessing=FittedState(**{**known, **learned}).as_dict(),
    )
    network = graph(len(classes), settings.inputs == "both")
    return save_model(folder, description, None, network, overwrite=True)


def open_linear(folder: Path, overrides: Mapping[str, str] | None = None, **options: Any) -> Model:
    """Write the model and load it; `learned` among the options goes to `write_model`."""
    learned = options.pop("learned", {})
    model = write_model(folder / "model", overrides, **learned)
    return load_model(model.path, device="cpu", threads=2, **options)


def write_pictures(folder: Path, count: int = 8) -> Path:
    """Images that are bright on one side, aged ones on the right, and their table.csv.

    Image 2 n and 2 n + 1 are of vessel Vn; four images are of one animal.
    """
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        aged = number // 4 % 2 == 1
        plane = rng.integers(60, 120, (40, 40)).astype(np.uint8)
        bright = slice(20, None) if aged else slice(None, 20)
        plane[:, bright] += np.uint8(40 + 10 * (number % 4))
        tifffile.imwrite(folder / f"S{number}.tif", plane)
        row = {"id": f"S{number}", "image": f"S{number}.tif", "class": ("Young", "Aged")[aged]}
        row |= {"sex": "FM"[number % 2], "region": ("CC", "HC", "PFC")[number % 3]}
        rows.append(row | {"animal": f"A{number // 4}", "vessel": f"V{number // 2}"})
    return write_rows(folder / "table.csv", rows)
