# SPDX-License-Identifier: Apache-2.0
"""One case to look at: before, after, the truth, and how far off it is and says it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import resample
from encephalon.reports.images import GAP, Panel, draw, grey_levels
from encephalon.reports.pictures import Picture
from encephalon.reports.slices import display_window
from encephalon.studies.isotropic.evaluation.cases import SimulatedCase
from encephalon.studies.isotropic.images import orthogonal_slices
from encephalon.studies.isotropic.reconstruction.problem import Estimate

__all__ = ["FULL_ERROR", "case_picture"]

Float = NDArray[np.float32]

#: Share of the white of the images that is white in errors and deviations.
FULL_ERROR = 0.2
#: Of the planes sagittal, coronal and axial, one that cuts all slices of each kind.
_ACROSS = {"axial": 0, "coronal": 0, "sagittal": 1}
_WIDTH = 1100


def case_picture(case: SimulatedCase, before: Estimate, after: Estimate) -> Picture:
    """One plane across the slices: `before`, `after`, the truth, error and deviation of `after`.

    All are on the grid of the result and share their window; errors are white at a fifth of it.
    """
    view, plane = orthogonal_slices(case.problem), _ACROSS[case.axis]
    truth = _truth(case)
    low, high = display_window(truth)
    images = [_scaled_back(case, before.image), _scaled_back(case, after.image), truth]
    grey = [grey_levels(view.of(image)[plane], low, high) for image in images]
    errors = [np.abs(images[1] - truth)]
    if after.deviation is not None:
        errors.append(case.scale[0] * after.deviation)
    top = FULL_ERROR * (high - low)
    grey += [grey_levels(view.of(error)[plane], 0.0, top) for error in errors]
    words = "Before, after, truth, error" + (", uncertainty" if len(errors) == 2 else "")
    return draw([_fitted([view.panel(plane, level, letters=False) for level in grey])], words)


def _truth(case: SimulatedCase) -> Float:
    if case.is_shared:
        return case.truth
    return resample(case.truth, case.grid.affine, case.problem.grid)


def _scaled_back(case: SimulatedCase, volume: Float) -> Float:
    gain, level = case.scale
    return np.asarray(gain * volume + level, np.float32)


def _fitted(panels: list[Panel]) -> list[Panel]:
    """The panels, small enough to stand side by side."""
    room = (_WIDTH - GAP * (len(panels) - 1)) / len(panels)
    factor = min(1.0, room / max(panel.size[0] for panel in panels))
    return [
        replace(panel, size=(round(panel.size[0] * factor), round(panel.size[1] * factor)))
        for panel in panels
    ]
