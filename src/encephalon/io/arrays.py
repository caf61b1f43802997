# SPDX-License-Identifier: Apache-2.0
"""NumPy files: `.npy` holds voxels alone, `.npz` holds `data` (I, J, K) and `affine` (4, 4)."""

from __future__ import annotations

import math
import os
import zipfile
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, UnreadableFileError
from encephalon.geometry.affine import checked
from encephalon.io.files import opened, refuse_foreign
from encephalon.io.image import Image, from_array, volume_shape

Data = NDArray[Any]


def read(path: str | Path) -> Image:
    """Read a NumPy file, never unpickling anything; the errors are those of a NIfTI file."""
    path = Path(path)
    refuse_foreign(path)
    with opened(path) as stream:
        try:
            data, matrix = _load(stream, path)
        except EncephalonError:
            raise
        except Exception as error:  # damage makes numpy and zipfile raise a dozen classes
            reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
            raise UnreadableFileError(
                f"{path}: the NumPy file could not be read ({reason}); write it again."
            ) from error
    if matrix is None:
        return from_array(data, None, path)
    affine, warnings = checked(matrix, path)
    image = from_array(data, affine, path)
    return Image(image.data, affine, path, None, tuple(warnings))


def write(path: Path, data: NDArray[Any], like: Image) -> None:
    """Write `data` (I, J, K), and in `.npz` the affine of `like`, to `path`."""
    with path.open("wb") as stream:
        if path.name.lower().endswith(".npz"):
            np.savez_compressed(stream, data=data, affine=like.affine.matrix)
        else:
            np.save(stream, data, allow_pickle=False)


def _load(stream: BufferedReader, path: Path) -> tuple[Data, Data | None]:
    start = stream.read(2)
    stream.seek(0)
    if start != b"PK":
        return _array(stream, os.fstat(stream.fileno()).st_size, path), None
    with zipfile.ZipFile(stream) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        arrays = sorted(members.keys() - {"affine"})
        if "data" not in members and len(arrays) != 1:
            raise ValueError(f"expected arrays named 'data' and 'affine', found {sorted(members)}")
        matrix = None
        if "affine" in members:
            with archive.open(members["affine"]) as part:
                matrix = _array(part, members["affine"].file_size, path, (4, 4))
        chosen = members["data" if "data" in members else arrays[0]]
        with archive.open(chosen) as part:
            return _array(part, chosen.file_size, path), matrix


def _array(stream: IO[bytes], size: int, path: Path, shape: tuple[int, ...] | None = None) -> Data:
    """The array in `stream` of `size` bytes; of that `shape`, or else of a volume's.

    The header is held against shape and size before anything is unpacked.
    """
    npy: Any = np.lib.format  # its functions have no types of their own
    version = npy.read_magic(stream)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"version {version} of the format is not known")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    found, _, kind = read_header(stream)
    if kind.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    if shape is None:
        volume_shape(found, path)
    elif found != shape or kind.kind not in "iuf":
        raise ValueError(f"expected an affine of 4 x 4 numbers, found {kind} of shape {found}")
    needed = math.prod(found) * kind.itemsize
    there = size - stream.tell()
    if there < needed:
        raise ValueError(f"the file is truncated: {needed:,} bytes are promised, {there:,} there")
    stream.seek(0)
    data: Data = npy.read_array(stream, allow_pickle=False)
    stream.read(1)  # at its end a zip compares the checksum
    return data
