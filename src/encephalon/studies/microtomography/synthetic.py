# SPDX-License-Identifier: Apache-2.0
"""A labelled volume whose answer is known, with the proportions that were measured on real ones.

Four regions lie side by side along x, in cubes one below the other along y: the first cube is what
the benchmark learns from, the others differ in contrast as other parts of a scan do. Vessels are
winding tubes, cells are irregular blobs, axons are bundles of fibres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from encephalon.io.atomic import refuse_existing, write_text
from encephalon.io.files import expanded
from encephalon.io.volumes.ome_zarr import Label
from encephalon.io.volumes.writing import Labels, create_ome_zarr

__all__ = ["REGIONS", "STRUCTURES", "Region", "SyntheticVolume", "make_volume", "write_volume"]

Field = NDArray[np.float32]
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Region:
    """A region: its name, its ids in the label channel, and percent of vessel, cell and axon.

    grain  how fine the texture of its tissue is, voxels
    """

    name: str
    ids: tuple[int, ...]
    vessel: float
    cell: float
    axon: float
    grain: float


#: Edges of a voxel, micrometres, as of the published volume.
SPACING = (1.17, 1.17, 1.17)

#: Percent of the voxels, measured on the published masks (nerdslab/xray-thc); the grain of
#: the tissue is ours. Ids as in the published channel.
REGIONS = (
    Region("cortex", (1,), 1.7, 2.6, 0.0, 2.0),
    Region("striatum", (2,), 1.9, 3.3, 17.3, 2.6),
    Region("thalamus", (4,), 3.1, 2.5, 57.1, 1.6),
    Region("zona-incerta", (5,), 5.9, 5.5, 0.0, 3.2),
)
STRUCTURES = ("background", "vessel", "cell", "axon")

#: Radius of a vessel and volume of a cell, voxels, from median areas of 14 to 17 and 28 to 62 px
#: in a slice of the same masks.
VESSEL_RADIUS, CELL_VOLUME = 2.2, 290.0
#: Grey levels of background, vessel, cell and axon, and of noise: the mean and the standard
#: deviation of all come near the published 0.489 and 0.124 of the range.
LEVELS, NOISE, TEXTURE = (112.0, 50.0, 165.0, 158.0), 9.0, 14.0
#: The share of the slices, at the far end, that nobody annotated with regions: in the published
#: channel these are z 460 to 470.
UNLABELLED = 0.03


@dataclass(frozen=True, eq=False)
class SyntheticVolume:
    """Image, regions and structures (z, y, x), all uint8, and the boxes by their names.

    boxes  first voxel and size (z, y, x) of each: "cortex", "cortex-2" and so on
    """

    image: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    structures: NDArray[np.uint8]
    boxes: dict[str, tuple[Size, Size]]


def make_volume(seed: int, depth: int, side: int, cubes: int = 2) -> SyntheticVolume:
    """The same volume for the same seed: `cubes` cubes of each region, (depth, side, side) each."""
    shape = (depth, side * cubes, side * len(REGIONS))
    image, regions, structures = (np.zeros(shape, np.uint8) for _ in range(3))
    volume = SyntheticVolume(image, regions, structures, {})
    for row in range(cubes):
        for column, region in enumerate(REGIONS):
            rng = np.random.default_rng([seed, row, column])
            start = (0, row * side, column * side)
            place = np.s_[:, start[1] : start[1] + side, start[2] : start[2] + side]
            structures[place] = _structures(rng, region, (depth, side, side))
            image[place] = _image(rng, region, structures[place], domain=row > 0)
            regions[place] = rng.choice(region.ids)
            name = region.name + (f"-{row + 1}" if row else "")
            volume.boxes[name] = (start, (depth, side, side))
    regions[depth - round(depth * UNLABELLED) :] = 0
    return volume


def _structures(rng: np.random.Generator, region: Region, shape: Size) -> NDArray[np.uint8]:
    """The number of the class of each voxel, in exactly the proportions of the region."""
    labels = np.zeros(shape, np.uint8)
    closeness = (
        (1, region.vessel, -_distance(_curves(rng, region.vessel, shape))),
        (
            2,
            region.cell,
            -_distance(_points(rng, region.cell, shape)) - 0.8 * _smooth(rng, shape, 2),
        ),
        (3, region.axon, _fibres(rng, shape)),
    )
    for number, percent, near in closeness:
        count = round(labels.size * percent / 100)
        free = np.flatnonzero(labels == 0)
        if count:
            nearest = np.argpartition(near.ravel()[free], -count)[-count:]
            labels.ravel()[free[nearest]] = number
    return labels


def _curves(rng: np.random.Generator, percent: float, shape: Size) -> NDArray[np.bool_]:
    """The middle lines of tubes that would fill `percent` of the box."""
    lines = np.zeros(shape, bool)
    length = percent / 100 * lines.size / (np.pi * VESSEL_RADIUS**2)
    size, drawn = np.array(shape), 0.0
    while drawn < length:
        steps = int(min(max(shape), length - drawn)) + 1
        bends = np.cumsum(rng.normal(0, 0.15, (steps, 3)), axis=0)
        courses = bends + rng.normal(size=3)
        courses /= np.linalg.norm(courses, axis=1, keepdims=True)
        path = rng.uniform(0, size) + np.cumsum(courses, axis=0)
        inside = path[((path >= 0) & (path < size)).all(axis=1)].astype(int)
        lines[tuple(inside.T)] = True
        drawn += max(1, len(inside))
    return lines


def _points(rng: np.random.Generator, percent: float, shape: Size) -> NDArray[np.bool_]:
    """The centres of cells that would fill `percent` of the box."""
    centres = np.zeros(shape, bool)
    count = max(1, round(percent / 100 * centres.size / CELL_VOLUME))
    centres.ravel()[rng.choice(centres.size, count, replace=False)] = True
    return centres


def _fibres(rng: np.random.Generator, shape: Size) -> Field:
    """Bundles of fibres: a fine pattern that is drawn out along one axis, inside broad patches."""
    along = int(rng.integers(3))
    fine = ndimage.gaussian_filter(
        rng.standard_normal(shape, np.float32), [6.0 if axis == along else 1.0 for axis in range(3)]
    )
    return _standardised(fine) + 1.5 * _smooth(rng, shape, 8)


def _image(
    rng: np.random.Generator, region: Region, structures: NDArray[np.uint8], domain: bool
) -> NDArray[np.uint8]:
    """The grey levels of the structures, with the tissue's texture, blur and noise."""
    levels = np.array(LEVELS, np.float32)
    if domain:  # another part of the scan: other contrast and brightness
        levels = (levels - 110) * rng.uniform(0.8, 1.2) + 110 + rng.uniform(-10, 10)
    blurred = ndimage.gaussian_filter(levels[structures], 0.7)
    tissue = TEXTURE * _smooth(rng, structures.shape, region.grain) * (structures == 0)
    noisy = blurred + tissue + NOISE * rng.standard_normal(structures.shape, np.float32)
    grey: NDArray[np.uint8] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return grey


def _smooth(rng: np.random.Generator, shape: Sequence[int], sigma: float) -> Field:
    return _standardised(ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), sigma))


def _standardised(field: Field) -> Field:
    standardised: Field = (field - field.mean()) / field.std()
    return standardised


def _distance(there: NDArray[np.bool_]) -> Field:
    """How far each voxel is from the nearest that is there; infinite where none is."""
    if not there.any():
        return np.full(there.shape, np.inf, np.float32)
    distance: Field = ndimage.distance_transform_edt(~there).astype(np.float32)
    return distance


def write_volume(
    folder: Path, depth: int, side: int, tile: int, cubes: int, seed: int, overwrite: bool = False
) -> Path:
    """Write volume.ome.zarr, with labels, and benchmark.toml into a folder; returns the latter.

    The benchmark trains on the first slices of the first cubes, and tests on its last ones and on
    the other cubes. Raises OutputExistsError for files that are there, unless `overwrite`.
    """
    folder = expanded(folder)
    for name in ("volume.ome.zarr", "benchmark.toml"):
        refuse_existing(folder / name, overwrite)
    made = make_volume(seed, depth, side, cubes)
    regions = {number: region.name for region in REGIONS for number in region.ids}
    names = {"structures": dict(enumerate(STRUCTURES)), "regions": regions}
    with create_ome_zarr(
        folder / "volume.ome.zarr",
        made.image.shape,
        np.uint8,
        spacing=SPACING,
        labels={
            name: Labels(np.uint8, {number: Label(each) for number, each in values.items()})
            for name, values in names.items()
        },
        overwrite=overwrite,
    ) as writer:
        writer.write(made.image)
        writer.write(made.structures, label="structures")
        writer.write(made.regions, label="regions")
    return write_text(folder / "benchmark.toml", _benchmark(made, depth, tile, seed))


def _benchmark(made: SyntheticVolume, depth: int, tile: int, seed: int) -> str:
    """The benchmark of a synthetic volume, as TOML."""
    import tomlkit

    gap = min(10, depth // 16)
    train, validation = round(depth * 0.5), round(depth * 0.72)
    first = [region.name for region in REGIONS]
    others = [name for name in made.boxes if name not in first]
    test = [{"boxes": first, "z": [validation + gap, depth]}]
    if others:
        test.append({"boxes": others})
    boxes = {
        name: {axis: [a, a + n] for axis, a, n in zip("zyx", start, size, strict=True)}
        for name, (start, size) in made.boxes.items()
    }
    channels = {"image": "volume.ome.zarr"}
    channels |= {name: f"volume.ome.zarr/labels/{name}" for name in ("regions", "structures")}
    data = {
        "name": "synthetic",
        "title": f"A synthetic volume, seed {seed}",
        "licence": "CC0",
        "spacing": list(SPACING),
        "channels": channels,
        "boxes": boxes,
        "splits": {
            "gap": gap,
            "train": [{"boxes": first, "z": [0, train]}],
            "validation": [{"boxes": first, "z": [train + gap, validation]}],
            "test": test,
        },
        "tiles": {"size": [1, tile, tile]},
        "regions": {
            "classes": {region.name: list(region.ids) for region in REGIONS},
            "unlabelled": [0],
        },
        "structures": {"classes": {name: [n] for n, name in enumerate(STRUCTURES)}},
    }
    return tomlkit.dumps(data)
