# SPDX-License-Identifier: Apache-2.0
"""What a model says of tiles and pictures: the region, the structures, or a representation.

A sample is a row of a table of tiles, or a picture or volume by itself, taken whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError
from encephalon.inference.predictor import (
    NetworkPredictor,
    OutputImage,
    OutputKind,
    Prediction,
    Value,
)
from encephalon.inference.tiles import run_tiled
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import Volume
from encephalon.studies.base import OpenModel
from encephalon.studies.microtomography.data import normalised, scaled
from encephalon.studies.microtomography.report import label_picture
from encephalon.studies.microtomography.settings import MicrotomographySettings, PredictOptions
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Table

__all__ = ["LoadedTile", "TilePredictor", "make_tile_predictor", "read_structures"]

Float = NDArray[np.float32]

#: Side and margin of the pieces, pixels, in which a larger picture is shown to the network: the
#: margin is what a U-Net of four levels sees around a pixel.
PIECE, MARGIN = 512, 64
#: Voxels of one sample that are read whole; larger volumes are worked on block by block.
LARGEST = 512 * 1024**2


@dataclass(frozen=True, eq=False)
class LoadedTile:
    """One sample as a network sees it, (1, 1, [Z,] Y, X), and its voxels (z, y, x)."""

    sample: Sample
    voxels: NDArray[Any]
    image: Float


@dataclass(frozen=True)
class TilePredictor(NetworkPredictor[PredictOptions]):
    """A model of tiles.

    settings  what its recipe says, with what was measured in training
    classes   of tiles or voxels, in order; none for a representation
    flat      whether its network sees single slices
    trained   how it was trained: its network, the method and the seed
    """

    settings: MicrotomographySettings
    classes: tuple[str, ...]
    flat: bool
    trained: Mapping[str, Any]

    @property
    def kinds(self) -> Mapping[str, OutputKind]:
        """A label map, of a model of structures."""
        if self.settings.target != "structure":
            return {}
        return {"structures": OutputKind("dseg", None, ".png", "The class of each pixel.")}

    def describe(self) -> dict[str, Any]:
        """Beside what every predictor says: what is told, and the classes."""
        about = {"target": self.settings.target, "classes": list(self.classes)}
        return super().describe() | about | dict(self.trained)

    def read(self, sample: Sample) -> LoadedTile:
        """The voxels of a tile, a picture or a small volume; raises InputError."""
        path = sample.file(next(iter(sample.inputs)))
        volume = _opened(path)
        voxels = volume.read(_box_of(sample, volume), complete=True)
        if self.flat and len(voxels) > 1:
            raise InputError(
                f"{path}: it has {len(voxels)} slices, and the model {self.name!r} sees one at a "
                "time: give a picture, or a table of tiles."
            )
        # Percentiles of a whole box are those of the box that a tile is from.
        whole = voxels if self.settings.intensity.window else _whole(volume, voxels)
        image = normalised(scaled(voxels, self.settings.intensity, whole), self.settings.intensity)
        return LoadedTile(sample, voxels, image[None] if self.flat else image[None, None])

    def predict(self, loaded: LoadedTile) -> Prediction:
        """The class and its probability, the share of each structure, or nothing but features."""
        if self.settings.target == "structure":
            return self._structures(loaded)
        features, logits = self.output(loaded)
        shown = partial(label_picture, loaded.voxels, None, loaded.sample.id)
        if not self.classes:
            return Prediction(values={"features": len(features)}, pictures=shown)
        shifted = np.exp(logits - logits.max())
        shares = shifted / shifted.sum()
        best = int(np.argmax(shares))
        values: dict[str, Value] = {"class": self.classes[best]}
        values |= {f"p_{n}": round(float(p), 4) for n, p in zip(self.classes, shares, strict=True)}
        return Prediction(values=values, pictures=shown)

    def output(self, loaded: LoadedTile) -> tuple[Float, Float]:
        """The representation (F,) of a tile and the logits of its classes, if there are any."""
        found = self.runtime.run(loaded.image)[0][0]
        count = len(self.classes)
        return found[: len(found) - count], found[len(found) - count :]

    def label_map(self, loaded: LoadedTile) -> NDArray[np.uint8]:
        """The number of the class of each voxel (z, y, x)."""
        image = loaded.image[0]
        count = len(image.shape) - 1
        logits = run_tiled(
            lambda piece: self.runtime.run(piece)[0],
            image,
            (PIECE,) * count if count == 2 else (16, PIECE // 4, PIECE // 4),
            (MARGIN,) * count if count == 2 else (4, MARGIN // 2, MARGIN // 2),
            multiple=8,
        )
        labels: NDArray[np.uint8] = logits.argmax(axis=0).astype(np.uint8)
        return labels.reshape(loaded.voxels.shape)

    def _structures(self, loaded: LoadedTile) -> Prediction:
        labels = self.label_map(loaded)
        shares = np.bincount(labels.ravel(), minlength=len(self.classes)) / labels.size
        values: dict[str, Value] = {
            f"percent_{name}": round(100 * float(share), 3)
            for name, share in zip(self.classes, shares, strict=True)
        }
        image = OutputImage(labels, None, suffix="dseg", writer=_write_labels)
        shown = partial(label_picture, loaded.voxels, labels, loaded.sample.id)
        return Prediction({"structures": image}, values, pictures=shown)


def make_tile_predictor(model: OpenModel) -> TilePredictor:
    """Open the graph of a model folder."""
    settings = model.settings(MicrotomographySettings)
    recipe = model.recipe
    network, region = recipe.network, settings.target == "region"
    return TilePredictor(
        model.files.describe(),
        model.runtime(),
        model.asked(PredictOptions),
        settings,
        recipe.table.classes if region else settings.structures,
        network.options.get("spatial_dims", 2) == 2,
        {
            "network": str(network.options.get("decoder", network.name)),
            "method": settings.method,
            "seed": recipe.training.seed,
        },
    )


def read_structures(table: Table, sample: Sample) -> NDArray[np.uint8]:
    """The true structures (z, y, x) of a tile; raises InputError for a row without any."""
    cell = sample.row.get(str(table.columns.target))
    if not cell:
        raise InputError(f"{sample.id}: its row names no structures: fill it in, or drop it.")
    volume = _opened(table.path(str(cell)))
    labels: NDArray[np.uint8] = volume.read(_box_of(sample, volume), complete=True)
    return labels


@lru_cache(maxsize=16)
def _opened(path: Path) -> Volume:
    """Tiles of one volume follow each other: its description is read once."""
    return open_volume(path)


def _box_of(sample: Sample, volume: Volume) -> Any:
    """Where a sample lies in its volume: its tile, or all of it."""
    row = sample.row
    if not {"first_z", "size_z"} <= set(row):
        if np.prod([float(n) for n in volume.shape]) > LARGEST:
            raise InputError(
                f"{volume.name}: {volume.shape} voxels are too many to be read at once: cut tiles "
                "out of it with  encephalon table tiles."
            )
        return volume.box
    try:
        firsts = [int(row[f"first_{axis}"]) for axis in "zyx"]
        sizes = [int(row[f"size_{axis}"]) for axis in "zyx"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{sample.id}: first_z to size_x of its row must be whole numbers of voxels: make the "
            "table with  encephalon table tiles."
        ) from error
    starts = [first + origin for first, origin in zip(firsts, volume.origin, strict=True)]
    z, y, x = ((a, a + n) for a, n in zip(starts, sizes, strict=True))
    return z, y, x


def _whole(volume: Volume, voxels: NDArray[Any]) -> NDArray[Any]:
    return voxels if voxels.shape == volume.shape else volume.read()


def _write_labels(labels: NDArray[Any], path: Path) -> None:
    """Write one slice of labels as a grey picture whose levels are the numbers of the classes."""
    from PIL import Image

    Image.fromarray(labels[0].astype(np.uint8)).save(path, format="PNG")
