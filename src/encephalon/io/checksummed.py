# SPDX-License-Identifier: Apache-2.0
"""JSON files with their own SHA-256, and cached files with theirs in such a JSON."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from encephalon.errors import InputError
from encephalon.io.atomic import atomic_path, json_text, sha256, write_json
from encephalon.io.text import read_json

__all__ = ["cached_file", "read_checksummed", "write_checksummed"]

LARGEST_RECORD = 256 * 1024**2
"""Bytes of such a JSON: a note on each of a million images fits."""

logger = logging.getLogger(__name__)


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
