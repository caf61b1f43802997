# SPDX-License-Identifier: Apache-2.0
"""Whether all pixels of a PNG or JPEG are there; decoders fill what is missing without a word."""

from __future__ import annotations

import re
from io import BufferedReader
from typing import NamedTuple

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # what ends the coded data of a scan
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # kinds of start of frame that libjpeg reads
_MORE = bytes((number * 37 + 11) % 251 for number in range(512))  # coded data of no meaning


def refuse_cut_png(stream: BufferedReader) -> None:
    """Raise EOFError when the rows of a PNG's first picture are not all in its data."""
    from imagecodecs import PngError, png_decode

    stream.seek(0)
    try:
        png_decode(stream.read())  # libpng, unlike Pillow, wants every row
    except PngError as error:
        raise EOFError(f"the file is cut, the last rows are missing ({error})") from error


class JpegScans(NamedTuple):
    """What the markers of a JPEG say of its coded data.

    complete  whether the scans hold every coefficient of every component, to the last bit
    end       where the data of the last scan end
    shape     rows and columns
    """

    complete: bool
    end: int
    shape: tuple[int, int]


def jpeg_scans(content: bytes) -> JpegScans:
    """Read the markers of a JPEG; raises IndexError or KeyError where they make no sense."""
    at, end, shape = 2, 0, (0, 0)
    missing: dict[int, list[int]] = {}  # component -> lowest bit not yet there, by coefficient
    while (found := _MARKER.search(content, at)) is not None and content[found.end() - 1] != _END:
        code, at = content[found.end() - 1], found.end()
        length = int.from_bytes(content[at : at + 2], "big")
        body = content[at + 2 : at + length]
        at += max(2, length)
        if code in _FRAMES:
            shape = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            missing = {body[6 + 3 * n]: [1] * 64 for n in range(body[5])}
        elif code == _START_OF_SCAN:
            _take(body, missing)
            following = _MARKER.search(content, at)
            at = end = following.start() if following else len(content)
    return JpegScans(bool(missing) and not any(map(any, missing.values())), end, shape)


def _take(scan: bytes, missing: dict[int, list[int]]) -> None:
    """Strike out of `missing` what a scan holds (T.81, section B.2.3)."""
    count = scan[0]
    first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
    for n in range(count):
        missing[scan[1 + 2 * n]][first : last + 1] = [bits & 15] * (last + 1 - first)


def with_more_data(content: bytes, end: int) -> bytes:
    """The same JPEG with data that mean nothing after those of its last scan.

    A decoder that has found all pixels before never looks at them; one that has not, and would
    have filled the rest, takes them, so that the picture becomes another.
    """
    return content[:end] + _MORE + content[end:]
