# SPDX-License-Identifier: Apache-2.0
"""Label a volume larger than memory, block by block: in a loop, or on Dask, here or elsewhere.

Tiles lie on one grid that begins at the first voxel of the volume, whatever the blocks and the
workers: what is said of a voxel depends on the volume and the grid alone. Every block that is done
is noted, so that a run that was killed goes on with the others.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, InputError, OutputExistsError, UsageError
from encephalon.inference.tiles import Tile
from encephalon.inference.workers import Workers, in_workers
from encephalon.io.atomic import locked, make_folder, write_json
from encephalon.io.text import read_json
from encephalon.io.volumes.volume import Box, Size, box_text
from encephalon.io.volumes.writing import OmeZarrWriter

__all__ = ["Labeller", "TileGrid", "digest", "label_blocks", "largest", "read_box"]

Data = NDArray[Any]
Float = NDArray[np.float32]
Numbers = NDArray[np.uint8]
Labeller = Callable[[Box], tuple[str, Callable[[], Numbers]]]
"""Reads what the labels of a box of the output, counted from its first voxel, depend on; gives the
digest of that, and what makes the labels (z, y, x) of it."""

_OPENED = threading.local()


@dataclass(frozen=True)
class TileGrid:
    """Tiles side by side, each shown to a network with a margin, along z, y, x.

    shape     voxels of the volume
    tile      voxels whose labels a tile decides
    halo      voxels around them that the network sees as well
    multiple  the stride of the network, of which tile and halo are multiples
    blend     whether tiles fade into each other over the halo, by a squared sine that sums to 1

    A network that reaches no further than the halo says of each voxel what it says of it on the
    whole volume, padded to a multiple of its stride; blending then changes nothing, but that the
    edge of a tile, where the network misses its surroundings, has a say. Of a network that reaches
    further (a deep one, or one that averages over what it sees) it is what it says of the tile.
    """

    shape: Size
    tile: Size
    halo: Size = (0, 0, 0)
    multiple: Size = (1, 1, 1)
    blend: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for tiles that do not fit the network, or fade into three at once."""
        for tile, halo, step in zip(self.tile, self.halo, self.multiple, strict=True):
            if tile < 1 or tile % step or halo < 0 or halo % step:
                raise UsageError(
                    f"A tile of {tile} voxels and its halo of {halo} must be multiples of {step}."
                )
            if self.blend and 2 * halo > tile:
                raise UsageError(
                    f"To blend, the halo must be at most half of a tile of {tile} voxels, but it "
                    f"is {halo}."
                )

    def tiles(self, box: Box) -> Iterator[tuple[Tile, Float]]:
        """The tiles that have a say in `box`, in C order, with their weight (z, y, x) there.

        What each is to `read` has one size, and may reach past the end of the volume.
        """
        axes = [self._axis(axis, *span) for axis, span in enumerate(box)]
        for parts in product(*axes):
            reads, writes, weights = zip(*parts, strict=True)
            z, y, x = weights
            yield Tile(reads, writes), z[:, None, None] * y[:, None] * x

    def _axis(self, axis: int, start: int, stop: int) -> list[tuple[slice, slice, Float]]:
        tile, halo, step = self.tile[axis], self.halo[axis], self.multiple[axis]
        padded = -(-self.shape[axis] // step) * step
        seen = min(tile + 2 * halo, padded)
        fade = halo if self.blend else 0
        last = (self.shape[axis] - 1) // tile
        found = []
        for n in range(max(0, (start - fade) // tile), min(last, (stop - 1 + fade) // tile) + 1):
            # At the border it is moved inwards: more context, and never a smaller tile.
            at = min(max(0, n * tile - halo), padded - seen)
            low, high = max(start, n * tile - fade), min(stop, (n + 1) * tile + fade)
            places = np.arange(low, high) + 0.5
            rise = _risen(places - n * tile, fade) if n else 1.0
            fall = _risen((n + 1) * tile - places, fade) if n < last else 1.0
            weight = np.ones(len(places), np.float32) * rise * fall
            found.append((slice(at, at + seen), slice(low, high), weight.astype(np.float32)))
        return found


def _risen(distance: NDArray[np.floating[Any]], fade: int) -> NDArray[np.float64] | float:
    """How much a tile weighs at a signed distance inside its edge."""
    if not fade:
        return 1.0
    risen: NDArray[np.float64] = np.sin(np.pi / 4 * (1 + np.clip(distance / fade, -1, 1))) ** 2
    return risen


def largest(classes: Float) -> Numbers:
    """The number of the largest of the classes (C, z, y, x) at each voxel."""
    return np.asarray(classes.argmax(axis=0), np.uint8)


def read_box(
    read: Callable[[Box], Data],
    prepare: Callable[[Data], Float],
    predict: Callable[[Float], Data],
    grid: TileGrid,
    box: Box,
    decide: Callable[[Float], Numbers] = largest,
) -> tuple[str, Callable[[], Numbers]]:
    """The digest of what `box`, counted from the first voxel, depends on, and what labels it.

    The latter gives the number of the class of each voxel (z, y, x), or what else `decide` makes of
    the classes. `read` gives the voxels of a box, `prepare` what the network sees of them, and
    `predict` the classes (C, z, y, x) of one tile (z, y, x). Beyond the end its last voxels repeat.
    Memory holds the box with its margin as it is read, and one tile; where tiles are blended, its
    classes too.
    """
    tiles = list(grid.tiles(box))
    spans = [[each.read[axis] for each, _ in tiles] for axis in range(3)]
    z, y, x = (
        (min(one.start for one in span), min(n, max(one.stop for one in span)))
        for span, n in zip(spans, grid.shape, strict=True)
    )
    voxels = read((z, y, x))
    return digest(voxels), partial(
        _labels, voxels, (z, y, x), tiles, prepare, predict, grid, box, decide
    )


def digest(voxels: Data) -> str:
    """A few digits that tell these voxels from others."""
    return hashlib.sha256(np.ascontiguousarray(voxels).data).hexdigest()[:16]


def _labels(
    voxels: Data,
    where: Box,
    tiles: Sequence[tuple[Tile, Float]],
    prepare: Callable[[Data], Float],
    predict: Callable[[Float], Data],
    grid: TileGrid,
    box: Box,
    decide: Callable[[Float], Numbers],
) -> Numbers:
    size = [stop - start for start, stop in box]
    labels = np.zeros(size, np.uint8)
    sums: Float | None = None
    for tile, weight in tiles:
        inside = voxels[_moved(tile.read, where)]
        sizes = (one.stop - one.start for one in tile.read)
        beyond = [(0, size - n) for size, n in zip(sizes, inside.shape, strict=True)]
        seen = np.pad(prepare(inside), beyond, mode="edge")
        found = predict(seen)[(slice(None), *tile.kept)]
        here = _moved(tile.write, box)
        if not grid.blend:
            labels[here] = decide(found)
            continue
        if sums is None:
            sums = np.zeros((len(found), *size), np.float32)
        sums[(slice(None), *here)] += weight * found
    return labels if sums is None else decide(sums)


def _moved(place: Sequence[slice], box: Box) -> tuple[slice, ...]:
    return tuple(
        slice(one.start - at, one.stop - at) for one, (at, _) in zip(place, box, strict=True)
    )


@dataclass(frozen=True)
class _Job:
    """What a worker must know: how to open its labeller, where to write, and the blocks."""

    key: str
    start: Callable[[], Labeller]
    writer: OmeZarrWriter
    ledger: Path
    shape: Size
    block: Size
    origin: Size
    classes: int

    @property
    def counts(self) -> Size:
        """Blocks along z, y, x."""
        z, y, x = (-(-n // b) for n, b in zip(self.shape, self.block, strict=True))
        return z, y, x

    def box(self, number: int) -> Box:
        """That block, in C order."""
        place = np.unravel_index(number, self.counts)
        z, y, x = (
            (int(at) * b, min((int(at) + 1) * b, n))
            for at, b, n in zip(place, self.block, self.shape, strict=True)
        )
        return z, y, x

    def note(self, number: int) -> Path:
        """The file that says that a block is done, and how often each class is in it."""
        return self.ledger / f"{number}.json"

    def labeller(self) -> Labeller:
        """That of this thread; it stays open for the next block."""
        name = f"{self.key} {self.ledger}"
        if getattr(_OPENED, "name", None) != name:
            _OPENED.labeller, _OPENED.name = self.start(), name
        found: Labeller = _OPENED.labeller
        return found


def label_blocks(
    start: Callable[[], Labeller],
    writer: OmeZarrWriter,
    folder: Path,
    key: str,
    *,
    shape: Size,
    block: Size,
    classes: int,
    origin: Size = (0, 0, 0),
    workers: Workers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[int]:
    """Label every block that is not done; returns how many voxels each class has in all.

    start      gives the labeller; called once in each thread of each process that works
    writer     what is written to: whole chunks lie in a `block`, which nobody else writes to
    folder     where is noted what is done; another `key` than it was begun with is refused
    shape      of the output; `origin` is the absolute position of its first voxel
    workers    who does it, this process by default; jobs of this machine are threads

    A block counts once its voxels are written and its note has its name: whatever is killed
    continues with the rest. It is read again, and done again if what it depends on has changed. A
    block that cannot be read does not hold up the others.

    Raises OutputExistsError for what another key began, ContentError naming the first box that
    failed when all others are done, and MissingExtraError where Dask is needed and not installed.
    """
    job = _Job(key, start, writer, folder / "done", shape, block, origin, classes)
    total = math.prod(job.counts)
    done = in_workers(partial(_do, job), range(total), workers or Workers())
    make_folder(job.ledger)
    with locked(folder / "run", timeout=0):
        _refuse_another(folder / "begun.json", {"key": key, "shape": shape, "block": block})
        faults = []
        for count, fault in enumerate(done, 1):
            faults += [fault] if fault else []
            if progress is not None:
                progress(count, total)
    _OPENED.__dict__.clear()
    if faults:
        raise ContentError(
            f"{len(faults)} of {total} blocks could not be done, and the same command goes on with "
            f"them once this is mended: {faults[0]}"
        )
    noted = [read_json(job.note(number))["voxels"] for number in range(total)]
    return [int(n) for n in np.sum(noted, axis=0)]


def _refuse_another(file: Path, about: Mapping[str, Any]) -> None:
    if not file.exists():
        write_json(file, about)
        return
    then = read_json(file)
    if any(then.get(name) != (list(v) if isinstance(v, tuple) else v) for name, v in about.items()):
        raise OutputExistsError(
            f"{file.parent}: it was begun with another model, volume, option or block, and is not "
            "continued: delete it, or choose another folder."
        )


def _do(job: _Job, number: int) -> str:
    box = job.box(number)
    try:
        content, label = job.labeller()(box)
        note = job.note(number)
        if note.exists() and read_json(note)["content"] == content:
            return ""
        labels = label()
    except InputError as error:
        return str(error)
    except Exception as error:
        error.add_note(f"while labelling the block {box_text(box)}")
        raise
    z, y, x = ((a + n, b + n) for (a, b), n in zip(box, job.origin, strict=True))
    job.writer.write(labels, (z, y, x))
    counts = np.bincount(labels.ravel(), minlength=job.classes)
    write_json(note, {"content": content, "voxels": counts.tolist()})
    return ""
