# SPDX-License-Identifier: Apache-2.0
"""One page of a TIFF as an array, with the size of its pixels.

tifffile reads the tags, and the pixels where it can do so alone; Pillow undoes the compressions
that it cannot (LZW, JPEG, fax).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, UnreadableFileError
from encephalon.io.pixel_size import Size, tiff_size

if TYPE_CHECKING:
    import tifffile

Pixels = NDArray[Any]
Choice = Callable[[int], int]
Allowed = Callable[[int, int], None]

# What tifffile finds odd about a file is for its own developers; what matters is raised here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Photometric interpretations (TIFF 6.0, tag 262) that are understood.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_ALPHA = {1, 2}  # values of tag 338 that mean transparency


def read_tiff(path: Path, choose: Choice, allow: Allowed) -> tuple[Pixels, Size | None]:
    """Pixels (rows, columns) or (rows, columns, 3) of one page, and the size of its pixels, nm.

    `choose` gets the number of pages and gives the index of one; `allow` gets rows and columns and
    raises where they are too many, before anything is decoded. White is bright, whatever the
    file says; transparency is left out; pages of lower resolution do not count.
    """
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        pages = [page for page in _pages(tiff) if not (page.is_reduced or page.is_mask)]
        if not pages:
            raise ValueError("it has no pages")
        first = pages[0]
        allow(first.imagelength, first.imagewidth)
        virtual = _virtual_pages(tiff) if len(pages) == 1 else 1
        index = choose(max(len(pages), virtual))
        page = pages[index if virtual == 1 else 0]
        allow(page.imagelength, page.imagewidth)
        data = _plane(path, page, index if virtual > 1 else 0)
        return _brightness(path, page, data), tiff_size(tiff, page)


def _pages(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """Every page; damaged files can name one another's place in a circle, and end nowhere."""
    seen: set[int] = set()
    for page in tiff.pages:
        if page.offset in seen:
            raise ValueError("its pages point at one another")
        seen.add(page.offset)
        yield page.aspage()


def _virtual_pages(tiff: tifffile.TiffFile) -> int:
    """Planes behind the only page: ImageJ writes stacks above 4 GiB with one directory."""
    series = tiff.series[0]
    if not series.is_truncated:
        return 1
    return int(series.size // series.keyframe.size)


def _plane(path: Path, page: tifffile.TiffPage, number: int) -> Pixels:
    """The samples of a page (rows, columns[, samples]), of plane `number` behind it."""
    if number:
        return _later_plane(path, page, number)
    size = path.stat().st_size
    ends = [at + n for at, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or max(ends) > size or 0 in page.databytecounts:
        missing = max([*ends, size]) - size
        what = f"{missing:,} bytes are missing at its end" if missing else "some strips are missing"
        raise EOFError(f"the file is truncated, {what}")
    data = _decoded(path, page)
    if data.ndim == 3 and page.axes.startswith("S"):  # one plane a colour, not side by side
        data = np.moveaxis(data, 0, -1)
    if data.shape[:2] != (page.imagelength, page.imagewidth):
        raise ValueError(f"expected one plane, found axes {page.axes} of {page.shape}")
    return data


def _later_plane(path: Path, page: tifffile.TiffPage, number: int) -> Pixels:
    if page.compression != 1 or page.samplesperpixel != 1 or page.dtype is None:
        raise ValueError("a plane without a directory of its own must be grey and uncompressed")
    offset = page.dataoffsets[0] + number * page.size * page.dtype.itemsize
    kind = page.dtype.newbyteorder(page.parent.byteorder)
    data = np.fromfile(path, kind, page.size, offset=offset)
    if data.size < page.size:
        raise EOFError(f"the file is truncated, plane {number + 1} is not whole")
    return data.reshape(page.imagelength, page.imagewidth)


def _decoded(path: Path, page: tifffile.TiffPage) -> Pixels:
    try:
        # Threads of its own would fight those that read several pictures at once.
        return np.asarray(page.asarray(maxworkers=1))
    except (ValueError, ImportError) as error:
        # The words of tifffile without imagecodecs.
        if "imagecodecs" not in str(error):
            raise
        return _by_pillow(path, page)


def _by_pillow(path: Path, page: tifffile.TiffPage) -> Pixels:
    from PIL import Image
    from PIL.TiffImagePlugin import TiffImageFile

    limit = Image.MAX_IMAGE_PIXELS  # beyond it Pillow warns of a decompression bomb
    if limit is not None and page.imagelength * page.imagewidth > limit:
        raise _packed(path, page, f"of more than {limit / 1e6:.0f} million pixels")
    try:
        with path.open("rb") as stream:
            picture = TiffImageFile(stream)
            picture.seek(page.index)
            picture.tag_v2.pop(274, None)  # the orientation: pixels are taken as they are stored
            palette = picture.mode == "P"
            data = np.asarray(picture.convert("RGB") if palette else picture)
    except (OSError, SyntaxError, ValueError, TypeError) as error:
        if "truncated" in str(error) or "decoder error" in str(error):
            raise EOFError(f"the file is truncated or damaged: {error}") from error
        raise _packed(path, page, f"of {page.bitspersample} bits") from error
    return data


def _packed(path: Path, page: tifffile.TiffPage, what: str) -> UnreadableFileError:
    message = (
        f"{path}: this TIFF {what} is compressed with {_name(page.compression)}, which needs the "
        "package imagecodecs: run  pip install imagecodecs,  or save it without compression."
    )
    return UnreadableFileError(message)


def _brightness(path: Path, page: tifffile.TiffPage, data: Pixels) -> Pixels:
    """Grey levels (rows, columns), white bright, or colours (rows, columns, 3)."""
    kind = int(page.photometric)
    if kind == _PALETTE and data.ndim == 2 and page.colormap is not None:
        palette = (page.colormap >> 8).astype(np.uint8)  # the 16 bits repeat the 8 that count
        return np.asarray(palette.T[data])
    if data.ndim == 3:
        data = _colours(path, page, data)
    if data.ndim == 2 and kind == _WHITE_IS_ZERO and data.dtype != np.bool_:
        return _inverted(data, page.bitspersample)
    known = kind in {_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR}
    if not known or (kind == _YCBCR and page.compression == 1):
        raise _foreign_colours(path, page)
    return ~data if data.dtype == np.bool_ and kind == _WHITE_IS_ZERO else data


def _inverted(data: Pixels, bits: int) -> Pixels:
    if data.dtype.kind == "u":
        return np.subtract((1 << bits) - 1, data, dtype=data.dtype)
    return np.asarray(data.max() + data.min() - data)


def _colours(path: Path, page: tifffile.TiffPage, data: Pixels) -> Pixels:
    """The first or the first three samples of a pixel; the others must be transparency."""
    samples, extra = data.shape[-1], tuple(page.extrasamples)
    if int(page.photometric) in {_RGB, _YCBCR} and samples in {3, 4}:
        return data[..., :3]
    if samples - len(extra) == 1 and set(map(int, extra)) <= _ALPHA:
        return data[..., 0]
    if int(page.photometric) == _PALETTE and samples == 3:
        return data
    raise _foreign_colours(path, page)


def _name(code: int) -> str:
    return str(getattr(code, "name", code))  # tifffile leaves codes that it does not know bare


def _foreign_colours(path: Path, page: tifffile.TiffPage) -> ContentError:
    message = (
        f"{path}: expected one grey level a pixel, but the picture has {page.samplesperpixel} "
        f"channel(s) of the kind {_name(page.photometric)}; save the one that you want as grey."
    )
    return ContentError(message)
