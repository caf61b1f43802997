# SPDX-License-Identifier: Apache-2.0
"""The images that a classifier is most and least certain of, with their maps, for a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.explanation.scaling import scale_map
from encephalon.reports.pictures import Picture
from encephalon.studies.micrographs.panels import look_at, overlay
from encephalon.studies.micrographs.scored import UNKNOWN_CLASS, Scored

if TYPE_CHECKING:
    from encephalon.transforms.view import View

__all__ = ["Example", "examples"]

#: Longest side of a picture on the page, pixels.
SIDE = 320


@dataclass(frozen=True)
class Example:
    """One image: what was said, how surely, what is true (None: nobody labelled it), its map."""

    id: str
    predicted: str
    probability: float
    truth: str | None
    picture: Picture


def examples(
    scored: Scored,
    maps: Mapping[int, NDArray[np.float32]],
    views: Sequence[View],
    read: Callable[[int], NDArray[Any]],
    count: int = 6,
) -> tuple[list[Example], list[Example]]:
    """Return the `count` most certain images, surest first, and the least certain, least first.

    scored  predictions of N images; certain means a high probability of the predicted class
    maps    (h, w) by position in 0 .. N-1; an image without one is shown by itself
    views   (N) where each map lies in the raw image
    read    from a position to the raw image (rows, columns); only those shown are read

    No image is in both lists.
    """
    order = np.argsort(-scored.probabilities.max(axis=1), kind="stable").tolist()
    half = (len(order) + 1) // 2

    def show(place: int) -> Example:
        said, truth = int(scored.predicted[place]), int(scored.truth[place])
        values = views[place].to_raw(scale_map(maps[place])) if place in maps else None
        name = scored.ids[place]
        return Example(
            id=name,
            predicted=scored.classes[said],
            probability=float(scored.probabilities[place, said]),
            truth=None if truth == UNKNOWN_CLASS else scored.classes[truth],
            picture=overlay(look_at(read(place), values, SIDE), f"{name} with its map"),
        )

    most, least = order[:half][:count], order[half:][::-1][:count]
    return [show(place) for place in most], [show(place) for place in least]
