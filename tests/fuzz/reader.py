# SPDX-License-Identifier: Apache-2.0
"""What the fuzzer knows of a reader: files that it reads, and how it is called."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutations import mutated


@dataclass(frozen=True)
class Seed:
    """A file or folder that is read without complaint.

    root     the file, or the folder that is copied whole
    given    what the reader is called with, relative to `root` when that is a folder
    victims  the files within `root` of which one is damaged
    """

    root: Path
    given: str = "."
    victims: tuple[str, ...] = (".",)


@dataclass(frozen=True)
class Reader:
    """A way into the product for a user's file.

    name     in the table of counts
    seeds    writes files into an empty folder; small ones
    read     reads one of them, called in a process of its own
    crafted  writes files that no mutation would find into an empty folder; each gets a name
    heavy    the same, of files that are read for seconds; left out of the short run
    needs    packages without which the reader is left out
    """

    name: str
    seeds: Callable[[Path], Sequence[Seed]]
    read: Callable[[Path], Any]
    crafted: Callable[[Path], dict[str, Path]] | None = None
    heavy: Callable[[Path], dict[str, Path]] | None = None
    needs: tuple[str, ...] = field(default=())


def damaged(seeds: Sequence[Seed], number: int, seed: int, folder: Path) -> Path:
    """The `number`-th damaged copy of one of `seeds` in `folder`; what the reader is to be given.

    Equal arguments give equal files.
    """
    random = Random(f"{seed} {number}")
    chosen, other = random.choice(seeds), random.choice(seeds)
    target = folder / chosen.root.name
    if chosen.root.is_dir():
        shutil.copytree(chosen.root, target)
    else:
        shutil.copyfile(chosen.root, target)
    victim = random.choice(chosen.victims)
    content = (chosen.root / victim).read_bytes()
    foreign = (other.root / random.choice(other.victims)).read_bytes()
    (target / victim).write_bytes(mutated(content, foreign, random))
    return target / chosen.given


def files_of(folder: Path) -> Iterator[str]:
    """The files in `folder`, as `victims` of a Seed."""
    return (str(file.relative_to(folder)) for file in sorted(folder.rglob("*")) if file.is_file())
