# SPDX-License-Identifier: Apache-2.0
"""Whether the files that the table of a grid names are those that its cells were made from.

    files.json   of each file its size and when it was written, as the grid was last run

Only a file that looks different from then is read: what it holds is compared with what the runs of
the cells have recorded that they began with. So a grid that was copied goes on, wherever it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from encephalon.errors import OutputExistsError, listed
from encephalon.io.atomic import content_of
from encephalon.io.cache import read_checksummed, write_checksummed
from encephalon.training.dataset import in_threads
from encephalon.training.runs import RunFolder

__all__ = ["FILES", "require_same_files"]

FILES = "files.json"
#: Threads that ask for sizes and times: what they wait for is the disk.
THREADS = 4


def require_same_files(grid: Path, files: Mapping[str, Path], cells: Iterable[Path]) -> None:
    """Raise OutputExistsError, naming a file, unless `files` hold what `cells` were made from.

    grid   the folder that keeps how they look
    files  by what the table calls them
    cells  folders, of which those count that have a training to lose
    """
    now = dict(zip(files, in_threads(_glance, files.values(), THREADS), strict=True))
    before = read_checksummed(grid / FILES) or {}
    if now == before:
        return
    content, other = cache(content_of), {name for name in now if now[name] != before.get(name)}
    for cell in cells:
        for run in map(RunFolder, (cell / "run", *cell.glob("attempt-*"))):
            begun_with = run.contents
            # Some studies record more of a file after the hash of what it holds.
            changed = [
                str(files[name])
                for name in sorted(other & begun_with.keys())
                if now[name] and not begun_with[name].startswith(content(files[name]))
            ]
            if changed:
                raise OutputExistsError(
                    f"{listed(changed, 1)}: not what {cell} was made from: put it back as it was, "
                    "choose another folder for the grid, or move that of the cell away to have it "
                    "made again."
                )
    write_checksummed(grid / FILES, now)


def _glance(path: Path) -> list[int]:
    """Bytes and nanoseconds of a file, or of all in a folder; nothing of one that is not there."""
    inside = path.rglob("*") if path.is_dir() else ()
    try:
        known = [each.stat() for each in (path, *inside)]
    except OSError:
        return []
    return [sum(each.st_size for each in known), max(each.st_mtime_ns for each in known)]
