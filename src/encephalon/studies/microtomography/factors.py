# SPDX-License-Identifier: Apache-2.0
"""Representations that no gradient makes: PCA and NMF of the tiles that train, frozen encoders."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from encephalon.errors import TableError, require_extra
from encephalon.networks.tile_encoder import TileFactors
from encephalon.studies.microtomography.data import TileDataset
from encephalon.studies.microtomography.task import TileLearner, TileTask
from encephalon.tables.schema import Table
from encephalon.training.run import Fitted, open_run, training_parts, write_fitted
from encephalon.training.runs import RunFolder, TrainingContext
from encephalon.training.transfer import start_from

__all__ = ["train_without_gradient"]

#: Sides of a tile, pixels, after averaging: 4,096 numbers, as published by MTNeuro.
SIDE = 64


def train_without_gradient(
    learner: TileLearner, table: Table, output: Path, context: TrainingContext
) -> Path:
    """Fit the factors to the tiles of the part "train", or take an encoder as it is.

    Returns the finished model folder; raises the errors of `training.run.train`, and TableError for
    fewer tiles than components.
    """
    run = RunFolder(output)
    with open_run(run, learner.recipe, table, context, models=learner.models) as placed:
        torch.manual_seed(learner.recipe.training.seed)
        parts = training_parts(table)
        train, validation = (learner.prepare(part, run.cache, placed.workers) for part in parts)
        task = learner.task(train, validation)
        network = learner.build()
        training = learner.recipe.training
        if training.start_from and not isinstance(network, TileFactors):
            start_from(network, training.start_from, training.fresh or ())
        if isinstance(network, TileFactors):
            network = _fitted(learner, task, train)
        run.finishing()
        fitted = Fitted(network, task, dict(network.state_dict()), [])
        return write_fitted(learner, table, run, fitted)


def _fitted(learner: TileLearner, task: TileTask, tiles: TileDataset) -> TileFactors:
    require_extra("sklearn", "train", "Fitting factors")
    from sklearn.decomposition import NMF, PCA
    from sklearn.exceptions import ConvergenceWarning

    components = learner.settings.components
    method: Literal["pca", "nmf"] = "nmf" if learner.settings.method == "nmf" else "pca"
    if len(tiles) < components:
        raise TableError(
            f"{components} components were asked for, but only {len(tiles)} tiles train: set "
            f"study.components to {len(tiles)} or less."
        )
    *_, rows, columns = tiles.raw(0).shape
    pool = max(1, round(max(rows, columns) / SIDE))
    network = TileFactors(method, components, (rows // pool, columns // pool), pool)
    shown = (task.stacked([task.tile(tiles, row)]) for row in range(len(tiles)))
    pixels = np.concatenate([network.pixels(tile).numpy() for tile in shown])
    seed = learner.recipe.training.seed
    if method == "pca":
        found: Any = PCA(components, svd_solver="randomized", random_state=seed).fit(pixels)
        network.mean.copy_(torch.from_numpy(found.mean_))
    else:
        with warnings.catch_warnings():
            # That it still moves a little after so many updates says nothing of the read-out.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = NMF(components, init="nndsvda", max_iter=400, random_state=seed).fit(pixels)
    # Of length 1, so that half precision holds them: those of NMF may have any.
    lengths = np.linalg.norm(found.components_, axis=1, keepdims=True)
    network.factors.copy_(torch.from_numpy(found.components_ / np.maximum(lengths, 1e-30)))
    return network
