# SPDX-License-Identifier: Apache-2.0
"""Whether a map lies where the answer is known to lie, against what blind guessing would reach.

A map (rows, columns) is 0 or more, and NaN where the network did not look. What is known is a
cover (rows, columns): how much of each pixel lies inside the boxes of the table, from 0 to 1. Two
maps need no network: one that always says "the middle", and one that says "anywhere". A map that
does not beat the first has found nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.statistics.intervals import Interval, bootstrap_weighted, mean_of
from encephalon.statistics.weighted_metric import share_interval

if TYPE_CHECKING:
    from encephalon.transforms.resize import View

__all__ = [
    "CENTRE_SIGMA",
    "Box",
    "Found",
    "Location",
    "box_cover",
    "box_of",
    "centre_prior",
    "locate_maps",
    "points_inside",
    "share_inside",
    "summarise",
    "weigh",
]

Box = tuple[float, float, float, float]
"""Centre x, centre y, width and height, as shares of the image: x along columns, y along rows."""

#: Standard deviation of the centre prior, a share of each side: our choice, after Judd et al. 2009.
CENTRE_SIGMA = 0.25


def box_cover(shape: tuple[int, int], box: Box) -> NDArray[np.float32]:
    """Return how much of each pixel of an image of `shape` (rows, columns) lies in the box."""
    x, y, width, height = box
    sides = []
    for size, centre, extent in zip(shape, (y, x), (height, width), strict=True):
        start, low, high = np.arange(size), centre - extent / 2, centre + extent / 2
        covered = np.minimum(high * size, start + 1) - np.maximum(low * size, start)
        sides.append(np.clip(covered, 0.0, 1.0).astype(np.float32))
    return np.outer(*sides)


def centre_prior(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a Gaussian (rows, columns) around the middle, 1 at its top.

    It is what a map is worth that always says "the middle": the
    thing of interest is seldom at the edge of an image.
    """
    down, across = (
        np.exp(-0.5 * (((np.arange(size) + 0.5) / size - 0.5) / CENTRE_SIGMA) ** 2)
        for size in shape
    )
    return np.outer(down.astype(np.float32), across.astype(np.float32))


def share_inside(values: NDArray[Any], cover: NDArray[Any]) -> float:
    """Return the share of a map that lies inside, 0 to 1; 0 for a map that is empty."""
    known = np.where(np.isnan(values), 0, values)
    total = float(known.sum(dtype=np.float64))
    return float((known * cover).sum(dtype=np.float64)) / total if total > 0 else 0.0


def points_inside(values: NDArray[Any], cover: NDArray[Any]) -> bool:
    """Return whether the highest point of a map lies inside: the pointing game, without tolerance.

    Zhang et al. 2018, doi:10.1007/s11263-017-1059-x. An empty map points nowhere.
    """
    known = np.where(np.isnan(values), 0, values)
    return bool(known.max() > 0 and cover.flat[int(known.argmax())] >= 0.5)


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
    rows, columns = values.shape
    cover, seen = box_cover((rows, columns), box), np.isfinite(values)
    prior = centre_prior((rows, columns)) * seen
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
