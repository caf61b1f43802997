# SPDX-License-Identifier: Apache-2.0
"""Synthetic data bars, as microscopes of several makers write them under their images."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Grey = NDArray[np.uint8]

#: Ground and ink of each style.
STYLES = {
    "black": (0, 255),
    "white": (255, 0),
    "grey": (70, 255),
    "ruled": (0, 255),
    "framed": (255, 0),
    "cells": (0, 230),
    "scale": (0, 255),
}


def data_bar(style: str, rows: int, columns: int) -> Grey:
    """A strip with writing and a scale bar, in one of the STYLES."""
    ground, ink = STYLES[style]
    picture = Image.new("L", (columns, rows), ground)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(round(0.45 * rows), 8))
    if style == "scale":
        draw.text((0.65 * columns, 0.4 * rows), "500 nm", fill=ink, font=font)
    else:
        draw.text((0.02 * columns, 0.25 * rows), "EHT = 5.00 kV  WD = 4 mm", fill=ink, font=font)
    draw.rectangle((0.7 * columns, 0.2 * rows, 0.9 * columns, 0.28 * rows), fill=ink)
    if style in {"ruled", "cells"}:
        draw.line((0, 0, columns, 0), fill=ink, width=max(2, rows // 20))
    if style == "cells":
        for x in np.linspace(0, columns - 2, 6):
            draw.line((x, 0, x, rows), fill=ink, width=2)
        draw.line((0, rows - 1, columns, rows - 1), fill=ink, width=2)
    if style == "framed":
        draw.rectangle((0, 0, columns - 1, rows - 1), outline=ink, width=2)
    return np.asarray(picture)


def as_jpeg(picture: Grey, quality: int) -> Grey:
    """What is left of a picture after JPEG."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "jpeg", quality=quality)
    return np.asarray(Image.open(stream))
