# SPDX-License-Identifier: Apache-2.0
"""What there is to see of a scan and its mask: pictures, a thumbnail, a viewer of all slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine
from encephalon.reports.format import Html
from encephalon.reports.images import AMBER, SKY, Picture
from encephalon.reports.label_maps import class_colour, class_layer
from encephalon.reports.slices import Overlay, axial_series, three_planes
from encephalon.reports.viewer import ViewedImage, ViewedLabel, volume_viewer

__all__ = ["PREDICTION", "REFERENCE", "ShownScan", "scan_pictures"]

PREDICTION, REFERENCE = "prediction", "reference"
# Width and height of the thumbnail, pixels.
_SMALL = 230, 88


@dataclass(frozen=True, eq=False)
class ShownScan:
    """A scan (I, J, K) and its mask or labels, of which pictures are drawn when they are wanted."""

    data: NDArray[Any] = field(repr=False)
    affine: Affine
    mask: NDArray[Any] = field(repr=False)

    def __call__(self) -> tuple[Picture, ...]:
        """Three planes, and axial slices."""
        return scan_pictures(self.data, self.affine, self.mask)

    def small(self) -> Picture:
        """Three planes as small as a row of a table."""
        overlays = [Overlay(self.mask, PREDICTION, AMBER)]
        return three_planes(self.data, self.affine, overlays, width=_SMALL[0], height=_SMALL[1])

    def viewer(self, classes: Sequence[str]) -> Html:
        """A viewer of all slices."""
        named = dict(enumerate(classes)) if len(classes) > 2 else {}
        labels = [
            ViewedLabel(n, named.get(n, "inside the mask"), class_colour(n) if named else AMBER)
            for n in np.unique(self.mask[self.mask > 0]).tolist()
        ]
        images = [ViewedImage("Scan", self.data)]
        return volume_viewer(images, self.affine, self.mask if labels else None, labels)


def scan_pictures(
    data: NDArray[Any],
    affine: Affine,
    mask: NDArray[Any],
    reference: NDArray[Any] | None = None,
) -> tuple[Picture, ...]:
    """Draw a scan (I, J, K) with the outline of its mask: three planes, and eight axial slices.

    A reference mask is outlined below it in a second colour; the labels of several classes have a
    colour each and no reference.
    """
    overlays = [Overlay(np.asarray(mask), PREDICTION, AMBER)]
    labels = np.unique(mask[mask > 0]).tolist()
    if len(labels) > 1:
        overlays = [Overlay(mask == n, class_layer(n), class_colour(n)) for n in labels]
    elif reference is not None:
        overlays.insert(0, Overlay(np.asarray(reference), REFERENCE, SKY))
    return three_planes(data, affine, overlays), axial_series(data, affine, overlays)
