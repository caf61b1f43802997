# SPDX-License-Identifier: Apache-2.0
"""NumPy files: `.npy` holds voxels alone, `.npz` holds `data` (I, J, K) and `affine` (4, 4)."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable
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
Check = Callable[[tuple[int, ...], "np.dtype[Any]", Path], object]


def read(path: str | Path) -> Image:
    """Read a NumPy file, never unpickling anything; the errors are those of a NIfTI file."""
    path = Path(path)
    data, matrix = _read(path, lambda shape, _, path: volume_shape(shape, path))
    if matrix is None:
        return from_array(data, None, path)
    affine, warnings = checked(matrix, path)
    image = from_array(data, affine, path)
    return Image(image.data, affine, path, None, tuple(warnings))


def read_array(path: str | Path) -> Data:
    """The array of a .npy file, or `data` of an .npz file, of any shape; errors as of `read`."""
    return _read(Path(path), lambda *_: None)[0]


def write(path: Path, data: NDArray[Any], like: Image) -> None:
    """Write `data` (I, J, K), and in `.npz` the affine of `like`, to `path`."""
    with path.open("wb") as stream:
        if path.name.lower().endswith(".npz"):
            np.savez_compressed(stream, data=data, affine=like.affine.matrix)
        else:
            np.save(stream, data, allow_pickle=False)


def _read(path: Path, check: Check) -> tuple[Data, Data | None]:
    refuse_foreign(path)
    with opened(path) as stream:
        try:
            return _load(stream, path, check)
        except EncephalonError:
            raise
        except Exception as error:  # damage makes numpy and zipfile raise a dozen classes
            reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
            raise UnreadableFileError(
                f"{path}: the NumPy file could not be read ({reason}); write it again."
            ) from error


def _load(stream: BufferedReader, path: Path, check: Check) -> tuple[Data, Data | None]:
    start = stream.read(2)
    stream.seek(0)
    if start != b"PK":
        return _array(stream, os.fstat(stream.fileno()).st_size, path, check), None
    with zipfile.ZipFile(stream) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        arrays = sorted(members.keys() - {"affine"})
        if "data" not in members and len(arrays) != 1:
            raise ValueError(f"expected arrays named 'data' and 'affine', found {sorted(members)}")
        matrix = None
        if "affine" in members:
            with archive.open(members["affine"]) as part:
                matrix = _array(part, members["affine"].file_size, path, _check_affine)
        chosen = members["data" if "data" in members else arrays[0]]
        with archive.open(chosen) as part:
            return _array(part, chosen.file_size, path, check), matrix


def _check_affine(shape: tuple[int, ...], kind: np.dtype[Any], _: Path) -> None:
    if shape != (4, 4) or kind.kind not in "iuf":
        raise ValueError(f"expected an affine of 4 x 4 numbers, found {kind} of shape {shape}")


def _array(stream: IO[bytes], size: int, path: Path, check: Check) -> Data:
    """The array in `stream` of `size` bytes, whose shape and kind `check` does not refuse.

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
    check(found, kind, path)
    needed = math.prod(found) * kind.itemsize
    there = size - stream.tell()
    if there < needed:
        raise ValueError(f"the file is truncated: {needed:,} bytes are promised, {there:,} there")
    stream.seek(0)
    data: Data = npy.read_array(stream, allow_pickle=False)
    stream.read(1)  # at its end a zip compares the checksum
    return data
