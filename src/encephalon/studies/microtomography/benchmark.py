# SPDX-License-Identifier: Apache-2.0
"""A benchmark as plain data: channels, boxes, splits, tiles, and what label ids mean.

A benchmark is a TOML file; the published ones ship (`list_benchmarks`). Boxes are half-open, in
voxels of the volume, and every size and position is in the order z, y, x. A file may begin with
`extends = NAME`, and then says only what differs. Nothing is evaluated, unknown keys are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from encephalon.errors import RecipeError, did_you_mean
from encephalon.io.files import exists
from encephalon.recipes.loading import find_named, read_named
from encephalon.recipes.schema import Mode, Section
from encephalon.recipes.validation import make_settings
from encephalon.tables.schema import SPLITS

__all__ = [
    "Benchmark",
    "Box",
    "LabelMap",
    "Tile",
    "find_benchmark",
    "list_benchmarks",
    "load_benchmark",
]

SHIPPED = Path(__file__).parent / "benchmarks"

Range = tuple[int, int]
Size = tuple[int, int, int]
#: The address of a channel or, of labels, that of the mask of each class.
Channel = str | dict[str, str]
#: Micrometres.
Edge = Annotated[float, Field(gt=0)]
#: One at least, or a class could never come up.
Ids = Annotated[tuple[int, ...], Field(min_length=1)]
#: Of a box: what can be the name of a file on any system.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Box(Section):
    """A named cut-out of a volume, half-open, in voxels; `channels` are files of its own."""

    z: Range
    y: Range
    x: Range
    channels: dict[str, Channel] = Field(default_factory=dict)

    @field_validator("z", "y", "x")
    @classmethod
    def _filled(cls, ends: Range) -> Range:
        if not 0 <= ends[0] < ends[1]:
            raise ValueError("should be a first voxel, from 0, and the one after the last")
        return ends

    @property
    def ranges(self) -> tuple[Range, Range, Range]:
        """First voxel, and the one after the last, of each axis."""
        return self.z, self.y, self.x


class Part(Section):
    """Boxes of one part of a split, all of them by default, and how much of each along z."""

    boxes: tuple[str, ...] = ()
    z: Range | None = None


class Splits(Section):
    """The parts of a split, and how many voxels along z must lie between two parts of one box."""

    train: tuple[Part, ...] = ()
    validation: tuple[Part, ...] = ()
    test: tuple[Part, ...] = ()
    gap: int = Field(default=0, ge=0)


class Tiling(Section):
    """How boxes are cut: size and step of a tile, and what becomes of a rest at the far end.

    "drop" leaves the rest out, "overlap" moves the last tile back until it fits, "pad" lets it
    reach past the end, where it is filled, "clip" ends it with the box, or its part of the box.
    With "stack" the boxes of a part are one stack along z: a tile goes on in the next box, and the
    last one has fewer slices, as in the original code (MTNeuro `bossdbdataset.py`).

    Slices are no independent samples: `block` of them (about the width of a cell) are one group.
    """

    size: Size = (1, 256, 256)
    step: Size | None = None
    rest: Literal["drop", "overlap", "pad", "clip", "stack"] = "drop"
    block: int = Field(default=10, ge=1)

    @field_validator("size", "step")
    @classmethod
    def _positive(cls, size: Size | None) -> Size | None:
        if size is not None and min(size) < 1:
            raise ValueError("should be three numbers of voxels, z, y and x, each 1 or more")
        return size


class LabelMap(Section):
    """What the ids of a label channel mean: the classes in order, and the ids of each.

    unlabelled  ids that mean that nobody looked: of a tile's most frequent id, that it has no
                class; of a voxel, that it is neither learnt nor scored
    boxes       the boxes that have such labels; all by default
    objects     the class of voxels whose pieces are counted and measured: "cell", where there is
                such a class, by default
    """

    # Numbers of classes are bytes, of which 255 means that nobody looked.
    classes: dict[str, Ids] = Field(min_length=2, max_length=255)
    unlabelled: tuple[int, ...] = ()
    boxes: tuple[str, ...] = ()
    objects: str | None = None

    @property
    def counted(self) -> str:
        """The class whose pieces are counted; "" for none."""
        default = "cell" if "cell" in self.classes else ""
        return default if self.objects is None else self.objects

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen: dict[int, str] = dict.fromkeys(self.unlabelled, "unlabelled")
        for name, ids in self.classes.items():
            for one in ids:
                if seen.setdefault(one, name) != name:
                    raise ValueError(f"gives the id {one} to both {seen[one]!r} and {name!r}")
        return self

    @property
    def index(self) -> dict[int, int]:
        """The number of the class of each id; -1 for those that nobody looked at."""
        known = {one: n for n, ids in enumerate(self.classes.values()) for one in ids}
        return known | dict.fromkeys(self.unlabelled, -1)


@dataclass(frozen=True)
class Tile:
    """One sample: where it lies in which box, and the part that it belongs to.

    start, size  voxels, z, y, x; a tile may reach past its box, see `Tiling`
    group        what no split may part: neighbouring slices of one part of one box
    """

    box: str
    split: str
    start: Size
    size: Size
    group: str

    @property
    def id(self) -> str:
        """Its box and first voxel, as a name."""
        z, y, x = self.start
        return f"{self.box}-z{z:04d}-y{y:04d}-x{x:04d}"


class Benchmark(Section):
    """A whole benchmark; make it with `load_benchmark`.

    mode                 "published" for the published rules, with the defects of MTNeuro.
    spacing              Edges of a voxel, micrometres; as the volume of an image says by default.
    channels             Addresses by name: "image", and "regions" and "structures" where there are
                         such labels. Paths are relative to the file. Several masks make one
                         channel: {"axon": "a.png", ...}.
    regions, structures  What the ids of the two label channels mean.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str = ""
    description: str = ""
    citation: str = ""
    licence: str = ""
    mode: Mode = "default"
    spacing: tuple[Edge, Edge, Edge] | None = None
    channels: dict[str, Channel] = Field(default_factory=dict)
    boxes: dict[Name, Box] = Field(min_length=1)
    splits: Splits
    tiles: Tiling = Tiling()
    regions: LabelMap | None = None
    structures: LabelMap | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        asked_parts = list(self._parts())
        asked = [name for _, part in asked_parts for name in part.boxes]
        for labels in (self.regions, self.structures):
            asked += labels.boxes if labels else ()
        for name in asked:
            if name not in self.boxes:
                raise ValueError(f"has no box {name!r}; {did_you_mean(name, self.boxes, 'it has')}")
        if not asked_parts:
            raise ValueError("has no part in [splits]: say which slices train, validate and test")
        self._refuse_straddling()
        return self

    def slabs(self) -> list[tuple[str, str, Box]]:
        """Part, box and its cut-out for every box of every part, in the order of the file."""
        found = []
        for split, part in self._parts():
            for name in part.boxes or self.boxes:
                box = self.boxes[name]
                if part.z is not None:
                    first, stop = part.z
                    if not box.z[0] <= first < stop <= box.z[1]:
                        raise ValueError(
                            f"takes slices {first} to {stop} of the box {name!r} for {split}, but "
                            f"it has {box.z[0]} to {box.z[1]}"
                        )
                    box = box.model_copy(update={"z": part.z})
                found.append((split, name, box))
        return found

    def tiles_of(self) -> list[Tile]:
        """Every tile of every part: boxes in order, in each along z, then y, then x.

        Raises RecipeError for a part of a box without any, and for one that others would pad.
        """
        size, rest = self.tiles.size, self.tiles.rest
        step = self.tiles.step or size
        found = []
        for split, name, box in self.slabs():
            starts = [
                list(_starts(ends, n, by, rest))
                for ends, n, by in zip(box.ranges, size, step, strict=True)
            ]
            if not all(starts):
                shape = [stop - first for first, stop in box.ranges]
                raise RecipeError(
                    f"The benchmark {self.name!r}: no tile of {list(size)} voxels fits into the "
                    f"box {name!r}, of which {split} has {shape}: cut smaller tiles, or let "
                    'tiles.rest be "pad" or "clip".'
                )
            behind = max(its_box.z[1] for _, its, its_box in self.slabs() if its == name)
            if rest == "pad" and starts[0][-1] + size[0] > box.z[1] < behind:
                raise RecipeError(
                    f"The benchmark {self.name!r}: the last tile of the box {name!r} in {split} "
                    f"would be filled with slices from {box.z[1]} on, which are of another part: "
                    f'let the part end where a tile of {size[0]} does, or tiles.rest be "clip".'
                )
            for z, y, x in product(*starts):
                block = (z - box.z[0]) // self.tiles.block * self.tiles.block + box.z[0]
                start, group = (z, y, x), f"{name}-z{block:04d}"
                found.append(Tile(name, split, start, self._cut(box, start), group))
        return found

    def channel(self, name: str, box: str) -> Channel | None:
        """The address of a channel in a box; None where it has none."""
        return self.boxes[box].channels.get(name, self.channels.get(name))

    def _cut(self, box: Box, start: Size) -> Size:
        """The size of a tile, which "clip" ends with its part of the box."""
        if self.tiles.rest != "clip":
            return self.tiles.size
        ends = zip(self.tiles.size, start, box.ranges, strict=True)
        z, y, x = (min(n, stop - at) for n, at, (_, stop) in ends)
        return z, y, x

    def _parts(self) -> Iterator[tuple[str, Part]]:
        for split in SPLITS:
            for part in getattr(self.splits, split):
                yield split, part

    def _refuse_straddling(self) -> None:
        """Two parts of the split may not share voxels, nor lie nearer along z than the gap.

        Nor may one part take the same slices of a box twice.
        """
        for (one, name, box), (other, its_name, its_box) in combinations(self.slabs(), 2):
            if not _meet(box.y, its_box.y) or not _meet(box.x, its_box.x):
                continue
            if one == other and name != its_name:
                continue
            if box.channels != its_box.channels:
                continue  # pictures of their own
            between = max(box.z[0] - its_box.z[1], its_box.z[0] - box.z[1])
            gap = self.splits.gap if one != other else 0
            if between < gap:
                how = f"only {between} slices apart" if between >= 0 else "not disjoint"
                raise ValueError(
                    f"has {name!r} z {box.z[0]} to {box.z[1]} in {one} and {its_name!r} z "
                    f"{its_box.z[0]} to {its_box.z[1]} in {other}, which are {how}: "
                    + (f"{gap} slices must lie between them" if one != other else "name each once")
                )


def load_benchmark(name_or_path: str | Path) -> Benchmark:
    """The checked benchmark of a shipped name or of a file.

    Raises RecipeError, with the nearest name or key, for what is neither, or is not in order.
    """
    path = find_benchmark(str(name_or_path))
    return make_settings(Benchmark, _data(path, ()), str(path), "")


def list_benchmarks() -> list[str]:
    """The names of the benchmarks that ship."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def find_benchmark(text: str) -> Path:
    """The file of a shipped name or of a path; RecipeError, with the nearest name, for neither."""
    return find_named(text, SHIPPED.glob("*.toml"), "benchmark")


def _data(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """What a file says, and below that what the one says that it extends."""
    if path in seen:
        raise RecipeError(f"{path}: it extends itself, by way of {len(seen)} files.")
    data = read_named(path, "benchmark")[1]
    parent = data.pop("extends", None)
    if parent is None:
        return data
    beside = path.parent / f"{parent}.toml"
    return _merged(
        _data(beside if exists(beside) else find_benchmark(str(parent)), (*seen, path)), data
    )


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        # Classes, and what a box says, are replaced as a whole: their order is their meaning.
        found[key] = _merged(found[key], value) if both and key != "classes" else value
    return found


def _starts(ends: Range, size: int, step: int, rest: str) -> Iterator[int]:
    """Where tiles begin along one axis."""
    first, stop = ends
    for start in range(first, stop, step):
        if start + size <= stop:
            yield start
        elif rest == "overlap" and stop - size >= first:
            yield stop - size
            return
        elif rest in {"pad", "clip", "stack"}:
            yield start
        else:
            return


def _meet(one: Range, other: Range) -> bool:
    return one[0] < other[1] and other[0] < one[1]
