# SPDX-License-Identifier: Apache-2.0
"""Synthetic micrographs of small vessels with a planted answer, for trials, tests and benchmarks.

A vessel cut across (bright lumen, dark wall, grey basement membrane) lies in a neuropil of
membranes and mitochondria. Aged animals have one thing that young ones have not: a deposit of dark
grains beside the vessel, whose place is known. No real tissue looks like this.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from encephalon.io.atomic import atomic_path, refuse_existing
from encephalon.io.text import write_records

__all__ = ["Phantom", "phantom_micrograph", "write_phantoms"]

# Grey levels, 0 black to 1 white: our choice, after the look of stained sections. Grains are as
# dark as the wall, or the range of levels alone would tell aged from young.
LUMEN, WALL, MEMBRANE, NEUROPIL, GRAIN = 0.85, 0.15, 0.55, 0.60, 0.15
#: Radius of the lumen, its wall and its basement membrane, as shares of the image's side.
LUMEN_RADIUS, WALL_WIDTH, MEMBRANE_WIDTH = (0.10, 0.16), 0.035, 0.03
#: Side of the square that holds the deposit, as a share of the image's side.
DEPOSIT = 0.22


@dataclass(frozen=True)
class Phantom:
    """A synthetic micrograph (rows, columns), uint8, and the box of its deposit, if it has one.

    `box` is (centre x, centre y, width, height) as shares of the image.
    """

    data: NDArray[np.uint8]
    box: tuple[float, float, float, float] | None


def phantom_micrograph(
    rng: np.random.Generator, *, aged: bool, size: int = 256, staining: float = 1.0
) -> Phantom:
    """Draw one micrograph of `size` pixels a side; `staining` scales its contrast."""
    axis = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    centre = rng.uniform(0.42, 0.58, 2)
    radius = np.hypot((x - centre[0]) * rng.uniform(0.9, 1.1), y - centre[1])
    image = _neuropil(rng, size)
    lumen = rng.uniform(*LUMEN_RADIUS)
    edge = lumen + WALL_WIDTH + MEMBRANE_WIDTH
    image[radius < edge] = MEMBRANE
    image[radius < lumen + WALL_WIDTH] = WALL
    image[radius < lumen] = LUMEN
    box = _add_deposit(rng, image, centre, edge) if aged else None
    image = gaussian_filter(image, size / 400) + rng.normal(0, 0.04, image.shape)
    image = 0.55 + staining * (image - 0.55)
    return Phantom(np.clip(255 * image, 0, 255).astype(np.uint8), box)


def write_phantoms(
    folder: Path,
    *,
    animals: int = 12,
    images: int = 6,
    size: int = 256,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write `images` TIFFs of each of `animals`, half of them aged, and their spreadsheet.

    Every animal has one sex, and a staining of its own that its images share; its vessels lie in
    three regions. Returns the path of the spreadsheet, `folder`/sheet.csv. Raises OutputExistsError
    for a folder that has it or one of the images, before any is drawn, unless `overwrite`.
    """
    import tifffile

    sheet = folder / "sheet.csv"
    paths = {
        (animal, number): folder / f"S{animal + 1}V{number + 1}_phantom.tif"
        for animal, number in product(range(animals), range(images))
    }
    for path in (sheet, *paths.values()):
        refuse_existing(path, overwrite)
    rng = np.random.default_rng(seed)
    stainings = rng.uniform(0.8, 1.15, animals)
    rows = []
    for (animal, number), path in paths.items():
        aged = animal % 2 == 1
        phantom = phantom_micrograph(rng, aged=aged, size=size, staining=stainings[animal])
        name = f"S{animal + 1}V{number + 1}"
        with atomic_path(path, overwrite) as temporary:
            tifffile.imwrite(temporary, phantom.data)
        told = {
            "Image ID": name,
            "Class": "Aged" if aged else "Young",
            "Sex": "FM"[animal // 2 % 2],
            "Region": ("CC", "HC", "PFC")[number % 3],
            "Animal": f"A{animal + 1}",
            "Vessel": f"A{animal + 1}-V{number // 2 + 1}",
        }
        box = zip("xywh", phantom.box or (None,) * 4, strict=True)
        rows.append(told | {f"Box {side}": share for side, share in box})
    return write_records(rows, sheet)


def _neuropil(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Grey ground with dark membranes, which are the zero crossings of smooth noise."""
    image = NEUROPIL + 0.05 * _smooth(rng, size, size / 12)
    for width in (size / 24, size / 40):
        image -= 0.22 * np.exp(-((_smooth(rng, size, width) / 0.12) ** 2))
    mitochondria = _smooth(rng, size, size / 36) > 2.1
    return np.where(mitochondria, 0.38, image)


def _smooth(rng: np.random.Generator, size: int, width: float) -> NDArray[np.float64]:
    """Noise of unit variance whose grains are `width` pixels wide."""
    noise = gaussian_filter(rng.normal(size=(size, size)), width, mode="wrap")
    return np.asarray(noise / noise.std())


def _add_deposit(
    rng: np.random.Generator,
    image: NDArray[np.float64],
    centre: NDArray[np.float64],
    edge: float,
) -> tuple[float, float, float, float]:
    """Strew dark grains beside the vessel, and return the box that holds them."""
    size = image.shape[0]
    angle = rng.uniform(0, 2 * np.pi)
    reach = edge + 0.75 * DEPOSIT
    x, y = np.clip(centre + reach * np.array([np.cos(angle), np.sin(angle)]), 0.15, 0.85)
    axis = np.arange(size)
    for _ in range(24):
        at = (np.array([x, y]) + rng.uniform(-0.4, 0.4, 2) * DEPOSIT) * size
        radius = rng.uniform(0.010, 0.022) * size
        far = np.hypot(axis[None, :] - at[0], axis[:, None] - at[1])
        image[far < radius] = GRAIN
    return round(float(x), 4), round(float(y), 4), DEPOSIT, DEPOSIT
