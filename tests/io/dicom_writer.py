# SPDX-License-Identifier: Apache-2.0
"""DICOM files element by element, so that any of them can be left out or be wrong."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

MR = "1.2.840.10008.5.1.4.1.1.4"
PLAIN = "1.2.840.10008.1.2.1"
#: What belongs to a slice of 2 x 2 x 3 mm, by tag; the position is along the third axis.
TAGS: dict[tuple[int, int], tuple[str, Any]] = {
    (0x0008, 0x0016): ("UI", MR),
    (0x0008, 0x0060): ("CS", "MR"),
    (0x0018, 0x0050): ("DS", "2.5"),
    (0x0018, 0x0088): ("DS", "3"),
    (0x0020, 0x000D): ("UI", "1.2.3.4"),
    (0x0020, 0x000E): ("UI", "1.2.3.5"),
    (0x0020, 0x0037): ("DS", "1\\0\\0\\0\\1\\0"),
    (0x0028, 0x0002): ("US", 1),
    (0x0028, 0x0004): ("CS", "MONOCHROME2"),
    (0x0028, 0x0030): ("DS", "2\\2"),
    (0x0028, 0x0100): ("US", 16),
    (0x0028, 0x0101): ("US", 16),
    (0x0028, 0x0102): ("US", 15),
    (0x0028, 0x0103): ("US", 0),
}


def element(tag: tuple[int, int], kind: str, value: Any) -> bytes:
    """One element in explicit little endian; sequences and pixels come as bytes."""
    if kind == "US":
        value = struct.pack("<H", value)
    value = value if isinstance(value, bytes) else str(value).encode()
    value += (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
    long = kind in ("OW", "OB", "SQ", "UN")
    size = struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))
    return struct.pack("<HH2s", *tag, kind.encode()) + size + value


def sequence(tag: tuple[int, int], *items: bytes) -> bytes:
    """A sequence of undefined length, items of known length."""
    body = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    head = struct.pack("<HH2sHI", *tag, b"SQ", 0, 0xFFFFFFFF)
    return head + body + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def dicom_bytes(
    pixels: np.ndarray | None,
    tags: dict[tuple[int, int], tuple[str, Any] | None],
    *,
    syntax: str = PLAIN,
    preamble: bool = True,
    more: bytes = b"",
) -> bytes:
    """A file; `tags` are added to `TAGS`, None leaves one out, `more` comes before the pixels."""
    own = {**TAGS, **tags}
    if pixels is not None:
        own[0x0028, 0x0010] = ("US", pixels.shape[-2])
        own[0x0028, 0x0011] = ("US", pixels.shape[-1])
    parts = [element(tag, *own[tag]) for tag in sorted(own) if own[tag] is not None]  # type: ignore[misc]
    body = b"".join(parts) + more
    if pixels is not None:
        body += element((0x7FE0, 0x0010), "OW", pixels.astype("<u2").tobytes())
    if not preamble:
        return body
    kind = own[0x0008, 0x0016]
    meta = element((2, 1), "OB", b"\0\1") + element((2, 2), "UI", kind[1] if kind else MR)
    meta += element((2, 3), "UI", "1.2.3.9.1") + element((2, 16), "UI", syntax)
    return (
        b"\0" * PREAMBLE
        + b"DICM"
        + element((2, 0), "UL", struct.pack("<I", len(meta)))
        + meta
        + body
    )


PREAMBLE = 128


def slice_tags(number: int, place: float | None) -> dict[tuple[int, int], tuple[str, Any] | None]:
    """The tags of one slice: its number, UID and position (None for one without)."""
    tags: dict[tuple[int, int], tuple[str, Any] | None] = {
        (0x0008, 0x0018): ("UI", f"1.2.3.9.{number + 1}"),
        (0x0020, 0x0013): ("IS", number + 1),
    }
    if place is not None:
        tags[0x0020, 0x0032] = ("DS", f"-10\\-20\\{place:g}")
    return tags


def write_series(
    folder: Path,
    data: np.ndarray,
    *,
    name: str = "{:04d}.dcm",
    first: int = 0,
    places: list[float | None] | None = None,
    tags: dict[tuple[int, int], tuple[str, Any] | None] | None = None,
    **how: Any,
) -> list[Path]:
    """`data` (I, J, K) uint16 as one file a slice, 3 mm apart along the body."""
    folder.mkdir(exist_ok=True, parents=True)
    files = []
    for k in range(data.shape[2]):
        place = 3.0 * k if places is None else places[k]
        own = {**slice_tags(first + k, place), **(tags or {})}
        files.append(folder / name.format(k))
        files[-1].write_bytes(dicom_bytes(data[:, :, k].T, own, **how))
    return files


def frames_bytes(
    data: np.ndarray, places: list[float], scales: list[tuple[float, float]] | None = None
) -> bytes:
    """`data` (I, J, K) as one enhanced file whose frames lie at `places` mm along the body.

    `scales` are the slope and the intercept of each.
    """
    shared = sequence(
        (0x5200, 0x9229),
        sequence((0x0028, 0x9110), element((0x0028, 0x0030), "DS", "2\\2"))
        + sequence((0x0020, 0x9116), element((0x0020, 0x0037), "DS", "1\\0\\0\\0\\1\\0")),
    )
    each = [
        sequence((0x0020, 0x9113), element((0x0020, 0x0032), "DS", f"-10\\-20\\{place:g}"))
        for place in places
    ]
    for number, (slope, intercept) in enumerate(scales or ()):
        scale = element((0x0028, 0x1052), "DS", intercept) + element((0x0028, 0x1053), "DS", slope)
        each[number] += sequence((0x0028, 0x9145), scale)
    own: dict[tuple[int, int], tuple[str, Any] | None] = {
        (0x0008, 0x0016): ("UI", "1.2.840.10008.5.1.4.1.1.4.1"),
        (0x0008, 0x0018): ("UI", "1.2.3.9.1"),
        (0x0020, 0x0037): None,
        (0x0028, 0x0008): ("IS", data.shape[2]),
        (0x0028, 0x0030): None,
    }
    return dicom_bytes(data.T, own, more=shared + sequence((0x5200, 0x9230), *each))
