# SPDX-License-Identifier: Apache-2.0
"""The bytes of an image file, unpacked once, with what is wrong said in one sentence."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import Any

from encephalon.errors import InputError, MissingFileError, UnreadableFileError

_CHUNK = 1 << 20
# Bytes unpacked at once: bounds the second copy in memory.
_PIECE = 1 << 22
# Scans shrink 2 to 10 times. A trailer that says more is most often the middle of a truncated file,
# and the buffer grows where it is true.
_LIKELY_RATIO = 16
_GZIP = b"\x1f\x8b"
_ANNEX = "a git-annex pointer, not the data; fetch it with  git annex get"
# First bytes, in lower case, of what is often found in the place of a large file.
_STAND_INS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the data; fetch it with  git lfs pull"),
    (b"/annex/objects", _ANNEX),
    (b"../.git/annex", _ANNEX),
    (b"<!doctype", "a web page, not the data; download it again"),
    (b"<html", "a web page, not the data; download it again"),
)


def stand_in(start: bytes) -> str | None:
    """What a file that begins so holds in the place of its data, and what to do about it."""
    begun = start.lstrip().lower()
    return next((what for mark, what in _STAND_INS if begun.startswith(mark)), None)


def need_file(path: Path) -> None:
    """Raise MissingFileError or UnreadableFileError unless `path` is a file with content."""
    with _explained(path):
        if path.is_symlink() and not path.exists():
            message = (
                f"{path}: the link points to {path.readlink()}, which does not exist; fetch the "
                "data (git annex get, datalad get) or mend the link."
            )
            raise MissingFileError(message)
        if not path.exists():
            message = f"{path}: there is no such file; check the path."
            raise MissingFileError(message)
        if not path.is_file():
            message = f"{path}: expected a file, but it is a folder or a device."
            raise UnreadableFileError(message)
        if path.stat().st_size == 0:
            message = f"{path}: the file is empty (0 bytes); copy or download it again."
            raise UnreadableFileError(message)


def refuse_foreign(path: Path) -> None:
    """Raise UnreadableFileError when `path` is a pointer to data elsewhere, or text."""
    with _explained(path), path.open("rb") as stream:
        start = stream.read(256)
    _refuse_stand_in(path, start)
    _refuse_text(path, start)


def read_bytes(path: str | Path) -> bytearray:
    """The content of a file, unpacked when it is gzip (whatever its name), as one buffer.

    The checksum and length that gzip keeps are compared. Uses `isal` when it is installed,
    otherwise zlib; both fill one buffer in a stream: memory is the content plus 13 MiB.

    Raises MissingFileError, or UnreadableFileError for an empty, truncated or damaged file, a
    pointer of Git LFS or git-annex, or text in the place of an image; each names the file.
    """
    path = Path(path)
    need_file(path)
    with _explained(path), path.open("rb") as stream:
        start = stream.read(256)
        _refuse_stand_in(path, start)
        stream.seek(0)
        if start[:2] == _GZIP:
            return _unpack(path, stream)
        _refuse_text(path, start)
        content = bytearray(path.stat().st_size)
        del content[stream.readinto(content) :]
        return content


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError while reading `path` into an UnreadableFileError that says why."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        message = f"{path}: the file could not be read: {error.strerror or error}."
        raise UnreadableFileError(message) from error


def _refuse_stand_in(path: Path, start: bytes) -> None:
    what = stand_in(start)
    if what is not None:
        message = f"{path}: expected an image, but this is {what}."
        raise UnreadableFileError(message)


def _refuse_text(path: Path, start: bytes) -> None:
    # Every binary header read here holds NUL or control bytes in its first 256.
    if all(byte in b"\t\n\r\f" or byte >= 32 for byte in start):
        shown = start[:40].decode("utf-8", "replace").split("\n")[0].strip()
        message = f"{path}: expected an image, but this is text that begins with {shown!r}."
        raise UnreadableFileError(message)


def _unpack(path: Path, stream: BufferedReader) -> bytearray:
    packed = path.stat().st_size
    content = bytearray(_size_hint(stream, packed))
    inflater, failures = _inflater()
    filled, chunk = 0, stream.read(_CHUNK)
    while True:
        try:
            piece = inflater.decompress(chunk, _PIECE)
        except failures as error:
            raise _damaged(path, error) from error
        content[filled : filled + len(piece)] = piece
        filled += len(piece)
        if inflater.eof:  # a further member may follow: gzip files can be joined end to end
            chunk = inflater.unused_data or stream.read(_CHUNK)
            if chunk[:2] != _GZIP:
                break
            inflater, failures = _inflater()
        else:
            chunk = inflater.unconsumed_tail or stream.read(_CHUNK)
            if not chunk and not piece:
                raise _truncated(path, packed)
    del content[filled:]
    return content


def _inflater() -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        isal_zlib: Any = import_module("isal.isal_zlib")  # its types call the error an instance
    except ImportError:
        return zlib.decompressobj(wbits=31), (zlib.error,)
    return isal_zlib.decompressobj(wbits=31), (isal_zlib.error, zlib.error)


def _size_hint(stream: BufferedReader, packed: int) -> int:
    """The unpacked size (mod 4 GiB) from gzip's last four bytes, bounded by what is likely."""
    if packed < 18:
        return 0
    stream.seek(-4, 2)
    hint = int.from_bytes(stream.read(4), "little")
    stream.seek(0)
    return min(hint, packed * _LIKELY_RATIO)


def _truncated(path: Path, packed: int) -> UnreadableFileError:
    message = (
        f"{path}: the file is truncated: its gzip stream has no end after {packed:,} bytes; copy "
        "or download it again."
    )
    return UnreadableFileError(message)


def _damaged(path: Path, error: Exception) -> UnreadableFileError:
    message = (
        f"{path}: the file is damaged (gzip: {error}), so its voxels cannot be trusted; copy or "
        "download it again."
    )
    return UnreadableFileError(message)


def write_stream(path: Path, chunks: Iterable[bytes], *, packed: bool) -> None:
    """Write `chunks` one after the other to `path`, as gzip (level 1, no time stamp) if `packed`.

    Equal content gives equal bytes.
    """
    with path.open("wb") as stream:
        if not packed:
            stream.writelines(chunks)
            return
        deflater = _deflater()
        stream.writelines(deflater.compress(chunk) for chunk in chunks)
        stream.write(deflater.flush())


def _deflater() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(1, zlib.DEFLATED, 31)
    return isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
