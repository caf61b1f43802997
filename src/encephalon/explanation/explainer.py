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
from encephalon.explanation.location import Found, weigh
from encephalon.inference.runtimes import resolve_device, resolve_threads

if TYPE_CHECKING:
    from torch import Tensor

    from encephalon.explanation.explainable import Explainable, Look

__all__ = ["Explained", "Explainer"]


@dataclass(frozen=True, eq=False)
class Explained:
    """One image that was explained.

    name         of the class that the map is of
    probability  of that class
    values       what the model predicts, as in predictions.csv
    quality      "ok", "check" or None, and `reasons` why
    map          (rows, columns) or (z, y, x) in [0, 1] on the raw grid, NaN where the network did
                 not look
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

    @property
    def slice(self) -> int | None:
        """The z of the map's maximum, the middle one of an empty map; None for a picture."""
        if self.map.ndim < 3:
            return None
        highest = int(np.nanargmax(self.map.max(axis=(1, 2))))
        return highest if self.peak > 0 else len(self.map) // 2


class Explainer:
    """The network of a classifier, ready to explain one image after another.

    target_class  name of the class that maps are of; None is the predicted one
    layer         dotted path in the network; None is the one that the model names

    Raises UsageError for a class or a layer that the model does not have.
    """

    def __init__(
        self,
        model: Explainable,
        target_class: str | None = None,
        layer: str | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.model = model
        self._target = None if target_class is None else self._index(target_class)
        torch.set_num_threads(resolve_threads(threads))
        self.network = model.network().to(resolve_device(device, needs_torch=True))
        self.layer = layer or model.layer
        find_layer(self.network, self.layer)

    def explain(self, look: Look) -> Explained:
        """Return the explanation of what a network is shown of one sample."""
        model = self.model
        prediction = model.predictor.predict(look.loaded)
        said_of_it: dict[str, Any] = dict(prediction.values)
        place = next(self.network.parameters()).device
        # Copies: an array that is mapped from a file must not be shared.
        inputs = tuple(torch.tensor(values).to(place) for values in look.inputs)
        target = self._target
        if target is None and not model.by_logit:
            target = self._index(said_of_it["predicted"])
        with watching_head(self.network) as head:
            (values,) = grad_cam(self.network, inputs, self.layer, target)
        said = int(head["logits"][0].argmax()) if target is None else target
        raw = look.to_raw(values)
        quality, name = prediction.quality, model.classes[said]
        return Explained(
            name=name,
            probability=float(said_of_it[f"p_{name}"]),
            values=said_of_it,
            quality=quality.status if quality else None,
            reasons=quality.reasons if quality else (),
            map=scale_map(raw),
            peak=float(values.max()),
            found=None if look.box is None else weigh(raw, look.box),
            head=head["seen"][0],
            inputs=inputs,
        )

    def _index(self, name: str) -> int:
        classes = list(self.model.classes)
        if name in classes:
            return classes.index(name)
        meant = did_you_mean(name, classes, "known classes:")
        raise UsageError(f"The model {self.model.predictor.name!r} has no class {name!r}; {meant}")
