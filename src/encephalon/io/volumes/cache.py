# SPDX-License-Identifier: Apache-2.0
"""Volumes that lie elsewhere, kept on this machine block by block as they are read.

A block is a part of a grid that begins at the absolute voxel 0, so that boxes that overlap share
what they fetched. Each is compressed, in the smallest type that holds it, beside a JSON with its
SHA-256, and appears whole or not at all. What is damaged is fetched again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import MissingFileError, UnreadableFileError, listed
from encephalon.io.atomic import locked
from encephalon.io.cache import cached_file, read_checksummed, write_checksummed
from encephalon.io.files import is_file
from encephalon.io.volumes.volume import Box, Size, Spacing, box_size, box_text, shifted

__all__ = ["BLOCK", "CachedSource", "Facts", "Fetched", "cached_facts"]

BLOCK: Size = (32, 256, 256)
"""Voxels of a block along z, y, x; 2 MiB of an image of 8 bits. Our choice: a request for each
costs little beside its bytes, and a box of 256² is in at most four columns of them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """What must be known of a volume before its voxels: as in `Volume`, and its type as text."""

    shape: Size
    dtype: str
    spacing: Spacing | None
    origin: Size
    levels: int


@dataclass(frozen=True)
class Fetched:
    """Voxels (z, y, x) of a box, and whether a piece of them was missing and was filled."""

    data: NDArray[Any] = field(repr=False)
    missing: bool = False


def cached_facts(folder: Path, ask: Callable[[], Facts]) -> Facts:
    """The facts kept in `folder`, otherwise those of `ask()`, which are kept then.

    Whatever `ask` raises passes through. Raises OutputError where they cannot be written.
    """
    path = folder / "volume.json"
    found = _facts(read_checksummed(path))
    if found is None:
        found = ask()
        write_checksummed(path, asdict(found))
    return found


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
        for place, block in self._needed(asked):
            part = _overlap(asked, block)
            kept = self._block(place, block).data
            data[_slices(part, asked)] = kept[_slices(part, block)]
        return data

    def missing(self, box: Box) -> int:
        """How many blocks that `box` touches were filled in where pieces were missing."""
        asked = shifted(box, self.facts.origin)
        return sum(self._block(*one).missing for one in self._needed(asked))

    def _needed(self, asked: Box) -> list[tuple[Size, Box]]:
        """Place in the grid and box of each block; raises MissingFileError where offline."""
        blocks = list(_blocks(asked, self.facts))
        if self.offline:
            absent = [box for place, box in blocks if not is_file(self._path(place))]
            if absent:
                raise MissingFileError(
                    f"{self.name}, {box_text(asked)}: {len(absent)} of {len(blocks)} blocks are "
                    f"not on this machine ({listed(map(box_text, absent), 3, '; ')}) and the "
                    "network is not to be used; fetch them once with it."
                )
        return blocks

    def _path(self, place: Size) -> Path:
        # Another type, shape or position is another volume, of which nothing kept is of use.
        said = json.dumps([asdict(self.facts), BLOCK], sort_keys=True)
        key = hashlib.sha256(said.encode()).hexdigest()[:16]
        z, y, x = place
        return self.folder / key / f"z{z}_y{y}_x{x}.zst"

    def _block(self, place: Size, block: Box) -> Fetched:
        path = self._path(place)
        found = _load(path, box_size(block))
        if found is not None:
            return found
        if self.offline:
            raise UnreadableFileError(
                f"{self.name}, {box_text(block)}: what is kept of it in {path} is damaged, and the "
                "network is not to be used; fetch it once with it."
            )
        z, y, x = place
        with locked(path.parent / f".{z % 4}{y % 4}{x % 4}"):  # few files, and seldom the same
            cached_file(path, lambda temporary: self._make(temporary, block))
        found = _load(path, box_size(block))
        if found is None:
            raise UnreadableFileError(
                f"{self.name}, {box_text(block)}: what was written to {path} is not what is there "
                "now; check the disk."
            )
        return found

    def _make(self, path: Path, block: Box) -> dict[str, Any]:
        import imagecodecs

        fetched = self.fetch(block)
        if fetched.data.shape != box_size(block):
            raise UnreadableFileError(
                f"{self.name}, {box_text(block)}: expected voxels of shape {box_size(block)}, but "
                f"{fetched.data.shape} came."
            )
        small = np.ascontiguousarray(fetched.data.astype(_smallest(fetched.data), copy=False))
        path.write_bytes(imagecodecs.zstd_encode(small.tobytes(), level=1))
        return {"shape": small.shape, "dtype": small.dtype.str, "missing": fetched.missing}


def _facts(found: Any) -> Facts | None:
    try:
        spacing = None if found["spacing"] is None else tuple(found["spacing"])
        origin, shape = tuple(found["origin"]), tuple(found["shape"])
        return Facts(shape, str(found["dtype"]), spacing, origin, int(found["levels"]))
    except (LookupError, TypeError, ValueError):
        return None


def _load(path: Path, size: Size) -> Fetched | None:
    """What is kept of a block; None where it is not there, or not as it was written."""
    import imagecodecs

    notes = read_checksummed(path.with_suffix(".json"))
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != notes["file"]:
            return None
        said = notes["notes"]
        kind = np.dtype(said["dtype"])
        data = np.frombuffer(imagecodecs.zstd_decode(content), kind).reshape(said["shape"])
    except (OSError, LookupError, TypeError, ValueError):
        return None
    return Fetched(data, bool(said["missing"])) if data.shape == size else None


def _smallest(data: NDArray[Any]) -> np.dtype[Any]:
    if data.dtype.kind not in "iu":
        return data.dtype
    low, high = int(data.min()), int(data.max())
    return np.min_scalar_type(high) if low >= 0 else np.min_scalar_type(min(low, -high - 1))


def _blocks(asked: Box, facts: Facts) -> Iterator[tuple[Size, Box]]:
    """Place in the grid, and box within the volume, of every block that a box touches."""
    whole = [(start, start + n) for start, n in zip(facts.origin, facts.shape, strict=True)]
    ranges = [range(a // n, -(-b // n)) for (a, b), n in zip(asked, BLOCK, strict=True)]
    for z, y, x in product(*ranges):
        spans = ((at * n, (at + 1) * n) for at, n in zip((z, y, x), BLOCK, strict=True))
        first, second, third = spans
        yield (z, y, x), _overlap((first, second, third), (whole[0], whole[1], whole[2]))


def _overlap(one: Box, other: Box) -> Box:
    z, y, x = ((max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))
    return z, y, x


def _slices(part: Box, whole: Box) -> tuple[slice, ...]:
    return tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(part, whole, strict=True))
