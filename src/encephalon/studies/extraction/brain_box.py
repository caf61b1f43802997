# SPDX-License-Identifier: Apache-2.0
"""Where the brain lies in a scan, as the shipped brain model finds it: for training on lesions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError, RunError
from encephalon.geometry import Grid, straightened
from encephalon.io import Image
from encephalon.studies.extraction.localise import find_brain
from encephalon.studies.extraction.options import Grids

if TYPE_CHECKING:
    from encephalon.inference.runtimes import Runtime
    from encephalon.models.graph import Graph

__all__ = ["BrainFinder", "brain_finder"]

Float = NDArray[np.float32]


@dataclass(frozen=True)
class BrainFinder:
    """Finds brains with an exported graph; plain data, so that it can go to other processes.

    Attributes
    ----------
    graph
        The brain model's graph.
    sha256
        Of the model, which tells one brain model from another.
    grids
        The working grids that a prediction of the lesion will use.
    """

    graph: Graph
    sha256: str
    grids: Grids

    @property
    def identity(self) -> str:
        """What a box depends on beside the scan."""
        return f"{self.sha256} {self.grids.coarse}"

    def box(self, image: Image, grid: Grid) -> NDArray[np.int64] | None:
        """First and last voxel of `grid` on each axis, (3, 2), that the brain in `image` reaches.

        None when no brain is found.
        """
        found = find_brain(straightened(image), self.grids, self._network)
        if not found.mask.any():
            return None
        return box_on(found.mask, found.view.grid, grid)

    def _network(self, image: Float) -> Float:
        distances: Float = _runtime(self.graph).run(image[None, None])[0][0]
        return distances


def brain_finder(grids: Grids) -> BrainFinder:
    """The finder of the shipped brain model; raises RunError when that is not installed."""
    from encephalon.models import PublishedFile, find_model
    from encephalon.studies.extraction.study import LOCATOR

    try:
        model = find_model(LOCATOR)
    except ModelError as error:
        raise RunError(
            f"Training on lesions needs the model {LOCATOR!r} to find the brain, which is not "
            f"installed ({error}): train it or get it first."
        ) from error
    if isinstance(model, PublishedFile) or model.graph is None:
        raise RunError(
            f"Training on lesions needs the model {LOCATOR!r} with its exported graph to find the "
            f"brain, but {model.path} has none: train it or get it again."
        )
    return BrainFinder(model.graph, model.sha256, grids)


def box_on(mask: NDArray[np.bool_], source: Grid, target: Grid) -> NDArray[np.int64]:
    """The box (3, 2) in voxels of `target` that encloses `mask` (I, J, K) on the grid `source`."""
    voxels = np.argwhere(mask)
    ends = np.stack([voxels.min(axis=0) - 0.5, voxels.max(axis=0) + 0.5], axis=1)
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    reached = target.affine.inverse.apply(source.affine.apply(corners))
    first, last = np.round(reached.min(axis=0) + 0.5), np.round(reached.max(axis=0) - 0.5)
    box: NDArray[np.int64] = np.stack([first, np.maximum(first, last)], axis=1).astype(np.int64)
    return box


@lru_cache(maxsize=1)
def _runtime(graph: Graph) -> Runtime:
    from encephalon.inference.runtimes import open_runtime

    return open_runtime(graph, "cpu", threads=1)
