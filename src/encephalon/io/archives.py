# SPDX-License-Identifier: Apache-2.0
"""One file of an archive, as a stream: a zip, or a tar that may be compressed."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from encephalon.errors import EncephalonError, MissingFileError, UnreadableFileError


@contextmanager
def archived(path: Path, name: str) -> Iterator[IO[bytes]]:
    """The file `name` of the archive `path`, in whatever folder of the archive it lies.

    Nothing is unpacked. Raises MissingFileError where no file, or more than one, has the name, and
    UnreadableFileError for what is no archive, or is damaged.
    """
    try:
        with _member(path, name) as stream:
            yield stream
    except EncephalonError:
        raise
    except Exception as error:  # damage makes the two modules raise a dozen classes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableFileError(
            f"{path}: expected an archive (.zip or .tar), but it cannot be read ({reason})."
        ) from error


@contextmanager
def _member(path: Path, name: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            files = [item.filename for item in packed.infolist() if not item.is_dir()]
            with packed.open(_only(files, name, path)) as stream:
                yield stream
        return
    with tarfile.open(path) as tar:
        # Links are passed over: what they point to has a name of its own.
        members = {item.name: item for item in tar if item.isreg()}
        stream_of = tar.extractfile(members[_only(list(members), name, path)])
        assert stream_of is not None  # as it is a plain file
        with stream_of as stream:
            yield stream


def _only(names: list[str], wanted: str, path: Path) -> str:
    last = PurePosixPath(wanted).parts
    found = [name for name in names if PurePosixPath(name).parts[-len(last) :] == last]
    if len(found) != 1:
        raise MissingFileError(
            f"{path}: expected one file {wanted} in the archive, but it has {len(found) or 'none'}."
        )
    return found[0]
