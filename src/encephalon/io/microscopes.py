# SPDX-License-Identifier: Apache-2.0
"""Files of microscopes: CZI, LIF, ND2, DM3, DM4 and MRC, by the libraries of an extra.

Whatever a file calls scenes, channels, times or depths, it holds planes in an order. One of them
is read; where there are several, the caller is told what they are and chooses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    closing,
    contextmanager,
    redirect_stdout,
    suppress,
)
from importlib import import_module
from io import StringIO
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import require_extra
from encephalon.io.pixel_size import Size, nanometres

__all__ = ["MICROSCOPE_SUFFIXES", "is_microscope_file", "read_microscope_file"]

MICROSCOPE_SUFFIXES = (".czi", ".lif", ".nd2", ".dm3", ".dm4", ".mrc")

Pixels = NDArray[Any]
_MOST_PLANES = 100_000
#: ImageData.DataType of Digital Micrograph whose bytes have no sign, though its array says so:
#: unsigned 8-bit numbers, black and white.
_DM_UNSIGNED, _DM_COLOUR = (6, 14), 23
#: The words with which IMOD marks its MRC files, at bytes 152 and 156: where the flag 1 is not
#: set, 8-bit numbers have no sign (IMOD, "Format of MRC files").
_IMOD_STAMP, _IMOD_SIGNED = 1146047817, 1
_DM_LOCK = Lock()  # its reader keeps the version in a variable of the module, and prints of damage


class Plane(NamedTuple):
    """One plane of a file, which is decoded when it is asked for.

    place    what it is of, such as "scene 1, C 2"; "" for the only one
    shape    rows, columns, and samples of a pixel
    kind     type of its numbers
    decoded  planes that are decoded with it
    size     height and width of a pixel, nm
    read     gives it: (rows, columns), or (rows, columns, samples)
    """

    place: str
    shape: tuple[int, int, int]
    kind: Any
    decoded: int
    size: Size | None
    read: Callable[[], Pixels]


Opener = Callable[[Path, Any], AbstractContextManager[Iterator[Plane]]]


def is_microscope_file(start: bytes) -> bool:
    """Whether a file that begins so, with 212 bytes or more, is one of a microscope."""
    return _known(start) is not None


def read_microscope_file(
    path: Path,
    start: bytes,
    choose: Callable[[int, str], int],
    allow: Callable[[int, int, int, Any], None],
) -> tuple[Pixels, Size | None]:
    """Pixels (rows, columns) or (rows, columns, 3) of one plane, and the size of its pixels, nm.

    `start` are the first 212 bytes. `choose` gets the number of planes and what the first and the
    last of them are, and gives the index of one; `allow` gets rows, columns, samples a pixel and
    their type, and raises where they are too many, before anything is decoded. Raises
    MissingExtraError without the library of the format, and what the library raises.
    """
    known = _known(start)
    assert known is not None
    name, module, opener = known
    require_extra(module, "microscopes", f"{path}: a file of the format {name}")
    with opener(path, import_module(module)) as found:
        planes = list(islice(found, _MOST_PLANES + 1))
        if not planes or len(planes) > _MOST_PLANES:
            raise ValueError(f"it has {'too many' if planes else 'no'} planes")
        chosen = planes[choose(len(planes), f"{planes[0].place} ... {planes[-1].place}")]
        rows, columns, samples = chosen.shape
        allow(rows * chosen.decoded, columns, samples, np.dtype(chosen.kind))
        return np.array(chosen.read()), chosen.size


def _known(start: bytes) -> tuple[str, str, Opener] | None:
    """Name, library and opener of the format of a file that begins so."""
    if start.startswith(b"ZISRAWFILE"):
        return "CZI", "czifile", _czi
    if start.startswith(b"\x70\0\0\0") and start[8:9] == b"\x2a":
        return "LIF", "liffile", _lif
    if start.startswith(b"\xda\xce\xbe\x0a"):
        return "ND2", "nd2", _nd2
    if start[:4] in (b"\0\0\0\x03", b"\0\0\0\x04"):
        return "Digital Micrograph", "nionswift_plugin.DM_IO.dm3_image_utils", _dm
    return ("MRC", "mrcfile", _mrc) if start[208:211] == b"MAP" else None


def _planes(
    sizes: Mapping[str, int],
    kind: Any,
    size: Size | None,
    read: Callable[[tuple[int, ...]], Pixels],
    *,
    scene: str = "",
    whole: bool = True,
) -> Iterator[Plane]:
    """The planes of an image with these axes, of which Y, X and S (samples) are those of a plane.

    read   gives the plane at a place along the other axes, in their order
    whole  whether it decodes the whole image for one
    """
    if not {"Y", "X"} <= sizes.keys():
        return  # a line or a point over time
    others = {axis: length for axis, length in sizes.items() if axis not in "YXS"}
    count = int(np.prod(list(others.values()), dtype=np.int64))
    for place in np.ndindex(*others.values()):
        words = [f"{a} {at + 1}" for (a, n), at in zip(others.items(), place, strict=True) if n > 1]
        yield Plane(
            ", ".join([scene, *words] if scene else words),
            (sizes["Y"], sizes["X"], sizes.get("S", 1)),
            kind,
            count if whole else 1,
            size,
            lambda place=place: read(place),  # type: ignore[misc]
        )


@contextmanager
def _czi(path: Path, library: Any) -> Iterator[Iterator[Plane]]:
    with library.CziFile(str(path)) as file:
        # Its axis of samples is called 0, and its S are scenes.
        names = [{"0": "S", "S": "scene"}.get(axis, axis) for axis in file.axes]
        edges = {
            axis: nanometres(found[1], "m")
            for axis in "YX"
            if (found := re.search(rf'Id="{axis}">\s*<Value>([^<]+)', file.metadata() or ""))
        }
        size = _pair(edges.get("Y"), edges.get("X"))
        sizes = dict(zip(names, file.shape, strict=True))

        def read(place: tuple[int, ...]) -> Any:
            plane = np.moveaxis(file.asarray(max_workers=1), names.index("S"), -1)[place]
            return plane[..., 0] if sizes["S"] == 1 else plane

        yield _planes(sizes, file.dtype, size, read)


@contextmanager
def _lif(path: Path, library: Any) -> Iterator[Iterator[Plane]]:
    with library.LifFile(path) as file:
        yield (
            plane
            for number, image in enumerate(file.images, 1)
            for plane in _lif_planes(image, f"scene {number}" if len(file.images) > 1 else "")
        )


def _lif_planes(image: Any, scene: str) -> Iterator[Plane]:
    edges = [image.coords.get(axis, ()) for axis in "YX"]
    steps = [nanometres(each[1] - each[0], "m") if len(each) > 1 else None for each in edges]
    names = list(image.sizes)

    def read(place: tuple[int, ...]) -> Any:
        last = [names.index(axis) for axis in ("Y", "X", "S") if axis in names]
        return np.moveaxis(image.asarray(), last, range(-len(last), 0))[place]

    yield from _planes(image.sizes, image.dtype, _pair(*steps), read, scene=scene)


@contextmanager
def _nd2(path: Path, library: Any) -> Iterator[Iterator[Plane]]:
    with library.ND2File(path) as file:
        sizes, loops = dict(file.sizes), file.sizes.keys() - {"C", "Y", "X", "S"}
        order = [axis for axis in sizes if axis in loops]
        shape = tuple(sizes[axis] for axis in order)
        samples, channels = sizes.get("S", 1), sizes.get("C", 1)

        def read(place: tuple[int, ...]) -> Any:
            at = dict(zip((a for a in sizes if a not in "YXS"), place, strict=True))
            frame = np.ravel_multi_index([at[axis] for axis in order], shape) if order else 0
            pixels = file.read_frame(frame)
            if not pixels.any():  # which its reader gives where a file is cut
                raise EOFError("the plane is missing, or every pixel is 0")
            pixels = pixels.reshape(channels, sizes["Y"], sizes["X"], samples)[at.get("C", 0)]
            return pixels[..., 0] if samples == 1 else pixels

        size: Size | None = None
        with suppress(Exception):  # a damaged note about the picture is no reason to refuse it
            volume = file.metadata.channels[0].volume
            if all(volume.axesCalibrated[:2]):
                size = _pair(*(nanometres(edge, "um") for edge in volume.axesCalibration[1::-1]))
        yield _planes(sizes, file.dtype, size, read, whole=False)


@contextmanager
def _dm(path: Path, library: Any) -> Iterator[Iterator[Plane]]:
    with _DM_LOCK, redirect_stdout(StringIO()), path.open("rb") as stream:
        tags = library.fix_strings(library.parse_dm3.dm_read_header(stream))
    image = tags["ImageList"][-1]["ImageData"]  # the first may be a thumbnail
    data = np.asarray(image["Data"])
    if image["DataType"] in _DM_UNSIGNED:
        data = data.view(np.uint8)
    shape = [int(length) for length in image["Dimensions"]][::-1]
    others = len(shape) - 2
    names = ["plane"] if others == 1 else [f"axis {number}" for number in range(1, others + 1)]
    names += ["Y", "X"]
    if image["DataType"] == _DM_COLOUR:
        data, shape, names = data.view(np.uint8), [*shape, 4], [*names, "S"]
    stack = data.reshape(shape)[..., :3] if names[-1] == "S" else data.reshape(shape)
    scales = image.get("Calibrations", {}).get("Dimension", ())  # of X, of Y, ...
    edges = [nanometres(one.get("Scale"), one.get("Units", "")) for one in scales[:2]]
    size = _pair(edges[1], edges[0]) if len(edges) == 2 else None
    sizes = dict(zip(names[-stack.ndim :], stack.shape, strict=True))
    yield _planes(sizes, stack.dtype, size, lambda place: stack[place], whole=False)


@contextmanager
def _mrc(path: Path, library: Any) -> Iterator[Iterator[Plane]]:
    with closing(library.mmap(path, mode="r")) as file:
        data, header = file.data, file.header
        stamp, flags = np.frombuffer(header.extra2.tobytes()[40:48], "<i4").tolist()
        if data.dtype == np.int8 and stamp == _IMOD_STAMP and not flags & _IMOD_SIGNED:
            data = data.view(np.uint8)
        names = ["volume", "Z", "Y", "X"][-data.ndim :]
        size = _pair(*(nanometres(file.voxel_size[axis], "angstrom") for axis in "yx"))
        sizes = dict(zip(names, data.shape, strict=True))
        # Its rows are stored from the bottom to the top (MRC2014, "origin").
        yield _planes(sizes, data.dtype, size, lambda place: data[place][::-1], whole=False)


def _pair(down: float | None, across: float | None) -> Size | None:
    return None if down is None or across is None else (down, across)
