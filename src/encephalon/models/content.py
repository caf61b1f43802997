# SPDX-License-Identifier: Apache-2.0
"""Is this file the thing itself, or something that stands in its place?"""

from __future__ import annotations

from pathlib import Path

from encephalon.errors import MissingFileError, ModelError
from encephalon.io.files import stand_in

__all__ = ["check_content"]


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
    what = stand_in(start)
    if what is not None:
        message = f"{path}: expected {expected}, but it is {what}."
        raise ModelError(message)
