# SPDX-License-Identifier: Apache-2.0
"""Grey levels of a PNG or JPEG, with the size of its pixels, by Pillow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.io.pixel_size import Size, dots_size
from encephalon.io.truncation import jpeg_scans, refuse_truncated_png, with_more_data

Pixels = NDArray[Any]
Grey = Callable[[int, Iterator[Pixels]], Pixels]

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_INCH = 25.4e6  # nm
_BAND_PIXELS = 1 << 22
# Bytes of a JPEG beyond which none goes: of its pixels, and of notes, profiles and previews.
_MOST_PER_PIXEL, _MOST_NOTES = 4, 1 << 26
_MOST_SCANS = 100  # encoders write about ten; each costs another pass over all pixels
# Samples of a pixel as Pillow holds them; three take the place of four.
_SAMPLES = {"1": 1, "L": 1, "P": 1, "I;16": 1, "I;16B": 1, "I": 1}


def read_png(
    path: Path,
    stream: BufferedReader,
    choose: Callable[[int], int],
    allow: Callable[[int, int, int, Any], None],
    grey: Grey,
) -> tuple[Pixels, Size | None]:
    """Levels (rows, columns) of one picture of a PNG, and the size of its pixels, nm.

    `choose` gets the number of pictures and gives the index of one; `allow` gets rows, columns,
    samples a pixel and their type, and raises where they are too many, before anything is decoded;
    `grey` makes one level of rows of pixels. Raises EOFError where rows are missing.
    """
    from PIL.PngImagePlugin import PngImageFile

    start = stream.read(32)
    if start[24] == 16 and start[25] != 0:  # PNG 1.2, IHDR: bit depth, colour type
        raise ContentError(
            f"{path}: expected one grey level a pixel, but this is a 16-bit PNG with colour or "
            "transparency; save it as 16-bit grey, or as TIFF."
        )
    stream.seek(0)
    # Not Image.open, which warns of decompression bombs at a third of our own limit.
    with PngImageFile(stream) as picture:
        _allowed(picture, allow, 0)
        index = choose(getattr(picture, "n_frames", 1))
        picture.seek(index)
        picture.load()
        if index == 0 and not any(band.any() for band in _bands(picture, last=2)):
            refuse_truncated_png(stream)  # Pillow leaves rows that are missing empty
        return grey(picture.height, _bands(picture)), _size(picture)


def read_jpeg(
    stream: BufferedReader, allow: Callable[[int, int, int, Any], None], grey: Grey
) -> tuple[Pixels, Size | None]:
    """Levels (rows, columns) of a JPEG, as `read_png` gives them."""
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(stream) as picture:
        # A progressive one is held as coefficients of two bytes as well, until it is complete.
        coefficients = 2 * picture.layers if picture.info.get("progressive") else 0
        _allowed(picture, allow, coefficients)
        most = _MOST_PER_PIXEL * picture.width * picture.height + _MOST_NOTES
    stream.seek(0)
    content = stream.read(most)
    scans = jpeg_scans(content)
    if not scans.complete:
        raise EOFError("the file is cut, some of its scans are missing")
    if scans.passes > _MOST_SCANS:
        raise ValueError(f"it has {scans.passes:,} scans")
    plane, size = _jpeg_levels(content, grey)
    if not np.array_equal(plane, _jpeg_levels(with_more_data(content, scans.end), grey)[0]):
        raise EOFError("the file is cut, the last of its pixels are missing")
    return plane, size


def _jpeg_levels(content: bytes, grey: Grey) -> tuple[Pixels, Size | None]:
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(BytesIO(content)) as picture:
        return grey(picture.height, _bands(picture)), _size(picture)


def _allowed(picture: Any, allow: Callable[[int, int, int, Any], None], more: int) -> None:
    kind = np.dtype(
        {"I;16": np.uint16, "I;16B": np.uint16, "I": np.int32}.get(picture.mode, np.uint8)
    )
    allow(picture.height, picture.width, _SAMPLES.get(picture.mode, 4) + more, kind)


def _size(picture: Any) -> Size | None:
    across, down = picture.info.get("dpi", (0, 0))
    return dots_size(down, across, _INCH)


def _bands(picture: Any, last: int | None = None) -> Iterator[Pixels]:
    """Pixels of some rows at a time (rows, columns) or (rows, columns, 3), without transparency.

    With `last`, only those of that many last rows, all samples as they are stored.
    """
    step = max(1, _BAND_PIXELS // picture.width)
    first = 0 if last is None else max(0, picture.height - last)
    for top in range(first, picture.height, step):
        band = picture.crop((0, top, picture.width, min(top + step, picture.height)))
        if last is not None:
            yield np.asarray(band)
            continue
        data = np.asarray(band.convert("RGB") if band.mode in {"P", "PA", "CMYK"} else band)
        if band.mode == "LA":
            data = data[..., 0]
        yield data if data.ndim == 2 else data[..., :3]
