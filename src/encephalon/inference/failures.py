# SPDX-License-Identifier: Apache-2.0
"""What is said of a sample that failed while the others of its batch go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encephalon.errors import EncephalonError
from encephalon.inference.sidecar import sources

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample

__all__ = ["failure_sentence", "without_traceback"]


def failure_sentence(sample: Sample, error: BaseException) -> str:
    """One sentence on `error`, with the files of the sample where it does not name them itself."""
    if isinstance(error, EncephalonError):
        return str(error)
    source = "; ".join(sources(sample))
    if isinstance(error, MemoryError):
        return f"{source}: there is not enough memory ({error}); use a smaller block or image."
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return (
            f"{source}: {error.strerror or error}{place}; check the file, its folder and the disk."
        )
    kind = type(error).__name__
    return f"{source}: unexpected {kind} ({error}); run it again with -vv and report the details."


def without_traceback(error: BaseException) -> BaseException:
    """Return the error without tracebacks, whose frames would keep every image in memory."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
