# SPDX-License-Identifier: Apache-2.0
"""What there is to see of a tile or a volume and its labels: a picture, and a viewer of slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine
from encephalon.io.volumes.volume import Box, Size, Spacing, Volume, box_at, shifted
from encephalon.reports.format import Html
from encephalon.reports.images import Picture
from encephalon.reports.label_maps import class_colour, label_picture
from encephalon.reports.viewer import Axes, ViewedImage, ViewedLabel, volume_viewer

__all__ = ["PICTURED", "SHOWN", "ShownVolume", "middle"]

#: The largest part of a volume that is scrolled through, z, y and x in voxels: about 2 MB of page.
SHOWN: Size = (64, 256, 256)
#: The largest picture of a volume on a page.
PICTURED: Size = (1, 1024, 1024)
_PLANES = ("y-z", "x-z", "x-y")
_SIDES = (("", "y →"), ("", "x →"), ("", "x →"))
#: Rows are counted downwards: to a viewer, whose axes grow upwards, y is negative.
_SIGNS = (1, -1, 1)


@dataclass(frozen=True, eq=False)
class ShownVolume:
    """A tile, or the middle of a volume, and its labels.

    picture  draws one slice of it, with the labels over it
    voxels   (z, y, x)
    labels   (z, y, x) the number of the class of each voxel; None where there are none
    spacing  edges of a voxel along z, y and x, µm; None where nothing says it
    first    the first voxel, as the volume counts them
    """

    picture: Callable[[], Picture]
    voxels: NDArray[np.generic] = field(repr=False)
    labels: NDArray[np.integer] | None = field(repr=False)
    spacing: Spacing | None = None
    first: Size = (0, 0, 0)

    def __call__(self) -> Picture:
        """The picture."""
        return self.picture()

    @classmethod
    def of_volume(cls, name: str, volume: Volume, labels: Volume | None) -> ShownVolume:
        """The middle of a volume, read now: its labels may be moved afterwards."""

        def read(most: Size) -> tuple[NDArray[Any], NDArray[Any] | None]:
            box = middle(volume, most)
            return volume.read(box), None if labels is None else labels.read(box)

        picture = partial(label_picture, *read(PICTURED), name)
        corner = middle(volume, SHOWN)
        z, y, x = (start for start, _ in corner)
        return cls(picture, *read(SHOWN), volume.spacing, (z, y, x))

    @property
    def scrolled(self) -> bool:
        """Whether there are several slices to look through."""
        return len(self.voxels) > 1

    def viewer(self, classes: Sequence[str]) -> Html:
        """A viewer of all slices; `classes` by their numbers, the first is the background."""
        numbers = [] if self.labels is None else np.unique(self.labels[self.labels > 0]).tolist()
        labels = [ViewedLabel(n, classes[n], class_colour(n)) for n in numbers]
        mask = None if self.labels is None else self.labels.transpose(2, 1, 0)
        z, y, x = self.spacing or (1.0, 1.0, 1.0)
        corner = np.array(_SIGNS) * np.array(self.first[::-1]) * (x, y, z)
        affine = Affine.from_parts(np.diag(_SIGNS), (x, y, z), corner)
        unit, outside = "voxels" if self.spacing is None else "µm", classes[0] if classes else ""
        axes = Axes(_PLANES, _SIDES, unit, _SIGNS, outside=outside)
        images = [ViewedImage("Image", self.voxels.transpose(2, 1, 0))]
        return volume_viewer(images, affine, mask if labels else None, labels, axes)


def middle(volume: Volume, most: Size) -> Box:
    """The middle of a volume, as large as a page may show."""
    size = [min(pair) for pair in zip(volume.shape, most, strict=True)]
    start = [(n - shown) // 2 for n, shown in zip(volume.shape, size, strict=True)]
    return shifted(box_at(start, size), volume.origin)
