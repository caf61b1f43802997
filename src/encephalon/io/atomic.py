# SPDX-License-Identifier: Apache-2.0
"""Write whole files and folders or nothing: work beside the final place, then rename.

A writer holds a lock on its temporary file or folder, and the operating system lets go of the lock
when the process ends, however it ends. What can be locked therefore belongs to nobody and is swept.
Some file systems keep locks to one machine or have none, so that of another machine (and of an
earlier start of this one) only what nobody has touched for a day is swept; the name says where it
was made.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from encephalon.errors import EncephalonError, OutputError, OutputExistsError

_log = logging.getLogger(__name__)

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EACCES: "permission is denied; choose a folder that you may write to",
    errno.EPERM: "permission is denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another folder",
    errno.EEXIST: "a part of its path is a file, not a folder; choose another folder",
    errno.ENOENT: "its folder is not there and cannot be made; choose another folder",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
}

_NAME = re.compile(r"\.(.*)-[0-9a-f]{12}\.part(\..*)?", re.DOTALL)
_PROBE = re.compile(r"\.encephalon-\d+")  # of version 0.1.0: empty, and nobody misses it
_UNTOUCHED = 24 * 3600.0  # seconds; a write takes minutes
_LONGEST_SUFFIX = 24  # characters: .ome.tiff and .safetensors, not the rest of a name with dots


def refuse_existing(path: str | Path, overwrite: bool = False) -> None:
    """Raise OutputExistsError when `path` exists, unless `overwrite`."""
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError(
            f"{path} exists already; allow overwriting (--overwrite) or choose another name."
        )


def refuse_foreign(folder: str | Path, what: str, marks: Sequence[str]) -> None:
    """Raise OutputExistsError where overwriting `folder` would delete what is no `what`.

    A folder that is one holds at least one of the files `marks`. One that is empty may be
    replaced, too.
    """
    final = Path(folder)
    with explained(final):
        if not os.path.lexists(final) or any((final / mark).is_file() for mark in marks):
            return
        if final.is_dir() and not any(final.iterdir()):
            return
    raise OutputExistsError(
        f"{final} holds no {what}, so it is not replaced by one: choose another place."
    )


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into an OutputError that says why and what to do.

    Our own errors, and those about files elsewhere, pass through as they are.
    """
    try:
        yield
    except EncephalonError:
        raise
    except OSError as error:
        # A full disk is that of what is written, whatever file is named.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and isinstance(error.filename, str | os.PathLike):
            ours, named = Path(path), Path(error.filename)
            # Neither it, nor beside it, nor on the way to it.
            if ours.parent not in named.parents and named not in (ours, *ours.parents):
                raise
        reason = _REASONS.get(error.errno or 0, f"{error.strerror or error}")
        raise OutputError(f"{path} could not be written: {reason}.") from error


@contextmanager
def atomic_path(final: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path to write to; on success it becomes `final`, otherwise it is removed.

    It lies in the same folder (made when missing) and has the same suffixes, so that writers
    that look at the name still work. `final` is whole at every moment: old, new or absent, also
    when the process is killed. Raises OutputError with the reason (disk full, no permission), and
    without `overwrite` OutputExistsError for a file that another process was quicker to write.
    """
    final = Path(final)
    with explained(final):
        make_folder(final.parent)
        with temporary_beside(final) as temporary:
            yield temporary
            flush(temporary)
            put(temporary, final, overwrite)
            flush_folder(final.parent)


@contextmanager
def atomic_folder(final: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder to fill; on success it becomes `final`, otherwise it is removed.

    Raises OutputExistsError when `final` exists, unless `overwrite`: then the old folder is
    moved aside, the new one takes its place, and only then is the old one deleted. A process that
    is killed in that moment leaves the old one as `.NAME-….old`.
    """
    final = Path(final)
    refuse_existing(final, overwrite)
    with explained(final):
        make_folder(final.parent)
        with temporary_beside(final, folder=True) as temporary:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    flush(file)
            swap(temporary, final)
            flush_folder(final.parent)


def write_bytes(path: str | Path, content: bytes | bytearray | memoryview) -> Path:
    """Write `content` to `path` atomically; returns the path."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` as UTF-8 with Unix line ends to `path` atomically; returns the path.

    Bytes of a file name that are no UTF-8 become what JSON and Python write for them: `\\udcff`.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, content: Any) -> Path:
    """Write `json_text(content)` atomically; returns the path."""
    return write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """`content` as indented JSON.

    Dataclasses become objects, paths text, NumPy scalars and arrays plain numbers and lists, and
    numbers that are not finite null, because JSON knows neither NaN nor infinity.
    """
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_of(path: Path) -> str:
    """The SHA-256 of a file's bytes or, of a folder, of the names and bytes of its files."""
    if not path.is_dir():
        return sha256(path)
    files = sorted(one for one in path.rglob("*") if one.is_file())
    lines = [f"{one.relative_to(path).as_posix()} {sha256(one)}" for one in files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()


@contextmanager
def locked(path: str | Path, timeout: float = 600.0) -> Iterator[None]:
    """Hold the lock file `path`.lock, waiting up to `timeout` seconds for its present holder.

    The operating system lets go of it when a process dies. Where the file system keeps no locks it
    is not waited for, and a warning says so. Raises OutputError on a timeout.
    """
    lock = Path(f"{path}.lock")
    with explained(lock):
        make_folder(lock.parent)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    deadline = time.monotonic() + timeout
    try:
        while (taken := _lock(descriptor)) is False:
            if time.monotonic() >= deadline:
                since = f" since over {timeout:g} s" if timeout else ""
                raise OutputError(
                    f"{lock} is held by another process{since}; wait for it to finish or stop it."
                )
            time.sleep(0.05)
        if isinstance(taken, OSError):
            _log.warning(
                "%s: its file system keeps no locks (%s); let one process at a time write there.",
                *(lock.parent, taken.strerror),
            )
        yield
    finally:
        os.close(descriptor)


def held(path: str | Path) -> bool:
    """Whether another process, or thread, holds the lock file `path`.lock."""
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _lock(descriptor) is False
    finally:
        os.close(descriptor)


def make_folder(folder: str | Path) -> Path:
    """Make `folder` and its parents when missing; raises OutputError with the reason."""
    folder = Path(folder)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def prove_writable(folder: str | Path) -> Path:
    """Make `folder` and write to it, before long work; raises OutputError with the reason.

    What killed processes left half written there is swept.
    """
    folder = make_folder(folder)
    sweep(folder)
    # Asking for permissions is not enough: quotas, read-only mounts and root see other rules.
    with explained(folder), temporary_beside(folder / "probe"):
        return folder


def put(temporary: Path, final: Path, overwrite: bool) -> None:
    """Give a finished file its final name; without `overwrite` raises OutputExistsError."""
    if not overwrite:
        # Unlike a renamed file, a link never takes the place of another. Not every file system has
        # links; without them a moment remains in which two processes can miss each other.
        with suppress(OSError):
            final.hardlink_to(temporary)
            return
        refuse_existing(final)
    temporary.replace(final)


def flush(file: Path) -> None:
    """Wait until the bytes of a file are on the disk, so that no name is given to fewer."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """The same for the names in a folder."""
    # Some network file systems refuse to sync a folder; the rename itself is still atomic.
    with suppress(OSError):
        flush(folder)


def swap(temporary: Path, final: Path) -> None:
    """Give a finished folder its final name, and that of the temporary one to what was there."""
    aside = final.with_name(f".{final.name[:64]}-{uuid4().hex[:12]}.old")
    replaced = os.path.lexists(final)
    if replaced:
        final.rename(aside)
    try:
        temporary.rename(final)
    except OSError:
        if replaced:
            aside.rename(final)
        raise
    if aside.is_dir() and not aside.is_symlink():
        # Under the name of the temporary folder, which is removed now, or swept if we are killed.
        aside.rename(temporary)
    else:
        aside.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, without importing NumPy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def temporary_beside(final: Path, *, folder: bool = False) -> Iterator[Path]:
    """An empty file, or a `folder`, in the folder of `final`, removed at the end if still there.

    It is hidden, so that nothing that lists images picks up half a file, and ends as `final` does,
    for writers that look at the name.
    """
    suffix = "".join(final.suffixes[-2:])
    suffix = suffix if len(suffix) <= _LONGEST_SUFFIX else final.suffix[:_LONGEST_SUFFIX]
    while True:
        path = final.with_name(f".{_machine()}-{uuid4().hex[:12]}.part{suffix}")
        if folder:
            path.mkdir()
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o666)
        # Another process may have swept it before it was locked.
        if _lock(descriptor) is not False and path.exists():
            break
        os.close(descriptor)
    try:
        yield path
    finally:
        remove(path)
        os.close(descriptor)


def sweep(folder: str | Path) -> None:
    """Remove what writers that are dead by now left in `folder`, but not below it.

    What cannot be looked at or removed stays.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            found = _NAME.fullmatch(entry.name)
            if found or _PROBE.fullmatch(entry.name):
                _remove_if_left(Path(entry.path), found is None or found[1] == _machine())


def _lock(descriptor: int) -> bool | OSError:
    """Whether the lock could be taken; the error where there are no locks."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        return error
    return True


def _remove_if_left(path: Path, made_here: bool) -> None:
    # A folder can be opened for reading only, and some file systems lock only what can be written.
    mode = os.O_RDONLY if path.is_dir() else os.O_RDWR
    with suppress(OSError):
        descriptor = os.open(path, mode | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            free = _lock(descriptor)
            untouched = time.time() - os.fstat(descriptor).st_mtime > _UNTOUCHED
            if (free is True and made_here) or (free is not False and untouched):
                remove(path)
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@cache
def _machine() -> str:
    """Eight hexadecimal digits that stand for this machine since it was last started."""
    from hashlib import sha256
    from platform import node

    try:
        # The same in all containers of a machine, which share its locks but not its name.
        started = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError:
        started = node()
    return sha256(started.encode()).hexdigest()[:8]
