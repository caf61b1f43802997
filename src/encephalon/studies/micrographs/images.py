# SPDX-License-Identifier: Apache-2.0
"""Small pictures for pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from encephalon.studies.micrographs.preprocessing import Picture
    from encephalon.studies.micrographs.settings import MicrographSettings

__all__ = ["SIDE", "raw_thumbnail", "thumbnail"]

SIDE = 176
"""Longest side of a thumbnail, pixels: about 10 kB on a page."""


def thumbnail(picture: Picture, side: int = SIDE) -> NDArray[np.uint8]:
    """Draw what a network in default mode sees of an image (rows, columns), less padding."""
    from PIL import Image

    from encephalon.reports.images import fitted_size
    from encephalon.studies.micrographs.preprocessing import CENTRE, SPREAD

    plane = _inside(picture)
    levels = np.clip(255.0 * (SPREAD * plane + CENTRE), 0, 255)
    size = fitted_size(plane.shape, min(side, max(plane.shape)))
    small = Image.fromarray(levels.astype(np.uint8)).resize(size, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8)


def raw_thumbnail(path: Path, settings: MicrographSettings, side: int = SIDE) -> NDArray[np.uint8]:
    """Read an image again and draw it small (rows, columns)."""
    from encephalon.io.micrograph import read_micrograph
    from encephalon.reports.heatmaps import make_heatmap

    raw = read_micrograph(path, page=settings.page, colour=settings.colour)
    return make_heatmap(raw.data, None, side).grey


def _inside(picture: Picture) -> NDArray[np.float32]:
    """The part of the network's picture (rows, columns) that lies in the raw one."""
    view = picture.view
    top, bottom, left, right = view.seen
    corners = view.to_view(np.array([[top, left], [bottom - 1, right - 1]], dtype=np.float64))
    first, last = np.rint(corners).astype(int)
    rows, columns = (
        slice(max(0, low), min(size, high + 1))
        for low, high, size in zip(first, last, view.shape, strict=True)
    )
    inside: NDArray[np.float32] = picture.image[0][rows, columns]
    return inside
