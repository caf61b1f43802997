# SPDX-License-Identifier: Apache-2.0
"""Files go to a worker process, which is replaced when one of them ends it."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.reader import Reader, damaged

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("read", "sentence", "other", "slow", "large")
GOOD = {"read", "sentence"}
# Wall time; the worker's own limit is of processor time, so that a busy machine changes nothing.
_PATIENCE = 180.0


@dataclass
class Worker:
    """One worker process at a time."""

    process: subprocess.Popen[str] | None = field(default=None, init=False)

    def outcome(self, name: str, path: Path, warm: Path | None = None) -> tuple[str, str]:
        """How the reader takes the file; `warm`, one that it reads, goes first to a new worker."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            self.process = _started()
        worker = self.process
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps((name, str(path), str(warm or ""))) + "\n")
        worker.stdin.flush()
        ready, _, _ = select.select([worker.stdout], [], [], _PATIENCE)
        answer = worker.stdout.readline() if ready else ""
        if answer:
            kind, said = json.loads(answer)
            return kind, said
        if not ready:
            worker.kill()
        code = worker.wait()
        if not ready:
            return "slow", f"no answer within {_PATIENCE:.0f} s"
        return ("slow", "too much processor time") if code == -24 else ("other", f"died: {code}")

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            with suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


def _started() -> subprocess.Popen[str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.worker"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@contextmanager
def worker() -> Iterator[Worker]:
    """A worker for as long as it is needed."""
    one = Worker()
    try:
        yield one
    finally:
        one.close()


def missing(reader: Reader) -> str | None:
    """The package that the reader needs and that is not there."""
    return next((name for name in reader.needs if find_spec(name) is None), None)


@dataclass
class Result:
    """What became of the files of one reader: counts by kind, and those that went wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str, str]] = field(default_factory=list)  # file, kind, what was said

    def add(self, file: str, kind: str, said: str) -> None:
        """Count one."""
        self.counts[kind] += 1
        if kind not in GOOD:
            self.faults.append((file, kind, said))


def fuzz(
    reader: Reader,
    numbers: range,
    seed: int,
    one: Worker,
    *,
    heavy: bool = False,
    keep: Path | None = None,
) -> Result:
    """Give damaged files of those numbers, then the crafted ones, to a reader.

    Those that go wrong are copied into `keep`.
    """
    result = Result()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "seeds").mkdir()
        seeds = reader.seeds(home / "seeds")
        warm = seeds[0].root / seeds[0].given
        for number in numbers:
            place = home / "mutated"
            place.mkdir()
            path = damaged(seeds, number, seed, place)
            kind, said = one.outcome(reader.name, path, warm)
            result.add(f"{seed}-{number}", kind, said)
            if keep is not None and kind not in GOOD:
                target = keep / f"{reader.name}-{seed}-{number}"
                shutil.copytree(place, target, dirs_exist_ok=True)
            shutil.rmtree(place)
        for label, path in crafted(reader, home, heavy=heavy).items():
            result.add(label, *one.outcome(reader.name, path, warm))
    return result


def crafted(reader: Reader, home: Path, *, heavy: bool) -> dict[str, Path]:
    """The crafted files of a reader by their names, written into `home`."""
    files: dict[str, Path] = {}
    for name, make in {"crafted": reader.crafted, "heavy": reader.heavy if heavy else None}.items():
        if make is not None:
            folder = home / name
            folder.mkdir()
            files |= make(folder)
    return files
