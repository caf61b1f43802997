# SPDX-License-Identifier: Apache-2.0
"""Pictures of volumes: three planes through a point, or a series of axial slices.

Planes are drawn in millimetres, so that thick slices have their true proportions, and as seen from
above and from the front with the left side of the body on the left; both sides are lettered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError
from encephalon.geometry.affine import Affine, bounding_box, nearest_axes, orient
from encephalon.reports.images import (
    AMBER,
    GAP,
    WINDOW,
    Colour,
    Panel,
    Picture,
    draw,
    grey_levels,
)

__all__ = ["OrthogonalSlices", "Overlay", "axial_series", "display_window", "three_planes"]

Volume = NDArray[Any]
Box = tuple[slice, slice, slice]

#: Pixels that three planes side by side fill, whichever they meet first.
WIDTH, HEIGHT = 940, 380
# Values looked at when choosing the window; more would not move a percentile visibly.
_SAMPLE = 500_000
# Air left around the head, mm, and the share of a plane that a head fills at the least: noise makes
# single bright voxels in air.
_MARGIN, _FILLED = 6.0, 0.005
# The sides that the left and right edge of the sagittal, the coronal and the axial plane show.
_SIDES = (("P", "A"), ("L", "R"), ("L", "R"))


@dataclass(frozen=True)
class OrthogonalSlices:
    """Where to cut a grid in a sagittal, a coronal and an axial plane, and how large to draw these.

    affine  of the grid, whose voxel axes may have any order and direction
    at      the voxel that all three planes run through
    box     what is drawn of each voxel axis
    scale   pixels per mm
    """

    affine: Affine
    at: tuple[int, int, int]
    box: Box
    scale: float

    @classmethod
    def of_head(
        cls, affine: Affine, filled: Sequence[NDArray[np.float64]], size: tuple[int, int] = (0, 0)
    ) -> OrthogonalSlices:
        """The planes through the middle of a head, cut to it.

        filled  for each voxel axis the share of every plane across it that the head fills
        size    width and height in pixels that the planes fill side by side, by default those of a
                page; whichever they meet first
        """
        heads = (shares > _FILLED for shares in filled)
        i, j, k = (
            bounding_box(head if head.any() else ~head, round(_MARGIN / step))[0]
            for head, step in zip(heads, affine.spacing, strict=True)
        )
        x, y, z = (_middle(shares) for shares in filled)
        view = cls(affine, (x, y, z), (i, j, k), 1.0)
        across, deep, high = (view.extent(axis) for axis in view.axes)
        width, height = (given or usual for given, usual in zip(size, (WIDTH, HEIGHT), strict=True))
        scale = min((width - 2 * GAP) / (deep + 2 * across), height / max(deep, high))
        return replace(view, scale=scale)

    @property
    def axes(self) -> tuple[int, int, int]:
        """The voxel axis across the sagittal, the coronal and the axial plane."""
        worlds, _ = nearest_axes(self.affine.direction)
        return worlds.index(0), worlds.index(1), worlds.index(2)

    def extent(self, axis: int) -> float:
        """Size of the box along a voxel axis, mm."""
        return float((self.box[axis].stop - self.box[axis].start) * self.affine.spacing[axis])

    def of(self, volume: NDArray[Any]) -> list[NDArray[Any]]:
        """The sagittal, coronal and axial plane of `volume` (I, J, K) as (rows, columns)."""
        return [self.turned(axis, np.take(volume, self.at[axis], axis)) for axis in self.axes]

    def turned(self, axis: int, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane across `axis`, of the other two in their order, cut and the upper edge first."""
        across, up = (other for other in self.axes if other != axis)
        _, signs = nearest_axes(self.affine.direction)
        rest = [other for other in range(3) if other != axis]
        cut = plane[tuple(self.box[other] for other in rest)]
        ordered = cut if rest == [across, up] else cut.T
        return np.asarray(ordered[:: signs[across], :: signs[up]].T[::-1])

    def panel(
        self,
        place: int,
        pixels: NDArray[Any],
        masks: Sequence[NDArray[Any]] = (),
        letters: bool = True,
    ) -> Panel:
        """The sagittal (0), coronal (1) or axial (2) plane, of values in [0, 255]."""
        axes = self.axes
        across, up = (other for other in axes if other != axes[place])
        size = [max(1, round(self.extent(axis) * self.scale)) for axis in (across, up)]
        return Panel(pixels, tuple(masks), (size[0], size[1]), _SIDES[place] if letters else ())

    def panels(self, planes: Sequence[NDArray[Any]], letters: bool = True) -> list[Panel]:
        """All three planes, in [0, 255], as panels."""
        return [self.panel(place, pixels, (), letters) for place, pixels in enumerate(planes)]


@dataclass(frozen=True, eq=False)
class Overlay:
    """A mask on the same grid as the image, outlined in a colour and hidden by its name."""

    mask: NDArray[Any]
    name: str = "prediction"
    colour: Colour = AMBER


def three_planes(
    data: Volume,
    affine: Affine,
    overlays: Sequence[Overlay] = (),
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> Picture:
    """Draw a sagittal, a coronal and an axial slice of a volume (I, J, K).

    They run through the centroid of the first overlay, or through the middle of the head, and fill
    `width` or `height` pixels, whichever they meet first. Raises GeometryError when an overlay is
    not on the volume's grid.
    """
    scene = _scene(data, affine, overlays, (width, height))
    cuts = zip(*(scene.view.of(each) for each in (scene.data, *scene.masks)), strict=True)
    panels = [
        scene.view.panel(place, grey_levels(plane, *scene.window), masks)
        for place, (plane, *masks) in enumerate(cuts)
    ]
    colours = [(each.name, each.colour) for each in overlays]
    return draw([panels], "Sagittal, coronal and axial slice", colours)


def axial_series(
    data: Volume,
    affine: Affine,
    overlays: Sequence[Overlay] = (),
    *,
    count: int = 8,
    columns: int = 8,
    width: int = WIDTH,
) -> Picture:
    """Draw `count` axial slices of a volume (I, J, K), `columns` of them on `width` pixels.

    They are spread evenly over the height of the first overlay, or over the volume's middle.
    Raises GeometryError when an overlay is not on the volume's grid.
    """
    scene = _scene(data, affine, overlays)
    scale = ((width + GAP) / columns - GAP) / scene.view.extent(0)
    view, panels = replace(scene.view, scale=scale), []
    first, last = view.box[2].start, view.box[2].stop - 1
    ends = first + 0.1 * (last - first), first + 0.9 * (last - first)
    if scene.main is not None:
        filled = np.flatnonzero(scene.main.any(axis=(0, 1)))
        ends = float(filled[0]), float(filled[-1])
    for place in np.linspace(*ends, count + 2)[1:-1]:
        plane, *masks = (
            view.turned(2, each[..., round(place)]) for each in (scene.data, *scene.masks)
        )
        panels.append(view.panel(2, grey_levels(plane, *scene.window), masks, letters=False))
    rows = [panels[start : start + columns] for start in range(0, count, columns)]
    colours = [(each.name, each.colour) for each in overlays]
    return draw(rows, "Axial slices from bottom to top", colours)


def display_window(data: NDArray[Any], inside: NDArray[Any] | None = None) -> tuple[float, float]:
    """Choose the values shown as black and white.

    With a mask, white is a little above what lies inside, however bright the scalp is.
    """
    step = max(1, round((data.size / _SAMPLE) ** (1 / data.ndim)))
    sparse = (slice(None, None, step),) * data.ndim
    sample = np.asarray(data[sparse], dtype=np.float32)
    low, high = np.percentile(sample, [1.0, 99.5])
    if inside is not None:
        kept = sample[np.asarray(inside[sparse] != 0)]
        if kept.size > 100:
            floor, top = np.percentile(kept, WINDOW)
            low, high = min(low, floor), top + 0.1 * (top - floor)
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    return float(low), float(max(high, low + 1e-6))


@dataclass(frozen=True, eq=False)
class _Scene:
    """A volume and its masks in RAS+ voxel order, where to cut them, and their window.

    `main` is the first mask that is not empty.
    """

    data: Volume
    masks: tuple[NDArray[np.bool_], ...]
    main: NDArray[np.bool_] | None
    view: OrthogonalSlices
    window: tuple[float, float]


def _scene(
    data: Volume, affine: Affine, overlays: Sequence[Overlay], size: tuple[int, int] = (0, 0)
) -> _Scene:
    for overlay in overlays:
        if np.shape(overlay.mask) != data.shape:
            raise GeometryError(
                f"The overlay {overlay.name!r} has the shape {np.shape(overlay.mask)} and the "
                f"image {data.shape}: bring both to one grid."
            )
    turned, turned_affine = orient(data, affine, "RAS")
    masks = tuple(orient(np.asarray(each.mask != 0), affine, "RAS")[0] for each in overlays)
    window = display_window(turned, masks[0] if masks else None)
    bright = turned > window[0] + 0.12 * (window[1] - window[0])
    filled = []
    for axis in range(3):
        shares = _shares(bright, axis)
        for mask in masks:
            shares[_shares(mask, axis) > 0] = 1.0
        filled.append(shares)
    view = OrthogonalSlices.of_head(turned_affine, filled, size)
    main = next((mask for mask in masks if mask.any()), None)
    if main is not None:
        i, j, k = (_middle(_shares(main, axis)) for axis in range(3))
        view = replace(view, at=(i, j, k))
    return _Scene(turned, masks, main, view, window)


def _shares(mask: NDArray[np.bool_], axis: int) -> NDArray[np.float64]:
    """The share of every plane across `axis` that is True."""
    return np.asarray(mask.mean(axis=tuple(other for other in range(3) if other != axis)))


def _middle(shares: NDArray[np.float64]) -> int:
    if not shares.any():
        return len(shares) // 2
    return round(float(np.average(np.arange(len(shares)), weights=shares)))
