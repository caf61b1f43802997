# SPDX-License-Identifier: Apache-2.0
"""What the strips and tiles of a TIFF hold, decompressed within the bounds that its tags set.

A codec knows bytes and nothing else: what they mean (levels, colours, predictor, orientation) is
decided once, in `tiff_pixels`, whatever the compression. libtiff, which comes with Pillow, undoes
LZW, PackBits, fax and JPEG: it is handed a file made for the purpose, whose pixels are plain bytes.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_Tags = dict[int, tuple[str, tuple[int, ...]]]  # code -> type and values

NONE, JPEG = 1, 7
_FAX = {2, 3, 4, 32771}  # CCITT RLE, group 3, group 4, RLE word-aligned
_LZW, _PACKBITS = 5, 32773
_DEFLATE, _LZMA = {8, 32946}, 34925
_BY_LIBTIFF = {_LZW, _PACKBITS, JPEG} | _FAX
KNOWN = {NONE, _LZMA} | _DEFLATE | _BY_LIBTIFF
"""Values of tag 259 that need no further package."""

_PIECE = 1 << 22
_LZMA_MEMORY = 1 << 28  # of the decoder; the largest preset (-9) needs 65 MiB
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# Bytes that libtiff unpacks at once: it, Pillow and NumPy each hold them. One strip of 8-bit levels
# may be as large as the largest cameras' pictures.
_LARGEST_BATCH = 1 << 28
_GREY, _COLOURED = 1, {2, 6}  # photometric interpretations: RGB and YCbCr have three colours
# Tags that a codec itself needs: T4Options, T6Options, JPEGTables, YCbCrSubSampling.
_OPTIONS = {292: "I", 293: "I", 347: "B", 530: "H"}


class Stored(NamedTuple):
    """A strip or tile as it lies in the file."""

    file: Any  # tifffile's handle
    offset: int
    size: int
    reversed: bool  # the bits of each byte, lowest first (FillOrder 2)

    def pieces(self, largest: int) -> Iterator[bytes]:
        """Its bytes, a few MiB at a time, `largest` at most."""
        at, end = self.offset, self.offset + min(self.size, largest)
        while at < end:
            self.file.seek(at)
            piece = bytes(self.file.read(min(_PIECE, end - at)))
            if not piece:
                return
            at += len(piece)
            yield piece.translate(_REVERSED) if self.reversed else piece


def unpacked(
    compression: int, strips: Sequence[Stored], rows: Sequence[int], row: int, page: Any
) -> Bytes:
    """The bytes (sum of `rows`, `row`) of strips that stand one below the other.

    strips  all but the last have the same number of rows
    row     bytes of a row; 8 pixels a byte for fax, one sample a byte for JPEG
    page    tifffile's, for the tags that a codec needs

    Raises EOFError where a strip holds less, and what the codec raises for a damaged one.
    """
    if compression in _BY_LIBTIFF:
        return _by_libtiff(compression, strips, rows, row, page)
    result = np.empty((sum(rows), row), np.uint8)
    flat, at = result.reshape(-1), 0
    for strip, height in zip(strips, rows, strict=True):
        _fill(compression, strip, flat[at : at + height * row])
        at += height * row
    return result


def _fill(compression: int, strip: Stored, target: Bytes) -> None:
    filled = 0
    for piece in _unpacked_pieces(compression, strip, len(target)):
        kept = piece[: len(target) - filled]
        target[filled : filled + len(kept)] = np.frombuffer(kept, np.uint8)
        filled += len(kept)
        if len(kept) < len(piece):
            return
    if filled < len(target):
        raise EOFError(f"the file is truncated, a strip holds {filled:,} of {len(target):,} bytes")


def _unpacked_pieces(compression: int, strip: Stored, size: int) -> Iterator[bytes]:
    """A few MiB at a time; a stream is asked to its end, where its checksum is compared."""
    if compression == NONE:
        yield from strip.pieces(size)
        return
    codec: Any = (
        lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
        if compression == _LZMA
        else zlib.decompressobj()
    )
    for packed in strip.pieces(_most_packed(size)):
        rest, piece = packed, b""
        while not codec.eof and (rest or len(piece) == _PIECE):
            piece = codec.decompress(rest, _PIECE)
            yield piece
            rest = getattr(codec, "unconsumed_tail", b"")  # lzma keeps it to itself


def _most_packed(size: int) -> int:
    """Bytes beyond which no compression of `size` bytes goes."""
    return 2 * size + (1 << 20)


def _by_libtiff(
    compression: int, strips: Sequence[Stored], rows: Sequence[int], row: int, page: Any
) -> Bytes:
    from PIL.TiffImagePlugin import TiffImageFile

    height = sum(rows)
    if height * row > _LARGEST_BATCH:
        raise ValueError(
            f"a strip of {height * row:,} bytes is too large; save it in smaller strips or tiles"
        )
    packed = [
        b"".join(strip.pieces(_most_packed(n * row))) for strip, n in zip(strips, rows, strict=True)
    ]
    tags = _plain_tags(compression, rows, row, page) | _codec_tags(page)
    with TiffImageFile(BytesIO(_file(tags, packed))) as picture:
        data = np.asarray(picture)
    if compression in _FAX:
        return np.packbits(data, axis=1)
    return np.array(data).reshape(height, row)


def _plain_tags(compression: int, rows: Sequence[int], row: int, page: Any) -> _Tags:
    """The picture that libtiff is asked for: grey bytes, bits for fax, samples for JPEG."""
    samples = page.samplesperpixel if compression == JPEG and page.planarconfig == 1 else 1
    colours = 3 if samples > 2 and int(page.photometric) in _COLOURED else 1
    width = row // samples
    if compression in _FAX:
        width = page.tilewidth if page.is_tiled else page.imagewidth
    tags: _Tags = {
        256: ("I", (width,)),
        257: ("I", (sum(rows),)),
        258: ("H", (1 if compression in _FAX else 8,) * samples),
        259: ("H", (compression,)),
        262: ("H", (int(page.photometric) if colours == 3 else _GREY,)),
        277: ("H", (samples,)),
        278: ("I", (rows[0],)),
    }
    # Of no meaning, so that Pillow neither multiplies nor divides by transparency.
    return tags if samples == colours else tags | {338: ("H", (0,) * (samples - colours))}


def _codec_tags(page: Any) -> _Tags:
    found = {code: page.tags.valueof(code) for code in _OPTIONS}
    return {
        code: (_OPTIONS[code], tuple(value) if hasattr(value, "__len__") else (int(value),))
        for code, value in found.items()
        if value is not None
    }


def _file(tags: _Tags, strips: Sequence[bytes]) -> bytes:
    """A little-endian TIFF of one page with these tags and strips (TIFF 6.0, section 2)."""
    offsets = np.cumsum([8, *map(len, strips)])
    tags = tags | {
        273: ("I", tuple(map(int, offsets[:-1]))),
        279: ("I", tuple(map(len, strips))),
    }
    end = int(offsets[-1]) + int(offsets[-1]) % 2
    directory, values = struct.pack("<H", len(tags)), b""
    behind = end + 2 + 12 * len(tags) + 4
    for code, (kind, numbers) in sorted(tags.items()):
        value = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        place = value.ljust(4, b"\0")
        if len(value) > 4:
            place = struct.pack("<I", behind + len(values))
            values += value + b"\0" * (len(value) % 2)
        directory += struct.pack("<HHI", code, {"B": 7, "H": 3, "I": 4}[kind], len(numbers)) + place
    header = struct.pack("<2sHI", b"II", 42, end)
    body = b"".join((header, *strips))
    return body.ljust(end, b"\0") + directory + bytes(4) + values
