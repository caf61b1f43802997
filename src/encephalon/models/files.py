# SPDX-License-Identifier: Apache-2.0
"""Where the files of models lie, and whether one is the thing itself or stands in its place.

Models lie inside the package, and in `$ENCEPHALON_HOME` or the platform's cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from encephalon.errors import InputError, MissingFileError, ModelError
from encephalon.io.files import opened, stand_in
from encephalon.io.home import encephalon_home


def installed_folder() -> Path:
    """Return the folder that holds downloaded and imported models, one folder each."""
    return encephalon_home() / "models"


def model_roots() -> Iterator[tuple[str, Path]]:
    """Yield the folders of models on this machine, the better one first, with a word for each."""
    yield "packaged", packaged_folder()
    with suppress(ModelError):
        yield "installed", installed_folder()


def packaged_folder() -> Path:
    """Return the folder of the models that ship with the package."""
    return Path(__file__).parent / "packaged"


@contextmanager
def content(path: Path, expected: str, largest: int | None = None) -> Iterator[BufferedReader]:
    """`path` open for reading, if it is a file with content of its own of at most `largest` bytes.

    `expected` names what it should be. Raises MissingFileError when nothing is there; ModelError
    for a folder, a pipe, a device, an empty file, a git-LFS or git-annex pointer, a web page saved
    under the file's name, one that is too large, and what the system cannot read.
    """
    try:
        with opened(path, largest, expected) as stream:
            what = stand_in(stream.read(64))
            if what is not None:
                raise ModelError(f"{path}: expected {expected}, but it is {what}.")
            stream.seek(0)
            yield stream
    except MissingFileError as error:
        raise MissingFileError(f"{error} Expected was {expected}.") from error
    except InputError as error:
        raise ModelError(f"{error} Expected was {expected}.") from error


def check_content(path: Path, expected: str) -> None:
    """Raise the errors of `content` unless `path` is a file with content of its own."""
    with content(path, expected):
        pass


def digest(path: Path, expected: str) -> str:
    """The sha256 of a file, 64 hexadecimal digits; raises the errors of `content`."""
    with content(path, expected) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_compared(path: Path, expected: str, sha256: str, largest: int) -> bytes:
    """All bytes of a file, after their sha256 was compared, unless `sha256` is empty.

    What was compared is what is used: the file may be another one a moment later. Raises the errors
    of `content`, and ModelError for another sha256.
    """
    with content(path, expected, largest) as stream:
        found = stream.read(largest + 1)
    if sha256 and (is_now := hashlib.sha256(found).hexdigest()) != sha256:
        raise ModelError(changed(path, sha256, is_now))
    return found


def changed(path: Path, expected: str, found: str) -> str:
    """The sentence on a file of a model whose sha256 is another one."""
    return (
        f"{path}: expected sha256 {expected}, but it is {found}: the file is damaged or was "
        "changed; get the model again."
    )
