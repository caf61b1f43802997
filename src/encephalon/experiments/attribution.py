# SPDX-License-Identifier: Apache-2.0
"""What the finished networks of a run look at, each in the images that it did not learn.

Shown are the images that a network is most and least certain of, with their maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encephalon.evaluation.comparison import units_of_images
from encephalon.evaluation.operating_point import OperatingPoint
from encephalon.evaluation.predictions import UNKNOWN_CLASS, Predictions
from encephalon.experiments.classifiers import ClassNetwork, ClassValidation
from encephalon.experiments.folds import Rows
from encephalon.experiments.out_of_fold import RowPredictions
from encephalon.explanation.gradcam import grad_cam, scale_map
from encephalon.explanation.importance import HeadInputs, covariate_importance, watching_head
from encephalon.explanation.location import Location, box_of, locate_maps
from encephalon.models.fitted import score_logits
from encephalon.reports.images import Heatmap, Picture
from encephalon.statistics.intervals import Interval
from encephalon.transforms.resize import View

__all__ = ["Attribution", "Example", "examples"]

#: Longest side of a picture on the page, pixels.
SIDE = 320
#: Images that go through a network at once.
AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class Attribution:
    """The rows of `part`, each with the network in `networks` that its fold names."""

    cv: ClassValidation
    networks: Sequence[ClassNetwork]
    part: RowPredictions

    @cached_property
    def maps(self) -> dict[int, NDArray[np.float32]]:
        """Grad-CAM (h, w) of the predicted class by place; empty for a network without maps."""
        found: dict[int, NDArray[np.float32]] = {}
        for fitted, places in self._in_parts():
            if fitted.layer is not None:
                inputs = fitted.inputs(self.part.rows[places])
                targets = self.part.predictions.predicted[places].tolist()
                values = grad_cam(fitted.network, inputs, fitted.layer, targets)
                found |= dict(zip(places.tolist(), values, strict=True))
        return found

    def examples(self) -> tuple[Sequence[Example], Sequence[Example]]:
        """The most and the least certain images, with their maps."""

        def raw(place: int) -> NDArray[Any]:
            return self.cv.dataset.raw(int(self.part.rows[place]))

        return examples(self.part.predictions, self.maps, self._views, raw)

    def location(self) -> Location | None:
        """How much of the maps lies in the boxes of the table; None without boxes or maps."""
        columns = self.cv.settings.box
        if columns is None or not self.maps:
            return None
        boxes = [box_of(row, columns) for row in self.part.predictions.rows]
        maps = [self.maps[place] for place in range(len(boxes))]
        return locate_maps(maps, self._views, boxes, self._groups)

    def importance(self, point: OperatingPoint) -> Mapping[str, Interval]:
        """Growth of the log loss when a covariate is permuted; none without covariates."""
        # Of a network of another kind nobody knows where the covariates come in.
        if not getattr(self.networks[0].network, "sees_covariates", False):
            return {}
        parts = []
        for fitted, places in self._in_parts():
            with watching_head(fitted.network) as head, torch.no_grad():
                fitted.network(*fitted.inputs(self.part.rows[places]))
            parts.append(HeadInputs(fitted.network, places, head["seen"]))
        return covariate_importance(
            parts,
            self.part.predictions.y_true,
            self.cv.recipe.table,
            lambda logits: score_logits(logits, point.score, point.calibration),
            self._groups,
        )

    def _in_parts(self) -> list[tuple[ClassNetwork, Rows]]:
        """Places in the part, as many at once as memory surely holds, with their network."""
        folds = self.part.predictions.fold
        parts = []
        for number, fitted in enumerate(self.networks):
            places = np.flatnonzero(folds == number)
            cuts = range(AT_ONCE, len(places), AT_ONCE)
            parts += [(fitted, cut) for cut in np.split(places, cuts) if len(cut)]
        return parts

    @property
    def _views(self) -> list[View]:
        return [self.cv.dataset.views[row] for row in self.part.rows]

    @property
    def _groups(self) -> list[str] | None:
        return units_of_images(self.part.predictions, self.cv.recipe.table.group)


@dataclass(frozen=True)
class Example:
    """One image: what was said, how surely, what is true (None: nobody labelled it), its map."""

    id: str
    predicted: str
    probability: float
    truth: str | None
    picture: Picture


def examples(
    predictions: Predictions,
    maps: Mapping[int, NDArray[np.float32]],
    views: Sequence[View],
    read: Callable[[int], NDArray[Any]],
    count: int = 6,
) -> tuple[list[Example], list[Example]]:
    """Return the `count` most certain images, surest first, and the least certain, least first.

    predictions  of N images; certain means a high probability of the predicted class
    maps    (h, w) by position in 0 .. N-1; an image without one is shown by itself
    views   (N) where each map lies in the raw image
    read    from a position to the raw image (rows, columns); only those shown are read

    No image is in both lists.
    """
    order = np.argsort(-predictions.y_prob.max(axis=1), kind="stable").tolist()
    half = (len(order) + 1) // 2

    def show(place: int) -> Example:
        said, truth = int(predictions.predicted[place]), int(predictions.y_true[place])
        values = views[place].to_raw(scale_map(maps[place])) if place in maps else None
        name = predictions.ids[place]
        return Example(
            id=name,
            predicted=predictions.classes[said],
            probability=float(predictions.y_prob[place, said]),
            truth=None if truth == UNKNOWN_CLASS else predictions.classes[truth],
            picture=Heatmap.of(read(place), values, SIDE).overlay(f"{name} with its map"),
        )

    most, least = order[:half][:count], order[half:][::-1][:count]
    return [show(place) for place in most], [show(place) for place in least]
