# SPDX-License-Identifier: Apache-2.0
"""The samples of a run: prepared once, in parallel, kept in its cache, and drawn from by number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError, MissingFileError, listed
from encephalon.inference.workers import Workers, in_workers
from encephalon.io.atomic import content_of, make_folder, sweep
from encephalon.io.cache import cached_file

__all__ = [
    "TRAINING",
    "VALIDATION",
    "Mixture",
    "Prepared",
    "in_threads",
    "prepare",
    "prepare_each",
    "shuffled",
]

#: Stream numbers that keep training and validation draws apart for every seed.
TRAINING, VALIDATION = 0, 1

Item = TypeVar("Item")
Result = TypeVar("Result")


class Files(Protocol):
    """A row of a table that names files."""

    @property
    def files(self) -> Sequence[Path]:
        """All that a prepared sample depends on."""
        ...


Row = TypeVar("Row", bound=Files)


def prepare(
    rows: Iterable[Row],
    function: Callable[[Row, Path], None],
    cache: Path,
    version: str,
    suffix: str,
    workers: int = 2,
) -> list[Path]:
    """The file of each row in `cache`, in order: written by `function` unless it is there.

    Its name has `version`, which says how it is prepared and changes when that does, and the hash
    of each file of the row. Rows are prepared in `workers` processes; in this one for 1. Raises
    what reading a row raises.
    """
    done = _prepared(rows, function, cache, version, suffix, Workers(jobs=workers), held=())
    return [one.path for one in done if isinstance(one, Prepared)]


@dataclass(frozen=True)
class Prepared:
    """A file in a cache, and what the function that made it returned."""

    path: Path
    notes: Any


def prepare_each(
    rows: Iterable[Row],
    function: Callable[[Row, Path], Any],
    cache: Path,
    version: str | Callable[[Row], str],
    suffix: str,
    workers: Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Prepared | InputError]:
    """As `prepare`, with the notes on each file, and the error of one that cannot be read.

    Such a row holds up no other. `version` may be told by the row. `workers` are two processes if
    they are not given; `progress` is told how many are done, and how many there are.
    """
    who = workers or Workers(jobs=2)
    return _prepared(rows, function, cache, version, suffix, who, progress, held=(InputError,))


def _prepared(
    rows: Iterable[Row],
    function: Callable[[Row, Path], Any],
    cache: Path,
    version: str | Callable[[Row], str],
    suffix: str,
    workers: Workers,
    progress: Callable[[int, int], None] | None = None,
    *,
    held: tuple[type[InputError], ...],
) -> list[Prepared | InputError]:
    """What became of each row, in order; errors other than those `held` are raised at once."""
    sweep(make_folder(cache))  # of what a killed run left half written
    numbered = list(enumerate(rows))
    work = partial(_prepare, function, cache.absolute(), version, suffix, held)
    done: list[tuple[int, Prepared | InputError]] = []
    lost = _lost if held else None
    for one in in_workers(work, numbered, workers, "processes", lost):
        done.append(one)
        if progress is not None:
            progress(len(done), len(numbered))
    return [one for _, one in sorted(done, key=lambda pair: pair[0])]


def _lost(numbered: tuple[int, Row], why: str) -> tuple[int, InputError]:
    number, row = numbered
    return number, InputError(f"{listed(row.files, 1)}: {why}")


def _prepare(
    function: Callable[[Row, Path], Any],
    cache: Path,
    version: str | Callable[[Row], str],
    suffix: str,
    held: tuple[type[InputError], ...],
    numbered: tuple[int, Row],
) -> tuple[int, Prepared | InputError]:
    number, row = numbered
    try:
        for path in row.files:
            if not path.exists():
                raise MissingFileError(f"{path}: there is no such file or folder; check the path.")
        content = "-".join(content_of(path)[:16] for path in row.files)
        prepared = version if isinstance(version, str) else version(row)
        kept = cache / f"{prepared}-{content}{suffix}"
        return number, Prepared(kept, cached_file(kept, partial(function, row)))
    except held as error:
        return number, error


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> list[Result]:
    """`function` of each item, in order: for what waits for the disk, and stays in memory."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(function, items))


def shuffled(
    number: int,
    size: int,
    count: int,
    seed: Sequence[int],
    draw: Callable[[np.random.Generator], NDArray[np.int64]] | None = None,
) -> NDArray[np.int64]:
    """The places (size,) of batch `number` in a stream of `count` places drawn one cycle at a time.

    A cycle is what `draw` makes of the generator of `seed` and its number: a permutation of all, if
    it is not given.
    """
    places = np.arange(number * size, (number + 1) * size)
    orders = {}
    for cycle in np.unique(places // count).tolist():
        rng = np.random.default_rng([*seed, cycle])
        orders[cycle] = rng.permutation(count) if draw is None else draw(rng)
    return np.array([orders[place // count][place % count] for place in places.tolist()], np.int64)


@dataclass(frozen=True)
class Mixture(Generic[Item]):
    """Real and synthetic samples; with both, a draw is real with the probability `share`."""

    real: Sequence[Item]
    synthetic: Sequence[Item]
    share: float

    def draw(self, rng: np.random.Generator, count: int = 1) -> list[Item]:
        """`count` samples of one kind, each as likely as any other of it."""
        real = self.real and (not self.synthetic or rng.random() < self.share)
        kind = self.real if real else self.synthetic
        return [kind[int(rng.integers(len(kind)))] for _ in range(count)]
