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
from typing import TYPE_CHECKING

from encephalon._lazy import lazy

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
    from encephalon.geometry import Affine, Grid
    from encephalon.inference.predictor import OutputImage, Prediction, Quality
    from encephalon.io import Image, read_image, read_labels, write_image
    from encephalon.models import (
        export_model,
        find_model,
        get_model,
        import_model,
        list_models,
        model_info,
        verify_model,
    )
    from encephalon.recipes import list_recipes, show_recipe
    from encephalon.recipes.schema import Recipe
    from encephalon.tables import (
        Columns,
        Sample,
        SplitOptions,
        Table,
        audit,
        bids_table,
        check_table,
        collect_samples,
        fold_table,
        join_tables,
        read_table,
        split_table,
        verify_labels,
        write_table,
    )

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
    "import_model",
    "join_tables",
    "list_models",
    "list_recipes",
    "load_model",
    "load_recipe",
    "model_info",
    "predict",
    "read_image",
    "read_labels",
    "read_table",
    "show_recipe",
    "split_table",
    "train",
    "verify_labels",
    "verify_model",
    "write_image",
    "write_table",
]

__getattr__ = lazy(
    __name__,
    {
        "api": (
            "Model",
            "Predictions",
            "evaluate",
            "explain",
            "load_model",
            "load_recipe",
            "predict",
            "train",
        ),
        "errors": (
            "ContentError",
            "EncephalonError",
            "GeometryError",
            "InputError",
            "MissingExtraError",
            "MissingFileError",
            "ModelError",
            "OutputError",
            "OutputExistsError",
            "RecipeError",
            "RunError",
            "TableError",
            "UnreadableFileError",
            "UsageError",
        ),
        "geometry": ("Affine", "Grid"),
        "inference.predictor": ("OutputImage", "Prediction", "Quality"),
        "io": ("Image", "read_image", "read_labels", "write_image"),
        "models": (
            "export_model",
            "find_model",
            "get_model",
            "import_model",
            "list_models",
            "model_info",
            "verify_model",
        ),
        "recipes": ("list_recipes", "show_recipe"),
        "recipes.schema": ("Recipe",),
        "tables": (
            "Columns",
            "Sample",
            "SplitOptions",
            "Table",
            "audit",
            "bids_table",
            "check_table",
            "collect_samples",
            "fold_table",
            "join_tables",
            "read_table",
            "split_table",
            "verify_labels",
            "write_table",
        ),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
