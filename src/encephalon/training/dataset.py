# SPDX-License-Identifier: Apache-2.0
"""The samples of a run: prepared once, in parallel, kept in its cache, and drawn from by number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from encephalon.io.atomic import content_of
from encephalon.io.cache import cached_file

__all__ = ["TRAINING", "VALIDATION", "Mixture", "in_threads", "prepare", "shuffled"]

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
    of each file of the row. Rows are prepared in `workers` processes; in this one for 1.
    """
    cache.mkdir(parents=True, exist_ok=True)
    prepare_one = partial(_prepare, function, cache / version, suffix)
    if workers < 2:
        return list(map(prepare_one, rows))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(prepare_one, rows))


def _prepare(function: Callable[[Row, Path], None], place: Path, suffix: str, row: Row) -> Path:
    content = "-".join(content_of(path)[:16] for path in row.files)
    kept = place.with_name(f"{place.name}-{content}{suffix}")
    cached_file(kept, partial(function, row))
    return kept


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
