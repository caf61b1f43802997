# SPDX-License-Identifier: Apache-2.0
"""The samples of a TIFF page, as numbers, the same whatever the compression (TIFF 6.0).

Strips or tiles, planes, bit order, packed bits and predictors are undone here, for every codec.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encephalon.io.tiff_strips import JPEG, KNOWN, NONE, Bytes, Stored, unpacked

if TYPE_CHECKING:
    import tifffile

Pixels = NDArray[Any]

_BATCH = 1 << 26  # bytes decompressed at once
_HORIZONTAL, _FLOATING = 2, 3  # predictors
_HIGHEST_FIRST = -1 if sys.byteorder == "little" else 1


class _Segments(NamedTuple):
    """How the strips or tiles of a page lie; strips are as wide as the page."""

    length: int
    width: int
    down: int
    across: int
    samples: int  # of a pixel within one strip or tile


def decodable(page: tifffile.TiffPage) -> bool:
    """Whether `samples` reads the page without a further package."""
    if page.jpegheader is not None or page.imagedepth != 1 or page.dtype is None:
        return False
    bits: Any = page.bitspersample  # one number for each channel where they differ
    if isinstance(bits, tuple) or int(page.compression) not in KNOWN:
        return False
    if page.compression == JPEG:
        return bool(bits == 8)
    packed = bits < page.dtype.itemsize * 8
    return not packed or bool(page.dtype.kind in "ub" and bits <= 32)


def samples(page: tifffile.TiffPage) -> Pixels:
    """Samples (rows, columns) or (rows, columns, samples) of a page that is `decodable`.

    Bits are truth values; other numbers of odd sizes stand in the next larger type. Raises
    EOFError for missing strips or bytes, ValueError and the codecs' own errors for damage.
    """
    layout = _layout(page)
    planes = page.samplesperpixel // layout.samples
    expected = planes * layout.down * layout.across
    if len(page.dataoffsets) < expected or 0 in page.databytecounts[:expected]:
        raise EOFError("the file is truncated, some strips are missing")
    result = np.empty((0,), page.dtype)
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    each = layout.down * layout.across
    for plane in range(planes):
        for first, block in _blocks(page, layout, range(plane * each, (plane + 1) * each)):
            if block.shape == shape:  # all there is: no second copy of a large picture
                result = block
                break
            result = result if result.size else np.empty(shape, page.dtype)
            target = result if planes == 1 else result[..., plane : plane + 1]
            _place(target, block, layout, first - plane * each)
    return result[..., 0] if page.samplesperpixel == 1 else result


def _layout(page: tifffile.TiffPage) -> _Segments:
    tiled = page.is_tiled
    length = page.tilelength if tiled else page.rowsperstrip
    width = page.tilewidth if tiled else page.imagewidth
    if min(length, width, page.imagelength, page.imagewidth, page.samplesperpixel) < 1:
        raise ValueError("its tags give a size of zero")
    tile, whole = length * width, page.imagelength * page.imagewidth
    if tile * page.samplesperpixel * np.dtype(page.dtype).itemsize > _BATCH and tile > 4 * whole:
        raise ValueError("its tiles are far larger than the picture")
    down, across = math.ceil(page.imagelength / length), math.ceil(page.imagewidth / width)
    return _Segments(
        length, width, down, across, page.samplesperpixel if page.planarconfig == 1 else 1
    )


def _blocks(
    page: tifffile.TiffPage, layout: _Segments, indices: range
) -> Iterator[tuple[int, Pixels]]:
    """Blocks (rows, width, samples) of some strips or tiles each, with the index of the first."""
    row = _row_bytes(page, layout)
    at_once = max(1, _BATCH // (row * layout.length))
    for start in range(indices.start, indices.stop, at_once):
        chosen = range(start, min(start + at_once, indices.stop))
        rows = [_rows(page, layout, index - indices.start) for index in chosen]
        strips = [_stored(page, index) for index in chosen]
        data = unpacked(int(page.compression), strips, rows, row, page)
        yield start, _numbers(page, data, layout)


def _row_bytes(page: tifffile.TiffPage, layout: _Segments) -> int:
    return math.ceil(layout.width * layout.samples * int(page.bitspersample) / 8)


def _rows(page: tifffile.TiffPage, layout: _Segments, index: int) -> int:
    if page.is_tiled:
        return layout.length
    return min(layout.length, page.imagelength - index * layout.length)


def _stored(page: tifffile.TiffPage, index: int) -> Stored:
    reversed_bits = page.fillorder == 2 and page.compression != JPEG
    place = int(page.dataoffsets[index]), int(page.databytecounts[index])
    return Stored(page.parent.filehandle, *place, reversed_bits)


def _numbers(page: tifffile.TiffPage, data: Bytes, layout: _Segments) -> Pixels:
    """What the bytes (rows, bytes of a row) mean, (rows, width, samples); `data` is used up."""
    shape = (len(data), layout.width, layout.samples)
    bits, kind = int(page.bitspersample), np.dtype(page.dtype)
    if bits < kind.itemsize * 8:
        return _packed_bits(data, bits, math.prod(shape[1:])).astype(kind).reshape(shape)
    predictor = int(page.predictor) if page.compression not in {NONE, JPEG} else 1
    if predictor == _FLOATING and kind.kind == "f":
        return _undo_floating(data, layout.samples, kind).reshape(shape)
    if predictor not in {1, _HORIZONTAL}:
        raise ValueError(f"predictor {predictor} is not known")
    stored = kind.newbyteorder("=" if page.compression == JPEG else page.parent.byteorder)
    values = data.view(stored)
    if not stored.isnative:
        values = values.byteswap(inplace=True).view(kind)
    if predictor == _HORIZONTAL:
        whole = values.view(f"u{kind.itemsize}").reshape(shape)
        for part in _row_groups(whole):
            part[...] = np.cumsum(part, axis=1, dtype=part.dtype)
    return values.reshape(shape)


def _row_groups(data: Pixels) -> Iterator[Pixels]:
    """The rows of `data`, as many at once as a second copy of them may fill."""
    step = max(1, _BATCH // max(1, data[:1].nbytes))
    return (data[top : top + step] for top in range(0, len(data), step))


def _packed_bits(data: Bytes, bits: int, count: int) -> Pixels:
    """The first `count` whole numbers of `bits` bits, the highest first, of each row."""
    if bits == 1:
        return np.unpackbits(data, axis=1, count=count)
    kind = np.min_scalar_type((1 << bits) - 1)
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=kind)
    result = np.empty((len(data), count), kind)
    for number, row in enumerate(data):  # a row at a time: each bit becomes a number of its own
        single = np.unpackbits(row, count=count * bits).reshape(count, bits)
        result[number] = single @ weights
    return result


def _undo_floating(data: Bytes, samples: int, kind: np.dtype[Any]) -> Pixels:
    """Adobe's predictor 3: differences of bytes, the highest byte of every number first."""
    for part in _row_groups(data):
        rows = len(part)
        sums = np.cumsum(part.reshape(rows, -1, samples), axis=1, dtype=np.uint8)
        planes = sums.reshape(rows, kind.itemsize, -1)[:, ::_HIGHEST_FIRST]
        part[...] = np.moveaxis(planes, 1, 2).reshape(rows, -1)
    return data.view(kind)


def _place(target: Pixels, block: Pixels, layout: _Segments, first: int) -> None:
    """Put strips or tiles, which lie one below the other in `block`, where they belong."""
    if layout.across == 1:
        top = first * layout.length
        target[top : top + len(block)] = block[: len(target) - top, : target.shape[1]]
        return
    for number in range(len(block) // layout.length):
        down, across = divmod(first + number, layout.across)
        top, left = down * layout.length, across * layout.width
        tile = block[number * layout.length : (number + 1) * layout.length]
        place = target[top : top + layout.length, left : left + layout.width]
        place[...] = tile[: place.shape[0], : place.shape[1]]
