# SPDX-License-Identifier: Apache-2.0
"""Pictures of volumes: three planes through a point, or a series of axial slices.

Planes are drawn in millimetres, so that thick slices have their true proportions, and as seen from
above and from the front with the left side of the body on the left; both sides are lettered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import GeometryError
from encephalon.geometry import Affine, orient
from encephalon.reports.images import AMBER, GAP, Colour, Panel, draw, mosaic
from encephalon.reports.pictures import Picture

__all__ = ["Overlay", "axial_series", "display_window", "three_planes"]

Volume = NDArray[Any]
Box = tuple[slice, slice, slice]

# Values looked at when choosing the window; more would not move a percentile visibly.
_SAMPLE = 500_000
# Air left around the head, mm.
_MARGIN = 6.0
# The sides that the left and right edge of each plane show.
_SIDES = (("P", "A"), ("L", "R"), ("L", "R"))


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
    width: int = 940,
    height: int = 380,
    alt: str = "Sagittal, coronal and axial slice",
) -> Picture:
    """Draw a sagittal, a coronal and an axial slice of a volume (I, J, K).

    They run through the centroid of the first overlay, or through the middle of the head, and fill
    `width` or `height` pixels, whichever they meet first. Raises GeometryError when an overlay is
    not on the volume's grid.
    """
    scene = _scene(data, affine, overlays)
    at = scene.centroid()
    across, deep, high = scene.extents()
    scale = min((width - 2 * GAP) / (deep + 2 * across), height / max(deep, high))
    panels = [scene.panel(axis, at[axis], scale) for axis in range(3)]
    return draw(mosaic(panels, columns=3), alt, colours=_colours(overlays))


def axial_series(
    data: Volume,
    affine: Affine,
    overlays: Sequence[Overlay] = (),
    *,
    count: int = 8,
    columns: int = 8,
    width: int = 940,
    alt: str = "Axial slices from bottom to top",
) -> Picture:
    """Draw `count` axial slices of a volume (I, J, K), `columns` of them on `width` pixels.

    They are spread evenly over the height of the first overlay, or over the volume's middle.
    Raises GeometryError when an overlay is not on the volume's grid.
    """
    scene = _scene(data, affine, overlays)
    low, high = scene.height_range()
    places = np.linspace(low, high, count + 2)[1:-1]
    scale = ((width + GAP) / columns - GAP) / scene.extents()[0]
    panels = [scene.panel(2, round(place), scale, letters=False) for place in places]
    return draw(mosaic(panels, columns=columns), alt, colours=_colours(overlays))


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
            floor, top = np.percentile(kept, [0.5, 99.5])
            low, high = min(low, floor), top + 0.1 * (top - floor)
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    return float(low), float(max(high, low + 1e-6))


@dataclass(frozen=True, eq=False)
class _Scene:
    """A volume and its masks in RAS+ voxel order, cut to the head."""

    data: Volume
    masks: tuple[NDArray[np.bool_], ...]
    spacing: tuple[float, float, float]
    window: tuple[float, float]

    def extents(self) -> tuple[float, float, float]:
        """Size of the head's box in mm."""
        i, j, k = (n * step for n, step in zip(self.data.shape, self.spacing, strict=True))
        return i, j, k

    def centroid(self) -> tuple[int, int, int]:
        """The voxel in the middle of the first mask that is not empty, else of the box."""
        for mask in self.masks:
            if mask.any():
                i, j, k = (_middle(mask, axis) for axis in range(3))
                return i, j, k
        i, j, k = (n // 2 for n in self.data.shape)
        return i, j, k

    def height_range(self) -> tuple[float, float]:
        """First and last slice of the first mask that is not empty, else the middle 80 %."""
        for mask in self.masks:
            slices = np.flatnonzero(mask.any(axis=(0, 1)))
            if slices.size:
                return float(slices[0]), float(slices[-1])
        last = self.data.shape[2] - 1
        return 0.1 * last, 0.9 * last

    def panel(self, axis: int, index: int, scale: float, letters: bool = True) -> Panel:
        """One plane at `scale` pixels per mm."""
        first, second = (other for other in range(3) if other != axis)
        extents = self.extents()
        size = (max(1, round(extents[first] * scale)), max(1, round(extents[second] * scale)))
        pixels = _scaled(_plane(self.data, axis, index), *self.window)
        masks = tuple(_plane(mask, axis, index) for mask in self.masks)
        return Panel(pixels, masks, size, _SIDES[axis] if letters else ())


def _scene(data: Volume, affine: Affine, overlays: Sequence[Overlay]) -> _Scene:
    _check_overlays(data.shape, overlays)
    turned, turned_affine = orient(data, affine, "RAS")
    masks = [orient(np.asarray(each.mask != 0), affine, "RAS")[0] for each in overlays]
    window = display_window(turned, masks[0] if masks else None)
    box = _head_box(turned, masks, turned_affine.spacing, window)
    cut = tuple(np.asarray(mask[box], dtype=np.bool_) for mask in masks)
    return _Scene(turned[box], cut, turned_affine.spacing, window)


def _head_box(
    data: Volume,
    masks: Sequence[NDArray[np.bool_]],
    spacing: Sequence[float],
    window: tuple[float, float],
) -> Box:
    bright = data > window[0] + 0.12 * (window[1] - window[0])
    bounds = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        # Noise makes single bright voxels in air; a head fills a part of every plane it is in.
        filled = np.count_nonzero(bright, axis=others) > 0.005 * data.size / data.shape[axis]
        for mask in masks:
            filled |= mask.any(axis=others)
        places = np.flatnonzero(filled)
        margin = round(_MARGIN / spacing[axis])
        low = max(0, int(places[0]) - margin) if places.size else 0
        high = int(places[-1]) + 1 + margin if places.size else data.shape[axis]
        bounds.append(slice(low, min(high, data.shape[axis])))
    return bounds[0], bounds[1], bounds[2]


def _middle(mask: NDArray[np.bool_], axis: int) -> int:
    counts = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
    return round(float(np.average(np.arange(counts.size), weights=counts)))


def _plane(volume: NDArray[Any], axis: int, index: int) -> NDArray[Any]:
    """One plane as (rows, columns), the upper edge first."""
    return np.asarray(volume[(slice(None),) * axis + (index,)].T[::-1])


def _scaled(plane: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    levels = (np.asarray(plane, dtype=np.float32) - low) * (255.0 / (high - low))
    return np.clip(levels, 0.0, 255.0)


def _check_overlays(shape: tuple[int, ...], overlays: Sequence[Overlay]) -> None:
    for overlay in overlays:
        if np.shape(overlay.mask) != shape:
            raise GeometryError(
                f"The overlay {overlay.name!r} has the shape {np.shape(overlay.mask)} and the "
                f"image {shape}: bring both to one grid."
            )


def _colours(overlays: Sequence[Overlay]) -> list[tuple[str, Colour]]:
    return [(overlay.name, overlay.colour) for overlay in overlays]
