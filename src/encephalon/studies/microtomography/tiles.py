# SPDX-License-Identifier: Apache-2.0
"""Make a table of tiles: boxes cut out of volumes, with all that is known of each tile.

The folder that is written stands by itself: an OME-Zarr for each box, whose labels name their
classes, and tiles.csv, a row a tile, with where it lies, its part and group, its region, and its
semantic features. Whatever volume a benchmark names, remote or local, trains and tests alike.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError, quoted
from encephalon.io.atomic import make_folder, refuse_existing
from encephalon.io.text import write_records
from encephalon.io.volumes.ome_zarr import Label
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import Box as Cut
from encephalon.io.volumes.writing import Labels, create_ome_zarr
from encephalon.studies.microtomography.benchmark import Benchmark, Channel, LabelMap, Tile
from encephalon.studies.microtomography.semantics import (
    ObjectMap,
    published_features,
    semantic_features,
)

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress

__all__ = ["IGNORED", "TABLE", "write_tiles"]

TABLE = "tiles.csv"
#: The label of voxels that nobody looked at.
IGNORED = 255
#: The id of voxels that several masks claim.
NOWHERE = -1
#: Slices, rows and columns of a chunk of the boxes that are written.
CHUNK = (16, 128, 128)

Numbers = NDArray[np.uint8]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Slab:
    """The slices of one box, or of a stack of boxes, with its labels (z, y, x).

    name    of the file that it is kept in
    origin  absolute position of its first voxel
    starts  of each part and box in it: its first voxel, and the slice here that this lies in
    """

    name: str
    origin: tuple[int, int, int]
    starts: Mapping[tuple[str, str], tuple[tuple[int, int, int], int]]
    image: NDArray[Any]
    structures: Numbers | None
    regions: NDArray[Any] | None

    def place(self, tile: Tile) -> tuple[slice, slice, slice]:
        """Where a tile lies in the arrays; one at the end of a stack may have fewer slices."""
        first, here = self.starts[tile.split, tile.box]
        z, y, x = (start - at for start, at in zip(tile.start, first, strict=True))
        starts = z + here, y, x
        ends = (start + size for start, size in zip(starts, tile.size, strict=True))
        shape = self.image.shape
        one, two, three = (slice(a, min(b, n)) for a, b, n in zip(starts, ends, shape, strict=True))
        return one, two, three


def write_tiles(
    benchmark: Benchmark,
    folder: Path,
    beside: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **reading: Any,
) -> list[dict[str, Any]]:
    """Write the boxes and the table of a benchmark into `folder`; returns the rows of the table.

    Relative paths of the benchmark start from `beside`; `reading` is handed to `open_volume`.
    Raises InputError naming box and channel for what cannot be read or does not fit, and
    OutputExistsError for a table or box that is there, unless `overwrite`.
    """
    refuse_existing(folder / TABLE, overwrite)
    make_folder(folder)
    tiles = benchmark.tiles_of()
    stacked = benchmark.tiles.rest == "stack"
    names = list(dict.fromkeys(tile.split if stacked else tile.box for tile in tiles))
    rows: dict[str, dict[str, Any]] = {}
    for done, name in enumerate(names, start=1):
        mine = [tile for tile in tiles if name == (tile.split if stacked else tile.box)]
        slab = _slab(benchmark, name, stacked, beside, reading)
        _write(benchmark, slab, folder, overwrite)
        rows |= {row["id"]: row for row in _rows(benchmark, slab, mine)}
        if progress is not None:
            progress(done, len(names), name)
    table = [rows[tile.id] for tile in tiles]
    write_records(table, folder / TABLE)
    return table


def _slab(
    benchmark: Benchmark, name: str, stacked: bool, beside: Path, reading: Mapping[str, Any]
) -> Slab:
    """All slices of a box that any part takes or, `stacked`, those of every box of the part."""
    cuts = [
        (split, box, found.ranges)
        for split, box, found in benchmark.slabs()
        if name == (split if stacked else box)
    ]
    if stacked:
        whole = [(box, cut) for _, box, cut in cuts]
        depths = np.cumsum([0, *(z[1] - z[0] for _, (z, _, _) in whole)]).tolist()
        starts = {
            (split, box): (_first(cut), depth)
            for (split, box, cut), depth in zip(cuts, depths, strict=False)
        }
        origin = (0, 0, 0)
    else:
        _, y, x = cuts[0][2]
        z = min(cut[0][0] for *_, cut in cuts), max(cut[0][1] for *_, cut in cuts)
        whole = [(name, (z, y, x))]
        origin = _first((z, y, x))
        starts = {(split, box): (origin, 0) for split, box, _ in cuts}
    images, structures, regions = zip(
        *(_read(benchmark, box, cut, beside, reading) for box, cut in whole), strict=True
    )
    arrays: list[Any] = [np.concatenate(images), _joined(structures), _joined(regions)]
    if benchmark.tiles.rest == "pad":
        arrays = _padded(benchmark, arrays)
    return Slab(name, origin, starts, *arrays)


def _padded(benchmark: Benchmark, arrays: Sequence[Any]) -> list[Any]:
    """Image, structures and regions out to whole tiles: mirrored, ignored, and as at the edge."""
    size = benchmark.tiles.size
    step = benchmark.tiles.step or size
    whole = [
        (0, -(-max(0, n - s) // by) * by + s - n)
        for n, s, by in zip(arrays[0].shape, size, step, strict=True)
    ]
    ways: tuple[dict[str, Any], ...] = (
        {"mode": "symmetric"},
        {"mode": "constant", "constant_values": IGNORED},
        {"mode": "edge"},
    )
    return [
        None if array is None else np.pad(array, whole, **way)
        for array, way in zip(arrays, ways, strict=True)
    ]


def _first(cut: Cut) -> tuple[int, int, int]:
    z, y, x = (start for start, _ in cut)
    return z, y, x


def _joined(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _read(
    benchmark: Benchmark, box: str, cut: Cut, beside: Path, reading: Mapping[str, Any]
) -> tuple[NDArray[Any], Numbers | None, NDArray[Any] | None]:
    """Image, structures as numbers of classes, and ids of regions (z, y, x) of a box."""

    def channel(name: str) -> Channel:
        found = benchmark.channel(name, box)
        if found is None:
            raise InputError(
                f"The benchmark {benchmark.name!r} has no channel {name!r} for the box {box!r}: "
                "give its address in [channels]."
            )
        return found

    def ids(name: str, labels: LabelMap | None) -> NDArray[Any] | None:
        if labels is None or (labels.boxes and box not in labels.boxes):
            return None
        return _ids(channel(name), labels, box, cut, beside, reading)

    image = open_volume(_address(channel("image"), beside), **reading).read(cut)
    structures = ids("structures", benchmark.structures)
    if structures is not None and benchmark.structures is not None:
        structures = _mapped(structures, benchmark.structures, f"the box {box!r}, 'structures'")
    return image, structures, ids("regions", benchmark.regions)


def _ids(
    channel: Channel,
    labels: LabelMap,
    box: str,
    cut: Cut,
    beside: Path,
    reading: Mapping[str, Any],
) -> NDArray[Any]:
    """The ids (z, y, x) of a label channel; of several masks, the first id of each one's class.

    What lies in no mask has the first id of the first class, what lies in two is NOWHERE.
    """
    if isinstance(channel, str):
        return open_volume(_address(channel, beside), **reading).read(cut)
    known = labels.classes
    found: NDArray[Any] | None = None
    twice = np.zeros((), bool)
    for name, address in channel.items():
        if name not in known:
            raise InputError(
                f"The box {box!r} has a mask of {name!r}, but the classes are {quoted(known)}: "
                "name one of them."
            )
        mask = open_volume(_address(address, beside), **reading).read(cut) > 0
        found = np.full(mask.shape, NOWHERE, np.int64) if found is None else found
        twice = twice | (mask & (found != NOWHERE))
        found[mask] = known[name][0]
    if found is None:
        raise InputError(f"The box {box!r} names no mask: give one for each class.")
    rest = next(iter(known.values()))[0]
    found = np.where(found == NOWHERE, rest, found)
    if twice.any():
        count = int(twice.sum())
        _log.warning("%s: %d voxels lie in two masks and are not learnt or scored.", box, count)
        found[twice] = NOWHERE
    return found


def _address(address: Channel, beside: Path) -> str:
    """An address, a path of which starts from the folder `beside`."""
    text = str(address)
    return text if "://" in text else str(beside / text)


def _mapped(ids: NDArray[Any], labels: LabelMap, where: str) -> Numbers:
    """The number of the class of each voxel; raises InputError for ids that mean nothing."""
    known = labels.index | {NOWHERE: -1}
    there, places = np.unique(ids, return_inverse=True)
    strange = [int(one) for one in there if int(one) not in known]
    if strange:
        count = int(np.isin(ids, strange).sum())
        raise InputError(
            f"The labels of {where} have {count:,} voxels of the ids {quoted(map(str, strange))}, "
            "which the benchmark does not know: say in its label map what they mean."
        )
    numbers = np.array([known[int(one)] % 256 for one in there], np.uint8)
    return numbers[places].reshape(ids.shape)


def _rows(benchmark: Benchmark, slab: Slab, tiles: Sequence[Tile]) -> Iterator[dict[str, Any]]:
    """What the table says of each tile of a slab."""
    file = f"{slab.name}.ome.zarr"
    features = list(_features(benchmark, slab, tiles))
    for tile, known in zip(tiles, features, strict=True):
        place = slab.place(tile)
        yield {
            "id": tile.id,
            "image": file,
            "structures": None if slab.structures is None else f"{file}/labels/structures",
            "split": tile.split,
            "group": tile.group,
            "box": tile.box,
            **dict(zip("zyx", tile.start, strict=True)),
            **{f"first_{axis}": each.start for axis, each in zip("zyx", place, strict=True)},
            **{
                f"size_{axis}": each.stop - each.start
                for axis, each in zip("zyx", place, strict=True)
            },
            "region": None if slab.regions is None else _region(benchmark, slab.regions[place]),
            **known,
        }


def _region(benchmark: Benchmark, ids: NDArray[Any]) -> str | None:
    """The class of the most frequent id of a tile (the least of several); None if it has none."""
    labels = benchmark.regions
    if labels is None:
        return None
    there, counts = np.unique(ids, return_counts=True)
    modal = int(there[np.argmax(counts)])
    if modal not in labels.index:
        raise InputError(
            f"The regions of the benchmark {benchmark.name!r} have the id {modal}, which its label "
            "map does not know: say what it means."
        )
    number = labels.index[modal]
    return list(labels.classes)[number] if number >= 0 else None


def _features(
    benchmark: Benchmark, slab: Slab, tiles: Sequence[Tile]
) -> Iterator[dict[str, float | None]]:
    """The semantic features of each tile, None where undefined; nothing without structures."""
    labels = benchmark.structures
    if slab.structures is None or labels is None:
        yield from ({} for _ in tiles)
        return
    objects = ObjectMap.of(slab.structures, list(labels.classes), labels.counted)
    places = [slab.place(tile) for tile in tiles]
    if benchmark.mode == "published":
        found: Iterable[dict[str, float]] = published_features(objects, places)
    else:
        found = (semantic_features(objects, place) for place in places)
    for each in found:
        yield {name: None if np.isnan(value) else value for name, value in each.items()}


def _write(benchmark: Benchmark, slab: Slab, folder: Path, overwrite: bool) -> None:
    labels = {}
    if slab.structures is not None and benchmark.structures is not None:
        values = {n: Label(name) for n, name in enumerate(benchmark.structures.classes)}
        labels["structures"] = Labels(np.uint8, {**values, IGNORED: Label("ignored")})
    with create_ome_zarr(
        folder / f"{slab.name}.ome.zarr",
        slab.image.shape,
        slab.image.dtype,
        chunks=CHUNK,
        spacing=benchmark.spacing,
        origin=slab.origin,
        labels=labels,
        overwrite=overwrite,
    ) as writer:
        writer.write(slab.image)
        if slab.structures is not None:
            writer.write(slab.structures, label="structures")
