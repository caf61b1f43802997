# SPDX-License-Identifier: Apache-2.0
"""The fields of a message as Protocol Buffers lay them out: read, and written.

A message is a row of fields, each a number and a value. ONNX, which would read its files with more
comfort, is not in the base install.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARYING, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes of the two kinds of value that have always as many."""


def fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a message; IndexError for what is none."""
    while start < end:
        key, start = number(content, start)
        kind = key & 7
        if kind == _VARYING:
            after = number(content, start)[1]
        elif kind == _BYTES:
            length, start = number(content, start)
            after = start + length
        else:
            after = start + _FIXED.get(kind, end)
        if after > end:
            raise IndexError("a field that is longer than what it is in")
        yield key >> 3, start, after
        start = after


def number(content: bytes, start: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for place in range(10):
        byte = content[start + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, start + place + 1
    raise IndexError("a number of more than ten bytes")


def whole(key: int, value: int) -> bytes:
    """A field that holds a whole number, from 0."""
    return _number(key << 3 | _VARYING) + _number(value)


def sized(key: int, value: bytes) -> bytes:
    """A field that holds bytes, a text or another message."""
    return _number(key << 3 | _BYTES) + _number(len(value)) + value


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
