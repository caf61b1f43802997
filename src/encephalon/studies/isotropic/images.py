# SPDX-License-Identifier: Apache-2.0
"""What there is to see of a reconstruction: three planes before and after, and what to doubt.

All figures of a scan share their planes, their scale and, where they show intensities, their
window, so that they can be laid over each other by eye. Only the planes that are drawn are ever
made: thick slices, and what is interpolated from them, are linear along the slice axis, so a plane
of theirs needs one small matrix and one plane of slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.resample import resample
from encephalon.reports.format import Html, format_number
from encephalon.reports.images import (
    AMBER,
    GAP,
    WINDOW,
    Layer,
    Panel,
    Picture,
    draw,
    enlarged,
    grey_levels,
    heat,
)
from encephalon.reports.slices import OrthogonalSlices, display_window
from encephalon.reports.viewer import ViewedImage, volume_viewer
from encephalon.studies.isotropic.quality import (
    LARGE_DEVIATION,
    QualityMetrics,
    head_of,
    intensity_range,
    residual,
)
from encephalon.studies.isotropic.reconstruction.interpolation import cubic_weights
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Problem
from encephalon.transforms.slices import along

if TYPE_CHECKING:
    from encephalon.studies.isotropic.evaluation.cases import SimulatedCase

__all__ = [
    "EDGES",
    "FULL_ERROR",
    "Figure",
    "ScanFigures",
    "case_picture",
    "interpolated_planes",
    "orthogonal_slices",
]

Float = NDArray[np.float32]

#: Name of the layer that has the edges of the T2w.
EDGES = "edges"
_SIDES = "sagittal, coronal and axial plane"
# Smallest half width of the grey scale of residuals, as a share of the range of intensities: noise
# of rounding must look like nothing.
_RESIDUAL = 0.01
# Edges are drawn where the slope is among this share of the steepest; their scale, mm.
_STEEPEST, _EDGE_MM = 0.16, 1.2
#: Share of the white of the images that is white in errors and deviations.
FULL_ERROR = 0.2
# Of the planes sagittal, coronal and axial, one that cuts all slices of each kind; and pixels that
# the pictures of a case fill side by side.
_ACROSS, _CASE_WIDTH = {"axial": 0, "coronal": 0, "sagittal": 1}, 1100
# Width of a thumbnail, pixels.
_SMALL = 210
# Width at the most and height of a scale, and those of the words at its ends, pixels.
_BAR, _WORDS = (360, 18), ((80, 20), (140, 20))


def orthogonal_slices(problem: Problem) -> OrthogonalSlices:
    """The planes through the middle of the head; the one along the slices lies between two.

    What was measured looks alike before and after, so the plane that runs along the slices is the
    voxel furthest from any of their middles, within half a distance of the middle of the head.
    """
    head, operator = head_of(problem.stack.slices), problem.stack.operator
    filled = [head.mean(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    filled[2] = filled[2][operator.nearest]
    view = OrthogonalSlices.of_head(problem.grid.affine, filled)
    i, j, middle = view.at
    offsets, reach = np.abs(operator.place()), max(1, round(operator.ratio / 2))
    first = max(0, middle - reach)
    return replace(view, at=(i, j, first + int(offsets[first : middle + reach + 1].argmax())))


def interpolated_planes(
    view: OrthogonalSlices, matrix: NDArray[np.float64], slices: NDArray[Any]
) -> list[NDArray[Any]]:
    """The planes of what `matrix` (K, S) makes of `slices` (I, J, S), without making all of it."""
    shown = []
    for axis in view.axes:
        if axis == 2:
            plane = along(matrix[view.at[2]][None], slices)[..., 0]
        else:
            plane = along(matrix, np.take(slices, view.at[axis], axis))
        shown.append(view.turned(axis, plane))
    return shown


@dataclass(frozen=True, eq=False)
class Figure:
    """One picture: its key, its heading, and what it shows."""

    key: str
    title: str
    picture: Picture
    caption: str


@dataclass(frozen=True, eq=False)
class ScanFigures:
    """One reconstruction, as a report draws it when it asks for the pictures and not before.

    problem       what was known
    estimate      what came of it
    metrics       what the verdict rests on
    guide         the T1w on the grid (I, J, K) where it was not used, to be judged by eye; that of
                  the problem by default
    acquisition   further facts of the slices by their names, as the page is to say them: the
                  profile, what the header said
    registration  those of the T1w: how far it was moved, mutual information
    """

    problem: Problem
    estimate: Estimate
    metrics: QualityMetrics
    guide: Float | None = field(default=None, repr=False)
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    registration: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Figure]:
        """Every picture there is, in the order of reading, drawn once."""
        return iter(self._figures)

    @cached_property
    def _figures(self) -> list[Figure]:
        slices = self.before(), self.interpolated(), self.after()
        doubts = self.uncertainty(), self.residual(), self.guided()
        return [*slices, *(each for each in doubts if each is not None)]

    def before(self) -> Figure:
        """The measured slices at their true proportions."""
        planes = interpolated_planes(self._planes, self._nearest, self._slices)
        distance = self.problem.stack.operator.distance
        words = f"Every voxel is its nearest slice; slices are {distance:.3g} mm apart."
        return self._intensities("before", "Before: the measured slices", planes, words)

    def interpolated(self) -> Figure:
        """A cubic spline through the slices, at their right places."""
        weights = cubic_weights(self.problem.stack.operator)
        planes = interpolated_planes(self._planes, weights, self._slices)
        words = "What any viewer shows without a model: a spline through the slices, in place."
        return self._intensities("cubic", "Cubic interpolation", planes, words)

    def after(self) -> Figure:
        """The result."""
        planes = self._planes.of(self.estimate.image)
        words = "The image that is written, with the window of the slices."
        return self._intensities("after", "After: the reconstruction", planes, words)

    def uncertainty(self) -> Figure | None:
        """How far the result may be off, as colour; None where the method does not say."""
        if self.estimate.deviation is None:
            return None
        top = LARGE_DEVIATION * self._width
        planes = [255.0 / top * plane for plane in self._planes.of(self.estimate.deviation)]
        bare = self._planes.panels(planes, letters=False)
        levels = draw([bare, _scale_bar("", "", bare)], "").base
        rows, columns = levels.shape
        layer = heat(levels / np.float32(255), (columns, rows), "uncertainty", 1.0)
        dark = [np.zeros_like(plane) for plane in planes]
        scale = _scale_bar("0", f"{format_number(top, 3)} or more", bare)
        base = draw([self._planes.panels(dark), scale], "").base
        words = (
            "Standard deviation of the error, in the units of the image; the lightest yellow is "
            f"{LARGE_DEVIATION:.0%} of its range."
        )
        alt = f"Uncertainty, {_SIDES}"
        return Figure("uncertainty", "Uncertainty", Picture(base, alt, (layer,)), words)

    def residual(self) -> Figure:
        """What the result, sliced again, has more or less than the slices."""
        rest = residual(self.problem, self.estimate.image)
        limit = max(_RESIDUAL * self._width, float(np.percentile(np.abs(rest), 99.9)))
        planes = interpolated_planes(self._planes, self._nearest, rest)
        grey = [127.5 + 127.5 * plane / limit for plane in planes]
        words = (
            "The result sliced again, minus the measured slices, in the units of the image. Middle "
            f"grey is no difference; all in all they differ by {self.metrics.consistency:.2%}."
        )
        ends = format_number(limit, 2)
        panels = self._planes.panels(grey)
        rows = [panels, _scale_bar(f"-{ends}", f"+{ends}", panels)]
        picture = draw(rows, f"Residual of the slices, {_SIDES}")
        return Figure("residual", "What the slices contradict", picture, words)

    def guided(self) -> Figure | None:
        """The T1w with the edges of the T2w over it; None without a T1w."""
        guide = self.problem.guide if self.guide is None else self.guide
        if guide is None:
            return None
        planes = self._planes.of(guide)
        low, high = np.percentile(np.concatenate([plane.ravel() for plane in planes]), WINDOW)
        grey = [grey_levels(plane, low, high) for plane in planes]
        base = draw([self._planes.panels(grey)], "").base
        panels = self._planes.panels(self._planes.of(self.estimate.image))
        lines = [_lines(panel, _EDGE_MM * self._planes.scale) for panel in panels]
        alpha = draw([self._planes.panels(lines, letters=False)], "").base
        layer = np.zeros((*alpha.shape, 4), np.uint8)
        layer[alpha > 0, :3] = AMBER
        layer[..., 3] = alpha
        words = "The lines must lie on borders that the T1w has as well: those of fluid above all."
        picture = Picture(base, f"T1w with the edges of the T2w, {_SIDES}", (Layer(EDGES, layer),))
        return Figure("guide", "T1w under the edges of the T2w", picture, words)

    def small(self) -> Picture:
        """The result in three planes as small as a row of a table."""
        view = self._planes
        width = sum(view.panel(place, self._slices[..., 0]).size[0] for place in range(3))
        tiny = replace(view, scale=view.scale * _SMALL / width)
        grey = [grey_levels(plane, *self._window) for plane in tiny.of(self.estimate.image)]
        return draw([tiny.panels(grey, letters=False)], f"After, {_SIDES}")

    def viewer(self) -> Html:
        """A viewer of all slices: what was measured, what was made of it, and the T1w."""
        places = self.problem.stack.operator.nearest
        images = [
            ViewedImage("Before", self.problem.stack.finite, places, self._window),
            ViewedImage("After", self.estimate.image, window=self._window),
        ]
        if self.estimate.deviation is not None:
            top = LARGE_DEVIATION * self._width
            images.append(ViewedImage("Uncertainty", self.estimate.deviation, window=(0.0, top)))
        guide = self.problem.guide if self.guide is None else self.guide
        if guide is not None:
            images.append(ViewedImage("T1w", guide))
        return volume_viewer(images, self.problem.grid.affine)

    @cached_property
    def _planes(self) -> OrthogonalSlices:
        return orthogonal_slices(self.problem)

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

    def _intensities(
        self, key: str, title: str, planes: Sequence[NDArray[Any]], caption: str
    ) -> Figure:
        grey = [grey_levels(plane, *self._window) for plane in planes]
        return Figure(key, title, draw([self._planes.panels(grey)], f"{title}, {_SIDES}"), caption)


def case_picture(case: SimulatedCase, before: Estimate, after: Estimate) -> Picture:
    """One plane across the slices: `before`, `after`, the truth, error and deviation of `after`.

    All are on the grid of the result and share their window; errors are white at a fifth of it.
    """
    view, plane = orthogonal_slices(case.problem), _ACROSS[case.axis]
    gain, level = case.scale
    truth = case.truth
    if not case.is_shared:
        truth = resample(truth, case.grid.affine, case.problem.grid)
    images = [*(gain * each.image + level for each in (before, after)), truth]
    errors = [np.abs(images[1] - truth)]
    if after.deviation is not None:
        errors.append(gain * after.deviation)
    low, high = display_window(truth)
    top = FULL_ERROR * (high - low)
    grey = [grey_levels(view.of(image)[plane], low, high) for image in images]
    grey += [grey_levels(view.of(error)[plane], 0.0, top) for error in errors]
    room = (_CASE_WIDTH - GAP * (len(grey) - 1)) / len(grey)
    width = view.panel(plane, truth).size[0]
    view = replace(view, scale=view.scale * min(1.0, room / width))
    words = "Before, after, truth, error" + (", uncertainty" if len(errors) == 2 else "")
    return draw([[view.panel(plane, each, letters=False) for each in grey]], words)


def _scale_bar(low: str, high: str, planes: Sequence[Panel]) -> list[Panel]:
    """A bar from 0 to 255 between two numbers: the row below the planes, no wider than they are."""
    beside = sum(width + GAP for width, _ in _WORDS)
    room = sum(each.size[0] + GAP for each in planes) - GAP - beside
    dark, ramp = np.zeros((1, 1), np.float32), np.linspace(0, 255, 64, dtype=np.float32)[None]
    return [
        Panel(dark, (), _WORDS[0], ("", low)),
        Panel(ramp, (), (min(_BAR[0], max(1, room)), _BAR[1])),
        Panel(dark, (), _WORDS[1], (high, "")),
    ]


def _lines(panel: Panel, scale: float) -> Float:
    """255 where the curvature of a panel changes its sign on a steep slope, as large as it is."""
    from scipy import ndimage

    grown = enlarged(panel.pixels, panel.size)
    above = ndimage.gaussian_laplace(grown, scale) > 0
    steep = ndimage.gaussian_gradient_magnitude(grown, scale)
    crossing = above != ndimage.binary_erosion(above)
    strong = steep > max(float(np.quantile(steep, 1 - _STEEPEST)), 1e-6)
    return np.where(crossing & strong, np.float32(255), np.float32(0))
