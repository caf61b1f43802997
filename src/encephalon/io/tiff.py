# SPDX-License-Identifier: Apache-2.0
"""One page of a TIFF as an array, with the size of its pixels.

tifffile reads the tags and, with imagecodecs, the samples of every compression in one way; what
white, black, palettes, transparency and orientation mean is decided here, once.
"""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, UnreadableFileError
from encephalon.io.pixel_size import Size, plane_height, tiff_size
from encephalon.io.png_jpeg import jpeg_scans

if TYPE_CHECKING:
    import tifffile

Pixels = NDArray[Any]
Choice = Callable[[int], int]
Allowed = Callable[[int, int, int, Any], None]

# What tifffile finds odd about a file is for its own developers; what matters is raised here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Photometric interpretations (TIFF 6.0, tag 262) that are understood.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG = 7
# Tag 259: none, fax, LZW, JPEG, deflate, PackBits, LZMA and Zstandard, whose decoders fill no more
# than the strip that the tags promise; a JPEG is looked at first.
_COMPRESSIONS = {1, 2, 3, 4, 32771, 5, _JPEG, 8, 32946, 32773, 34925, 50000}
_SLACK = 1 << 20  # pixels, or bytes, by which a strip or tile may be larger than what it holds
_LARGEST_TAG = 1 << 25  # bytes of a tag, such as the places of all tiles, or notes of a microscope
_LARGEST_READ = 1 << 31  # bytes of pixels read at once, of a picture whose size was allowed
_MOST_PAGES = 50_000  # their directories alone are read for some seconds
_ALPHA = {1, 2}  # values of tag 338 that mean transparency
_STRETCHED = {2, 4}  # bits of levels that are made to fill 8, as viewers show them


def read_tiff(
    path: Path, stream: BufferedReader, choose: Choice, allow: Allowed
) -> tuple[Pixels, Size | None]:
    """Pixels (rows, columns) or (rows, columns, 3) of one page, and the size of its pixels, nm.

    `choose` gets the number of pages and gives the index of one; `allow` gets rows, columns,
    samples a pixel and their type, and raises where they are too many, before anything is decoded.
    White is bright, whatever the file says; transparency is left out, and the orientation (tag 274)
    not followed; pages of lower resolution do not count.
    """
    import tifffile

    careful = _Careful(stream)
    with tifffile.TiffFile(careful, name=path.name) as tiff:
        pages = [page for page in _pages(tiff) if not (page.is_reduced or page.is_mask)]
        if not pages:
            raise ValueError("it has no pages")
        virtual = _virtual_pages(tiff) if len(pages) == 1 else 1
        index = choose(max(len(pages), virtual))
        page = pages[index if virtual == 1 else 0]
        kind = np.dtype(page.dtype or np.uint8)
        allow(page.imagelength, page.imagewidth, page.samplesperpixel, kind)
        _refuse_unread(path, page)
        size = tiff_size(tiff, page)
        careful.most = _LARGEST_READ
        data = _plane(path, page, index if virtual > 1 else 0)
        return _brightness(path, page, data), size


class _Careful:
    """The file, which refuses to be read in larger pieces than its directories have."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self.most = _LARGEST_TAG

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int = -1) -> bytes:
        """So many bytes; raises ValueError where they are too many."""
        if not 0 <= size <= self.most:
            raise ValueError(f"it says that {size:,} bytes belong together")
        return self._stream.read(size)


def _pages(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """Every page; damaged files can name one another's place in a circle, and end nowhere."""
    seen: set[int] = set()
    for page in tiff.pages:
        if page.offset in seen:
            raise ValueError("its pages point at one another")
        if len(seen) == _MOST_PAGES:
            raise ValueError(f"it has more than {_MOST_PAGES:,} pages")
        seen.add(page.offset)
        yield page.aspage()


def _virtual_pages(tiff: tifffile.TiffFile) -> int:
    """Planes behind the only page: ImageJ writes stacks above 4 GiB with one directory."""
    if tiff.is_ome or tiff.is_mmstack or not (tiff.is_imagej or tiff.is_shaped):
        return 1  # others are not cut short; some name further files, which would be opened
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
    _refuse_large_tiles(page)
    # Threads of its own would fight those that read several pictures at once.
    data = np.asarray(page.asarray(maxworkers=1))
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


def _refuse_large_tiles(page: tifffile.TiffPage) -> None:
    """Raise ValueError where one strip or tile would take far more memory than the picture."""
    length, width = page.tilelength or page.rowsperstrip, page.tilewidth or page.imagewidth
    pixels, whole = length * width, page.imagelength * page.imagewidth
    if page.is_tiled and pixels > 4 * whole + _SLACK:
        raise ValueError("its tiles are far larger than the picture")
    bound = 2 * pixels * page.samplesperpixel * np.dtype(page.dtype or np.uint8).itemsize + _SLACK
    if not page.is_contiguous and max(page.databytecounts) > bound:
        raise ValueError("its strips say that they have far more bytes than pixels")
    if int(page.compression) != _JPEG:
        return
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        page.parent.filehandle.seek(offset)
        rows, columns = jpeg_scans(page.parent.filehandle.read(size)).shape
        if rows * columns > pixels + _SLACK:
            raise ValueError(
                f"a strip of {length:,} × {width:,} pixels holds a JPEG of {rows:,} × {columns:,}"
            )


def _brightness(path: Path, page: tifffile.TiffPage, data: Pixels) -> Pixels:
    """Grey levels (rows, columns), white bright, or colours (rows, columns, 3)."""
    kind = int(page.photometric)
    if data.ndim == 3:
        # The first or the first three samples of a pixel; the others must be transparency.
        count, extra = data.shape[-1], tuple(page.extrasamples)
        if kind in {_RGB, _YCBCR} and count in {3, 4}:
            data = data[..., :3]
        elif count - len(extra) == 1 and set(map(int, extra)) <= _ALPHA:
            data = data[..., 0]
        else:
            raise _foreign_colours(path, page)
    if kind == _PALETTE and data.ndim == 2 and page.colormap is not None:
        # 16 bits that repeat the 8 that count, or, of some writers, these alone.
        shift = 8 if page.colormap.max() > 255 else 0
        return np.asarray((page.colormap >> shift).astype(np.uint8).T[data.astype(np.intp)])
    if data.ndim == 2 and kind == _WHITE_IS_ZERO:
        if data.dtype == np.bool_:
            data = ~data
        elif data.dtype.kind == "u" and page.bitspersample <= 16:
            data = np.subtract((1 << page.bitspersample) - 1, data, dtype=data.dtype)
        else:
            # The white end of 32 bits is so far away that float32 would lose the picture.
            data = np.asarray((data.max() - data) + data.min())
    if data.dtype.kind == "u" and page.bitspersample in _STRETCHED:
        return data * np.uint8(255 // ((1 << page.bitspersample) - 1))
    return data


def _name(code: int) -> str:
    return str(getattr(code, "name", code))  # tifffile leaves codes that it does not know bare


def _refuse_unread(path: Path, page: tifffile.TiffPage) -> None:
    kind, packed = int(page.photometric), int(page.compression)
    known = kind in {_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR}
    if not known or (kind == _YCBCR and packed in _COMPRESSIONS - {_JPEG}):
        raise _foreign_colours(path, page)
    if packed not in _COMPRESSIONS:
        raise UnreadableFileError(
            f"{path}: this TIFF is compressed with {_name(page.compression)}, which is not read; "
            "save it with LZW or without compression."
        )


def _foreign_colours(path: Path, page: tifffile.TiffPage) -> ContentError:
    return ContentError(
        f"{path}: expected one grey level a pixel, but the picture has {page.samplesperpixel} "
        f"channel(s) of the kind {_name(page.photometric)}; save the one that you want as grey."
    )


@dataclass(frozen=True)
class Stack:
    """What the directories of a TIFF say of the planes of a volume, which are all alike.

    shape    planes, rows, columns
    dtype    of a level
    edges    height of a plane, height and width of a pixel, nm, each None where nothing says it
    offsets  where each plane begins in the file, where its levels lie there as they are
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    edges: tuple[float | None, float | None, float | None]
    offsets: tuple[int, ...] | None


def read_tiff_stack(path: Path, stream: BufferedReader) -> Stack:
    """What the pages of a TIFF are as the planes of one volume; no pixel is read.

    Raises ContentError for pages that differ, colours, channels and times, EOFError for a file that
    ends too early, and what damage makes of tifffile.
    """
    with _open(path, stream) as tiff:
        pages = _planes(tiff)
        _refuse_cut_chain(tiff)
        count = _virtual_pages(tiff) if len(pages) == 1 else len(pages)
        first = pages[0]
        for page in pages:
            _refuse_unlike(path, page, first)
        _refuse_series(path, tiff)
        kind = np.dtype(np.uint8 if first.bitspersample in _STRETCHED else first.dtype or np.uint8)
        offsets = _offsets(path, pages, count)
        size = tiff_size(tiff, first) or (None, None)
        shape = count, int(first.imagelength), int(first.imagewidth)
        return Stack(shape, kind, (plane_height(tiff), *size), offsets)


def read_tiff_planes(
    path: Path, stream: BufferedReader, stack: Stack, wanted: range
) -> Iterator[Pixels]:
    """The planes (rows, columns) of these numbers, from 0; white is bright."""
    _, rows, columns = stack.shape
    if stack.offsets is not None:
        whole = np.memmap(path, np.uint8, "r")
        for number in wanted:
            kind = stack.dtype.newbyteorder(_byte_order(stream))
            yield np.ndarray((rows, columns), kind, whole, stack.offsets[number])
        return
    with _open(path, stream, _LARGEST_READ) as tiff:
        pages = _planes(tiff)
        for number in wanted:
            yield _brightness(path, pages[number], _plane(path, pages[number], 0))


def _open(path: Path, stream: BufferedReader, most: int = _LARGEST_TAG) -> tifffile.TiffFile:
    import tifffile

    careful = _Careful(stream)
    careful.most = most
    return tifffile.TiffFile(careful, name=path.name)


def _byte_order(stream: BufferedReader) -> Literal["<", ">"]:
    stream.seek(0)
    return "<" if stream.read(2) == b"II" else ">"


def _planes(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    pages = [page for page in _pages(tiff) if not (page.is_reduced or page.is_mask)]
    if not pages:
        raise ValueError("it has no pages")
    return pages


def _refuse_cut_chain(tiff: tifffile.TiffFile) -> None:
    """Raise EOFError unless the last directory says that it is; tifffile lets the rest go."""
    form, stream = tiff.tiff, tiff.filehandle
    last = tiff.pages[len(tiff.pages) - 1]
    stream.seek(last.offset)
    count = int(struct.unpack(form.tagnoformat, stream.read(form.tagnosize))[0])
    stream.seek(last.offset + form.tagnosize + count * form.tagsize)
    content = stream.read(form.offsetsize)
    if len(content) < form.offsetsize or int(struct.unpack(form.offsetformat, content)[0]):
        raise EOFError("the file is truncated, some of its pages are missing")


def _refuse_unlike(path: Path, page: tifffile.TiffPage, first: tifffile.TiffPage) -> None:
    _refuse_unread(path, page)
    kind, alike = int(page.photometric), page.shape == first.shape and page.dtype == first.dtype
    grey = page.samplesperpixel == 1 and kind in {_WHITE_IS_ZERO, _BLACK_IS_ZERO}
    if not grey or (kind == _WHITE_IS_ZERO and page.bitspersample > 16):
        raise _foreign_colours(path, page)
    if not alike:
        raise ContentError(
            f"{path}: expected planes of one volume, but page {page.index + 1} is {page.dtype} of "
            f"{page.shape} and the first {first.dtype} of {first.shape}; save them alike."
        )
    if page.imagelength * page.imagewidth * max(1, page.bitspersample // 8) > _LARGEST_READ:
        raise ContentError(f"{path}: a plane of {page.shape} is too large; save it as OME-Zarr.")


def _refuse_series(path: Path, tiff: tifffile.TiffFile) -> None:
    """Raise ContentError where the pages are more than the planes of one volume.

    Many programs write the planes of a stack as if they were its channels or its times.
    """
    said, text = tiff.imagej_metadata or {}, tiff.ome_metadata or ""
    sizes = {
        "planes": [said.get("slices", 1), *re.findall(r'\bSizeZ="(\d+)"', text)],
        "channels": [said.get("channels", 1), *re.findall(r'\bSizeC="(\d+)"', text)],
        "times": [said.get("frames", 1), *re.findall(r'\bSizeT="(\d+)"', text)],
    }
    several = [word for word, counts in sizes.items() if any(int(n) > 1 for n in counts)]
    if len(several) > 1:
        raise ContentError(
            f"{path}: expected the planes of one volume, but the file has {' and '.join(several)}; "
            "save the one volume that you want as a file of its own."
        )


def _offsets(path: Path, pages: list[tifffile.TiffPage], count: int) -> tuple[int, ...] | None:
    """Where each plane begins; None unless all lie in the file as they are."""
    first = pages[0]
    plain = all(
        page.is_contiguous
        and int(page.compression) == 1
        and int(page.predictor) == 1
        and int(page.fillorder) == 1
        and int(page.photometric) == _BLACK_IS_ZERO
        and page.bitspersample in {8, 16, 32, 64}
        for page in pages
    )
    if not plain:
        if count > len(pages):
            raise ValueError("planes without directories of their own must be uncompressed")
        return None
    size = first.imagelength * first.imagewidth * first.bitspersample // 8
    if count > len(pages):
        offsets = tuple(first.dataoffsets[0] + n * size for n in range(count))
    else:
        offsets = tuple(page.dataoffsets[0] for page in pages)
    missing = max(offsets) + size - path.stat().st_size
    if missing > 0:
        raise EOFError(f"the file is truncated, {missing:,} bytes are missing at its end")
    return offsets
