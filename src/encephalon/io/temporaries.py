# SPDX-License-Identifier: Apache-2.0
"""Names to write under before a rename, and the sweeping of those that dead processes left.

A writer holds a lock on its temporary file or folder, and the operating system lets go of the lock
when the process ends, however it ends. What can be locked therefore belongs to nobody. Some file
systems keep locks to one machine or have none, so that of another machine (and of an earlier start
of this one) only what nobody has touched for a day is swept; the name says where it was made.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

__all__ = ["sweep", "temporary_beside"]

_NAME = re.compile(r"\.(.*)-[0-9a-f]{12}\.part(\..*)?", re.DOTALL)
_PROBE = re.compile(r"\.encephalon-\d+")  # of version 0.1.0: empty, and nobody misses it
_UNTOUCHED = 24 * 3600.0  # seconds; a write takes minutes
_LONGEST_SUFFIX = 24  # characters: .ome.tiff and .safetensors, not the rest of a name with dots


@contextmanager
def temporary_beside(final: Path, *, folder: bool = False) -> Iterator[Path]:
    """An empty file, or a `folder`, in the folder of `final`, removed at the end if still there.

    It is hidden, so that nothing that lists images picks up half a file, and ends as `final` does,
    for writers that look at the name.
    """
    path, descriptor = _claimed(final, folder)
    try:
        yield path
    finally:
        _remove(path)
        os.close(descriptor)


def sweep(folder: str | Path) -> None:
    """Remove what writers that are dead by now left in `folder`, but not below it.

    What cannot be looked at or removed stays.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            found = _NAME.fullmatch(entry.name)
            if found is not None:
                _remove_if_left(Path(entry.path), made_here=found[1] == _machine())
            elif _PROBE.fullmatch(entry.name):
                _remove_if_left(Path(entry.path), made_here=True)


def _claimed(final: Path, folder: bool) -> tuple[Path, int]:
    """A new name, and the descriptor through which it is locked."""
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
            return path, descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the lock could be taken; None where there are no locks."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_if_left(path: Path, made_here: bool) -> None:
    # A folder can be opened for reading only, and some file systems lock only what can be written.
    mode = os.O_RDONLY if path.is_dir() else os.O_RDWR
    with suppress(OSError):
        descriptor = os.open(path, mode | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            free = _lock(descriptor)
            untouched = time.time() - os.fstat(descriptor).st_mtime > _UNTOUCHED
            if (free and made_here) or (free is not False and untouched):
                _remove(path)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
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
