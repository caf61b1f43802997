# SPDX-License-Identifier: Apache-2.0
"""Is this file the thing itself, or something that stands in its place?"""

from __future__ import annotations

from pathlib import Path

from encephalon.errors import MissingFileError, ModelError

__all__ = ["check_content"]

# First bytes of what is often found in the place of a large file, and what to do about it.
_STAND_INS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "is a git-LFS pointer, not the file itself: run  git lfs pull"),
    (b"/annex/objects/", "is a git-annex pointer, not the file itself: run  datalad get"),
    (b"<!doctype", "is a web page, not the file itself: download it again"),
    (b"<html", "is a web page, not the file itself: download it again"),
)


def check_content(path: Path, expected: str) -> None:
    """Raise unless `path` is a file with content of its own; `expected` names what it should be.

    Raises MissingFileError when nothing is there; ModelError for a folder, an empty file, a git-LFS
    or git-annex pointer and a web page saved under the file's name.
    """
    if path.is_symlink() and not path.exists():
        # git-annex leaves such a link until the content is fetched.
        message = f"{path}: expected {expected}, but the link leads nowhere: run  datalad get"
        raise ModelError(message)
    if not path.exists():
        message = f"{path}: expected {expected}, but there is no such file: check the path."
        raise MissingFileError(message)
    if not path.is_file():
        message = f"{path}: expected {expected}, but this is a folder: give the file itself."
        raise ModelError(message)
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        message = f"{path}: expected {expected}, but the file is empty: fetch it again."
        raise ModelError(message)
    for mark, what in _STAND_INS:
        if start.lstrip().lower().startswith(mark):
            message = f"{path}: expected {expected}, but it {what}."
            raise ModelError(message)
