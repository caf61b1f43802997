# SPDX-License-Identifier: Apache-2.0
"""Tell a network in training where to look, where the table knows it.

An explanation cannot point at what the network never learnt to look at: small sets of images can
be told apart by their background just as well. Boxes are used in training only, and only
those of the training rows (after "right for the right reasons", Ross et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.errors import RecipeError
from encephalon.explanation.location import Box, box_cover
from encephalon.networks.image_classifier import show_attention
from encephalon.recipes.schema import Recipe
from encephalon.studies.micrographs.location import box_of
from encephalon.studies.micrographs.preparing import Cohort, Rows
from encephalon.studies.micrographs.recipe import micrograph_settings
from encephalon.transforms.planar import Variation, move
from encephalon.transforms.view import View, stride_of

__all__ = ["ATTENTION_LOSS", "Guidance", "make_guidance"]

#: The loss that compares attention with boxes.
ATTENTION_LOSS = "attention"
#: What an unknown wish is, for that loss.
UNKNOWN = -1.0


@dataclass(frozen=True, eq=False)
class Guidance:
    """Where the answer lies in each picture.

    boxes  (N) a box as shares of the network's picture, None where nobody knows
    size   side of the picture, pixels
    grid   side of the map of attention, places
    """

    boxes: Sequence[Box | None]
    size: int
    grid: int

    def wishes(self, rows: Rows, variations: Sequence[Variation]) -> Tensor:
        """The wished attention (B, grid * grid) to pictures that are varied so; -1 if unknown."""
        found = [self._wish(row, one) for row, one in zip(rows.tolist(), variations, strict=True)]
        return torch.stack(found)

    def _wish(self, row: int, variation: Variation) -> Tensor:
        box = self.boxes[row]
        if box is None:
            return torch.full((self.grid**2,), UNKNOWN)
        cover = torch.from_numpy(box_cover((self.size, self.size), box))[None]
        moved = move(cover, variation, "zeros")
        # Cell i of padded convolutions is centred at pixel stride * i, not stride / 2 further on.
        stride = stride_of(self.size, self.grid)
        wished = nnf.avg_pool2d(moved, stride, stride, padding=stride // 2)
        return wished[:, : self.grid, : self.grid].flatten()


def make_guidance(recipe: Recipe, cohort: Cohort, network: nn.Module) -> Guidance | None:
    """The guidance that `recipe` asks for, with `network` set to show its attention; or None.

    It asks for it by the loss "attention". Raises RecipeError where that cannot be.
    """
    if all(loss.name != ATTENTION_LOSS for loss in recipe.training.losses):
        return None
    columns = micrograph_settings(recipe).box
    fault = None
    if columns is None:
        fault = "needs study.box, the columns that say where the answer lies"
    elif micrograph_settings(recipe).augmentation.mixup:
        fault = "cannot look at two mixed pictures: set study.augmentation.mixup to 0"
    elif not show_attention(network, True):
        fault = 'needs a network that attends: set network.options.pooling to "attention"'
    if fault or columns is None:
        raise RecipeError(f"{recipe.name}: the loss 'attention' {fault}.")
    size = cohort.pictures.shape[-1]
    places = _places(network, cohort.pictures.shape) - len(recipe.table.classes)
    boxes = [box_of(row, columns) for row in cohort.cells()]
    seen = [
        box and _in_picture(box, view)
        for box, view in zip(boxes, cohort.pictures.views, strict=True)
    ]
    return Guidance(seen, size, round(places**0.5))


@torch.no_grad()
def _places(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Columns that come out of `network`, whose weights and statistics stay as they are."""
    was = network.training
    covariates = torch.zeros(1, int(getattr(network, "covariates", 0)))
    columns = network.eval()(torch.zeros(1, *shape), covariates).shape[1]
    network.train(was)
    return int(columns)


def _in_picture(box: Box, view: View) -> Box:
    """A box in shares of the raw image, in shares of the network's picture."""
    raw, picture = np.array(view.raw_shape[::-1]), np.array(view.shape[::-1])
    scale, offset = np.array(view.scale[::-1]), np.array(view.offset[::-1])
    centre: NDArray[np.float64] = (np.array(box[:2]) * raw - 0.5 - offset) / scale + 0.5
    x, y = centre / picture
    width, height = np.array(box[2:]) * raw / scale / picture
    return float(x), float(y), float(width), float(height)
