# SPDX-License-Identifier: Apache-2.0
"""Volumes that lie elsewhere, kept on this machine block by block as they are read.

A block is a part of a grid that begins at the absolute voxel 0, so that boxes that overlap share
what they fetched. Each is compressed, in the smallest type that holds it, beside a JSON with its
SHA-256, and appears whole or not at all. What is damaged is fetched again.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import MissingFileError, OutputError, UnreadableFileError, listed
from encephalon.io.atomic import locked
from encephalon.io.cache import cached_file, read_checksummed, write_checksummed
from encephalon.io.files import is_file
from encephalon.io.volumes.volume import (
    Box,
    Size,
    Spacing,
    box_at,
    box_size,
    box_slices,
    box_text,
    shifted,
)

BLOCK: Size = (32, 256, 256)
"""Voxels of a block along z, y, x; 2 MiB of an image of 8 bits. Our choice: a request for each
costs little beside its bytes, and a box of 256² is in at most four columns of them."""

Fetched = tuple[NDArray[Any], bool]
"""Voxels (z, y, x) of a box, and whether a piece of them was missing and was filled."""


@dataclass(frozen=True)
class Facts:
    """What must be known of a volume before its voxels: as in `Volume`, and its type as text."""

    shape: Size
    dtype: str
    spacing: Spacing | None
    origin: Size
    levels: int


def cached_facts(folder: Path, ask: Callable[[], Facts]) -> Facts:
    """The facts kept in `folder`, otherwise those of `ask()`, which are kept then.

    Whatever `ask` raises passes through. Raises OutputError where they cannot be written.
    """
    path = folder / "volume.json"
    kept = read_checksummed(path)
    if kept is None:
        kept = asdict(ask())
        write_checksummed(path, kept)
    plain: Any = {key: tuple(n) if isinstance(n, list) else n for key, n in kept.items()}
    return Facts(**plain)


@dataclass(frozen=True)
class CachedSource:
    """Reads boxes from blocks in `folder`, and fetches those that are not there.

    `fetch` gets a box in absolute voxels. With `offline` it is never called.
    """

    name: str
    folder: Path
    facts: Facts
    fetch: Callable[[Box], Fetched] = field(repr=False)
    offline: bool = False

    def read(self, box: Box) -> NDArray[Any]:
        """The voxels (z, y, x) of `box`, which counts from the first voxel."""
        asked = shifted(box, self.facts.origin)
        data = np.empty(box_size(box), np.dtype(self.facts.dtype))
        for path, block in self._blocks(asked):
            part = _overlap(asked, block)
            data[_within(asked, part)] = self._block(path, block)[0][_within(block, part)]
        return data

    def missing(self, box: Box) -> int:
        """How many blocks that `box` touches were filled in where pieces were missing."""
        return sum(self._block(*one)[1] for one in self._blocks(shifted(box, self.facts.origin)))

    def _blocks(self, asked: Box) -> list[tuple[Path, Box]]:
        """Path and box of each block; raises MissingFileError where offline."""
        # Another type, shape or position is another volume, of which nothing kept is of use.
        said = json.dumps([asdict(self.facts), BLOCK], sort_keys=True)
        folder = self.folder / hashlib.sha256(said.encode()).hexdigest()[:16]
        whole = box_at(self.facts.origin, self.facts.shape)
        ranges = [range(a // n, -(-b // n)) for (a, b), n in zip(asked, BLOCK, strict=True)]
        blocks = []
        for z, y, x in product(*ranges):
            cell = box_at(map(operator.mul, (z, y, x), BLOCK), BLOCK)
            blocks.append((folder / f"z{z}_y{y}_x{x}.zst", _overlap(cell, whole)))
        absent = [box for path, box in blocks if self.offline and not is_file(path)]
        if absent:
            raise MissingFileError(
                f"{self.name}, {box_text(asked)}: {len(absent)} of {len(blocks)} blocks are not on "
                f"this machine ({listed(map(box_text, absent), 3, '; ')}) and the network is not "
                "to be used; fetch them once with it."
            )
        return blocks

    def _block(self, path: Path, block: Box) -> Fetched:
        where = f"{self.name}, {box_text(block)}"
        found = _load(path, box_size(block))
        if found is not None:
            return found
        if self.offline:
            raise UnreadableFileError(
                f"{where}: what is kept of it in {path} is damaged, and the network is not to be "
                "used; fetch it once with it."
            )
        few = "".join(str(start // n % 4) for (start, _), n in zip(block, BLOCK, strict=True))
        try:
            with locked(path.parent / f".{few}"):  # few files, and seldom the same
                cached_file(path, lambda temporary: self._make(temporary, block))
        except OutputError as error:
            raise OutputError(f"{where}: {error}") from error
        found = _load(path, box_size(block))
        if found is None:
            raise UnreadableFileError(
                f"{where}: what was written to {path} is not what is there now; check the disk."
            )
        return found

    def _make(self, path: Path, block: Box) -> dict[str, Any]:
        import imagecodecs

        data, missing = self.fetch(block)
        if data.shape != box_size(block):
            raise UnreadableFileError(
                f"{self.name}, {box_text(block)}: expected voxels of shape {box_size(block)}, but "
                f"{data.shape} came."
            )
        kind = data.dtype
        if kind.kind in "iu":
            low, high = int(data.min()), int(data.max())
            kind = np.min_scalar_type(high if low >= 0 else min(low, -high - 1))
        small = np.ascontiguousarray(data.astype(kind, copy=False))
        path.write_bytes(imagecodecs.zstd_encode(small.tobytes(), level=1))
        return {"shape": small.shape, "dtype": small.dtype.str, "missing": missing}


def _load(path: Path, size: Size) -> Fetched | None:
    """What is kept of a block; None where it is not there, or not as it was written."""
    import imagecodecs

    try:
        notes, content = read_checksummed(path.with_suffix(".json")), path.read_bytes()
        if hashlib.sha256(content).hexdigest() != notes["file"]:
            return None
        said = notes["notes"]
        kind = np.dtype(said["dtype"])
        data = np.frombuffer(imagecodecs.zstd_decode(content), kind).reshape(said["shape"])
    except (OSError, LookupError, TypeError, ValueError):
        return None
    return (data, bool(said["missing"])) if data.shape == size else None


def _overlap(one: Iterable[tuple[int, int]], other: Iterable[tuple[int, int]]) -> Box:
    z, y, x = ((max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))
    return z, y, x


def _within(whole: Box, part: Box) -> tuple[slice, ...]:
    """Where a part lies in the array of a box."""
    return box_slices(shifted(part, [-start for start, _ in whole]))
