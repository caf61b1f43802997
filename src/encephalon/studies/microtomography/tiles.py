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

from encephalon.errors import InputError, OutputError
from encephalon.io.atomic import (
    explained,
    prove_writable,
    refuse_existing,
    swap,
    temporary_beside,
)
from encephalon.io.files import Inputs
from encephalon.io.text import write_records
from encephalon.io.volumes.ome_zarr import Label
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import Box as Cut
from encephalon.io.volumes.volume import Spacing, Volume, box_at, box_slices
from encephalon.io.volumes.writing import Labels, create_ome_zarr
from encephalon.studies.microtomography.benchmark import Benchmark, Channel, LabelMap, Tile
from encephalon.studies.microtomography.labels import class_numbers, ids_of_masks, whole_ids
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
    spacing edges of a voxel, µm
    """

    name: str
    origin: tuple[int, int, int]
    starts: Mapping[tuple[str, str], tuple[tuple[int, int, int], int]]
    spacing: Spacing | None
    image: NDArray[Any]
    structures: Numbers | None
    regions: NDArray[Any] | None

    def place(self, tile: Tile) -> tuple[slice, ...]:
        """Where a tile lies in the arrays; one at the end of a stack may have fewer slices."""
        first, here = self.starts[tile.split, tile.box]
        z, y, x = (start - at for start, at in zip(tile.start, first, strict=True))
        box = zip(box_at((z + here, y, x), tile.size), self.image.shape, strict=True)
        return box_slices((start, min(stop, end)) for (start, stop), end in box)


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
    Nothing is left of what fails, so that it is simply done again; what a server gave is kept.
    Raises InputError naming box and channel for what cannot be read or does not fit, and
    OutputExistsError for a table or box that is there, unless `overwrite`.
    """
    tiles = benchmark.tiles_of()
    stacked = benchmark.tiles.rest == "stack"
    files: dict[str, list[Tile]] = {}
    for tile in tiles:
        files.setdefault(tile.split if stacked else tile.box, []).append(tile)
    for file in (TABLE, *map(_file, files)):
        refuse_existing(folder / file, overwrite)
    _refuse_own_input(benchmark, [folder / _file(name) for name in files], beside)
    rows: dict[str, dict[str, Any]] = {}
    prove_writable(folder)
    with explained(folder), temporary_beside(folder / "boxes", folder=True) as work:
        for done, (name, mine) in enumerate(files.items(), start=1):
            slab = _slab(benchmark, name, stacked, beside, reading)
            _write(benchmark, slab, work)
            rows |= {row["id"]: row for row in _rows(benchmark, slab, mine)}
            if progress is not None:
                progress(done, len(files), name)
        for file in map(_file, files):
            swap(work / file, folder / file)
        table = [rows[tile.id] for tile in tiles]
        write_records(table, folder / TABLE)
    return table


def _refuse_own_input(benchmark: Benchmark, made: Iterable[Path], beside: Path) -> None:
    """Raise OutputError where a box would take the place of the volume that it is cut out of."""
    given = [channel for box in benchmark.boxes.values() for channel in box.channels.values()]
    files = Inputs(
        beside / address
        for channel in (*given, *benchmark.channels.values())
        for address in ([channel] if isinstance(channel, str) else channel.values())
    )
    files.refuse(made, "choose another folder or name the box otherwise")


def _file(name: str) -> str:
    return f"{name}.ome.zarr"


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
    spacings, images, structures, regions = zip(
        *(_read(benchmark, box, cut, beside, reading) for box, cut in whole), strict=True
    )
    arrays: list[Any] = [np.concatenate(images), _joined(structures), _joined(regions)]
    if benchmark.tiles.rest == "pad":
        arrays = _padded(benchmark, arrays)
    return Slab(name, origin, starts, spacings[0], *arrays)


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
) -> tuple[Spacing | None, NDArray[Any], Numbers | None, NDArray[Any] | None]:
    """Spacing, image, structures as numbers of classes, and ids of regions (z, y, x) of a box."""
    opened: list[Volume] = []

    def voxels(name: str, address: str) -> NDArray[Any]:
        try:
            path = address if "://" in address else str(beside / address)
            volume = open_volume(path, **reading)
            opened.append(volume)
            _refuse_another_grid(opened[0], volume)
            if name != "image" and (lost := volume.missing(cut)):
                _log.warning("%s, %s: %d pieces are missing, and count as empty.", box, name, lost)
            found = volume.read(cut, complete=name == "image")
            return found if name == "image" else whole_ids(found, volume.name)
        except (InputError, OutputError) as error:
            raise type(error)(f"The box {box!r}, channel {name!r}: {error}") from error

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
        found = channel(name)
        if isinstance(found, str):
            return voxels(name, found)
        masks = {key: voxels(f"{name}.{key}", address) > 0 for key, address in found.items()}
        return ids_of_masks(masks, labels, box)

    image = voxels("image", str(channel("image")))
    structures = ids("structures", benchmark.structures)
    if structures is not None and benchmark.structures is not None:
        structures = class_numbers(
            structures, benchmark.structures, f"the box {box!r}, 'structures'"
        )
    spacing = _spacing(benchmark, opened[0], box)
    return spacing, image, structures, ids("regions", benchmark.regions)


def _spacing(benchmark: Benchmark, image: Volume, box: str) -> Spacing | None:
    """The edges of a voxel, µm: as the benchmark says, or else the volume."""
    said, found = benchmark.spacing, image.spacing
    if said is not None and found is not None and not np.allclose(said, found, rtol=0.01):
        _log.warning(
            "%s: the benchmark says voxels of %s µm, and is believed, but %s of %s µm (z, y, x).",
            *(box, said, image.name, found),
        )
    return said or found


def _refuse_another_grid(image: Volume, labels: Volume) -> None:
    """Raise InputError where voxels of the same place are not those of the same tissue."""
    known = image.spacing is not None and labels.spacing is not None
    if known and not np.allclose(image.spacing, labels.spacing, rtol=1e-3):  # type: ignore[arg-type]
        kind, theirs, ours = "edges of", labels.spacing, image.spacing
    elif image.origin == labels.origin and image.shape != labels.shape and "://" not in labels.name:
        # On a server a frame says where each lies, however far it reaches.
        kind, theirs, ours = "the shape", labels.shape, image.shape
    else:
        return
    raise InputError(
        f"{labels.name}: its voxels have {kind} {theirs} (z, y, x), but those of the image "
        f"{image.name} {ours}: give labels on the grid of the image."
    )


def _rows(benchmark: Benchmark, slab: Slab, tiles: Sequence[Tile]) -> Iterator[dict[str, Any]]:
    """What the table says of each tile of a slab."""
    file = _file(slab.name)
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
            **{f"size_{a}": each.stop - each.start for a, each in zip("zyx", place, strict=True)},
            "region": _region(benchmark, slab, tile),
            **known,
        }


def _region(benchmark: Benchmark, slab: Slab, tile: Tile) -> str | None:
    """The class of the most frequent id of a tile (the least of several); None if it has none."""
    labels = benchmark.regions
    if labels is None or slab.regions is None:
        return None
    there, counts = np.unique(slab.regions[slab.place(tile)], return_counts=True)
    modal = int(there[np.argmax(counts)])
    if modal not in labels.index:
        raise InputError(
            f"The tile {tile.id!r} lies in the region {modal}, an id that the benchmark does not "
            "know: say in its label map what it means."
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


def _write(benchmark: Benchmark, slab: Slab, folder: Path) -> None:
    labels = {}
    if slab.structures is not None and benchmark.structures is not None:
        values = {n: Label(name) for n, name in enumerate(benchmark.structures.classes)}
        labels["structures"] = Labels(np.uint8, {**values, IGNORED: Label("ignored")})
    with create_ome_zarr(
        folder / _file(slab.name),
        slab.image.shape,
        slab.image.dtype,
        chunks=CHUNK,
        spacing=slab.spacing,
        origin=slab.origin,
        labels=labels,
    ) as writer:
        writer.write(slab.image)
        if slab.structures is not None:
            writer.write(slab.structures, label="structures")
