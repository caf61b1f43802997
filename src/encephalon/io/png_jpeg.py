# SPDX-License-Identifier: Apache-2.0
"""Grey levels of a picture by Pillow, with the size of its pixels, if all of them are there.

That is asked of the file itself: decoders fill what is missing without a word.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.io.pixel_size import INCH, Size, dots_size

Pixels = NDArray[Any]
Grey = Callable[[int, Iterator[Pixels]], Pixels]
#: Further formats of Pillow that hold one picture as a scanner, camera or microscope gives it.
_OTHERS = ("BMP", "GIF", "JPEG2000", "PPM", "QOI", "SGI", "WEBP", "AVIF")
OTHER_SUFFIXES = (
    *(".bmp", ".gif", ".webp", ".avif", ".jp2", ".j2k", ".qoi", ".sgi"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".pfm"),
)
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_BAND_PIXELS = 1 << 22
# Bytes of a JPEG beyond which none goes: of its pixels, and of notes, profiles and previews.
_MOST_PER_PIXEL, _MOST_NOTES = 4, 1 << 26
_MOST_SCANS = 100  # encoders write about ten; each costs another pass over all pixels
# Samples of a pixel as Pillow holds them; three take the place of four.
_SAMPLES = {"1": 1, "L": 1, "P": 1, "I;16": 1, "I;16B": 1, "I": 1}

# PNG specification, section 8.2: first column and row of the seven passes, and their steps.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_LAST_PASS = (0, 1, 1, 2)
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PIECE = 1 << 20
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # what ends the coded data of a scan
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # kinds of start of frame that libjpeg reads
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}  # T.81, table B.1
_MORE = bytes((number * 37 + 11) % 251 for number in range(512))  # coded data of no meaning


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
        if _seek(picture, choose, allow) == 0 and not any(
            band.any() for band in _bands(picture, last=2)
        ):
            refuse_truncated_png(stream)  # Pillow leaves rows that are missing empty
        return grey(picture.height, _bands(picture)), _size(picture)


def read_other(
    stream: BufferedReader,
    start: bytes,
    choose: Callable[[int], int],
    allow: Callable[[int, int, int, Any], None],
    grey: Grey,
) -> tuple[Pixels, Size | None] | None:
    """Levels of a picture of another format, as `read_png` gives them; None for no such picture.

    `start` are its first bytes. Their decoders say by themselves what is missing.
    """
    from PIL import Image

    Image.init()
    for name in _OTHERS:
        if name not in Image.OPEN:
            continue  # this Pillow was made without it
        factory, accepts = Image.OPEN[name]
        if accepts is None or accepts(start[:16]) is not True:
            continue
        with factory(stream, "") as picture:
            _seek(picture, choose, allow)
            levels = grey(picture.height, _bands(picture))
            if name == "PPM" and levels.dtype == np.int32:
                levels = levels.astype(np.uint16)  # which is what two bytes a sample are scaled to
            return levels, _size(picture)
    return None


def _seek(
    picture: Any, choose: Callable[[int], int], allow: Callable[[int, int, int, Any], None]
) -> int:
    """Decode the picture of a file that is chosen, if it is not too large; its index."""
    _allowed(picture, allow, 0)
    index = choose(getattr(picture, "n_frames", 1))
    picture.seek(index)
    picture.load()
    return index


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
    # A decoder that has found all pixels never looks at data that mean nothing behind those of the
    # last scan; one that would have filled the rest takes them, and the picture becomes another.
    longer = content[: scans.end] + _MORE + content[scans.end :]
    if not np.array_equal(plane, _jpeg_levels(longer, grey)[0]):
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
    return dots_size(down, across, INCH)


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


def refuse_truncated_png(stream: BufferedReader) -> None:
    """Raise EOFError when the rows of a PNG's first picture are not all in its data.

    They are counted and not kept, and what follows them is not unpacked.
    """
    stream.seek(8)
    inflater, found, expected = zlib.decompressobj(), 0, 0
    for name, chunk in _chunks(stream):
        if name == b"IHDR":
            expected = _png_bytes(chunk)
        elif name == b"IDAT":
            while chunk and found < expected:
                found += len(inflater.decompress(chunk, _PIECE))
                chunk = inflater.unconsumed_tail  # noqa: PLW2901 -- what is left of it
    if found < expected:
        raise EOFError(
            f"the file is cut, its data hold {found:,} of {expected:,} bytes, the last rows are "
            "missing"
        )


def _chunks(stream: BufferedReader) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk; of a large one in pieces."""
    while len(head := stream.read(8)) == 8:
        left, name = int.from_bytes(head[:4], "big"), head[4:]
        while left and (piece := stream.read(min(left, _PIECE))):
            left -= len(piece)
            yield name, piece
        stream.seek(4, 1)


def _png_bytes(header: bytes) -> int:
    """Bytes of all rows, each with the byte that names its filter."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _CHANNELS[header[9]]
    passes = (*_PASSES, _LAST_PASS) if header[12] else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


class JpegScans(NamedTuple):
    """What the markers of a JPEG say of its coded data.

    complete  whether the scans hold every coefficient of every component, to the last bit
    end       where the data of the last scan end
    shape     rows and columns
    passes    how many scans there are
    """

    complete: bool
    end: int
    shape: tuple[int, int]
    passes: int


def jpeg_scans(content: bytes) -> JpegScans:
    """Read the markers of a JPEG.

    Raises IndexError or KeyError where they make no sense, ValueError for kinds that are not read.
    """
    at, end, shape, count = 2, 0, (0, 0), 0
    missing: dict[int, list[int]] = {}  # component -> lowest bit not yet there, by coefficient
    while (found := _MARKER.search(content, at)) is not None and content[found.end() - 1] != _END:
        code, at = content[found.end() - 1], found.end()
        length = int.from_bytes(content[at : at + 2], "big")
        body = content[at + 2 : at + length]
        at += max(2, length)
        if code in _OTHER_FRAMES:
            raise ValueError("it is a lossless or hierarchical JPEG, which few programs read")
        if code in _FRAMES:
            shape = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            missing = {body[6 + 3 * n]: [1] * 64 for n in range(body[5])}
        elif code == _START_OF_SCAN:
            count += 1
            # What the scan holds is missing no longer (T.81, section B.2.3).
            parts = body[0]
            first, last, bits = body[1 + 2 * parts : 4 + 2 * parts]
            for n in range(parts):
                missing[body[1 + 2 * n]][first : last + 1] = [bits & 15] * (last + 1 - first)
            following = _MARKER.search(content, at)
            at = end = following.start() if following else len(content)
    return JpegScans(bool(missing) and not any(map(any, missing.values())), end, shape, count)
