# SPDX-License-Identifier: Apache-2.0
"""Finished trials of an evaluation on disk, so that one which was broken off goes on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encephalon import __version__
from encephalon.io.atomic import json_text, write_text
from encephalon.reports.markup import Html

__all__ = ["Cell", "Cells", "fingerprint"]


@dataclass(frozen=True)
class Cell:
    """What came of one trial: a row a method, and the picture that is worth showing, if any."""

    rows: list[dict[str, Any]]
    picture: Html | None = field(default=None, repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether every method had an answer, so that there is nothing to try again."""
        return not any("error" in row for row in self.rows)


class Cells:
    """The folder of finished trials; those of another model, file or option count as not done."""

    def __init__(self, folder: Path, about: Any, *, forget: bool = False) -> None:
        self._folder, self._about, self._forget = folder, about, forget

    def load(self, name: str, files: Iterable[Path]) -> Cell | None:
        """The trial of that name as it was made from these files; None where it must be made."""
        path = self._path(name)
        if self._forget or not path.is_file():
            return None
        try:
            found: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
            if found["made_from"] != fingerprint(self._about, files):
                return None
            picture = found["picture"]
            return Cell(list(found["rows"]), Html(picture) if picture else None)
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def save(self, name: str, files: Iterable[Path], cell: Cell) -> None:
        """Keep a finished trial, whole or not at all; raises OutputError."""
        content = {
            "made_from": fingerprint(self._about, files),
            "rows": cell.rows,
            "picture": cell.picture,
        }
        # Not json_text: Python alone reads these files, and NaN must come back as NaN.
        write_text(self._path(name), json.dumps(content, ensure_ascii=False) + "\n")

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def fingerprint(about: Any, files: Iterable[Path]) -> str:
    """A hash of what a result depends on: this version, the settings, size and time of files."""
    places: Sequence[Any] = [_stamp(path) for path in files]
    text = json_text({"version": __version__, "about": about, "files": places})
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        known = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), known.st_size, known.st_mtime_ns
