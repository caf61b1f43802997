# SPDX-License-Identifier: Apache-2.0
"""Pictures of tissue, one plane each: TIFF, PNG, JPEG and others in, TIFF out.

Arrays are (rows, columns), row 0 at the top, pixels as they are stored: tags that ask a viewer to
turn the picture are not followed. What a file holds decides how it is read, not its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, EncephalonError, UnreadableFileError
from encephalon.io.atomic import atomic_path
from encephalon.io.files import opened, refuse_foreign
from encephalon.io.microscopes import (
    MICROSCOPE_SUFFIXES,
    is_microscope_file,
    read_microscope_file,
)
from encephalon.io.pixel_size import Size, sidecar_size
from encephalon.io.png_jpeg import JPEG, OTHER_SUFFIXES, PNG, read_jpeg, read_other, read_png

_PLAIN_SUFFIXES = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".png", ".jpg", ".jpeg")
PICTURE_SUFFIXES = (*_PLAIN_SUFFIXES, *MICROSCOPE_SUFFIXES, *OTHER_SUFFIXES)
"""The names of files that are pictures, the longest endings first."""

LARGEST_PICTURE = 5 << 28
"""Bytes of the largest picture that is decoded, 1.25 GiB: its pixels as they are decoded and, where
that is another array, its grey levels; at least 4 a pixel, since all become float32 in the end. Our
choice: the largest cameras of electron microscopes stay below (16,384 × 16,384 as float32, or as
8-bit colour with transparency)."""

_START = 256  # bytes by which a format is known
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_KEPT = (np.uint8, np.uint16, np.float32)  # types of levels that stay
_BAND_BYTES = 1 << 24

Choice = Callable[..., int]  # the index of a page, of how many there are and, if known, which
Colour = Literal["refuse", "luminance"]


@dataclass(frozen=True, eq=False)
class Micrograph:
    """One picture.

    data           (rows, columns), uint8, uint16 or float32: grey levels as stored, white bright
    pixel_size_nm  height and width of a pixel (row, column), nm, or None where nothing says it
    path           where it came from
    """

    data: NDArray[Any] = field(repr=False)
    pixel_size_nm: Size | None
    path: Path


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether the name of that file is the name of a picture."""
    return Path(path).name.lower().endswith(PICTURE_SUFFIXES)


def picture_stem(path: str | os.PathLike[str]) -> str:
    """The file name without its picture suffix: 'a.b' for 'x/a.b.ome.tif'."""
    name = Path(path).name
    suffix = next((end for end in PICTURE_SUFFIXES if name.lower().endswith(end)), None)
    return name[: -len(suffix)] if suffix else Path(path).stem


def read_micrograph(
    path: str | os.PathLike[str], *, page: int | None = None, colour: Colour = "refuse"
) -> Micrograph:
    """Read one plane of a picture: TIFF, PNG, JPEG, what a microscope writes, or others of Pillow.

    8- and 16-bit levels keep their type, black and white becomes 0 and 255, everything else
    float32. `page`, from 1, chooses among several. Colours whose channels are equal are grey; of
    others `colour` = "luminance" takes 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as Pillow does).
    Transparency is left out. The pixel size comes from a BIDS sidecar, or from tags of OME, FEI,
    Thermo, Zeiss or ImageJ, from what a microscope's own format says of it, or from a resolution
    that is finer than any printer's.

    Raises MissingFileError, MissingExtraError (a format of microscopes), UnreadableFileError
    (truncated, damaged, a pointer, no picture at all) or ContentError (several pages, colour, too
    many pixels, NaN), each naming the file.
    """
    path = Path(path)
    refuse_foreign(path)
    if not is_picture(path):
        raise UnreadableFileError(
            f"{path}: expected a picture named {', '.join(PICTURE_SUFFIXES)}, but the suffix is "
            f"{''.join(path.suffixes[-2:]) or 'missing'}; convert or rename it."
        )
    with opened(path) as stream:
        try:
            data, size = _by_content(path, stream, partial(_page, path, page), colour)
        except EncephalonError:
            raise
        except Exception as error:  # damage makes the decoders raise a dozen classes
            reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
            raise UnreadableFileError(
                f"{path}: the picture could not be read: {reason}; copy or export it again."
            ) from error
    plane = _plain(path, data)
    return Micrograph(plane, sidecar_size(path, picture_stem(path)) or size, path)


def write_plane(data: NDArray[Any], path: str | Path) -> None:
    """Write `data` (rows, columns) atomically as a float32 TIFF, deflated, that Fiji opens.

    Of (z, y, x) each plane is a page. NaN is allowed. Raises OutputError where the place cannot be
    written.
    """
    import tifffile

    planes = np.asarray(data, np.float32)
    if planes.ndim not in {2, 3}:
        raise ValueError(
            f"a plane has rows and columns, and a stack planes, but the shape is {planes.shape}"
        )
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            planes,
            compression="zlib",
            photometric="minisblack",
            metadata=None,
            software="Encephalon",
        )


def _by_content(
    path: Path, stream: BufferedReader, choose: Choice, colour: Colour
) -> tuple[NDArray[Any], Size | None]:
    """Grey levels (rows, columns) as they are stored, and what the file says of their size."""
    allow, grey = partial(_refuse_large, path), partial(_grey, path, colour)
    start = stream.read(_START)
    stream.seek(0)
    if start[:4] in _TIFF:
        from encephalon.io.tiff import read_tiff

        return _one_level(read_tiff(path, stream, choose, allow), grey)
    if start.startswith(PNG):
        return read_png(path, stream, choose, allow, grey)
    if start.startswith(JPEG):
        choose(1)
        return read_jpeg(stream, allow, grey)
    if is_microscope_file(start):
        return _one_level(read_microscope_file(path, start, choose, allow), grey)
    if (found := read_other(stream, start, choose, allow, grey)) is not None:
        return found
    raise UnreadableFileError(
        f"{path}: expected a picture, such as a TIFF, PNG or JPEG, but its content is none; export "
        "it as one."
    )


def _one_level(
    found: tuple[NDArray[Any], Size | None], grey: Callable[[int, Iterator[Any]], NDArray[Any]]
) -> tuple[NDArray[Any], Size | None]:
    """The same with one value a pixel (rows, columns) of what may have three."""
    data, size = found
    if data.ndim < 3:
        return data, size
    step = max(1, _BAND_BYTES // data[:1].nbytes)
    return grey(len(data), (data[top : top + step] for top in range(0, len(data), step))), size


def _page(path: Path, page: int | None, count: int, which: str = "") -> int:
    """The index of the page that was asked for, of `count`; `which` says what they are."""
    if page is None and count > 1:
        raise ContentError(
            f"{path}: expected one page, but the file holds {count}{which and f' ({which})'}; "
            f"choose one with page=1 to page={count} (study.page=1 in a recipe, --option page=1 to "
            "predict)."
        )
    if page is not None and not 1 <= page <= count:
        raise ContentError(
            f"{path}: page {page} was asked for, but the file holds {count}; choose one."
        )
    return (page or 1) - 1


def _refuse_large(path: Path, rows: int, columns: int, samples: int, kind: np.dtype[Any]) -> None:
    kept = kind in _KEPT
    level = 0 if kept and samples == 1 else kind.itemsize if kept else 4
    needed = rows * columns * max(4, samples * kind.itemsize + level)
    if needed > LARGEST_PICTURE:
        raise ContentError(
            f"{path}: the picture has {rows:,} × {columns:,} pixels, "
            f"{rows * columns / 1e6:,.0f} million, which take {needed / 2**30:,.1f} GiB to decode, "
            f"but at most {LARGEST_PICTURE / 2**30:g} are taken; crop or bin it."
        )


def _grey(path: Path, colour: Colour, rows: int, bands: Iterator[NDArray[Any]]) -> NDArray[Any]:
    """One value a pixel (rows, columns) of what may have three, some rows at a time."""
    plane, top = np.empty((0, 0)), 0
    for band in bands:
        levels = band if band.ndim == 2 else _levels(path, colour, band)
        if top == 0:
            plane = np.empty((rows, levels.shape[1]), levels.dtype)
        plane[top : top + len(levels)] = levels
        top += len(levels)
    return plane


def _levels(path: Path, colour: Colour, data: NDArray[Any]) -> NDArray[Any]:
    red, green, blue = (data[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return red
    if colour != "luminance":
        raise ContentError(
            f"{path}: expected grey levels, but the picture is in colour; save it as grey, or take "
            'its brightness (study.colour="luminance" in a recipe, --option colour=luminance to '
            "predict)."
        )
    if data.dtype in (np.uint8, np.uint16):
        # The whole numbers of Pillow, 2**16 in sum; 65,535 times that still fits.
        weights, half = np.array([19595, 38470, 7471], np.uint32), np.uint32(1 << 15)
        return ((data @ weights + half) >> 16).astype(data.dtype)
    return data.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _plain(path: Path, data: NDArray[Any]) -> NDArray[Any]:
    """Grey levels as uint8, uint16 or finite float32, in the byte order of this machine."""
    if data.dtype == np.bool_:
        return data.astype(np.uint8) * np.uint8(255)
    if data.dtype.kind == "u" and data.dtype.itemsize <= 2:
        return np.asarray(data, data.dtype.newbyteorder("="))
    if data.dtype.kind not in "iuf":
        raise ContentError(
            f"{path}: expected real numbers, but the pixels are {data.dtype}; convert them."
        )
    with np.errstate(over="ignore"):  # what overflows turns infinite and is refused by its name
        plane = np.asarray(data, np.float32)
    if not (np.isfinite(plane.min()) and np.isfinite(plane.max())):
        count = plane.size - int(np.count_nonzero(np.isfinite(plane)))
        raise ContentError(
            f"{path}: {count:,} of {plane.size:,} pixels are NaN or infinite, but finite numbers "
            "are needed; set them to the background, or export the picture again."
        )
    return plane
