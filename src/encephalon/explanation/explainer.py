# SPDX-License-Identifier: Apache-2.0
"""Explain one image: its class, its map in raw coordinates, and what else is learnt on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from encephalon.errors import UsageError, did_you_mean
from encephalon.explanation.gradcam import find_layer, grad_cam, scale_map
from encephalon.explanation.importance import watching_head
from encephalon.explanation.location import Found, box_of, weigh
from encephalon.inference.runtimes import resolve_device, resolve_threads

if TYPE_CHECKING:
    from torch import Tensor

    from encephalon.tables.samples import Sample

__all__ = ["Explained", "Explainer"]


@dataclass(frozen=True, eq=False)
class Explained:
    """One image that was explained.

    name         of the class that the map is of
    probability  of that class
    values       what the model predicts, as in predictions.csv
    quality      "ok", "check" or None, and `reasons` why
    map          (rows, columns) in [0, 1] on the raw grid, NaN where the network did not look
    peak         the largest value of the map before it was scaled: 0 where it is empty
    found        how much of it lies inside the box that the table names, if it names one
    head         (F + W) what the head of the network was given
    inputs       what the whole network was given, one sample
    """

    name: str
    probability: float
    values: dict[str, Any]
    quality: str | None
    reasons: tuple[str, ...]
    map: NDArray[np.float32] = field(repr=False)
    peak: float
    found: Found | None
    head: NDArray[np.float32] = field(repr=False)
    inputs: tuple[Tensor, ...] = field(repr=False)


class Explainer:
    """The network of a loaded model, ready to explain one image after another.

    target_class  name of the class that maps are of; None is the predicted one
    layer         dotted path in the network; None is the one that the model names

    Raises UsageError for a class or a layer that the model does not have.
    """

    def __init__(
        self,
        predictor: Any,
        target_class: str | None = None,
        layer: str | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        if predictor.settings.inputs == "covariates":
            raise UsageError(
                f"The model {predictor.name!r} sees covariates alone: there is no image to explain."
            )
        self.predictor = predictor
        self._target = None if target_class is None else self._index(target_class)
        torch.set_num_threads(resolve_threads(threads))
        self.network = predictor.torch_network().to(resolve_device(device, needs_torch=True))
        self.layer = layer or predictor.layer
        find_layer(self.network, self.layer)

    def explain(self, loaded: Any, sample: Sample) -> Explained:
        """Return the explanation of what the predictor's `read` made of a sample."""
        prediction = self.predictor.predict(loaded)
        picture = loaded.picture
        place = next(self.network.parameters()).device
        # Copies: an array that is mapped from a file must not be shared.
        given = (picture.image[None], loaded.covariates)
        inputs = tuple(torch.tensor(values).to(place) for values in given)
        target = self._target
        # As published, the class of the larger logit is explained.
        if target is None and self.predictor.mode != "published":
            target = self._index(str(prediction.values["predicted"]))
        with watching_head(self.network) as head:
            (values,) = grad_cam(self.network, inputs, self.layer, target)
        said = int(head["logits"][0].argmax()) if target is None else target
        raw = picture.view.to_raw(values)
        box = box_of(sample.row, self.predictor.settings.box)
        quality, name = prediction.quality, self.predictor.classes[said]
        return Explained(
            name=name,
            probability=float(prediction.values[f"p_{name}"]),
            values=dict(prediction.values),
            quality=quality.status if quality else None,
            reasons=quality.reasons if quality else (),
            map=scale_map(raw),
            peak=float(values.max()),
            found=None if box is None else weigh(raw, box),
            head=head["seen"][0],
            inputs=inputs,
        )

    def _index(self, name: str) -> int:
        classes = list(self.predictor.classes)
        if name in classes:
            return classes.index(name)
        meant = did_you_mean(name, classes, "known classes:")
        raise UsageError(f"The model {self.predictor.name!r} has no class {name!r}; {meant}")
