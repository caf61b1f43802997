# SPDX-License-Identifier: Apache-2.0
"""Find the strip of text that a microscope writes above or under its image.

Such a strip spans the width, its ground is one grey level, letters and lines cover little of it,
and it begins from one row to the next. Dark or empty tissue at the border begins gradually, or
holds no writing, and is left. Writing on the image itself is not found.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# All of these are our choice, made on synthetic strips and on pictures without any.
#: The largest strip, as a share of the picture's rows.
LARGEST = 0.25
#: The smallest strip: a share of the rows, and rows.
SMALLEST, SMALLEST_ROWS = 0.015, 10
#: How far the ground may stray, as a share of the grey range: hardly, which tells a black strip
#: from dark tissue, or as far as the rings that JPEG makes around letters.
TOLERANCES = (0.01, 0.06)
#: A row of the strip has this share of ground, however much is written in it ...
GROUND = 0.3
#: ... and half of its rows have this share.
GROUND_MEDIAN = 0.5
#: Where it ends, one of two rows is ruled or has this share of ground, and the next ones, so many
#: of them, have at most that share: tissue begins gradually.
MARGIN, PICTURE, EDGE_ROWS = 0.7, 0.25, 4
#: A ruled line or frame has this share of one level.
FLAT = 0.9
#: Writing covers at least this share of the strip, and differs by that share of the grey range.
INK, INK_CONTRAST = 0.002, 0.25


def picture_rows(data: NDArray[Any]) -> tuple[int, int]:
    """First and past-last row of `data` (rows, columns) that belong to the picture itself.

    What is left out is the data bar at the bottom, at the top, or both.
    """
    rows = data.shape[0]
    # The range of grey levels that contrast is measured against.
    span = 255.0 if data.dtype == np.uint8 else float(data.max()) - float(data.min())
    if span <= 0:
        return 0, rows
    return _bar(data, span), rows - _bar(data[::-1], span)


def _bar(data: NDArray[Any], span: float) -> int:
    """Rows of the data bar at the beginning of `data`, 0 without one."""
    least = max(SMALLEST_ROWS, round(SMALLEST * data.shape[0]))
    most = int(LARGEST * data.shape[0])
    if most < least or data.shape[1] < SMALLEST_ROWS:
        return 0
    heights = (_strip(data, least, most, span, tolerance * span) for tolerance in TOLERANCES)
    return next((height for height in heights if height), 0)


def _strip(data: NDArray[Any], least: int, most: int, span: float, reach: float) -> int:
    """Rows of the data bar whose ground strays up to `reach`, 0 without one."""
    ground = float(np.median(data[:least]))
    if np.median(_near(data[:least], ground, reach)) < GROUND_MEDIAN:
        return 0
    strip = data[: most + EDGE_ROWS]
    shares = _near(strip, ground, reach)
    ruled = _near(strip, np.median(strip, axis=1)[:, None], reach) >= FLAT
    belongs = ruled | (shares >= GROUND)
    height = len(strip) if belongs.all() else int(np.argmin(belongs))
    if not least <= height <= most or np.median(shares[:height]) < GROUND_MEDIAN:
        return 0
    margin = np.where(ruled, 1, shares)[height - 2 : height].max()
    sharp = margin >= MARGIN and bool((shares[height : height + EDGE_ROWS] <= PICTURE).all())
    # A strip without writing is no data bar.
    away = np.abs(data[:height].astype(np.float32) - ground) > INK_CONTRAST * span
    return height if sharp and away.mean() >= INK else 0


def _near(part: NDArray[Any], level: Any, reach: float) -> NDArray[np.float64]:
    """The share of pixels in each row that are within `reach` of `level`."""
    return np.asarray(((part >= level - reach) & (part <= level + reach)).mean(axis=1))
