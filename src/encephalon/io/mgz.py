# SPDX-License-Identifier: Apache-2.0
"""FreeSurfer's MGH format, packed (`.mgz`) or not (`.mgh`)."""

from __future__ import annotations

import math
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, UnreadableFileError
from encephalon.geometry.affine import Affine, checked
from encephalon.io.files import read_bytes, write_stream
from encephalon.io.image import Image, as_stored, plain_numbers, stored_voxels, volume_shape

_HEADER_BYTES = 284  # where the voxels begin; always big-endian
_MOST_NOTES = 4 << 20  # bytes; FreeSurfer appends the commands that made the volume
_KIND = 20  # the voxels' type, 32 bits
_READ = (0, 1, 3, 4)  # uint8, int32, float32, int16
_PLACED = 28  # the 16-bit flag "good RAS": the header says where the volume lies
# What the format can hold (mghformat.py of nibabel): uint8, int16, int32, float32.
_KINDS = (np.uint8, np.int16, np.int32, np.float32)


def read(path: str | Path) -> Image:
    """Read an MGH file; the errors are those of a NIfTI file."""
    path = Path(path)
    content = read_bytes(path, partial(_size, path=path))
    header = _parse(content, path)
    shape = volume_shape(tuple(int(n) for n in header["dims"]), path)
    if int.from_bytes(content[_PLACED : _PLACED + 2], "big") == 1:
        affine, warnings = checked(header.get_affine(), path)
    else:
        # What FreeSurfer assumes then: coronal slices of 1 mm around the middle of the scanner.
        coronal = Affine.from_parts([[-1, 0, 0], [0, 0, 1], [0, -1, 0]], 1.0, (0.0, 0.0, 0.0))
        affine = coronal.shifted(-np.asarray(shape) / 2)
        warnings = [f"{path}: the file does not say where it lies; coronal slices assumed."]
    kind = header.get_data_dtype().newbyteorder(">")
    data = stored_voxels(content, kind, shape, _HEADER_BYTES, path)
    return Image(plain_numbers(data, path, ours=True), affine, path, header, tuple(warnings))


def write(path: Path, data: NDArray[Any], like: Image) -> None:
    """Write `data` (I, J, K) to `path` on the grid of `like`.

    Raises ContentError for integers that none of the format's types holds.
    """
    if data.dtype not in _KINDS:
        smallest = np.result_type(np.min_scalar_type(data.min()), np.min_scalar_type(data.max()))
        kind = next((kind for kind in _KINDS[:3] if np.can_cast(smallest, kind)), None)
        if kind is None:
            raise ContentError(
                f"{path}: MGH cannot hold integers from {data.min()} to {data.max()}; write NIfTI."
            )
        data = data.astype(kind)
    header = _header_class()()
    header.set_data_shape(data.shape)
    header.set_data_dtype(data.dtype)
    header["delta"] = like.spacing
    header["Mdc"] = like.affine.direction.T
    header["Pxyz_c"] = like.affine.apply(np.asarray(data.shape) / 2)
    header["goodRASFlag"] = 1
    start = header.binaryblock[:_HEADER_BYTES].ljust(_HEADER_BYTES, b"\0")
    chunks = chain([start], as_stored(data, data.dtype.newbyteorder(">")))
    write_stream(path, chunks, packed=path.name.lower().endswith(".mgz"))


def _size(content: bytes, path: Path) -> int:
    """Bytes up to the last voxel and, so that gzip's checksum is compared, of notes behind them."""
    header = _parse(content, path)
    shape = volume_shape(tuple(int(n) for n in header["dims"]), path)
    voxels = math.prod(shape) * int(header.get_data_dtype().itemsize)
    return _HEADER_BYTES + voxels + _MOST_NOTES


def _parse(content: bytes | bytearray, path: Path) -> Any:
    if len(content) < _HEADER_BYTES or content[:4] != b"\0\0\0\x01":
        raise UnreadableFileError(
            f"{path}: expected FreeSurfer's MGH format (version 1), but the file does not begin "
            "like it; check what the file is, or download it again."
        )
    kind = int.from_bytes(content[_KIND : _KIND + 4], "big", signed=True)
    if kind not in _READ:
        raise ContentError(
            f"{path}: the voxels are of MGH's type {kind}, and only the types "
            f"{', '.join(map(str, _READ))} are read; convert them to float32."
        )
    try:
        return _header_class().from_fileobj(BytesIO(bytes(content[:_HEADER_BYTES])), check=True)
    except Exception as error:  # nibabel raises several classes for a damaged header
        raise UnreadableFileError(
            f"{path}: the MGH header is damaged ({error}); copy or download the file again."
        ) from error


def _header_class() -> Any:
    from nibabel.freesurfer.mghformat import MGHHeader

    return MGHHeader
