# SPDX-License-Identifier: Apache-2.0
"""What the header of one DICOM file says, read by itself: enough to sort files into volumes.

DICOM PS3.10 section 7 (files) and PS3.5 section 7 (elements, sequences). Sequences are walked as
well, since multi-frame images keep the place of each frame in them. Pixels are left to SimpleITK.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.io.files import opened
from encephalon.io.image import SLICE_SUFFIXES

Tag = tuple[int, int]

PREAMBLE = 128  # "DICM" follows; some old exports begin without both
_UNDEFINED = 0xFFFFFFFF
_SYNTAX = (0x0002, 0x0010)
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_PIXELS = {(0x7FE0, 0x0010), (0x7FE0, 0x0008), (0x7FE0, 0x0009)}
# Value representations, and those of them whose length has four bytes (PS3.5 section 7.1.2).
_SHORT = (
    *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT"),
    *("PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
)
_LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
_IMPLICIT, _BIG, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_PLAIN = {"", _IMPLICIT, _BIG, _DEFLATED, "1.2.840.10008.1.2.1"}
_MOST_NOTES = 1 << 28  # bytes beside the pixels of a file: private ones, overlays, reports
# Bytes of a deflated data set that are unpacked, and of a value that is kept; elements of a header.
_MOST_UNPACKED, _MOST_KEPT, _MOST_ELEMENTS = 1 << 24, 1 << 12, 1_000_000

# Sequences of a multi-frame image: what all frames share, and what each has for itself.
_FRAMES = ((0x5200, 0x9229), (0x5200, 0x9230))
_WANTED = {
    (0x0002, 0x0002): "stored_class",
    _SYNTAX: "transfer_syntax",
    (0x0008, 0x0016): "sop_class",
    (0x0008, 0x0018): "sop_uid",
    (0x0008, 0x103E): "description",
    (0x0018, 0x0050): "thickness",
    (0x0018, 0x0081): "echo_time",
    (0x0018, 0x0088): "spacing_between",
    (0x0018, 0x1164): "imager_spacing",
    (0x0020, 0x000E): "series_uid",
    (0x0020, 0x0011): "series_number",
    (0x0020, 0x0012): "acquisition",
    (0x0020, 0x0013): "instance",
    (0x0020, 0x0032): "position",
    (0x0020, 0x0037): "orientation",
    (0x0020, 0x0100): "temporal_position",
    (0x0028, 0x0002): "samples",
    (0x0028, 0x0008): "frames",
    (0x0028, 0x0010): "rows",
    (0x0028, 0x0011): "columns",
    (0x0028, 0x0030): "pixel_spacing",
    (0x0028, 0x0100): "bits",
    (0x0028, 0x1052): "intercept",
    (0x0028, 0x1053): "slope",
}
_NUMBERS_OF_16_BITS = {"samples", "rows", "columns", "bits"}


@dataclass
class DicomHeader:
    """What one file says. Of what each frame has, in order: one a frame, or one, or none.

    path          the file
    values        what `_WANTED` names, as text, wherever it stands first
    positions     Image Position (Patient), (3,) LPS mm each
    orientations  Image Orientation (Patient), (6,) each
    slopes        of the map from stored numbers to values
    intercepts    of the same
    has_pixels    whether there are pixels in it
    fault         why the file cannot be right; "" for no reason
    """

    path: Path
    values: dict[str, str] = field(default_factory=dict)
    positions: list[NDArray[np.float64]] = field(default_factory=list)
    orientations: list[NDArray[np.float64]] = field(default_factory=list)
    slopes: list[float] = field(default_factory=list)
    intercepts: list[float] = field(default_factory=list)
    has_pixels: bool = False
    fault: str = ""

    def text(self, name: str) -> str:
        """A value; "" where there is none."""
        return self.values.get(name, "")

    def numbers(self, name: str) -> NDArray[np.float64]:
        """The numbers of a value, (N,); empty where there are none or they cannot be read."""
        return _numbers(self.text(name))

    def number(self, name: str, otherwise: float = 0.0) -> float:
        """The first number of a value."""
        found = self.numbers(name)
        return float(found[0]) if found.size else otherwise

    @property
    def frames(self) -> int:
        """How many images there are in it."""
        return max(1, int(min(self.number("frames", 1.0), 1e6)))

    @property
    def compression(self) -> str:
        """The transfer syntax of compressed pixels; "" for pixels that are not."""
        syntax = self.text("transfer_syntax")
        return "" if syntax in _PLAIN else syntax

    @property
    def is_image(self) -> bool:
        """Whether there is an image in it or, by its class of object or its name, should be."""
        found = self.text("sop_class") or self.text("stored_class")
        part = found.removeprefix("1.2.840.10008.5.1.4.1.1.")
        # PS3.4 annex B.5: CR, DX, CT, US, MR, NM, secondary capture, XA, PET.
        images = ("1", "2", "3", "4", "6", "7", "12", "20", "128", "130")
        if self.has_pixels or (part != found and part.split(".")[0] in images and part != "4.2"):
            return True
        return bool(self.fault) and self.path.suffix.lower() in SLICE_SUFFIXES


def begins_like_dicom(start: bytes) -> bool:
    """Whether a file that begins so is DICOM: by its mark, or by its first elements without one."""
    if start[PREAMBLE : PREAMBLE + 4] == b"DICM":
        return True
    try:
        elements = _Walk(BytesIO(start), len(start), 0).elements()
        first, second = next(elements), next(elements)
    except (StopIteration, _DamageError):
        return False
    return first[0][0] in (0x0002, 0x0008) and first[0] < second[0] and second[0][0] <= 0x0010


def read_header(path: Path) -> DicomHeader:
    """What the header of the DICOM file `path` says.

    Whatever is wrong with the content is its `fault`. Raises what `opened` raises.
    """
    header = DicomHeader(path)
    with opened(path) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        marked = stream.read(PREAMBLE + 4)[PREAMBLE:] == b"DICM"
        try:
            _fill(header, _Walk(stream, size, PREAMBLE + 4 if marked else 0))
        except _DamageError as error:
            header.fault = str(error)
    return header


def _fill(header: DicomHeader, walk: _Walk) -> None:
    for tag, value, length in walk.elements():
        if tag in _PIXELS and walk.root is None:
            header.has_pixels = True
            _refuse_wrong_pixels(header, walk, length)
            return
        # Sequences repeat what the file itself says, of others: all but those of the frames.
        name = _WANTED.get(tag) if walk.root in (None, *_FRAMES) else None
        if name == "position":
            header.positions.append(_numbers(_text(value)))
        elif name == "orientation":
            header.orientations.append(_numbers(_text(value)))
        elif name == "slope":
            header.slopes += _numbers(_text(value))[:1].tolist()
        elif name == "intercept":
            header.intercepts += _numbers(_text(value))[:1].tolist()
        elif name in _NUMBERS_OF_16_BITS:
            header.values.setdefault(name, str(walk.number(value[:2])))
        elif name:
            header.values.setdefault(name, _text(value))


def _refuse_wrong_pixels(header: DicomHeader, walk: _Walk, length: int) -> None:
    """Raise _DamageError where pixels of that length cannot be those that the header promises."""
    if length != _UNDEFINED and header.compression:
        raise _DamageError("it says that its pixels are compressed, but they are not")
    rows, columns, samples, bits = (
        header.number(name, 1.0) for name in ("rows", "columns", "samples", "bits")
    )
    # A pixel has 8 bytes a sample at the most, and notes lie beside.
    most = 8 * max(1.0, rows) * max(1.0, columns) * max(1.0, samples) * header.frames + _MOST_NOTES
    if walk.size > most:
        raise _DamageError("it is far larger than its image")
    if length != _UNDEFINED and walk.place + length > walk.size:
        raise _DamageError("it ends before its last pixel")
    if length < int(rows * columns * samples * bits * header.frames) // 8:
        raise _DamageError("it holds fewer pixels than its header says")


def _text(value: bytes) -> str:
    try:
        found = value.decode("utf-8")
    except UnicodeDecodeError:
        found = value.decode("latin-1")
    return found.strip("\0 ")


def _numbers(text: str) -> NDArray[np.float64]:
    try:
        found = np.array([float(part) for part in text.split("\\")])
    except ValueError:
        return np.zeros(0)
    return found if np.isfinite(found).all() else np.zeros(0)


class _DamageError(Exception):
    """What cannot be in a DICOM file."""


class _Walk:
    """The elements of a data set in order, those within sequences too.

    `syntax` is the transfer syntax, `place` where the value of the current element begins, and
    `size` where the file ends.
    """

    def __init__(self, stream: BinaryIO, size: int, start: int) -> None:
        self._stream, self.size, self.place = stream, size, start
        self.syntax = ""
        self._order: Literal["little", "big"] = "little"
        self._explicit = True
        # What the element lies in, and where that ends: infinity where a delimiter ends it.
        self._open: list[tuple[Tag, float]] = []

    @property
    def root(self) -> Tag | None:
        """The outermost sequence that the current element lies in."""
        return self._open[0][0] if self._open else None

    def elements(self) -> Iterator[tuple[Tag, bytes, int]]:
        """Tag, the first bytes of the value where it is wanted, and length of each element."""
        self._explicit = _read_kind(self)
        in_meta = True
        for _ in range(_MOST_ELEMENTS):
            while self._open and self.place >= self._open[-1][1]:
                self._open.pop()
            if in_meta and self.number(self.read(self.place, 2)) != 0x0002:
                in_meta = False
                self._begin_data_set()
            if self.place >= self.size:
                return
            tag, kind, length = self._head()
            if tag[0] == 0:
                raise _DamageError("it holds no DICOM elements")
            if tag in (_ITEM, _ITEM_END, _SEQUENCE_END):
                self._delimit(tag, length)
                continue
            nested = kind == "SQ" or (length == _UNDEFINED and (tag not in _PIXELS or self._open))
            value = b""
            if tag in _WANTED and not nested:
                value = self.read(self.place, min(length, _MOST_KEPT))
                self.syntax = _text(value) if tag == _SYNTAX else self.syntax
            yield tag, value, length
            if nested:
                end = math.inf if length == _UNDEFINED else self.place + length
                self._open.append((tag, end))
            else:
                self.place += length
                if self.place > self.size:
                    raise _DamageError("it ends in the middle of its header")
        raise _DamageError("its header has no end")

    def number(self, raw: bytes) -> int:
        """An unsigned integer in the order of bytes of the file."""
        return int.from_bytes(raw, self._order)

    def read(self, place: int, count: int) -> bytes:
        """Bytes from anywhere."""
        self._stream.seek(place)
        return self._stream.read(count)

    def _delimit(self, tag: Tag, length: int) -> None:
        if tag == _ITEM and self._open and self._open[-1][0] in _PIXELS:
            self.place += length  # a piece of the compressed pixels of an icon
        elif tag == _ITEM:
            end = math.inf if length == _UNDEFINED else self.place + length
            self._open.append((self.root or tag, end))
        elif self._open:
            self._open.pop()

    def _begin_data_set(self) -> None:
        """Follow the transfer syntax that group 2 names; where there is none, what is found."""
        if self.syntax == _DEFLATED:
            packed = self.read(self.place, _MOST_UNPACKED)
            try:
                plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, _MOST_UNPACKED)
            except zlib.error as error:
                raise _DamageError("its deflated header is damaged") from error
            self._stream, self.size, self.place = BytesIO(plain), len(plain), 0
        self._order = "big" if self.syntax == _BIG else "little"
        self._explicit = _read_kind(self)
        if not self._explicit and self.syntax not in {"", _IMPLICIT} and self.place < self.size:
            # GDCM would find out in seconds and a GiB a slice.
            raise _DamageError("its transfer syntax is another than that of its elements")

    def _head(self) -> tuple[Tag, str, int]:
        start = self.read(self.place, 12)
        if len(start) < 8:
            raise _DamageError("it ends in the middle of its header")
        tag, kind = (self.number(start[:2]), self.number(start[2:4])), start[4:6].decode("latin-1")
        if tag[0] == _ITEM[0] or not self._explicit or kind not in _SHORT + _LONG:
            kind, size, length = "", 8, start[4:8]
        elif kind in _SHORT:
            size, length = 8, start[6:8]
        else:
            size, length = 12, start[8:12]
        self.place += size
        return tag, kind, self.number(length)


def _read_kind(walk: _Walk) -> bool:
    """Whether the next element names its value representation."""
    return walk.read(walk.place + 4, 2).decode("latin-1") in _SHORT + _LONG
