# SPDX-License-Identifier: Apache-2.0
"""How much of each map lies in the box where the answer is known to lie, in the raw image.

Beside it stands what needs no network: a map that always says "the middle", and one that says
"anywhere". A map that does not beat the first has found nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.evaluation.figure import share_interval
from encephalon.evaluation.intervals import Interval
from encephalon.evaluation.weighted import bootstrap_weighted, mean_of
from encephalon.explanation.location import (
    Box,
    box_cover,
    centre_prior,
    points_inside,
    share_inside,
)

if TYPE_CHECKING:
    from encephalon.transforms.view import View

__all__ = [
    "CENTRE_SIGMA",
    "Found",
    "Location",
    "box_of",
    "locate_maps",
    "summarise",
    "weigh",
]

#: Standard deviation of the centre prior, a share of each side: our choice, after Judd et al. 2009.
CENTRE_SIGMA = 0.25


@dataclass(frozen=True)
class Found:
    """One image: the shares of three maps inside its box, and whether their tops lie in it."""

    share: float
    centre_prior: float
    uniform: float
    hit: bool
    centre_hit: bool


@dataclass(frozen=True)
class Location:
    """All images: means with intervals that draw whole groups.

    n             images with a box
    share         of the network's maps inside the box
    centre_prior  of the centre prior, restricted to what the network saw
    uniform       of a map that is the same everywhere: the area of the box in what it saw
    difference    share minus centre prior, image by image
    hits          how often the highest point of the map lies inside (the pointing game)
    centre_hits   how often the middle does
    images        what the means are of
    """

    n: int
    share: Interval
    centre_prior: Interval
    uniform: Interval
    difference: Interval
    hits: Interval
    centre_hits: Interval
    images: tuple[Found, ...] = field(repr=False)

    @property
    def beats_centre(self) -> bool:
        """Whether the maps know more than "the middle", beyond what chance would give."""
        return self.difference.low > 0

    def __str__(self) -> str:
        """The main figures in a sentence."""
        return (
            f"{100 * self.share.value:.0f} % of the maps lie inside the box, "
            f"{100 * self.centre_prior.value:.0f} % of a centre prior and "
            f"{100 * self.uniform.value:.0f} % of a uniform map (n = {self.n})"
        )


def locate_maps(
    maps: Iterable[NDArray[np.float32]],
    views: Sequence[View],
    boxes: Sequence[Box | None],
    groups: Sequence[Any] | None = None,
) -> Location | None:
    """Return where N maps lie that were made already; None where no image has a box.

    maps   (N) of (h, w), as `grad_cam` gives them
    views  (N) where each lies in its raw image
    """
    found = [
        None if box is None else weigh(view.to_raw(values), box)
        for values, view, box in zip(maps, views, boxes, strict=True)
    ]
    return summarise(found, groups)


def weigh(values: NDArray[np.float32], box: Box) -> Found:
    """Return how much of one map on the raw grid (rows, columns) lies inside the box."""
    cover = box_cover(_shape(values), box)
    seen = np.isfinite(values)
    prior = centre_prior(_shape(values), CENTRE_SIGMA) * seen
    return Found(
        share=share_inside(values, cover),
        centre_prior=share_inside(prior, cover),
        uniform=share_inside(seen, cover),
        hit=points_inside(values, cover),
        centre_hit=points_inside(prior, cover),
    )


def summarise(
    found: Sequence[Found | None], groups: Sequence[Any] | None = None
) -> Location | None:
    """Return the means over the images that have a box; None where there are none."""
    kept = [place for place, one in enumerate(found) if one is not None]
    images = tuple(one for one in found if one is not None)
    if not images:
        return None
    units = None if groups is None else [groups[place] for place in kept]

    def mean(values: Sequence[float]) -> Interval:
        return bootstrap_weighted(np.array(values, dtype=float), mean_of, groups=units)

    def share(hits: Sequence[bool]) -> Interval:
        return share_interval(hits, np.ones(len(hits), bool), units)

    return Location(
        n=len(images),
        share=mean([one.share for one in images]),
        centre_prior=mean([one.centre_prior for one in images]),
        uniform=mean([one.uniform for one in images]),
        difference=mean([one.share - one.centre_prior for one in images]),
        hits=share([one.hit for one in images]),
        centre_hits=share([one.centre_hit for one in images]),
        images=images,
    )


def box_of(row: Mapping[str, Any], columns: tuple[str, str, str, str] | None) -> Box | None:
    """Return the box in a row of the table, or None where it names none or a cell is no number."""
    try:
        x, y, width, height = (float(row[name] or "nan") for name in columns or ())
    except (KeyError, ValueError):
        return None
    return (x, y, width, height) if np.isfinite([x, y, width, height]).all() else None


def _shape(values: NDArray[Any]) -> tuple[int, int]:
    rows, columns = values.shape
    return rows, columns
