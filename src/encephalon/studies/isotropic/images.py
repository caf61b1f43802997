# SPDX-License-Identifier: Apache-2.0
"""Three anatomical planes of a problem's grid: the same place, box and scale for every volume.

Only the planes that are drawn are ever made: thick slices, and what is interpolated from them, are
linear along the slice axis, so a plane of theirs needs one small matrix and one plane of slices.

What there is to see of a reconstruction: three planes before and after, and what to doubt.

All pictures of a scan share their planes, their scale and, where they show intensities, their
window, so that they can be laid over each other by eye.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Grid
from encephalon.geometry.affine import nearest_axes
from encephalon.reports.format import format_number
from encephalon.reports.images import AMBER, GAP, Panel, draw, heat
from encephalon.reports.pictures import Layer, Picture
from encephalon.reports.slices import display_window
from encephalon.studies.isotropic.quality import (
    LARGE_DEVIATION,
    Evidence,
    head_of,
    intensity_range,
    residual,
)
from encephalon.studies.isotropic.reconstruction.interpolation import cubic_weights
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Problem
from encephalon.transforms.slices import along

__all__ = ["EDGES", "SIDES", "Planes", "ScanPictures", "Shown", "find_planes"]

Float = NDArray[np.float32]


Index = tuple[int, int, int]

#: Letters for the left and right edge of the sagittal, the coronal and the axial plane.
SIDES = (("P", "A"), ("L", "R"), ("L", "R"))
# Air left around the head, mm, and the share of a plane that a head fills at the least: noise makes
# single bright voxels in air.
_MARGIN, _FILLED = 6.0, 0.005
# Pixels that three planes side by side fill, whichever they meet first.
_WIDTH, _HEIGHT = 940, 380


#: Name of the layer that has the edges of the T2w.
EDGES = "edges"
_SIDES = "sagittal, coronal and axial plane"
# Smallest half width of the grey scale of residuals, as a share of the range of intensities: noise
# of rounding must look like nothing.
_RESIDUAL = 0.01
# Edges are drawn where the slope is among this share of the steepest; their scale, mm.
_STEEPEST, _EDGE_MM = 0.16, 1.2
_WHITE = (0.5, 99.5)
# Width and height of a scale, and of the words at its ends, pixels.
_BAR, _WORDS = (200, 12), ((60, 20), (120, 20))


@dataclass(frozen=True)
class Planes:
    """Where to cut a grid, and how large to draw the cuts.

    Attributes
    ----------
    grid
        The grid, in work order.
    at
        The voxel that all three planes run through.
    box
        First voxel and the one after the last to be drawn, along each axis.
    scale
        Pixels per mm.
    """

    grid: Grid
    at: Index
    box: tuple[tuple[int, int], ...]
    scale: float

    def of(self, volume: NDArray[Any]) -> list[Float]:
        """The sagittal, coronal and axial plane of `volume` (I, J, K) as (rows, columns)."""
        return [self._turned(axis, np.take(volume, self.at[axis], axis)) for axis in self._axes]

    def between(self, matrix: NDArray[np.float64], slices: NDArray[Any]) -> list[Float]:
        """The same planes of `matrix` (K, S) applied to `slices` (I, J, S)."""
        shown = []
        for axis in self._axes:
            if axis == 2:
                row = matrix[self.at[2]][None]
                plane = along(row, slices)[..., 0]
            else:
                plane = along(matrix, np.take(slices, self.at[axis], axis))
            shown.append(self._turned(axis, plane))
        return shown

    def panels(self, planes: list[Float], letters: bool = True) -> list[Panel]:
        """The planes, in [0, 255], as panels of their true proportions."""
        sides = SIDES if letters else ((), (), ())
        sizes = [self._size(axis) for axis in self._axes]
        return [
            Panel(pixels, (), size, side)
            for pixels, size, side in zip(planes, sizes, sides, strict=True)
        ]

    @property
    def _axes(self) -> Index:
        """The axis in work order across the sagittal, the coronal and the axial plane."""
        worlds, _ = nearest_axes(self.grid.affine.direction)
        return worlds.index(0), worlds.index(1), worlds.index(2)

    def _size(self, axis: int) -> tuple[int, int]:
        """Width and height of the plane across `axis`, pixels."""
        across, up = (other for other in self._axes if other != axis)
        spacing = self.grid.affine.spacing
        sizes = [(self.box[a][1] - self.box[a][0]) * spacing[a] for a in (across, up)]
        return max(1, round(sizes[0] * self.scale)), max(1, round(sizes[1] * self.scale))

    def _turned(self, axis: int, plane: NDArray[Any]) -> Float:
        """A plane (of the two other axes, in order), cut to the box, the upper edge first."""
        across, up = (other for other in self._axes if other != axis)
        _, signs = nearest_axes(self.grid.affine.direction)
        rest = [other for other in range(3) if other != axis]
        cut = plane[tuple(slice(*self.box[other]) for other in rest)]
        ordered = cut if rest == [across, up] else cut.T
        turned = ordered[:: signs[across], :: signs[up]]
        return np.asarray(turned.T[::-1], np.float32)


def find_planes(problem: Problem) -> Planes:
    """The planes through the middle of the head; the one along the slices lies between two.

    What was measured looks alike before and after, so the plane that runs along the slices is the
    voxel furthest from any of their middles, within half a distance of the middle of the head.
    """
    head, nearest = head_of(problem.stack.slices), problem.stack.operator.nearest
    spacing = problem.grid.affine.spacing
    at, box = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = head.mean(axis=others)
        shares = filled[nearest] if axis == 2 else filled
        at.append(_middle(shares))
        box.append(_bounds(shares, round(_MARGIN / spacing[axis])))
    place = at[0], at[1], _between(problem, at[2])
    return Planes(problem.grid, place, tuple(box), _scale(problem.grid, box))


def _middle(shares: NDArray[np.float64]) -> int:
    if not shares.any():
        return len(shares) // 2
    return round(float(np.average(np.arange(len(shares)), weights=shares)))


def _bounds(shares: NDArray[np.float64], margin: int) -> tuple[int, int]:
    places = np.flatnonzero(shares > _FILLED)
    if not places.size:
        return 0, len(shares)
    return max(0, int(places[0]) - margin), min(len(shares), int(places[-1]) + 1 + margin)


def _between(problem: Problem, middle: int) -> int:
    operator = problem.stack.operator
    offsets, reach = np.abs(operator.place()), max(1, round(operator.ratio / 2))
    first = max(0, middle - reach)
    return first + int(offsets[first : middle + reach + 1].argmax())


def _scale(grid: Grid, box: list[tuple[int, int]]) -> float:
    """Pixels per mm with which three planes side by side fill the width or the height."""
    worlds, _ = nearest_axes(grid.affine.direction)
    size = dict[int, float]()
    for axis, world in enumerate(worlds):
        size[world] = (box[axis][1] - box[axis][0]) * grid.affine.spacing[axis]
    across, deep, high = size[0], size[1], size[2]
    return min((_WIDTH - 2 * GAP) / (deep + 2 * across), _HEIGHT / max(deep, high))


@dataclass(frozen=True, eq=False)
class Shown:
    """One picture: its key, its heading, and what it shows."""

    key: str
    title: str
    picture: Picture
    caption: str


@dataclass(frozen=True, eq=False)
class ScanPictures:
    """One reconstruction, as a report draws it when it asks for the pictures and not before.

    Attributes
    ----------
    problem, estimate
        What was known, and what came of it.
    evidence
        What the verdict rests on.
    guide
        The T1w on the grid (I, J, K) where it was not used, to be judged by eye; that of the
        problem by default.
    acquisition, registration
        Further facts by their names, as the page is to say them: of the slices (the profile, what
        the header said) and of the T1w (how far it was moved, mutual information).
    """

    problem: Problem
    estimate: Estimate
    evidence: Evidence
    guide: Float | None = field(default=None, repr=False)
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    registration: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Shown]:
        """Every picture there is, in the order of reading."""
        for each in (
            self.before(),
            self.interpolated(),
            self.after(),
            self.uncertainty(),
            self.residual(),
            self.guided(),
        ):
            if each is not None:
                yield each

    def before(self) -> Shown:
        """The measured slices at their true proportions."""
        planes = self._planes.between(self._nearest, self._slices)
        distance = self.problem.stack.operator.distance
        words = f"Every voxel is its nearest slice; slices are {distance:.3g} mm apart."
        return self._intensities("before", "Before: the measured slices", planes, words)

    def interpolated(self) -> Shown:
        """A cubic spline through the slices, at their right places."""
        planes = self._planes.between(cubic_weights(self.problem.stack.operator), self._slices)
        words = "What any viewer shows without a model: a spline through the slices, in place."
        return self._intensities("cubic", "Cubic interpolation", planes, words)

    def after(self) -> Shown:
        """The result."""
        planes = self._planes.of(self.estimate.image)
        words = "The image that is written, with the window of the slices."
        return self._intensities("after", "After: the reconstruction", planes, words)

    def uncertainty(self) -> Shown | None:
        """How far the result may be off, as colour; None where the method does not say."""
        if self.estimate.deviation is None:
            return None
        top = LARGE_DEVIATION * self._width
        planes = [255.0 / top * plane for plane in self._planes.of(self.estimate.deviation)]
        levels = draw([self._planes.panels(planes, letters=False), _scale_bar("", "")], "").base
        rows, columns = levels.shape
        layer = heat(levels / np.float32(255), (columns, rows), "uncertainty", 1.0)
        dark = [np.zeros_like(plane) for plane in planes]
        scale = _scale_bar("0", f"{format_number(top, 3)} or more")
        base = draw([self._planes.panels(dark), scale], "").base
        words = (
            "Standard deviation of the error, in the units of the image; the lightest yellow is "
            f"{LARGE_DEVIATION:.0%} of its range."
        )
        alt = f"Uncertainty, {_SIDES}"
        return Shown("uncertainty", "Uncertainty", Picture(base, alt, (layer,)), words)

    def residual(self) -> Shown:
        """What the result, sliced again, has more or less than the slices."""
        rest = residual(self.problem, self.estimate.image)
        limit = max(_RESIDUAL * self._width, float(np.percentile(np.abs(rest), 99.9)))
        planes = self._planes.between(self._nearest, rest)
        grey = [127.5 + 127.5 * plane / limit for plane in planes]
        words = (
            "The result sliced again, minus the measured slices, in the units of the image. Middle "
            f"grey is no difference; all in all they differ by {self.evidence.consistency:.2%}."
        )
        ends = format_number(limit, 2)
        rows = [self._planes.panels(grey), _scale_bar(f"-{ends}", f"+{ends}")]
        picture = draw(rows, f"Residual of the slices, {_SIDES}")
        return Shown("residual", "What the slices contradict", picture, words)

    def guided(self) -> Shown | None:
        """The T1w with the edges of the T2w over it; None without a T1w."""
        guide = self.problem.guide if self.guide is None else self.guide
        if guide is None:
            return None
        planes = self._planes.of(guide)
        low, high = np.percentile(np.concatenate([plane.ravel() for plane in planes]), _WHITE)
        base = draw([self._planes.panels(_scaled(planes, low, high))], "").base
        alpha = draw([self._planes.panels(self._edges(), letters=False)], "").base
        layer = np.zeros((*alpha.shape, 4), np.uint8)
        layer[alpha > 0, :3] = AMBER
        layer[..., 3] = alpha
        words = "The lines must lie on borders that the T1w has as well: those of fluid above all."
        picture = Picture(base, f"T1w with the edges of the T2w, {_SIDES}", (Layer(EDGES, layer),))
        return Shown("guide", "T1w under the edges of the T2w", picture, words)

    @cached_property
    def _planes(self) -> Planes:
        return find_planes(self.problem)

    @property
    def _slices(self) -> Float:
        return self.problem.stack.slices

    @cached_property
    def _window(self) -> tuple[float, float]:
        return display_window(self._slices, head_of(self._slices))

    @cached_property
    def _width(self) -> float:
        low, high = intensity_range(self._slices)
        return max(high - low, 1e-6)

    @property
    def _nearest(self) -> NDArray[np.float64]:
        """The matrix (K, S) that gives every voxel its nearest slice."""
        return np.eye(self._slices.shape[-1])[self.problem.stack.operator.nearest]

    def _intensities(self, key: str, title: str, planes: list[Float], caption: str) -> Shown:
        grey = _scaled(planes, *self._window)
        return Shown(key, title, draw([self._planes.panels(grey)], f"{title}, {_SIDES}"), caption)

    def _edges(self) -> list[Float]:
        """Thin lines, 255 on black, along the edges of the result, as large as the panels."""
        panels = self._planes.panels(self._planes.of(self.estimate.image))
        scale = _EDGE_MM * self._planes.scale
        return [_lines(panel.pixels, panel.size, scale) for panel in panels]


def _scaled(planes: list[Float], low: float, high: float) -> list[Float]:
    factor = 255.0 / max(high - low, 1e-6)
    return [np.clip((plane - low) * factor, 0, 255).astype(np.float32) for plane in planes]


def _scale_bar(low: str, high: str) -> list[Panel]:
    """A bar from 0 to 255 between two numbers: the row below the planes."""
    dark, ramp = np.zeros((1, 1), np.float32), np.linspace(0, 255, 64, dtype=np.float32)[None]
    words = [
        Panel(dark, (), size, side)
        for size, side in zip(_WORDS, (("", low), (high, "")), strict=True)
    ]
    return [words[0], Panel(ramp, (), _BAR), words[1]]


def _lines(plane: Float, size: tuple[int, int], scale: float) -> Float:
    """255 where the curvature of `plane` changes its sign on a steep slope, `size` pixels large."""
    from PIL import Image
    from scipy import ndimage

    grown = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
    above = ndimage.gaussian_laplace(grown, scale) > 0
    steep = ndimage.gaussian_gradient_magnitude(grown, scale)
    crossing = above != ndimage.binary_erosion(above)
    strong = steep > max(float(np.quantile(steep, 1 - _STEEPEST)), 1e-6)
    return np.where(crossing & strong, np.float32(255), np.float32(0))
