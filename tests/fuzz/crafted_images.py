# SPDX-License-Identifier: Apache-2.0
"""Volumes and pictures that no mutation would find: bombs, lies about size, files that are none."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

_ZEROS = bytes(1 << 24)
_BOMB = 3 << 30  # bytes that some kB unpack to


def _gzip_bomb(head: bytes) -> bytes:
    """A gzip stream that begins with `head` and goes on with zeros in a second member."""
    check = struct.pack("<II", zlib.crc32(bytes(0)), 0)  # nobody should come so far
    return gzip.compress(head, 9) + gzip.compress(b"")[:10] + _zeros(_BOMB) + check


@cache
def _block() -> bytes:
    """16 MiB of zeros, deflated on their own, so that they can stand anywhere and many times."""
    codec = zlib.compressobj(9, zlib.DEFLATED, -15)
    return codec.compress(_ZEROS) + codec.flush(zlib.Z_FULL_FLUSH)


def _zeros(size: int) -> bytes:
    """That many zeros as a raw deflate stream."""
    codec = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = codec.compress(bytes(size % len(_ZEROS))) + codec.flush()
    return _block() * (size // len(_ZEROS)) + rest


def _nifti_head(shape: tuple[int, ...], code: int = 4) -> bytes:
    import nibabel

    header = nibabel.Nifti1Header(endianness="<")
    header["dim"][: len(shape) + 1] = (len(shape), *shape)
    header["datatype"], header["bitpix"] = code, 16
    header["pixdim"][1:4], header["vox_offset"], header["magic"] = 1.0, 352, b"n+1"
    header["srow_x"], header["srow_y"] = (1, 0, 0, 0), (0, 1, 0, 0)
    header["srow_z"], header["sform_code"] = (0, 0, 1, 0), 1
    return bytes(header.binaryblock) + bytes(4)


def _noise(count: int) -> bytes:
    return np.random.default_rng(0).integers(1, 99, count, dtype=np.int16).tobytes()


def crafted_volumes(folder: Path) -> dict[str, Path]:
    """NIfTI, MGH and NumPy files."""
    shape = (12, 14, 10)
    head = _nifti_head(shape) + _noise(12 * 14 * 10)
    contents = {
        "bomb behind a volume.nii.gz": _gzip_bomb(head),
        "bomb without its suffix.nii": _gzip_bomb(head),
        "bomb of zeros.nii.gz": _gzip_bomb(b""),
        "overflowing sizes.nii": _nifti_head((32767,) * 7) + _noise(9),
        "no voxels.nii": _nifti_head((0, 4, 4)) + _noise(9),
        "longer than it says.nii": head + _noise(99),
        "type of bits.nii": _nifti_head(shape, 1) + _noise(1680),
        "type of nothing.nii": _nifti_head(shape, 0) + _noise(1680),
        "type of quads.nii": _nifti_head(shape, 1536) + bytes(16 * 1680),
        "array of text.npz": _npz(data=b"hello"),
        "affine of text.npz": _npz(data=_npy(_small()), affine=_npy(np.array([["a"] * 4] * 4))),
        "flat and sheared.npz": _npz(
            data=_npy(np.ones((4, 5))),
            affine=_npy(np.array([[1.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
        ),
        "bomb of data.npz": _npz(bomb="data.npy"),
        "bomb of an affine.npz": _npz(data=_npy(_small()), bomb="affine.npy"),
        "promise.npy": _npy_head((4096, 4096, 4096)),
        "objects.npy": _npy_head((3,), "|O") + b"cos\nsystem\n(S'true'\ntR.",
    }
    return _written(folder, contents) | _special(folder, ".nii")


def _small() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (6, 7, 5)).astype(np.float32)


def _npy(data: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, data)
    return stream.getvalue()


def _npy_head(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def _npz(bomb: str | None = None, **arrays: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
        if bomb:
            entry = zipfile.ZipInfo(bomb)  # stored, and then declared to be deflated
            archive.writestr(entry, _headed_zeros(_npy_head((_BOMB // 8,))))
            entry.compress_type, entry.file_size = zipfile.ZIP_DEFLATED, _BOMB + 128
            at = entry.header_offset
    content = bytearray(stream.getvalue())
    if bomb:
        content[at + 8 : at + 10] = struct.pack("<H", zipfile.ZIP_DEFLATED)
    return bytes(content)


def _headed_zeros(head: bytes) -> bytes:
    codec = zlib.compressobj(9, zlib.DEFLATED, -15)
    return codec.compress(head) + codec.flush(zlib.Z_FULL_FLUSH) + _zeros(_BOMB)


def crafted_pictures(folder: Path) -> dict[str, Path]:
    """TIFF, PNG and their sidecars."""
    from tests.io.tiff_writer import write_tiff

    tall = folder / "large as float of 3 samples.tif"
    data = np.ones((4, 4, 3), np.float32)
    write_tiff(tall, data, tags={256: ("I", (16384,)), 257: ("I", (16384,))})
    wide = folder / "large as double of 4 samples.tif"
    write_tiff(
        wide,
        np.ones((4, 4, 4), np.float64),
        "deflate",
        tags={256: ("I", (16384,)), 257: ("I", (16384,)), 278: ("I", (16384,))},
    )
    tile = folder / "tiles far larger than the picture.tif"
    write_tiff(
        tile,
        np.ones((4, 4), np.uint8),
        "deflate",
        tile=(16, 16),
        tags={322: ("I", (65536,)), 323: ("I", (65536,))},
    )
    contents = {
        "deflate bomb.tif": _tiff_bomb(folder),
        "half of its rows.png": _png(16, 16, 0, _deflated(16 * 8)),
        "bomb of rows.png": _png(16, 16, 0, _deflated(_BOMB)),
    }
    files = {path.stem: path for path in (tall, wide, tile)} | _written(folder, contents)
    files |= _sparse_pictures(folder)
    return files | _special(folder, ".png") | _sidecars(folder)


def _sparse_pictures(folder: Path) -> dict[str, Path]:
    """Small pictures that are, or say that they are, followed by gigabytes of nothing."""
    from PIL import Image

    from tests.io.tiff_writer import COMPRESSIONS, write_tiff

    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    paths = [folder / "JPEG before nothing.jpg", folder / "PNG before nothing.png"]
    for path in paths:
        Image.fromarray(grey).save(path)
    for name in COMPRESSIONS:
        path = folder / f"strip of gigabytes, {name}.tif"
        paths.append(write_tiff(path, grey, name, rows_per_strip=16, tags={279: ("I", (_BOMB,))}))
    for code in (270, 273, 279):  # notes, places of strips, sizes of strips
        path = write_tiff(
            folder / f"tag {code} of gigabytes.tif", grey, tags={270: ("B", tuple(b"made up"))}
        )
        content = bytearray(path.read_bytes())
        at = content.index(struct.pack("<H", code), content.index(struct.pack("<HH", 256, 4)))
        content[at + 4 : at + 12] = struct.pack("<II", _BOMB // 10, 4096)
        path.write_bytes(content)
        paths.append(path)
    for path in paths:
        os.truncate(path, _BOMB + 10_000)
    return {path.stem: path for path in [*paths, _many_scans(folder)]}


def _many_scans(folder: Path) -> Path:
    """A progressive JPEG whose last scan comes 2,000 times; each is a pass over all pixels."""
    from PIL import Image

    path = folder / "many scans.jpg"
    Image.new("L", (4000, 4000), 7).save(path, progressive=True)
    content = path.read_bytes()
    last = content[content.rindex(b"\xff\xda") : -2]
    path.write_bytes(content[:-2] + last * 2000 + b"\xff\xd9")
    return path


def crafted_series(folder: Path) -> dict[str, Path]:
    """Folders of DICOM files in which something else lies, or one of which lies about itself."""
    from tests.io.dicom_writer import dicom_bytes

    found = {}
    strange: dict[str, Callable[[Path], None]] = {
        "pipe": os.mkfifo,
        "endless": lambda path: path.symlink_to("/dev/zero"),
        "lost": lambda path: path.symlink_to("nowhere"),
        "folder": lambda path: path.mkdir(),
        "empty": lambda path: path.write_bytes(b"") and None,
        "gigabytes": lambda path: os.truncate(path, _BOMB) if path.exists() else None,
    }
    for name, make in strange.items():
        series = folder / name
        series.mkdir()
        for number in range(4):
            tags = {
                (0x0020, 0x0013): ("IS", str(number)),
                (0x0020, 0x0032): ("DS", f"0\\0\\{3 * number}"),
                (0x0008, 0x0018): ("UI", f"1.2.3.5.{number}"),
            }
            pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) + number
            (series / f"{number}.dcm").write_bytes(dicom_bytes(pixels, tags))
        make(series / ("3.dcm" if name == "gigabytes" else "4.dcm"))
        found[name] = series
    return found


def large_pictures(folder: Path) -> dict[str, Path]:
    """Black PNG files of the largest size that is read."""
    contents = {}
    for name, (kind, samples) in {"rgba": (6, 4), "palette": (3, 1), "grey": (0, 1)}.items():
        rows = _deflated(16384 * (1 + 16384 * samples))
        contents[f"large {name}.png"] = _png(16384, 16384, kind, rows)
    return _written(folder, contents)


def _deflated(size: int) -> bytes:
    """That many zeros as a zlib stream; the checksum of n zeros is n mod 65,521 above 1."""
    return b"\x78\xda" + _zeros(size) + struct.pack(">HH", size % 65_521, 1)


def _png(width: int, height: int, kind: int, data: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if kind == 3 else b""
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette
    return start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _tiff_bomb(folder: Path) -> bytes:
    from tests.io.tiff_writer import write_tiff

    path = write_tiff(folder / "plain.tif", np.ones((16, 16), np.uint8), rows_per_strip=16)
    plain, bomb = path.read_bytes(), _deflated(_BOMB)
    path = write_tiff(
        folder / "plain.tif",
        np.ones((16, 16), np.uint8),
        rows_per_strip=16,
        tags={259: ("H", (8,)), 273: ("I", (len(plain),)), 279: ("I", (len(bomb),))},
    )
    return path.read_bytes() + bomb


def hostile_json() -> dict[str, Callable[[Path], object]]:
    """What writes, by its name, a file where a small description in JSON is expected."""

    def text(content: str) -> Callable[[Path], object]:
        return lambda path: path.write_text(content, encoding="utf-8")

    return {
        "nested": text('{"PixelSize": ' + "[" * 100_000),
        "of many digits": text('{"PixelSizeUnits": "um", "PixelSize": [' + "9" * 400 + ", 1, 1]}"),
        "of very many digits": text('{"PixelSize": [' + "9" * 5000 + ", 1, 1]}"),
        "a list": text('["GeneratedBy", "Sources", "PixelSize"]'),
        "of other types": text('{"GeneratedBy": 3, "Sources": [[]], "PixelSize": {"0": 1}}'),
        "without end": lambda path: path.symlink_to("/dev/zero"),
        "of gigabytes": lambda path: (path.touch(), os.truncate(path, _BOMB)),
        "nobody writes": os.mkfifo,
        "a folder": lambda path: path.mkdir(),
        "a circle": lambda path: path.symlink_to(path.name),
        "lost": lambda path: path.symlink_to("nowhere"),
    }


def _sidecars(folder: Path) -> dict[str, Path]:
    from PIL import Image

    found = {}
    for name, write in hostile_json().items():
        picture = folder / f"sidecar {name}.png"
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(picture)
        write(picture.with_suffix(".json"))
        found[picture.stem] = picture
    return found


def _special(folder: Path, suffix: str) -> dict[str, Path]:
    """A pipe, a device, a folder, links in a circle and to nothing, a name that is too long."""
    pipe, endless, circle, lost = (
        folder / f"{name}{suffix}" for name in ("pipe", "endless", "circle", "lost")
    )
    os.mkfifo(pipe)
    endless.symlink_to("/dev/zero")
    circle.symlink_to(circle.name)
    lost.symlink_to("nowhere")
    (folder / f"folder{suffix}").mkdir()
    paths = [pipe, endless, circle, lost, folder / f"folder{suffix}", folder / ("x" * 300 + suffix)]
    return {
        path.stem[:20]: path for path in [*paths, Path(f"/dev/null{suffix}"), Path("/dev/null")]
    }


def _written(folder: Path, contents: dict[str, bytes]) -> dict[str, Path]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {Path(name).stem: folder / name for name in contents}
