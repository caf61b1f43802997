# SPDX-License-Identifier: Apache-2.0
"""Pictures of tissue, one plane each: TIFF, PNG and JPEG in, TIFF out.

Arrays are (rows, columns), row 0 at the top, pixels as they are stored: tags that ask a viewer to
turn the picture are not followed. What a file holds decides how it is read, not its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, InputError, UnreadableFileError
from encephalon.io.atomic import atomic_path
from encephalon.io.files import need_file, refuse_foreign
from encephalon.io.pixel_size import Size, dots_size, sidecar_size

PICTURE_SUFFIXES = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".png", ".jpg", ".jpeg")
"""The names of files that are pictures, the longest endings first."""

LARGEST_PICTURE = 1 << 28
"""Pixels of the largest picture that is decoded, 268 million. Our choice: as float32 it fills
1 GiB, and the largest cameras of electron microscopes stay below (16,384 × 16,384)."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_INCH = 25.4e6  # nm

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
    """Read one plane of a TIFF, PNG or JPEG file.

    8- and 16-bit levels keep their type, black and white becomes 0 and 255, everything else
    float32. `page`, from 1, chooses among several. Colours whose channels are equal are grey; of
    others `colour` = "luminance" takes 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as Pillow does).
    Transparency is left out. The pixel size comes from a BIDS sidecar, or from tags of OME, FEI,
    Thermo, Zeiss or ImageJ, or from a resolution that is finer than any printer's.

    Raises MissingFileError, UnreadableFileError (truncated, damaged, a pointer, no picture at all)
    or ContentError (several pages, colour, too many pixels, NaN), each naming the file.
    """
    path = Path(path)
    start = _start(path)
    choose = _page_chooser(path, page)

    def allow(rows: int, columns: int) -> None:
        _refuse_large(path, rows, columns)

    data, size = _decoded(path, start, choose, allow)
    plane = _plain(path, _grey(path, data, colour))
    return Micrograph(plane, sidecar_size(path, picture_stem(path)) or size, path)


def write_plane(data: NDArray[Any], path: str | Path) -> None:
    """Write `data` (rows, columns) atomically as a float32 TIFF, deflated, that Fiji opens.

    NaN is allowed. Raises OutputError where the place cannot be written.
    """
    import tifffile

    plane = np.asarray(data, np.float32)
    if plane.ndim != 2:
        raise ValueError(f"a plane has rows and columns, but the shape is {plane.shape}")
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            plane,
            compression="zlib",
            photometric="minisblack",
            metadata=None,
            software="Encephalon",
        )


def _start(path: Path) -> bytes:
    """The first bytes of a file that may be a picture."""
    need_file(path)
    refuse_foreign(path)
    if not is_picture(path):
        message = (
            f"{path}: expected a picture named {', '.join(PICTURE_SUFFIXES)}, but the suffix is "
            f"{''.join(path.suffixes[-2:]) or 'missing'}; convert or rename it."
        )
        raise UnreadableFileError(message)
    with path.open("rb") as stream:
        return stream.read(32)


def _decoded(
    path: Path, start: bytes, choose: Callable[[int], int], allow: Callable[[int, int], None]
) -> tuple[NDArray[Any], Size | None]:
    try:
        if start[:4] in _TIFF:
            from encephalon.io.tiff import read_tiff

            return read_tiff(path, choose, allow)
        if start.startswith((_PNG, _JPEG)):
            return _by_pillow(path, start, choose, allow)
    except InputError:
        raise
    except Exception as error:  # damage makes the decoders raise a dozen classes
        reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
        message = f"{path}: the picture could not be read: {reason}; copy or export it again."
        raise UnreadableFileError(message) from error
    message = (
        f"{path}: expected a TIFF, PNG or JPEG picture, but its content is none of them; export "
        "it as one."
    )
    raise UnreadableFileError(message)


def _by_pillow(
    path: Path, start: bytes, choose: Callable[[int], int], allow: Callable[[int, int], None]
) -> tuple[NDArray[Any], Size | None]:
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    png = start.startswith(_PNG)
    if png and start[24] == 16 and start[25] != 0:  # PNG 1.2, IHDR: bit depth, colour type
        message = (
            f"{path}: expected one grey level a pixel, but this is a 16-bit PNG with colour or "
            "transparency; save it as 16-bit grey, or as TIFF."
        )
        raise ContentError(message)
    # Not Image.open, which warns of decompression bombs at a third of our own limit.
    with path.open("rb") as stream, (PngImageFile if png else JpegImageFile)(stream) as picture:
        allow(picture.height, picture.width)
        picture.seek(choose(getattr(picture, "n_frames", 1)))
        across, down = picture.info.get("dpi", (0, 0))
        data = np.asarray(picture.convert("RGB") if picture.mode in {"P", "CMYK"} else picture)
        if picture.mode in {"LA", "RGBA", "PA"}:
            data = data[..., 0] if picture.mode == "LA" else data[..., :3]
    return data, dots_size(down, across, _INCH)


def _page_chooser(path: Path, page: int | None) -> Callable[[int], int]:
    def choose(count: int) -> int:
        if page is None and count > 1:
            message = (
                f"{path}: expected one page, but the file holds {count}; choose one with page=1 to "
                f"page={count} (study.page=1 in a recipe, --option page=1 to predict)."
            )
            raise ContentError(message)
        if page is not None and not 1 <= page <= count:
            message = f"{path}: page {page} was asked for, but the file holds {count}; choose one."
            raise ContentError(message)
        return (page or 1) - 1

    return choose


def _refuse_large(path: Path, rows: int, columns: int) -> None:
    if rows * columns > LARGEST_PICTURE:
        message = (
            f"{path}: the picture has {rows:,} × {columns:,} pixels, {rows * columns / 1e6:,.0f} "
            f"million, but at most {LARGEST_PICTURE / 1e6:.0f} million are read; crop or bin it."
        )
        raise ContentError(message)


def _grey(path: Path, data: NDArray[Any], colour: Colour) -> NDArray[Any]:
    """One value a pixel (rows, columns) of what may have three."""
    if data.ndim == 2:
        return data
    red, green, blue = (data[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return np.ascontiguousarray(red)
    if colour == "luminance":
        return _luminance(data)
    message = (
        f"{path}: expected grey levels, but the picture is in colour; save it as grey, or take its "
        'brightness (study.colour="luminance" in a recipe, --option colour=luminance to predict).'
    )
    raise ContentError(message)


def _luminance(data: NDArray[Any]) -> NDArray[Any]:
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
        message = f"{path}: expected real numbers, but the pixels are {data.dtype}; convert them."
        raise ContentError(message)
    with np.errstate(over="ignore"):  # what overflows turns infinite and is refused by its name
        plane = np.asarray(data, np.float32)
    if not (np.isfinite(plane.min()) and np.isfinite(plane.max())):
        count = plane.size - int(np.count_nonzero(np.isfinite(plane)))
        message = (
            f"{path}: {count:,} of {plane.size:,} pixels are NaN or infinite, but finite numbers "
            "are needed; set them to the background, or export the picture again."
        )
        raise ContentError(message)
    return plane
