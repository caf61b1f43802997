# SPDX-License-Identifier: Apache-2.0
"""Deep learning for images of the brain.

A table of samples and a recipe make a model; a model makes predictions; predictions make a report.

    import encephalon

    encephalon.predict("brain-extraction", ["scan.nii.gz"], "masks")
    model = encephalon.load_model("brain-extraction")
    mask = model.predict("scan.nii.gz").images["mask"].data

Every name is loaded when it is first used: importing the package costs next to nothing, and what
predicts never imports torch.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encephalon.api import (
        Model,
        Predictions,
        evaluate,
        explain,
        load_model,
        load_recipe,
        predict,
        train,
    )
    from encephalon.api.grid import grid_status, plan_grid, report_grid, run_grid
    from encephalon.errors import (
        ContentError,
        EncephalonError,
        GeometryError,
        InputError,
        MissingExtraError,
        MissingFileError,
        ModelError,
        OutputError,
        OutputExistsError,
        RecipeError,
        RunError,
        TableError,
        UnreadableFileError,
        UsageError,
    )
    from encephalon.geometry.affine import Affine, Grid
    from encephalon.inference.predictor import OutputImage, Prediction, Quality
    from encephalon.io.image import Image
    from encephalon.io.reading import read_image, read_labels, write_image
    from encephalon.models.catalogue import find_model, list_models, model_info, verify_model
    from encephalon.models.download import get_model
    from encephalon.models.exchange import export_model, import_model
    from encephalon.recipes.loading import list_recipes, show_recipe
    from encephalon.recipes.schema import Recipe
    from encephalon.tables.checks import check_table, verify_labels
    from encephalon.tables.leakage import audit
    from encephalon.tables.make import bids_table, join_tables
    from encephalon.tables.reading import read_table, write_table
    from encephalon.tables.samples import Sample, collect_samples
    from encephalon.tables.schema import Columns, Table
    from encephalon.tables.splits import SplitOptions, fold_table, split_table

__version__ = "0.1.0"

# ONNX Runtime reports to its makers unless this is set before it is first imported; its own switch
# comes after the first event and the identifier that it leaves on the disk.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "Affine",
    "Columns",
    "ContentError",
    "EncephalonError",
    "GeometryError",
    "Grid",
    "Image",
    "InputError",
    "MissingExtraError",
    "MissingFileError",
    "Model",
    "ModelError",
    "OutputError",
    "OutputExistsError",
    "OutputImage",
    "Prediction",
    "Predictions",
    "Quality",
    "Recipe",
    "RecipeError",
    "RunError",
    "Sample",
    "SplitOptions",
    "Table",
    "TableError",
    "UnreadableFileError",
    "UsageError",
    "__version__",
    "audit",
    "bids_table",
    "check_table",
    "collect_samples",
    "evaluate",
    "explain",
    "export_model",
    "find_model",
    "fold_table",
    "get_model",
    "grid_status",
    "import_model",
    "join_tables",
    "list_models",
    "list_recipes",
    "load_model",
    "load_recipe",
    "model_info",
    "plan_grid",
    "predict",
    "read_image",
    "read_labels",
    "read_table",
    "report_grid",
    "run_grid",
    "show_recipe",
    "split_table",
    "train",
    "verify_labels",
    "verify_model",
    "write_image",
    "write_table",
]

# Where each name is found when it is first used.
_HOMES = {
    "api": "Model Predictions evaluate explain load_model load_recipe predict train",
    "api.grid": "grid_status plan_grid report_grid run_grid",
    "errors": (
        "ContentError EncephalonError GeometryError InputError MissingExtraError "
        "MissingFileError ModelError OutputError OutputExistsError RecipeError RunError "
        "TableError UnreadableFileError UsageError"
    ),
    "geometry.affine": "Affine Grid",
    "inference.predictor": "OutputImage Prediction Quality",
    "io.image": "Image",
    "io.reading": "read_image read_labels write_image",
    "models.catalogue": "find_model list_models model_info verify_model",
    "models.download": "get_model",
    "models.exchange": "export_model import_model",
    "recipes.loading": "list_recipes show_recipe",
    "recipes.schema": "Recipe",
    "tables.checks": "check_table verify_labels",
    "tables.leakage": "audit",
    "tables.make": "bids_table join_tables",
    "tables.reading": "read_table write_table",
    "tables.samples": "Sample collect_samples",
    "tables.schema": "Columns Table",
    "tables.splits": "SplitOptions fold_table split_table",
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names.split():
            value = getattr(import_module(f"encephalon.{module}"), name)
            globals()[name] = value  # the next use needs no look-up
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
