# SPDX-License-Identifier: Apache-2.0
"""The verbs as functions, and a loaded model for repeated use. The command line calls these."""

from __future__ import annotations

from encephalon.api.model import Model, Predictions, load_model
from encephalon.api.verbs import evaluate, explain, load_recipe, predict, train
from encephalon.inference.outputs import Work

__all__ = [
    "Model",
    "Predictions",
    "Work",
    "evaluate",
    "explain",
    "load_model",
    "load_recipe",
    "predict",
    "train",
]
