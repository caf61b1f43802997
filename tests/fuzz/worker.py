# SPDX-License-Identifier: Apache-2.0
"""A program that reads one file after the other for the fuzzer, under limits, and says how it went.

Lines of JSON in: the name of the reader and the path. Lines of JSON out: the kind of outcome
(read, sentence, other, large) and what was said. A file that takes too much processor time ends
the program by a signal; whoever started it starts another.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import traceback
import warnings
from pathlib import Path

SECONDS = 20
"""Processor time that a file of some kB may take."""

MEMORY = 2 << 30
"""Bytes that reading it may take."""

# What is mapped is more than what is used: thread stacks, libraries loaded when first needed.
_MAPPED = MEMORY + (3 << 29)


def outcome(name: str, path: Path) -> tuple[str, str]:
    """How the reader of that name takes that file."""
    from encephalon.errors import EncephalonError
    from tests.fuzz.readers import READERS

    before = _peak(reset=True)
    try:
        READERS[name].read(path)
    except EncephalonError as error:
        kind, said = "sentence", str(error)
        if "\n" in said or "\r" in said:
            kind = "other"
    except Exception as error:  # noqa: BLE001 -- which ones there are is the question
        kind = "large" if isinstance(error, MemoryError) else "other"
        place = traceback.extract_tb(error.__traceback__)
        ours = [step for step in place if f"{os.sep}encephalon{os.sep}" in step.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        said = f"{type(error).__name__} in {where}: {error}"
    else:
        kind, said = "read", ""
    taken = _peak() - before
    return ("large", f"{taken / 2**30:.1f} GiB; {said}") if taken > MEMORY else (kind, said)


def _peak(*, reset: bool = False) -> int:
    """The most memory, bytes, that this process has had (on Linux: since the last reset)."""
    status = Path("/proc/self/status")
    if not status.exists():
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _limit_memory() -> None:
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        mapped = int(next(line for line in lines if line.startswith("VmSize")).split()[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (mapped + _MAPPED, resource.RLIM_INFINITY))


def _limit_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + SECONDS + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def main() -> None:
    """Answer line after line until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    warnings.simplefilter("ignore")
    loaded: set[str] = set()
    for line in sys.stdin:
        name, path, warm = json.loads(line)
        if name not in loaded:  # imports are neither time nor memory of a file
            loaded.add(name)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            if warm:
                with contextlib.suppress(Exception):
                    outcome(name, Path(warm))
            _limit_memory()
        _limit_time()
        print(json.dumps(outcome(name, Path(path))), file=answers, flush=True)


if __name__ == "__main__":
    main()
