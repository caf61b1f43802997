# SPDX-License-Identifier: Apache-2.0
"""Keep arrays that are slow to make, by what they were made from, in a folder that stays small.

An entry that is damaged, half written or gone is made again: losing one costs time and nothing
else. That is why entries are not flushed to the disk, and why a folder that cannot be written to
only means that nothing is kept.

What must not be lost unnoticed is JSON with its own SHA-256, or files with theirs in such a JSON.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from encephalon import __version__
from encephalon.errors import InputError, OutputError
from encephalon.io.atomic import atomic_path, json_text, sha256, write_json
from encephalon.io.text import read_json

Arrays = dict[str, NDArray[Any]]

LARGEST_RECORD = 256 * 1024**2
"""Bytes of such a JSON: a note on each of a million images fits."""
logger = logging.getLogger(__name__)


class ArrayCache:
    """Named arrays by key; several processes and threads may share one folder.

    The key is any text that changes whenever the arrays would: the SHA-256 of a file
    (`encephalon.io.atomic.sha256`), and the settings that it was treated with.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int) -> None:
        """Keep at most about `limit` bytes in `folder`; the entries unused longest go first."""
        self.folder = Path(folder)
        self.limit = limit
        self._written = 0
        self._swept = False

    def get(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of `key`: kept ones, otherwise those of `make()`, which are kept then.

        Whatever `make` raises passes through, and nothing is kept.
        """
        name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        path = self.folder / name[:2] / f"{name[2:]}.npz"
        arrays = _load(path)
        if arrays is None:
            arrays = make()
            with suppress(OSError):  # a full disk, or a folder of somebody else
                self._keep(path, arrays)
        return arrays

    def _keep(self, path: Path, arrays: Arrays) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid4().hex}.part")
        try:
            with part.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)
            self._written += part.stat().st_size
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        # Looking through the folder takes time, so it may outgrow its limit by a little.
        if not self._swept or self._written > self.limit // 16:
            self._sweep()

    def _sweep(self) -> None:
        """Remove the entries unused longest, and parts that a killed process left, beyond limit."""
        self._swept, self._written = True, 0
        found = []
        for path in self.folder.glob("*/*"):
            with suppress(OSError):  # another process was quicker
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in found) - self.limit
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            with suppress(OSError):
                path.unlink()
            excess -= size


def _load(path: Path) -> Arrays | None:
    """The arrays of an entry, whose checksums are compared; None when there is no whole one."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as entry:
            arrays = {name: entry[name] for name in entry.files}
    except Exception:  # noqa: BLE001 - damage makes numpy and zipfile raise a dozen classes
        return None
    with suppress(OSError):
        os.utime(path)  # used now, so it goes last
    return arrays


def write_checksummed(path: Path, content: Any) -> Path:
    """Write `content` as JSON with its own SHA-256, atomically; returns the path."""
    plain = json.loads(json_text(content))
    return write_json(path, {"sha256": _checksum(plain), "content": plain})


def read_checksummed(path: Path) -> Any:
    """What `write_checksummed` wrote; None where there is none, or it is not as it was written."""
    try:
        found = read_json(path, LARGEST_RECORD)
        return found["content"] if found["sha256"] == _checksum(found["content"]) else None
    except (InputError, LookupError, TypeError):
        return None


def fingerprint(about: Any, files: Sequence[Path]) -> str:
    """A hash of what a result depends on: this version, the settings, size and time of files."""
    stamps = []
    for path in files:
        try:
            known = path.stat()
            stamps.append((str(path), known.st_size, known.st_mtime_ns))
        except OSError:
            stamps.append((str(path), -1, -1))
    text = json_text({"version": __version__, "about": about, "files": stamps})
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


Note = Callable[[str, Sequence[Path], Callable[[], Any]], Any]
"""What `make` says of some files, plain data by a name: made again when one of them changes."""


@contextmanager
def kept_notes(path: Path) -> Iterator[Note]:
    """What was noted before, in the JSON `path`: notes that nobody asks for meanwhile are dropped.

    What has changed is told by `fingerprint`. Whatever `make` raises passes through, and where
    nothing can be written nothing is kept.
    """
    before, now = read_checksummed(path) or {}, dict[str, Any]()

    def note(name: str, files: Sequence[Path], make: Callable[[], Any]) -> Any:
        made_from = fingerprint(name, files)
        kept = before.get(name)
        if not kept or kept["made_from"] != made_from:
            kept = {"made_from": made_from, "note": make()}
        now[name] = kept
        return kept["note"]

    yield note
    if now != before:
        with suppress(OSError, OutputError):
            write_checksummed(path, now)


def cached_file(path: Path, make: Callable[[Path], Any]) -> Any:
    """The notes on the file `path`, which `make` writes to the path it is given, and returns.

    Both are kept, the notes as JSON beside the file with the SHA-256 of either. They are made again
    where one is missing or no longer as it was written, and in the latter case that is logged.
    """
    notes_path = path.with_suffix(".json")
    found = read_checksummed(notes_path)
    if isinstance(found, dict) and path.is_file() and found.get("file") == sha256(path):
        return found["notes"]
    if path.exists() and notes_path.exists():
        logger.warning("%s is not as it was written: it is made again.", path)
    with atomic_path(path) as temporary:
        notes = make(temporary)
        checksum = sha256(temporary)
    # Read back, so that a run which made the file sees the same notes as one that found it.
    write_checksummed(notes_path, {"file": checksum, "notes": notes})
    return read_checksummed(notes_path)["notes"]


def _checksum(plain: Any) -> str:
    text = json.dumps(plain, ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
