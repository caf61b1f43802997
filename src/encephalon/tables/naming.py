# SPDX-License-Identifier: Apache-2.0
"""How the name of a file becomes the id of a sample, and how a table writes the file's path.

An id rule may be a regular expression of the user's. Backtracking can take exponential time, as of
'((?:a+)+)!$' on a name of 40 letters, and nothing interrupts Python's matcher from within: it is
searched in a process of its own that may be ended.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import weakref
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock

from encephalon.errors import TableError
from encephalon.io.files import composed

ID_RULES = ("stem", "before-underscore")
"""The rules that have a name; any other is a regular expression with one group."""

_SECONDS = 2
"""Of processor time, for one name; whatever else the machine does counts for nothing."""
_SEARCHER = f"""
import json, re, resource, sys, time
pattern = re.compile(json.loads(sys.argv[1]))
_, hard = resource.getrlimit(resource.RLIMIT_CPU)
for line in sys.stdin:
    limit = int(time.process_time()) + 1 + {_SECONDS}
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
    found = pattern.search(json.loads(line))
    print(json.dumps(found[1] if found else None), flush=True)
"""


def file_stem(path: str | os.PathLike[str]) -> str:
    """The name of a file without folder and image suffix: `a/b.c.nii.gz` is `b.c`."""
    from encephalon.io.image import image_stem, image_suffix
    from encephalon.io.micrograph import picture_stem

    path = Path(path)
    if path.suffix.lower() == ".zarr":
        return path.stem.removesuffix(".ome")
    return image_stem(path) if image_suffix(path) else picture_stem(path)


def file_id(path: str | os.PathLike[str], rule: str = "stem") -> str:
    """The id that a file's name means by `rule`; its folders may be parted by / or \\.

    "stem" is the name without its suffix. "before-underscore" cuts the name at its first "_", then
    at its first "." (`S3V1_x.tif` and `S3V1.tif` are `S3V1`, as for 3BTRON). Anything else
    is a regular expression, looked for in the name, whose only group is the id. Accents are
    composed as tables compose them, see `io.files.composed`. Raises TableError for a rule that is
    none, and for a name in which the expression finds nothing.
    """
    name = composed(re.split(r"[\\/]", os.fspath(path))[-1])
    if rule == "stem":
        return file_stem(name)
    if rule == "before-underscore":
        return name.partition("_")[0].partition(".")[0]
    check_id_rule(rule)
    found = _searcher(rule)(name)
    if not found:
        raise TableError(
            f"The id rule {rule!r} finds no id in the file name {name!r}: mend the rule."
        )
    return found


def written_path(path: Path, base: Path | None) -> str:
    """The path as a table in the folder `base` writes it; absolute without one.

    Folders are resolved, and the file itself is not: a link keeps its name.
    """
    full = path.parent.resolve() / path.name
    return full.as_posix() if base is None else Path(os.path.relpath(full, base)).as_posix()


def letters(column: int) -> str:
    """What Excel calls the column of that number, from 0: A ... Z, AA ..."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def check_id_rule(rule: str) -> None:
    """Raise TableError unless `rule` is one of ID_RULES or an expression with one group."""
    if rule in ID_RULES:
        return
    try:
        groups = re.compile(rule).groups
    except (re.error, RecursionError, OverflowError):
        groups = 0
    if groups != 1:
        raise TableError(
            f"{rule!r} is no id rule: give {', '.join(ID_RULES)} or a regular expression with one "
            "group, such as '(S[^_]+)_'."
        )


class _Searcher:
    """A process that searches names with one expression; a new one after it was ended."""

    def __init__(self, rule: str) -> None:
        self._rule, self._lock = rule, Lock()
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, name: str) -> str | None:
        """The only group of the expression where it is first found in `name`, or None.

        Raises TableError for an expression that takes longer than anybody waits.
        """
        answer = ""
        with self._lock:
            if self._process is None:
                command = [sys.executable, "-I", "-S", "-c", _SEARCHER, json.dumps(self._rule)]
                pipe = subprocess.PIPE
                self._process = subprocess.Popen(
                    command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
                )
                self._end = weakref.finalize(self, _ended, self._process)
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None  # they are pipes
            assert stdout is not None
            with suppress(BrokenPipeError):
                stdin.write(f"{json.dumps(name)}\n")
                stdin.flush()
                answer = stdout.readline()
            if not answer:  # it has ended
                self._end()
                self._process = None
        if not answer:
            raise TableError(
                f"The id rule {self._rule!r} takes too long on the file name {name!r}: repeat "
                "nothing that repeats itself, as (a+)+ does."
            )
        found: str | None = json.loads(answer)
        return found


def _ended(process: subprocess.Popen[str]) -> None:
    with suppress(BrokenPipeError):
        process.communicate()


_searcher = lru_cache(maxsize=8)(_Searcher)
