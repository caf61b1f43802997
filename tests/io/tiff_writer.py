# SPDX-License-Identifier: Apache-2.0
"""A TIFF writer for tests: every layout with every compression, independent of other writers.

After TIFF 6.0; the codes of its LZW are never longer than 9 bits.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

COMPRESSIONS = {"none": 1, "lzw": 5, "deflate": 8, "old deflate": 32946, "packbits": 32773}
COMPRESSIONS["lzma"] = 34925
_FORMATS = {"u": 1, "b": 1, "i": 2, "f": 3}


def write_tiff(
    path: Path,
    data: np.ndarray,
    compression: str = "none",
    *,
    photometric: int = 1,
    bits: int | None = None,
    order: str = "<",
    planar: bool = False,
    tile: tuple[int, int] | None = None,
    rows_per_strip: int = 7,
    predictor: int = 1,
    reverse_bits: bool = False,
    tags: dict[int, tuple[str, tuple[int, ...]]] | None = None,
) -> Path:
    """Write `data` (rows, columns[, samples]) as it is to `path`."""
    pixels = data if data.ndim == 3 else data[..., None]
    rows, columns, samples = pixels.shape
    bits = bits or data.dtype.itemsize * 8
    planes = [pixels[..., [n]] for n in range(samples)] if planar else [pixels]
    height, width = tile or (rows_per_strip, columns)
    blocks = [
        _encoded(block, bits, order, predictor, compression, reverse_bits)
        for plane in planes
        for block in _blocks(plane, height, width, pad=tile is not None)
    ]
    numbers = {
        256: ("I", (columns,)),
        257: ("I", (rows,)),
        258: ("H", (bits,) * samples),
        259: ("H", (COMPRESSIONS[compression],)),
        262: ("H", (photometric,)),
        277: ("H", (samples,)),
        284: ("H", (2 if planar else 1,)),
        339: ("H", (_FORMATS[data.dtype.kind],) * samples),
        **({322: ("I", (width,)), 323: ("I", (height,))} if tile else {278: ("I", (height,))}),
        **({317: ("H", (predictor,))} if predictor != 1 else {}),
        **({266: ("H", (2,))} if reverse_bits else {}),
    }
    offsets = np.cumsum([8, *map(len, blocks)]).tolist()
    numbers[324 if tile else 273] = ("I", tuple(offsets[:-1]))
    numbers[325 if tile else 279] = ("I", tuple(map(len, blocks)))
    numbers |= tags or {}
    path.write_bytes(_file(order, blocks, numbers, offsets[-1]))
    return path


def _file(order: str, blocks: list[bytes], numbers: dict[int, Any], end: int) -> bytes:
    directory, values = struct.pack(f"{order}H", len(numbers)), b""
    behind = end + 2 + 12 * len(numbers) + 4
    for code, (kind, value) in sorted(numbers.items()):
        content = struct.pack(f"{order}{len(value)}{kind}", *value)
        field = content.ljust(4, b"\0")
        if len(content) > 4:
            field, values = struct.pack(f"{order}I", behind + len(values)), values + content
        of_type = {"B": 1, "H": 3, "I": 4}[kind]
        directory += struct.pack(f"{order}HHI", code, of_type, len(value)) + field
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, end)
    return start + b"".join(blocks) + directory + bytes(4) + values


def _blocks(plane: np.ndarray, height: int, width: int, *, pad: bool) -> Iterator[np.ndarray]:
    for top in range(0, plane.shape[0], height):
        for left in range(0, plane.shape[1], width):
            block = plane[top : top + height, left : left + width]
            missing = (height - block.shape[0], width - block.shape[1]) if pad else (0, 0)
            yield np.pad(block, ((0, missing[0]), (0, missing[1]), (0, 0)))


def _encoded(
    block: np.ndarray, bits: int, order: str, predictor: int, compression: str, reverse: bool
) -> bytes:
    rows, _, samples = block.shape
    if predictor == 2:
        whole = block.view(f"u{block.dtype.itemsize}")
        block = np.diff(whole, axis=1, prepend=np.zeros_like(whole[:, :1]))
    if predictor == 3:
        ordered = block.astype(block.dtype.newbyteorder(">")).reshape(rows, -1, 1).view(np.uint8)
        spread = np.moveaxis(ordered.reshape(rows, -1, block.dtype.itemsize), 2, 1)
        flat = spread.reshape(rows, -1, samples)
        content = np.diff(flat, axis=1, prepend=np.zeros_like(flat[:, :1])).tobytes()
    elif bits < block.dtype.itemsize * 8:
        shifts = np.arange(bits - 1, -1, -1)
        single = block.reshape(rows, -1, 1).astype(np.int64) >> shifts & 1
        content = np.packbits(single.reshape(rows, -1).astype(np.uint8), axis=1).tobytes()
    else:
        content = block.astype(block.dtype.newbyteorder(order)).tobytes()
    packed = _packed(content, compression)
    reversed_bytes = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    return packed.translate(reversed_bytes) if reverse else packed


def _packed(content: bytes, compression: str) -> bytes:
    if "deflate" in compression:
        return zlib.compress(content)
    if compression == "lzma":
        return lzma.compress(content)
    if compression == "packbits":
        parts = [content[at : at + 128] for at in range(0, len(content), 128)]
        return b"".join(bytes([len(part) - 1]) + part for part in parts)
    if compression == "lzw":
        codes: list[int] = []
        for at in range(0, len(content), 200):  # a new table before codes of 10 bits
            codes += [256, *content[at : at + 200]]
        text = "".join(f"{code:09b}" for code in [*codes, 257])
        return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    return content
