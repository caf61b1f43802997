# SPDX-License-Identifier: Apache-2.0
"""The one way to open a file: unpacked once, and what is wrong with it in one sentence.

Paths are as users write them: each question has an answer for every text, and none is an error.
"""

from __future__ import annotations

import math
import os
import stat
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import Any

from encephalon.errors import (
    EncephalonError,
    MissingFileError,
    OutputError,
    UnreadableFileError,
)

_CHUNK = 1 << 20
# Bytes unpacked at once: bounds the second copy in memory.
_PIECE = 1 << 22
# Scans shrink 2 to 10 times. A trailer that says more is most often the middle of a truncated file,
# and the buffer grows where it is true.
_LIKELY_RATIO = 16
# What `size` of `read_bytes` sees: any header of a volume, and room to spare.
_HEAD = 4096
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


@contextmanager
def opened(
    path: str | Path, largest: int | None = None, expected: str = "a file"
) -> Iterator[BufferedReader]:
    """A regular file with content, open for reading: the one way in for every file of a user.

    It never waits for a pipe or reads a device. `largest` bounds its size in bytes, for content
    that is read whole; `expected` says in the sentence what it should have been. An OSError on the
    way, also of the caller's own reading, is said in one sentence.

    Raises MissingFileError when nothing is there or a link leads nowhere, UnreadableFileError for
    a folder, a pipe, a device, an empty file and one that is larger than `largest`.
    """
    path = Path(path)
    try:
        _need_target(path)
        # Without O_NONBLOCK the opening of a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableFileError(
                    f"{path}: expected a regular file; save the data to one first."
                )
            if status.st_size == 0:
                raise UnreadableFileError(
                    f"{path}: the file is empty (0 bytes); copy or download it again."
                )
            if largest is not None and status.st_size > largest:
                raise UnreadableFileError(
                    f"{path}: expected {expected} of at most {largest:,} bytes, but it has "
                    f"{status.st_size:,}; check what the file is."
                )
            yield stream
    except EncephalonError:
        raise
    except OSError as error:  # of a library as well, whose words may fill several lines
        reason = error.strerror or " ".join(str(error).split()).rstrip(".")
        raise UnreadableFileError(f"{path}: the file could not be read: {reason}.") from error


def need_file(path: Path) -> None:
    """Raise MissingFileError or UnreadableFileError unless `path` is a file with content."""
    with opened(path):
        pass


def refuse_foreign(path: Path) -> None:
    """Raise UnreadableFileError when `path` is a pointer to data elsewhere, or text."""
    with opened(path) as stream:
        _refuse_foreign_start(path, stream.read(256))


def read_bytes(path: str | Path, size: Callable[[bytes], int] | None = None) -> bytearray:
    """The content of a file, unpacked when it is gzip (whatever its name), as one buffer.

    `size` is called with the first bytes (4,096 where there are so many) and returns how many the
    content should have; what follows is not unpacked but for one byte, so that a small file never
    fills the memory and the caller can tell that there is more.

    The checksum and length that gzip keeps are compared, where all of it is read. Uses `isal` when
    it is installed, otherwise zlib; both fill one buffer in a stream: memory is the content plus
    13 MiB.

    Raises MissingFileError, or UnreadableFileError for an empty, truncated or damaged file, a
    pointer of Git LFS or git-annex, or text in the place of an image; each names the file.
    """
    path = Path(path)
    with opened(path) as stream:
        start = stream.read(256)
        _refuse_foreign_start(path, start)
        packed = os.fstat(stream.fileno()).st_size
        if start[:2] != _GZIP:
            stream.seek(0)
            return _gathered(iter(partial(stream.read, _PIECE), b""), packed, size)
        # gzip's last four bytes tell the unpacked size (mod 4 GiB).
        stream.seek(max(0, packed - 4))
        likely = int.from_bytes(stream.read(4), "little") if packed >= 18 else 0
        stream.seek(0)
        return _gathered(_unpacked(path, stream), min(likely, packed * _LIKELY_RATIO), size)


def _need_target(path: Path) -> None:
    if "\0" in str(path):
        raise MissingFileError(f"{str(path)!r}: no file name holds a NUL byte; correct the path.")
    if os.path.islink(path) and not exists(path):  # noqa: PTH114  for a name too long: no link
        raise MissingFileError(
            f"{path}: the link points to {path.readlink()}, which does not exist; fetch the "
            "data (git annex get, datalad get) or mend the link."
        )
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"{path}: there is no such file; check the path.") from error
    if not stat.S_ISREG(mode):
        # Asked before it is opened, since opening some devices alone does something.
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise UnreadableFileError(
            f"{path}: expected a regular file, but it is {kind}; give a file, or save the data "
            "to one first."
        )


def _refuse_foreign_start(path: Path, start: bytes) -> None:
    if what := stand_in(start):
        raise UnreadableFileError(f"{path}: expected an image, but this is {what}.")
    # Every binary header read here holds NUL or control bytes in its first 256.
    if all(byte in b"\t\n\r\f" or byte >= 32 for byte in start):
        shown = start[:40].decode("utf-8", "replace").split("\n")[0].strip()
        raise UnreadableFileError(
            f"{path}: expected an image, but this is text that begins with {shown!r}."
        )


def _gathered(
    pieces: Iterator[bytes], likely: int, size: Callable[[bytes], int] | None
) -> bytearray:
    """All pieces in one buffer; with `size` at most one byte more than it says.

    The buffer has `likely` bytes from the start where no less are promised.
    """
    head = b""
    while len(head) < _HEAD and (piece := next(pieces, None)) is not None:
        head += piece
    bound = math.inf if size is None else size(head[:_HEAD]) + 1
    content = bytearray(int(min(likely, bound)))
    content[: len(head)] = head
    filled = len(head)
    while filled < bound and (piece := next(pieces, None)) is not None:
        content[filled : filled + len(piece)] = piece
        filled += len(piece)
    del content[int(min(filled, bound)) :]
    return content


def _unpacked(path: Path, stream: BufferedReader) -> Iterator[bytes]:
    packed = os.fstat(stream.fileno()).st_size
    library = _zlib()
    inflater = library.decompressobj(wbits=31)
    chunk = stream.read(_CHUNK)
    while True:
        try:
            piece = inflater.decompress(chunk, _PIECE)
        except (library.error, zlib.error) as error:
            raise UnreadableFileError(
                f"{path}: the file is damaged (gzip: {error}), so its voxels cannot be trusted; "
                "copy or download it again."
            ) from error
        yield piece
        if inflater.eof:  # a further member may follow: gzip files can be joined end to end
            chunk = inflater.unused_data or stream.read(_CHUNK)
            if chunk[:2] != _GZIP:
                return
            inflater = library.decompressobj(wbits=31)
        else:
            chunk = inflater.unconsumed_tail or stream.read(_CHUNK)
            if not chunk and not piece:
                raise UnreadableFileError(
                    f"{path}: the file is truncated: its gzip stream has no end after {packed:,} "
                    "bytes; copy or download it again."
                )


def write_stream(path: Path, chunks: Iterable[bytes], *, packed: bool) -> None:
    """Write `chunks` one after the other to `path`, as gzip (level 1, no time stamp) if `packed`.

    Equal content gives equal bytes.
    """
    with path.open("wb") as stream:
        if not packed:
            stream.writelines(chunks)
            return
        library = _zlib()
        deflater = library.compressobj(1, library.DEFLATED, 31)
        stream.writelines(deflater.compress(chunk) for chunk in chunks)
        stream.write(deflater.flush())


def _zlib() -> Any:
    """`isal` where it is installed, which is faster; zlib otherwise. Its types are none."""
    try:
        return import_module("isal.isal_zlib")
    except ImportError:
        return zlib


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with a ~ at its beginning replaced, or as it is where nobody has that name."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises there


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether something is there, which it is not for a name too long or with a NUL byte."""
    return os.path.exists(path)  # noqa: PTH110  Path.exists raises there


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file is there."""
    return os.path.isfile(path)  # noqa: PTH113  as above


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is there."""
    return os.path.isdir(path)  # noqa: PTH112  as above


def composed(text: str) -> str:
    """The text with each accent and its letter as one character (NFC): ü may also be u and ¨.

    The two look alike; macOS often writes names in the second way, keyboards write the first.
    """
    return unicodedata.normalize("NFC", text)


def as_spelt(path: Path) -> Path:
    """The path as its folders spell it, where they compose accents in another way than `path`."""
    if str(path).isascii() or exists(path):
        return path
    here = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        below = here / part
        if not exists(below) and is_folder(here):
            there = (one for one in here.iterdir() if composed(one.name) == composed(part))
            below = next(there, below)
        here = below
    return here


def place(path: Path) -> Path:
    """Where a file lies: its folders without links or .., its own name as it is.

    A link is a place of its own: git-annex keeps equal content once, and every file of it is a
    link (git-annex.branchable.com, "How it works").
    """
    try:
        return path.parent.resolve() / path.name
    except (OSError, RuntimeError, ValueError):  # a circle of links, a name that cannot be
        return path.absolute()


class Inputs:
    """Files that are read, and that nothing which is made of them may replace.

    They are known by their places and, as a file may have several names and some file systems take
    Scan and scan for the same one, by their numbers.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._places: set[Path] = set()
        self._numbers: set[tuple[int, int]] = set()
        for path in paths:
            here = place(path)
            self._places |= {here, *here.parents}
            self._numbers |= _number(path)

    def clash(self, path: Path, advice: str = "choose another folder") -> OutputError | None:
        """What is wrong with writing `path`, which is one of them or a folder that one lies in."""
        if place(path) not in self._places and self._numbers.isdisjoint(_number(path)):
            return None
        return OutputError(f"{path} is an input and would be replaced: {advice}.")

    def refuse(self, paths: Iterable[Path], advice: str = "choose another folder") -> None:
        """Raise the OutputError of the first of `paths` that clashes."""
        for path in paths:
            if (error := self.clash(path, advice)) is not None:
                raise error


def _number(path: Path) -> set[tuple[int, int]]:
    """What a file system calls a file, if there is one."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return set()
    return {(found.st_dev, found.st_ino)}


def is_zip_bomb(packed: int, unpacked: int, *, harmless: int, most: int, growth: int) -> bool:
    """Whether bytes that are `packed` unpack to more than a file of their kind does.

    Up to `harmless` bytes anything may, above `most` nothing may, and in between no more than
    `growth` times what is packed.
    """
    return unpacked > min(most, max(harmless, packed * growth))
