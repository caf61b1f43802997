# SPDX-License-Identifier: Apache-2.0
"""A volume of any size, read box by box: one type, wherever its voxels lie.

Axes are z, y, x. A box is three half-open ranges in voxels, as microscopists and archives of
volumes count them: absolute, so that the same numbers mean the same tissue in a volume and in a
part that was cut out of it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, EncephalonError, InputError, UnreadableFileError
from encephalon.io.http import public
from encephalon.io.pixel_size import nanometres

Size = tuple[int, int, int]
"""Voxels along z, y and x."""
Spacing = tuple[float, float, float]
"""Edges of a voxel along z, y and x, µm."""
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""First voxel, and the one after the last, along z, y and x."""

_KINDS = "buif"
_WIDEST = 8  # bytes of a number: those of long doubles mean another thing on each processor


class Source(Protocol):
    """Where voxels come from; what it raises beyond errors of this package is said in a sentence.

    It can be pickled and used by several threads, since workers read from it.
    """

    def read(self, box: Box) -> NDArray[Any]:
        """The voxels (z, y, x) of `box`, which counts from the first voxel, in a new array."""

    def missing(self, box: Box) -> int:
        """How many of the stored pieces that `box` touches are not there, and read as filling."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume whose voxels stay where they are until a box of them is read.

    name     where it lies, without credentials, and which channel of it this is
    shape    voxels along z, y, x
    dtype    of the voxels: uint8 for truth values, otherwise as stored, in native byte order
    source   what reads them
    spacing  edges of a voxel along z, y, x, µm, or None where nothing says it
    origin   absolute position of the first voxel along z, y, x, in voxels of this level
    level    of resolution, 0 being the finest
    levels   how many there are
    """

    name: str
    shape: Size
    dtype: np.dtype[Any]
    source: Source = field(repr=False)
    spacing: Spacing | None = None
    origin: Size = (0, 0, 0)
    level: int = 0
    levels: int = 1

    @property
    def box(self) -> Box:
        """The whole of it, in absolute voxels."""
        return box_at(self.origin, self.shape)

    def read(self, box: Box | None = None, *, complete: bool = False) -> NDArray[Any]:
        """The voxels (z, y, x) of `box`, absolute and half-open, or all; the array is the caller's.

        A piece that was never written reads as the filling that the file names, as Zarr and HDF5
        have it; with `complete` that is an error. Raises InputError for a box that is empty or not
        inside, UnreadableFileError for voxels that cannot be had, and ContentError for some that
        are no number; each names the volume and the box.
        """
        inside, where = self._relative(self.box if box is None else box)
        if complete and (count := self.missing(box)):
            raise UnreadableFileError(
                f"{where}: {count:,} of the stored pieces that this box touches are missing, and a "
                "whole box was asked for; fetch or write the volume again."
            )
        with said(f"{where}: the voxels", "copy or fetch the volume again"):
            found = self.source.read(inside)
        if found.dtype == np.bool_:
            found = found.view(np.uint8)
        data: NDArray[Any] = np.require(found, self.dtype, ["C", "W", "O"])
        if data.shape != box_size(inside):
            raise UnreadableFileError(
                f"{where}: expected voxels of shape {box_size(inside)}, but {data.shape} came."
            )
        if data.dtype.kind == "f" and not np.isfinite(data).all():
            count = data.size - int(np.count_nonzero(np.isfinite(data)))
            raise ContentError(
                f"{where}: {count:,} of {data.size:,} voxels are NaN or infinite, but finite "
                "numbers are needed; set them to the background."
            )
        return data

    def missing(self, box: Box | None = None) -> int:
        """How many stored pieces (chunks, shards, blocks) that `box` touches were never written.

        What a server fills in by itself cannot be known, and counts as there. The errors are those
        of `read`.
        """
        inside, where = self._relative(self.box if box is None else box)
        with said(f"{where}: the voxels", "copy or fetch the volume again"):
            return self.source.missing(inside)

    def _relative(self, box: Any) -> tuple[Box, str]:
        """The box counted from the first voxel, and what an error says of it: volume and box.

        Raises InputError unless it is inside.
        """
        try:
            z, y, x = asked = tuple((operator.index(a), operator.index(b)) for a, b in box)
        except (TypeError, ValueError):
            raise InputError(
                f"{self.name}: expected a box of three ranges (start, stop) along z, y, x, but it "
                f"is {box}."
            ) from None
        text = box_text(asked)
        if any(start >= stop for start, stop in asked):
            raise InputError(
                f"{self.name}: the box {text} is empty; let each range stop after its start."
            )
        if any(a < low or b > high for (a, b), (low, high) in zip(asked, self.box, strict=True)):
            raise InputError(
                f"{self.name}: the box {text} is not inside the volume, which has "
                f"{box_text(self.box)}; choose one that is."
            )
        return shifted((z, y, x), [-n for n in self.origin]), f"{self.name}, {text}"


@contextmanager
def said(what: str, action: str) -> Iterator[None]:
    """Say in one sentence what damage does to the library that reads: WHAT could not be read."""
    try:
        yield
    except EncephalonError:
        raise
    except Exception as error:  # damage makes libraries raise dozens of classes
        raise UnreadableFileError(
            f"{what} could not be read ({reason(error)}); {action}."
        ) from error


def reason(error: Exception) -> str:
    """What a library says of an error, in one line and without credentials."""
    return public(" ".join(str(error).split()).rstrip("."))[:300] or type(error).__name__


def box_text(box: Iterable[tuple[int, int]]) -> str:
    """A box as a message says it: "z 110:379, y 900:1156, x 4600:4856"."""
    return ", ".join(
        f"{axis} {start}:{stop}" for axis, (start, stop) in zip("zyx", box, strict=True)
    )


def box_at(start: Iterable[int], size: Iterable[int]) -> Box:
    """The box of so many voxels whose first one is `start`, both along z, y, x."""
    z, y, x = ((first, first + n) for first, n in zip(start, size, strict=True))
    return z, y, x


def box_slices(box: Iterable[tuple[int, int]]) -> tuple[slice, ...]:
    """The box as an index of an array; also of some of its axes alone."""
    return tuple(slice(start, stop) for start, stop in box)


def box_size(box: Box) -> Size:
    """Voxels of a box along z, y, x."""
    z, y, x = (stop - start for start, stop in box)
    return z, y, x


def shifted(box: Iterable[tuple[int, int]], by: Iterable[int]) -> Box:
    """The box moved `by` so many voxels along z, y, x."""
    z, y, x = ((start + n, stop + n) for (start, stop), n in zip(box, by, strict=True))
    return z, y, x


def volume_size(shape: Any, name: str) -> Size:
    """A shape (z, y, x) from a file, believed: three whole numbers above 0.

    Raises ContentError naming the volume.
    """
    try:
        z, y, x = (operator.index(n) for n in shape)
    except (TypeError, ValueError):
        raise ContentError(f"{name}: expected three axes z, y, x, but the shape is {shape}.") from (
            None
        )
    if min(z, y, x) < 1 or z * y * x >= 1 << 62:
        raise ContentError(
            f"{name}: expected voxels along each axis, but the shape is {(z, y, x)}; check the "
            "file."
        )
    return z, y, x


def volume_dtype(kind: Any, name: str) -> np.dtype[Any]:
    """The type that voxels stored as `kind` are read as.

    Raises ContentError, naming the volume, for objects, texts, records, complex and long numbers.
    """
    found = np.dtype(kind)
    if found.kind not in _KINDS or found.itemsize > _WIDEST or found.subdtype is not None:
        raise ContentError(
            f"{name}: expected one real number a voxel, but the voxels are of type {found}; "
            "convert them."
        )
    return np.dtype(np.uint8) if found.kind == "b" else found.newbyteorder("=")


def micrometres(edge: Any, unit: Any) -> float | None:
    """An edge in µm; None for a unit of no length."""
    size = nanometres(edge, unit)
    return None if size is None else size / 1000


def volume_spacing(edges: Any) -> Spacing | None:
    """Three edges, µm, as a file says them; None unless each is a finite number above 0."""
    try:
        z, y, x = (float(edge) for edge in edges)
    except (TypeError, ValueError):
        return None
    return (z, y, x) if all(math.isfinite(n) and n > 0 for n in (z, y, x)) else None
