# SPDX-License-Identifier: Apache-2.0
"""Damage that files really take, and lies that a hostile hand writes, drawn from a seed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from random import Random

Mutation = Callable[[bytes, Random], bytes]

# What a count, a size or an offset may be made to say.
_LIES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TEXTS = (
    *("[" * 2000, "{" * 2000, "9" * 5000, "-", '"', "'", ",", ";", "\t", "\n\n", "\0", "\x1b[2J"),
    *(
        "=1+2",
        "nan",
        "inf",
        "-1",
        "1e999",
        "null",
        "../../x",
        "~nobody99/x",
        "a" * 3000,
        "é",
        "\ufeff",
    ),
    *("[[a]]\n", "a.b.c = 1\n", "=", "#", "]", "}", "\r", "true", "0x10", "1979-05-27"),
)


def mutated(content: bytes, other: bytes, random: Random) -> bytes:
    """`content` after one to three mutations; `other` is spliced in by one of them.

    A gzip stream is damaged inside as often as outside.
    """
    packed = content[:2] == b"\x1f\x8b" and random.random() < 0.5
    if packed:
        content = _unpacked(content)
        other = _unpacked(other) if other[:2] == b"\x1f\x8b" else other
    for _ in range(random.choice((1, 1, 2, 3))):
        kinds = _TEXT if _is_text(content) and random.random() < 0.7 else _BINARY
        kind = random.choice((*kinds, _splice))
        content = _splice(content, random, other) if kind is _splice else kind(content, random)
    return gzip.compress(content, 1, mtime=0) if packed else content


def _unpacked(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content


def _is_text(content: bytes) -> bool:
    start = content[:2000]
    return b"\0" not in start and all(byte >= 32 or byte in b"\t\r\n" for byte in start)


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[_place(len(changed), random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _place(length: int, random: Random) -> int:
    """Anywhere, but half of the time in the first bytes, where headers are."""
    return random.randrange(min(length, 400) if random.random() < 0.5 else length)


def _truncate(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _double(content: bytes, random: Random) -> bytes:
    return content + content[random.choice((0, random.randrange(len(content) + 1))) :]


def _repeat(content: bytes, random: Random) -> bytes:
    start = random.randrange(len(content) + 1)
    part = content[start : start + random.choice((1, 4, 16, 200))]
    return content[:start] + part * random.choice((2, 5, 1000)) + content[start:]


def _delete(content: bytes, random: Random) -> bytes:
    start = random.randrange(len(content) + 1)
    return content[:start] + content[start + random.choice((1, 2, 4, 64, 1000)) :]


def _splice(content: bytes, random: Random, other: bytes = b"") -> bytes:
    return content[: random.randrange(len(content) + 1)] + other[random.randrange(len(other) + 1) :]


def _random_start(content: bytes, random: Random) -> bytes:
    length = random.choice((1, 4, 16, 64, 348))
    return random.randbytes(min(length, len(content))) + content[length:]


def _swap_fields(content: bytes, random: Random) -> bytes:
    size = random.choice((1, 2, 4, 8))
    if len(content) < 2 * size:
        return content
    first, second = sorted(random.randrange(len(content) // size) * size for _ in range(2))
    fields = content[first : first + size], content[second : second + size]
    if second < first + size:
        return content
    return b"".join(
        (
            content[:first],
            fields[1],
            content[first + size : second],
            fields[0],
            content[second + size :],
        )
    )


def _lie(content: bytes, random: Random) -> bytes:
    size, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    number = random.choice((*_LIES, random.getrandbits(8 * size))) & ((1 << 8 * size) - 1)
    at = _place(max(1, len(content)), random)
    return content[:at] + number.to_bytes(size, order) + content[at + size :]  # type: ignore[arg-type]


def _blank(content: bytes, random: Random) -> bytes:
    at, length = random.randrange(len(content) + 1), random.choice((4, 32, 512))
    fill = random.choice((b"\0", b"\xff", b" "))
    return content[:at] + fill * len(content[at : at + length]) + content[at + length :]


def _insert_text(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) + 1)
    return content[:at] + random.choice(_TEXTS).encode() + content[at:]


def _replace_word(content: bytes, random: Random) -> bytes:
    words = content.split(b" ")
    words[random.randrange(len(words))] = random.choice(_TEXTS).encode()
    return b" ".join(words)


def _shuffle_lines(content: bytes, random: Random) -> bytes:
    lines = content.split(b"\n")
    first, second = (random.randrange(len(lines)) for _ in range(2))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


_BINARY = (_flip, _flip, _truncate, _double, _repeat, _delete, _random_start, _swap_fields, _lie)
_BINARY = (*_BINARY, _lie, _blank)  # type: ignore[assignment]
_TEXT = (_insert_text, _replace_word, _shuffle_lines, _flip, _truncate, _repeat, _delete)
