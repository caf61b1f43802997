# SPDX-License-Identifier: Apache-2.0
"""Zarr arrays of version 2 and 3 in folders: what their metadata say is held against bounds first.

A chunk that is not there is filled, as the specification has it, and counted where somebody asks; a
chunk that is there and damaged is an error.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.errors import ContentError, UnreadableFileError, require_extra
from encephalon.io.files import is_file
from encephalon.io.text import read_json
from encephalon.io.volumes.arrays import ArraySource
from encephalon.io.volumes.volume import said, volume_dtype

__all__ = ["ZarrArray", "attributes", "is_zarr", "is_zarr_array", "open_zarr_array"]

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
_LARGEST_CHUNK = 1 << 31  # bytes of a chunk, which is unpacked whole
# Codecs that give back numbers. Others are no use for voxels, and one of them unpickles.
_CODECS = {
    *("blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4", "crc32c", "crc32", "adler32"),
    *("bytes", "endian", "transpose", "sharding_indexed", "shuffle", "delta", "packbits"),
    *("fixedscaleoffset", "astype", "quantize", "bitround", "fletcher32"),
}
_ABSENT = np.uint64(2**64 - 1)  # offset and length of a chunk that a shard does not hold


@dataclass(frozen=True)
class ZarrArray:
    """An array in a folder, open for reading.

    shape  of all its axes
    dtype  that its numbers are read as
    array  of the package zarr
    blosc  whether its chunks end as blosc
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    array: Any = field(repr=False)
    blosc: bool = False

    def source(self, lead: tuple[int, ...]) -> ArraySource:
        """What reads the volume at position `lead` of the axes before z, or the plane."""
        looked_at = self.blosc or self.array.shards is not None
        verify = partial(_refuse_cut, self.folder, self.blosc) if looked_at else None
        absent = partial(_absent, self.folder)
        return ArraySource(
            partial(nullcontext, self.array), lead, len(self.shape) == 2, absent, verify
        )


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any(is_file(folder / name) for name in _METADATA)


def is_zarr_array(folder: Path) -> bool:
    """Whether a folder is a Zarr array."""
    if is_file(folder / "zarr.json"):
        return _record(folder / "zarr.json").get("node_type") == "array"
    return is_file(folder / ".zarray")


def attributes(folder: Path) -> dict[str, Any]:
    """The attributes of an array or group; empty where there are none.

    Raises UnreadableFileError where they cannot be read.
    """
    if is_file(folder / "zarr.json"):
        found = _record(folder / "zarr.json").get("attributes", {})
    elif is_file(folder / ".zattrs"):
        found = _record(folder / ".zattrs")
    else:
        return {}
    if not isinstance(found, dict):
        raise UnreadableFileError(f"{folder}: its attributes are no table; write it again.")
    return found


def open_zarr_array(folder: Path) -> ZarrArray:
    """The array in `folder`; no chunk is read.

    Raises ContentError for types that are no numbers and pieces too large to unpack, and
    UnreadableFileError for metadata that cannot be understood and codecs that are not read.
    """
    require_extra("zarr", "volumes", f"The Zarr array {folder}")
    version = 3 if is_file(folder / "zarr.json") else 2
    record = _record(folder / ("zarr.json" if version == 3 else ".zarray"))
    with said(f"{folder}: the Zarr array", "write it again"):
        kind = record["data_type"] if version == 3 else record["dtype"]
        dtype = volume_dtype(_named(kind), str(folder))
        shape = tuple(operator.index(n) for n in record["shape"])
        codecs = list(_codecs(record, version))
        foreign = sorted({name for name in codecs if name not in _CODECS})
        if foreign:
            raise UnreadableFileError(
                f"{folder}: the array is packed with {', '.join(foreign)}, which is not read; "
                "write it with zstd, blosc or gzip."
            )
        _refuse_size(folder, shape, _chunk(record, version), dtype)
        zarr: Any = import_module("zarr")
        array = zarr.open_array(store=str(folder), mode="r", zarr_format=version)
        if tuple(array.shape) != shape:
            raise ValueError(f"its shape is {shape} and {array.shape}")
    return ZarrArray(folder, shape, dtype, array, _outermost(record, version) == "blosc")


def _record(file: Path) -> dict[str, Any]:
    found = read_json(file)
    if not isinstance(found, dict):
        raise UnreadableFileError(f"{file}: expected a table of metadata; write it again.")
    return found


def _named(kind: Any) -> Any:
    """A data type by the name that NumPy has for it."""
    if not isinstance(kind, str):
        return np.dtype(object)
    return kind if kind not in {"string", "bytes", "variable_length_bytes"} else np.dtype(object)


def _codecs(record: dict[str, Any], version: int) -> Iterator[str]:
    if version == 2:
        for one in [record.get("compressor"), *(record.get("filters") or [])]:
            if one is not None:
                yield str(one["id"])
        return
    for one in record["codecs"]:
        yield str(one["name"]).removeprefix("numcodecs.")
        inner = one.get("configuration") or {}
        for key in ("codecs", "index_codecs"):
            yield from _codecs({"codecs": inner.get(key, [])}, 3)


def _outermost(record: dict[str, Any], version: int) -> str:
    """The codec that a chunk was packed with last."""
    if version == 2:
        return str((record.get("compressor") or {"id": ""})["id"])
    last = record["codecs"][-1]
    if last["name"] == "sharding_indexed":
        return _outermost(last["configuration"], version)
    return str(last["name"])


def _chunk(record: dict[str, Any], version: int) -> tuple[int, ...]:
    if version == 2:
        return tuple(operator.index(n) for n in record["chunks"])
    grid = record["chunk_grid"]
    if grid["name"] != "regular":
        raise ValueError(f"its chunks lie on a grid of the kind {grid['name']!r}")
    return tuple(operator.index(n) for n in grid["configuration"]["chunk_shape"])


def _refuse_size(
    folder: Path, shape: Sequence[int], chunk: Sequence[int], dtype: np.dtype[Any]
) -> None:
    if len(chunk) != len(shape) or min(chunk, default=0) < 1:
        raise ValueError(f"its shape is {tuple(shape)} and that of its chunks {tuple(chunk)}")
    needed = math.prod(chunk) * dtype.itemsize
    if needed > _LARGEST_CHUNK:
        raise ContentError(
            f"{folder}: its chunks of {tuple(chunk)} take {needed:,} bytes to unpack; write it in "
            "smaller chunks."
        )


def _absent(folder: Path, array: Any, slices: tuple[slice, ...]) -> int:
    """How many chunks that the slices touch are not stored, in shards or as files."""
    return sum(
        inner if index is None else int(np.count_nonzero(_is_absent(index)))
        for _, inner, index in _pieces(folder, array, slices)
    )


def _refuse_cut(folder: Path, blosc: bool, array: Any, slices: tuple[slice, ...]) -> None:
    """Raise ValueError for what no decoder notices: blosc, and shards, shorter than they say."""
    for file, _, index in _pieces(folder, array, slices):
        if index is None:
            continue
        end = file.stat().st_size
        with file.open("rb") as stream:
            for offset, size in index[~_is_absent(index)].reshape(-1, 2).tolist():
                if offset + size > end:
                    raise ValueError(f"the shard in {file.name} is cut")
                stream.seek(offset)
                head = stream.read(16)
                unpacked, packed = (int.from_bytes(head[n : n + 4], "little") for n in (4, 12))
                if blosc and (len(head) < 16 or packed != size or unpacked > _LARGEST_CHUNK):
                    raise ValueError(f"a chunk in {file.name} has {size:,} bytes of {packed:,}")


def _pieces(folder: Path, array: Any, slices: tuple[slice, ...]) -> Iterator[tuple[Path, int, Any]]:
    """File of each stored piece, how many of its chunks are touched, and where these lie in it.

    The latter (..., 2) are offset and length, or None where there is no file.
    """
    stored = array.shards or array.chunks
    for place in product(*(_touched(one, n) for one, n in zip(slices, stored, strict=True))):
        file = folder / array.metadata.encode_chunk_key(place)
        within = [
            slice(max(one.start - at * n, 0), min(one.stop - at * n, n))
            for one, at, n in zip(slices, place, stored, strict=True)
        ]
        inner = [list(_touched(one, n)) for one, n in zip(within, array.chunks, strict=True)]
        index = None
        if is_file(file):
            whole = np.array([0, file.stat().st_size], np.uint64)
            index = whole if array.shards is None else _shard_index(file, array)[np.ix_(*inner)]
        yield file, math.prod(map(len, inner)), index


def _is_absent(index: Any) -> Any:
    return (index == _ABSENT).all(axis=-1)


def _touched(one: slice, size: int) -> range:
    return range(one.start // size, -(-one.stop // size))


def _shard_index(file: Path, array: Any) -> Any:
    """Offset and length of each chunk of a shard (Zarr 3, "sharding-indexed")."""
    codec = next(one for one in array.metadata.codecs if type(one).__name__ == "ShardingCodec")
    grid = tuple(n // size for n, size in zip(array.shards, array.chunks, strict=True))
    names = [type(one).__name__ for one in codec.index_codecs]
    if names not in (["BytesCodec"], ["BytesCodec", "Crc32cCodec"]):
        raise ValueError("its shards have a packed index")
    size = 16 * math.prod(grid)
    behind = 4 * (len(names) - 1)
    with file.open("rb") as stream:
        if codec.index_location.value == "end":
            stream.seek(max(0, file.stat().st_size - size - behind))
        content = stream.read(size)
    if len(content) < size:
        raise ValueError(f"the shard {file.name} is cut")
    return np.frombuffer(content, "<u8").reshape(*grid, 2)
