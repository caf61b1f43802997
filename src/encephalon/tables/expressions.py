# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of users, searched in a process of their own that may be ended.

Backtracking can take exponential time, as of '((?:a+)+)!$' on a name of 40 letters, and nothing
interrupts Python's matcher from within.
"""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import IO

from encephalon.errors import TableError

__all__ = ["search"]

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


class _Searcher:
    """A process that searches names with one expression; a new one after it was ended."""

    def __init__(self, rule: str) -> None:
        self._rule, self._lock = rule, Lock()
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, name: str) -> str | None:
        with self._lock:
            answer = self._asked(name)
        if not answer:
            raise TableError(
                f"The id rule {self._rule!r} takes too long on the file name {name!r}: repeat "
                "nothing that repeats itself, as (a+)+ does."
            )
        found: str | None = json.loads(answer)
        return found

    def _asked(self, name: str) -> str:
        if self._process is None:
            command = [sys.executable, "-I", "-S", "-c", _SEARCHER, json.dumps(self._rule)]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
            )
            self._end = weakref.finalize(self, _ended, self._process)
        answer = _exchanged(self._process.stdin, self._process.stdout, json.dumps(name))
        if not answer:
            self._end()
            self._process = None
        return answer


def _exchanged(stdin: IO[str] | None, stdout: IO[str] | None, line: str) -> str:
    """What the other end answers; nothing where it has ended."""
    if stdin is None or stdout is None:
        return ""
    with suppress(BrokenPipeError):
        stdin.write(f"{line}\n")
        stdin.flush()
        return stdout.readline()
    return ""


def _ended(process: subprocess.Popen[str]) -> None:
    with suppress(BrokenPipeError):
        process.communicate()


@lru_cache(maxsize=8)
def _searcher(rule: str) -> _Searcher:
    return _Searcher(rule)


def search(rule: str, name: str) -> str | None:
    """The only group of the expression where it is first found in `name`, or None.

    Raises TableError for an expression that takes longer than anybody waits.
    """
    return _searcher(rule)(name)
