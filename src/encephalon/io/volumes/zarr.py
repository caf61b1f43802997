# SPDX-License-Identifier: Apache-2.0
"""Zarr arrays of version 2 and 3 in folders: what their metadata say is held against bounds first.

A chunk that is not there is filled, as the specification has it, and counted where somebody asks; a
chunk that is there and damaged is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.errors import ContentError, UnreadableFileError, require_extra
from encephalon.io.files import is_file
from encephalon.io.text import read_json
from encephalon.io.volumes.arrays import LARGEST_CHUNK, ArraySource
from encephalon.io.volumes.volume import said, volume_dtype

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
# Codecs that give back numbers. Others are no use for voxels, and one of them unpickles.
_CODECS = {
    *("blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4", "crc32c", "crc32", "adler32"),
    *("bytes", "endian", "transpose", "sharding_indexed", "shuffle", "delta", "packbits"),
    *("fixedscaleoffset", "astype", "quantize", "bitround", "fletcher32"),
}
_ABSENT = np.uint64(2**64 - 1)  # offset and length of a chunk that a shard does not hold


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


def open_array(folder: Path) -> Any:
    """The array in `folder`, of the package zarr; no chunk is read.

    Raises ContentError for types that are no numbers and pieces too large to unpack, and
    UnreadableFileError for metadata that cannot be understood and codecs that are not read.
    """
    require_extra("zarr", "volumes", f"The Zarr array {folder}")
    new = is_file(folder / "zarr.json")
    record = _record(folder / ("zarr.json" if new else ".zarray"))
    with said(f"{folder}: the Zarr array", "write it again"):
        kind = record["data_type" if new else "dtype"]
        if not isinstance(kind, str) or kind in {"string", "bytes", "variable_length_bytes"}:
            kind = object  # NumPy has other names for them
        dtype = volume_dtype(kind, str(folder))
        packers = [record.get("compressor"), *(record.get("filters") or [])]
        codecs = _codecs(record["codecs"] if new else packers, "name" if new else "id")
        if foreign := sorted(set(codecs) - _CODECS):
            raise UnreadableFileError(
                f"{folder}: the array is packed with {', '.join(foreign)}, which is not read; "
                "write it with zstd, blosc or gzip."
            )
        grid: Any = record["chunk_grid"] if new else {"name": "regular"}
        if grid["name"] != "regular":
            raise ValueError(f"its chunks lie on a grid of the kind {grid['name']!r}")
        shape = record["shape"]
        chunk = grid["configuration"]["chunk_shape"] if new else record["chunks"]
        if len(chunk) != len(shape) or min(chunk, default=0) < 1:
            raise ValueError(f"its shape is {tuple(shape)} and that of its chunks {tuple(chunk)}")
        needed = math.prod(chunk) * dtype.itemsize
        if needed > LARGEST_CHUNK:
            raise ContentError(
                f"{folder}: its chunks of {tuple(chunk)} take {needed:,} bytes to unpack; write it "
                "in smaller chunks."
            )
        zarr: Any = import_module("zarr")
        return zarr.open_array(store=str(folder), mode="r", zarr_format=3 if new else 2)


def array_source(folder: Path, array: Any, lead: tuple[int, ...]) -> ArraySource:
    """What reads the volume at position `lead` of the axes before z, or the plane."""
    blosc = any(type(one).__name__ in {"Blosc", "BloscCodec"} for one in array.compressors[-1:])
    checked = blosc or array.shards is not None
    verify = partial(_refuse_cut, folder, blosc) if checked else None
    opens, absent = partial(nullcontext, array), partial(_absent, folder)
    return ArraySource(opens, lead, array.ndim == 2, absent, verify)


def _record(file: Path) -> dict[str, Any]:
    found = read_json(file)
    if not isinstance(found, dict):
        raise UnreadableFileError(f"{file}: expected a table of metadata; write it again.")
    return found


def _codecs(entries: Iterable[Any], key: str) -> Iterator[str]:
    """The names of codecs, and of those within shards."""
    for one in filter(None, entries):
        yield str(one[key]).removeprefix("numcodecs.")
        if key == "name":
            inner = one.get("configuration") or {}
            yield from _codecs([*inner.get("codecs", []), *inner.get("index_codecs", [])], key)


def _absent(folder: Path, array: Any, slices: tuple[slice, ...]) -> int:
    """How many chunks that the slices touch are not stored, in shards or as files."""
    return sum(count - len(found) for _, count, found in _pieces(folder, array, slices))


def _refuse_cut(folder: Path, blosc: bool, array: Any, slices: tuple[slice, ...]) -> None:
    """Raise ValueError for what no decoder notices: blosc, and shards, shorter than they say."""
    for file, _, found in _pieces(folder, array, slices):
        if not found:
            continue
        end = file.stat().st_size
        with file.open("rb") as stream:
            for offset, size in found:
                if offset + size > end:
                    raise ValueError(f"the shard in {file.name} is cut")
                stream.seek(offset)
                head = stream.read(16)
                unpacked, packed = (int.from_bytes(head[n : n + 4], "little") for n in (4, 12))
                if blosc and (len(head) < 16 or packed != size or unpacked > LARGEST_CHUNK):
                    raise ValueError(f"a chunk in {file.name} has {size:,} bytes of {packed:,}")


def _pieces(
    folder: Path, array: Any, slices: tuple[slice, ...]
) -> Iterator[tuple[Path, int, list[list[int]]]]:
    """File of each piece, how many of its chunks are touched, and where those that are there lie.

    The last are offset and length of each.
    """

    def touched(start: int, stop: int, size: int) -> range:
        return range(start // size, -(-stop // size))

    stored = array.shards or array.chunks
    grid = [touched(one.start, one.stop, n) for one, n in zip(slices, stored, strict=True)]
    for place in product(*grid):
        file = folder / array.metadata.encode_chunk_key(place)
        inner = [
            touched(max(one.start - at * n, 0), min(one.stop - at * n, n), size)
            for one, at, n, size in zip(slices, place, stored, array.chunks, strict=True)
        ]
        found = []
        if is_file(file):
            found = [[0, file.stat().st_size]]
            if array.shards is not None:
                index = _shard_index(file, array)[np.ix_(*inner)].reshape(-1, 2)
                found = index[(index != _ABSENT).any(axis=-1)].tolist()
        yield file, math.prod(map(len, inner)), found


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
