# SPDX-License-Identifier: Apache-2.0
"""Volumes in single files: NumPy, HDF5, TIFF stacks and pictures; a box is read, not the file.

An array has the axes ([t,] [c,] z, y, x); one of two axes is a plane, a volume of depth 1. Sources
hold paths and open them for each box, so that worker processes of any kind can read.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, quoted, require_extra
from encephalon.io.files import opened, refuse_foreign
from encephalon.io.micrograph import read_micrograph
from encephalon.io.tiff import Stack, read_tiff_planes, read_tiff_stack
from encephalon.io.volumes.volume import (
    Box,
    Volume,
    box_size,
    box_slices,
    said,
    volume_dtype,
    volume_size,
    volume_spacing,
)

_AXES = "tczyx"
LARGEST_CHUNK = 1 << 31  # bytes of a piece that is unpacked whole
_LARGEST_HEADER = 10_000  # characters of the header of a NumPy file, as NumPy itself has it


@dataclass(frozen=True)
class ArraySource:
    """A part of an array: `opens` gives it, `lead` is its position along the axes before z.

    `absent`, given the opened array and a slice along each of its axes, counts what is not stored,
    and `verify` raises where that is damaged.
    """

    opens: Callable[[], AbstractContextManager[Any]] = field(repr=False)
    lead: tuple[int, ...] = ()
    plane: bool = False
    absent: Callable[[Any, tuple[slice, ...]], int] | None = None
    verify: Callable[[Any, tuple[slice, ...]], None] | None = None

    def read(self, box: Box) -> NDArray[Any]:
        """The voxels (z, y, x) of `box`."""
        with self.opens() as array:
            if self.verify is not None:
                self.verify(array, self._slices(box))
            return np.array(array[self._slices(box)]).reshape(box_size(box))

    def missing(self, box: Box) -> int:
        """How many stored pieces are not there."""
        if self.absent is None:
            return 0
        with self.opens() as array:
            return self.absent(array, self._slices(box))

    def _slices(self, box: Box) -> tuple[slice, ...]:
        lead = tuple(slice(n, n + 1) for n in self.lead)
        return lead + box_slices(box[1 if self.plane else 0 :])


def array_axes(
    shape: Sequence[int], name: str, channel: int | None, time: int | None, axes: str | None = None
) -> tuple[tuple[int, ...], tuple[int, int, int], str]:
    """The position along the axes before z, the shape (z, y, x), and the name with the channel.

    `axes` are those of `shape`, the last of t, c, z, y, x where nothing says it. A channel or time
    may be left out where there is one only. Raises ContentError, naming the volume.
    """
    if axes is None and not 2 <= len(shape) <= len(_AXES):
        raise ContentError(
            f"{name}: expected the axes ([t,] [c,] z, y, x), but the shape is {tuple(shape)}; save "
            "one volume of it."
        )
    axes = axes or _AXES[-len(shape) :]
    sizes = dict(zip(axes, shape, strict=True))
    volume_size([1, 1, *shape][-3:], name)
    lead = []
    for word, given in (("time", time), ("channel", channel)):
        index, count = operator.index(given or 0), sizes.get(word[0])
        if count is None:
            if given:
                raise ContentError(
                    f"{name}: {word} {given} was asked for, but there is no such axis."
                )
            continue
        if given is None and count != 1:
            raise ContentError(
                f"{name}: expected one {word}, but there are {count}; choose one of 0 to "
                f"{count - 1}."
            )
        if not 0 <= index < count:
            raise ContentError(
                f"{name}: {word} {index} was asked for, but there are {count}, from 0."
            )
        lead.append(index)
    if channel is not None or len(lead) > 1:
        name = f"{name} (channel {lead[-1] if 'c' in sizes else 0})"
    return tuple(lead), volume_size((sizes.get("z", 1), sizes["y"], sizes["x"]), name), name


def open_npy(path: Path, channel: int | None, time: int | None) -> Volume:
    """The array of a NumPy file, mapped into memory, never unpickled."""
    refuse_foreign(path)
    with said(f"{path}: the NumPy file", "write it again"), _npy(path) as array:
        kind, shape = array.dtype, array.shape
    dtype = volume_dtype(kind, str(path))
    lead, size, name = array_axes(shape, str(path), channel, time)
    return Volume(name, size, dtype, ArraySource(partial(_npy, path), lead, len(shape) == 2))


def open_hdf5(path: Path, dataset: str, channel: int | None, time: int | None) -> Volume:
    """A dataset of an HDF5 file, the only one of three axes where `dataset` is empty.

    The attribute `element_size_um` (z, y, x), as Fiji and ilastik write it, is the spacing.
    """
    refuse_foreign(path)
    require_extra("h5py", "volumes", f"The HDF5 file {path}")
    with said(f"{path}: the HDF5 file", "write it again"), _hdf5(path, "/") as file:
        found = _dataset(path, file, dataset)
        name = f"{path}:{found.name}"
        dtype = volume_dtype(found.dtype, name)
        chunk = np.prod(found.chunks or (1,), dtype=float) * found.dtype.itemsize
        if chunk > LARGEST_CHUNK:
            raise ContentError(f"{name}: its chunks have {chunk:,.0f} bytes; save it in smaller.")
        spacing = volume_spacing(found.attrs.get("element_size_um", ()))
        lead, shape, name = array_axes(found.shape, name, channel, time)
        source = ArraySource(partial(_hdf5, path, found.name), lead, found.ndim == 2, _absent)
    return Volume(name, shape, dtype, source, spacing)


def open_tiff(path: Path, channel: int | None, time: int | None) -> Volume:
    """A TIFF whose pages are the planes of a volume, of one grey level a voxel."""
    with opened(path) as stream, said(f"{path}: the TIFF", "write it again"):
        stack = read_tiff_stack(path, stream)
    _, shape, name = array_axes(stack.shape, str(path), channel, time)
    dtype = volume_dtype(stack.dtype, name)
    spacing = volume_spacing(None if n is None else n / 1000 for n in stack.edges)
    return Volume(name, shape, dtype, _TiffSource(path, stack), spacing)


def open_picture(path: Path, channel: int | None, time: int | None) -> Volume:
    """A PNG or JPEG as a volume of depth 1; grey levels as `read_micrograph` gives them."""
    picture = read_micrograph(path)
    _, shape, name = array_axes(picture.data.shape, str(path), channel, time)
    source = ArraySource(partial(nullcontext, picture.data), (), True)
    return Volume(name, shape, picture.data.dtype, source)


@dataclass(frozen=True)
class _TiffSource:
    path: Path
    stack: Stack = field(repr=False)

    def read(self, box: Box) -> NDArray[Any]:
        with opened(self.path) as stream:
            planes = read_tiff_planes(self.path, stream, self.stack, range(*box[0]))
            return np.stack([np.array(plane[box_slices(box[1:])]) for plane in planes])

    def missing(self, box: Box) -> int:  # noqa: ARG002 -- a plane is there, or cannot be read
        return 0


@contextmanager
def _npy(path: Path) -> Iterator[NDArray[Any]]:
    yield np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=_LARGEST_HEADER)


@contextmanager
def _hdf5(path: Path, dataset: str) -> Iterator[Any]:
    """A group or dataset of an HDF5 file, open."""
    h5py: Any = import_module("h5py")
    # Readers need no locks, which network file systems often refuse.
    with h5py.File(path, "r", locking=False) as file:
        yield file[dataset]


def _dataset(path: Path, root: Any, wanted: str) -> Any:
    """The dataset of a name, or the only one of three axes; raises ContentError."""
    h5py: Any = import_module("h5py")
    if not wanted:
        found: list[str] = []

        def look(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.ndim == 3 and item.dtype.kind in "buif":
                found.append(name)

        root.visititems(look)
        if len(found) != 1:
            raise ContentError(
                f"{path}: expected one dataset of three axes, but it has "
                f"{quoted(sorted(found)) or 'none'}; name one, as in {path.name}:/image."
            )
        wanted = found[0]
    name = f"{path}:/{wanted.strip('/')}"
    if wanted not in root or root.get(wanted, getclass=True) is not h5py.Dataset:
        raise ContentError(f"{name}: there is no such dataset in the file; check its name.")
    dataset = root[wanted]
    # What lies in other files may be missing unnoticed, and is nothing that the user has named.
    if dataset.is_virtual or dataset.external or dataset.file.filename != root.file.filename:
        raise ContentError(f"{name}: its voxels lie in other files; copy them into one.")
    if dataset.shape is None:
        raise ContentError(f"{name}: the dataset is empty.")
    return dataset


def _absent(dataset: Any, slices: tuple[slice, ...]) -> int:
    """How many chunks of an HDF5 dataset were never written."""
    chunks = dataset.chunks
    if chunks is None:
        return int(dataset.id.get_storage_size() == 0)
    starts = [range(one.start // n * n, one.stop, n) for one, n in zip(slices, chunks, strict=True)]
    look = dataset.id.get_chunk_info_by_coord
    return sum(look(place).byte_offset is None for place in product(*starts))
