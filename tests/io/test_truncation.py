# SPDX-License-Identifier: Apache-2.0
"""A PNG or JPEG whose last pixels are missing is refused, though a decoder would fill them."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encephalon.errors import ContentError, UnreadableFileError
from encephalon.io import micrograph
from encephalon.io.micrograph import read_micrograph

END = b"\xff\xd9"


def chunk(name: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(name + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + name + body + crc


def with_rows(png: bytes, share: float) -> bytes:
    """The same PNG with that share of its data, in a zlib stream that is whole."""
    parts, at, packed = [], 8, b""
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length
        packed += body if name == b"IDAT" else b""
        if name == b"IEND":
            rows = zlib.decompress(packed)
            parts.append(chunk(b"IDAT", zlib.compress(rows[: round(share * len(rows))])))
        if name != b"IDAT":
            parts.append(chunk(name, body))
    return png[:8] + b"".join(parts)


def picture(mode: str, rows: int = 61, columns: int = 75) -> Image.Image:
    """A grey ramp with noise, in a mode of Pillow."""
    noise = np.random.default_rng(0).integers(0, 60, (rows, columns))
    ramp = (np.add.outer(np.arange(rows), np.arange(columns)) % 190 + noise).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(ramp.astype(np.uint16) * 257)
    return Image.fromarray(ramp).convert(mode)


def packed(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_without_its_last_rows_is_refused(tmp_path: Path, mode: str) -> None:
    """Pillow leaves them black; with all of them the same file is read."""
    path, png = tmp_path / "a.png", packed(picture(mode, 300, 400), "PNG")
    for share in (0.1, 0.5, 0.97):
        path.write_bytes(with_rows(png, share))
        with pytest.raises(UnreadableFileError, match=r"rows are missing|truncated"):
            read_micrograph(path)
    path.write_bytes(with_rows(png, 1.0))
    assert read_micrograph(path).data.shape == (300, 400)


def test_black_rows_at_the_end_of_a_png_are_no_fault(tmp_path: Path) -> None:
    """Of a plain one and of one in seven passes (the specification's Adam7)."""
    dark = np.zeros((9, 13), np.uint8)
    dark[0, 0] = 255
    path = tmp_path / "a.png"
    Image.fromarray(dark).save(path)
    np.testing.assert_array_equal(read_micrograph(path).data, dark)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    rows = b"".join(
        b"\0" + line.tobytes()
        for top, left, down, across in [*passes, (1, 0, 2, 1)]
        for line in dark[top::down, left::across]
    )
    edges = (13).to_bytes(4, "big") + (9).to_bytes(4, "big")
    start = path.read_bytes()[:8] + chunk(b"IHDR", edges + bytes([8, 0, 0, 0, 1]))
    for count in (len(rows), len(rows) - 14):  # a row of the last pass less
        data = chunk(b"IDAT", zlib.compress(rows[:count]))
        path.write_bytes(start + data + chunk(b"IEND", b""))
        if count == len(rows):
            np.testing.assert_array_equal(read_micrograph(path).data, dark)
        else:
            with pytest.raises(UnreadableFileError, match=r"rows are missing|truncated"):
                read_micrograph(path)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restart", [0, 2])
def test_a_jpeg_that_was_cut_and_ended_is_refused(
    tmp_path: Path, mode: str, progressive: bool, restart: int
) -> None:
    """Wherever in its data it was cut; whole, it is read as Pillow reads it."""
    options = {"progressive": progressive, "restart_marker_rows": restart, "quality": 90}
    path, jpeg = tmp_path / "a.jpg", packed(picture(mode), "JPEG", **options)
    path.write_bytes(jpeg)
    whole = read_micrograph(path, colour="luminance").data
    np.testing.assert_array_equal(whole, np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")))
    start = jpeg.index(b"\xff\xda") + 20
    for share in (0.1, 0.3, 0.5, 0.8, 0.97):
        path.write_bytes(jpeg[: start + round(share * (len(jpeg) - start))] + END)
        with pytest.raises(UnreadableFileError, match="is cut"):
            read_micrograph(path, colour="luminance")


@pytest.mark.parametrize("progressive", [False, True])
def test_mid_grey_at_the_end_of_a_jpeg_is_no_fault(tmp_path: Path, progressive: bool) -> None:
    """The level that libjpeg makes of nothing."""
    path = tmp_path / "a.jpg"
    grey = np.full((40, 40), 128, np.uint8)
    grey[:8] = 0
    Image.fromarray(grey).save(path, progressive=progressive)
    np.testing.assert_array_equal(read_micrograph(path).data[16:], grey[16:])


def test_a_picture_is_refused_by_the_memory_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of all its samples count, not pixels alone; a progressive JPEG takes more."""
    monkeypatch.setattr(micrograph, "LARGEST_PICTURE", 61 * 75 * 5)
    for mode in ("L", "RGB", "RGBA", "P"):
        picture(mode).save(tmp_path / "a.png")
        read_micrograph(tmp_path / "a.png", colour="luminance")
    picture("RGB").save(tmp_path / "a.jpg")
    read_micrograph(tmp_path / "a.jpg", colour="luminance")
    picture("RGB").save(tmp_path / "a.jpg", progressive=True)
    with pytest.raises(ContentError, match="61 × 75 pixels"):
        read_micrograph(tmp_path / "a.jpg", colour="luminance")


def test_a_kind_of_jpeg_that_is_not_read_is_called_so(tmp_path: Path) -> None:
    """Lossless ones of medical archives: to copy such a file again helps nobody."""
    content = packed(picture("L"), "JPEG").replace(b"\xff\xc0", b"\xff\xc3", 1)
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableFileError, match="a lossless or hierarchical JPEG"):
        read_micrograph(tmp_path / "a.jpg")
