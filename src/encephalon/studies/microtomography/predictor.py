# SPDX-License-Identifier: Apache-2.0
"""What a model says of tiles and pictures: the region, the structures, or a representation.

A sample is a row of a table of tiles, or a picture or volume by itself, taken whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, InputError, ModelError, UsageError, either
from encephalon.explanation.explainable import MOST_SHOWN, Look
from encephalon.inference.predictor import (
    NetworkPredictor,
    OutputImage,
    OutputKind,
    Prediction,
    Value,
)
from encephalon.inference.runtimes import Runtime
from encephalon.inference.workers import HERE, Workers
from encephalon.io.files import is_file
from encephalon.io.text import read_records
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import Spacing
from encephalon.models.fitted import score_logits
from encephalon.models.folder import ModelFolder
from encephalon.networks.registry import build_network
from encephalon.networks.torch_runtime import TorchRuntime, load_network
from encephalon.reports.label_maps import label_picture
from encephalon.studies.base import OpenModel
from encephalon.studies.microtomography.data import normalised, scaled
from encephalon.studies.microtomography.images import ShownVolume
from encephalon.studies.microtomography.reading import (
    LARGEST,
    LoadedTile,
    LoadedVolume,
    box_of,
    opened_volume,
    whole_box,
)
from encephalon.studies.microtomography.settings import (
    MicrotomographySettings,
    PredictOptions,
    sees_volumes,
)
from encephalon.studies.microtomography.uncertainty import MAPS, write_grey
from encephalon.studies.microtomography.whole import (
    label_volume,
    map_tile,
    warn_of_another_kind,
    with_window,
)
from encephalon.tables.samples import Sample
from encephalon.training.runs import RunFolder
from encephalon.transforms.resize import View

__all__ = ["TilePredictor", "make_tile_predictor"]

Float = NDArray[np.float32]

#: What the published networks of structures in volumes learnt from (MTNeuro's `taskconfig`).
PUBLISHED_TILE = (8, 256, 256)


@dataclass(frozen=True)
class TilePredictor(NetworkPredictor[PredictOptions]):
    """A model of tiles.

    settings  what its recipe says, with what was measured in training
    classes   of tiles or voxels, in order; none for a representation
    depth     slices that its network learnt from at once; 0 if it sees single ones
    trained   how it was trained: its network, the method and the seed
    again     opens it once more, for a worker of its own
    torch_network  opens its torch network
    path      its folder, if it has one
    spacing   edges of the voxels that it learnt from, µm
    sides     of the only tiles that it can be shown, y and x; None if any will do
    workers   who labels the blocks of a volume
    """

    settings: MicrotomographySettings
    classes: tuple[str, ...]
    depth: int
    trained: Mapping[str, Any]
    again: Callable[[], TilePredictor] = field(repr=False)
    torch_network: Callable[[], Any] = field(repr=False)
    path: Path | None = None
    spacing: Spacing | None = None
    sides: tuple[int, int] | None = None
    workers: Workers = HERE

    @property
    def kinds(self) -> Mapping[str, OutputKind]:
        """A label map: of structures, or of a whole volume the region of each tile."""
        if not self.classes:
            return {}
        about = "The class of each voxel." if self._structural else "The region of each tile."
        texts = {self._key: ("dseg", about)}
        if self._structural:
            texts |= {name: (name, text) for name, text in MAPS.items()}
        return {
            key: OutputKind(suffix, None, ".png", text, extension_of=self._ending)
            for key, (suffix, text) in texts.items()
        }

    @property
    def _maps(self) -> list[str]:
        return [name for name in MAPS if name in self.outputs]

    @property
    def _structural(self) -> bool:
        return self.settings.target == "structure"

    @property
    def _key(self) -> str:
        return "structures" if self._structural else "regions"

    def _ending(self, sample: Sample) -> str:
        if "size_z" in sample.row:
            # A tile of several slices is no picture: its volume gets labels, block by block.
            return ".png" if self._structural and str(sample.row["size_z"]) == "1" else ""
        if self._is_volume(sample):
            return ".ome.zarr"
        return ".png" if self._structural else ""

    def divides(self, sample: Sample) -> bool:
        """Whether the blocks of a sample are what its workers share out."""
        return self._is_volume(sample)

    def _is_volume(self, sample: Sample) -> bool:
        """Whether a sample is labelled block by block: all that is no tile and no plane."""
        if not self.classes or "size_z" in sample.row:
            return False
        try:
            return opened_volume(sample.file(next(iter(sample.inputs)))).shape[0] > 1
        except EncephalonError:  # said when it is read
            return False

    def describe(self) -> dict[str, Any]:
        """Beside what every predictor says: what is told, and the classes."""
        about = {"target": self.settings.target, "classes": list(self.classes)}
        return super().describe() | about | dict(self.trained)

    def history(self) -> list[dict[str, float]]:
        """The epochs of the run that the model lies in; [] where it has none, or was moved."""
        run = None if self.path is None else RunFolder(self.path.parent)
        if run is None or not (is_file(run.record) and is_file(run.history)):
            return []
        _, rows = read_records(run.history)
        return [{k: float(v) for k, v in row.items() if v} for row in rows]

    def read(self, sample: Sample) -> LoadedTile | LoadedVolume:
        """The voxels of a tile or a picture, or a volume as it lies; raises InputError."""
        if self._is_volume(sample):
            path = sample.file(next(iter(sample.inputs)))
            volume = opened_volume(path)
            warn_of_another_kind(path, self.settings.intensity, self.spacing)
            return LoadedVolume(sample, path, volume, with_window(self.settings.intensity, volume))
        return self.read_tile(sample)

    def read_tile(self, sample: Sample, most: int = LARGEST) -> LoadedTile:
        """The voxels of a tile or a picture, `most` of them at most; raises InputError."""
        path = sample.file(next(iter(sample.inputs)))
        volume = opened_volume(path)
        voxels = volume.read(box_of(sample, volume, most), complete=True)
        if not self.depth and len(voxels) > 1:
            raise InputError(
                f"{path}: it has {len(voxels)} slices, and the model {self.name!r} sees one at a "
                "time: give a picture, or a table of tiles."
            )
        if self.sides is not None and self.sides != voxels.shape[1:]:
            raise InputError(
                f"{path}: the tile has {voxels.shape[1:]} pixels (y, x), but the model "
                f"{self.name!r} knows only {self.sides}: cut tiles of that size."
            )
        warn_of_another_kind(path, self.settings.intensity, self.spacing)
        # Percentiles of a whole box are those of the box that a tile is from.
        whole = voxels if self.settings.intensity.window else whole_box(volume, voxels)
        image = normalised(scaled(voxels, self.settings.intensity, whole), self.settings.intensity)
        return LoadedTile(sample, voxels, image[None, None] if self.depth else image[None])

    def look(self, sample: Sample, even: bool) -> Look:
        """What the network is shown of a tile or a picture; `even` as of a `View`."""
        tile = self.read_tile(sample, MOST_SHOWN)
        shape = tile.image.shape[2:]
        whole = View.whole(shape, even)
        return Look(tile, (tile.image,), lambda: tile.voxels.reshape(shape), whole.to_raw)

    def predict_to(
        self, loaded: LoadedTile | LoadedVolume, places: Mapping[str, Path]
    ) -> Prediction:
        """The same, with a volume labelled beside the place of its labels."""
        if isinstance(loaded, LoadedTile):
            return self.predict(loaded)
        volume, again = loaded.volume, self.again
        about = {k: v for k, v in self.describe().items() if k not in {"runtime", "device"}}
        same = (again, self, volume, loaded.path, loaded.intensity, about)
        found = label_volume(*same, places[self._key], self._structural)
        images = {
            name: label_volume(*same, places[name], self._structural, name).folder
            for name in self._maps
        }
        values: dict[str, Value] = {f"percent_{k}": share for k, share in found.percent.items()}
        made = {
            key: OutputImage(np.empty(0), None, suffix=self.kinds[key].suffix, made=folder)
            for key, folder in {self._key: found.folder, **images}.items()
        }
        labels = open_volume(found.folder) if self._structural else None
        shown = ShownVolume.of_volume(loaded.sample.id, volume, labels)
        return Prediction(made, values, pictures=shown)

    def predict(self, loaded: LoadedTile | LoadedVolume) -> Prediction:
        """The class and its probability, the share of each structure, or nothing but features."""
        if isinstance(loaded, LoadedVolume):
            raise InputError(
                f"{loaded.path}: a volume is labelled block by block, into a folder: give one with "
                "encephalon predict -o FOLDER."
            )
        if self._structural:
            return self._structures(loaded)
        features, logits = self.output(loaded)
        shown = partial(label_picture, loaded.voxels, None, loaded.sample.id)
        if not self.classes:
            return Prediction(values={"features": len(features)}, pictures=shown)
        shares = score_logits(logits[None], "softmax", None)[0]
        values: dict[str, Value] = {"predicted": self.classes[int(np.argmax(shares))]}
        values |= {f"p_{n}": round(float(p), 4) for n, p in zip(self.classes, shares, strict=True)}
        return Prediction(values=values, pictures=shown)

    def output(self, loaded: LoadedTile) -> tuple[Float, Float]:
        """The representation (F,) of a tile and the logits of its classes, if there are any."""
        found = self.tell(loaded.image)[0]
        count = len(self.classes)
        return found[: len(found) - count], found[len(found) - count :]

    def tell(self, tiles: Float) -> Float:
        """What the network says of tiles (B, 1, [Z,] Y, X); ModelError unless it is numbers."""
        found = self.runtime.run(tiles)[0]
        if not np.isfinite(found).all():
            raise ModelError("The network's answer is not finite: train or get the model again.")
        return found

    def label_map(self, loaded: LoadedTile, shown: str = "") -> NDArray[np.uint8]:
        """The number of the class of each voxel (z, y, x), or the map `shown`."""
        return map_tile(self, loaded.image.reshape(loaded.voxels.shape), shown)

    def _structures(self, loaded: LoadedTile) -> Prediction:
        labels = self.label_map(loaded)
        shares = np.bincount(labels.ravel(), minlength=len(self.classes)) / labels.size
        values: dict[str, Value] = {
            f"percent_{name}": round(100 * float(share), 3)
            for name, share in zip(self.classes, shares, strict=True)
        }
        picture = partial(label_picture, loaded.voxels, labels, loaded.sample.id)
        shown = ShownVolume(picture, loaded.voxels, labels, self.spacing)
        if len(labels) > 1:
            return Prediction(values=values, pictures=shown)
        maps = {self._key: labels} | {name: self.label_map(loaded, name) for name in self._maps}
        images = {
            key: OutputImage(one, None, suffix=self.kinds[key].suffix, writer=write_grey)
            for key, one in maps.items()
        }
        return Prediction(images, values, pictures=shown)


def make_tile_predictor(model: OpenModel) -> TilePredictor:
    """Open the graph of a model folder, or published weights."""
    settings, recipe = model.settings(MicrotomographySettings), model.recipe
    network, flat = recipe.network, not sees_volumes(recipe.network)
    classes = recipe.table.classes if settings.target == "region" else settings.structures
    learnt, asked = _learnt(model, settings), model.asked(PredictOptions)
    if asked.tile is None:
        asked = asked.model_copy(update={"tile": min(learnt["tile"][1:], default=None)})
    if settings.target != "structure" and MAPS.keys() & set(asked.save):
        raise UsageError(
            f"The model {model.name!r} tells no structures, so there are no maps of variance and "
            "entropy: leave out --save."
        )
    known_as = str(network.options.get("decoder", network.name))
    build = partial(build_network, network.name, network.options | {"classes": len(classes)})
    if own := isinstance(model.files, ModelFolder):
        runtime = model.runtime()
    else:
        runtime, classes, flat, known_as = _published(model, classes)
    mixed = any(each.name == "mix-up" for each in settings.augmentation)  # as the paper calls it
    return TilePredictor(
        model.files.describe(),
        runtime,
        asked,
        settings,
        classes,
        0 if flat else learnt["depth"],
        {
            "network": known_as,
            # Weights alone do not say by which method they were learnt.
            "method": ("mix-up" if mixed else settings.method) if own else model.name,
            "seed": recipe.training.seed,
        },
        partial(make_tile_predictor, model.of_worker()),
        partial(load_network, model.files, build if classes else None),
        model.files.path,
        learnt["spacing"] and tuple(learnt["spacing"]),
        tuple(learnt["tile"][1:]) if network.name == "tile-factors" else None,
        model.workers,
    )


def _learnt(model: OpenModel, settings: MicrotomographySettings) -> dict[str, Any]:
    """The "tile" (z, y, x), "spacing" and "depth" (slices) of what a model learnt from."""
    files = model.files
    known = files.description.preprocessing if isinstance(files, ModelFolder) else {}
    tile = known.get("tile", PUBLISHED_TILE[: 3 if settings.target == "structure" else 1])
    crops = [one.depth for one in settings.augmentation if one.name == "slice-crop"]
    return {"spacing": None, **known, "tile": tile, "depth": min([int(tile[0]), *crops])}


def _published(
    model: OpenModel, classes: Sequence[str]
) -> tuple[Runtime, tuple[str, ...], bool, str]:
    """What runs published weights, the classes that they tell, whether they see slices, a name."""
    network: Any = load_network(model.files)
    known_as = getattr(network, "known_as", model.recipe.network.name)
    first, *_, last = network.parameters()
    if not hasattr(network, "head") and len(classes) == len(last) + 1:
        classes = classes[:-1]  # with axons in the background, as in half of the published tasks
    if classes and len(classes) != len(last):
        raise ModelError(
            f"{model.files.path}: its weights tell {len(last)} classes, but the published ones "
            f"{either(classes)}: train a model by a recipe that names the classes."
        )
    if hasattr(network, "head"):
        from encephalon.networks.tile_classifier import FeaturesAndLogits

        network = FeaturesAndLogits(network)
    runtime = TorchRuntime(network, model.device, model.threads)
    return runtime, tuple(classes), first.dim() == 4, str(known_as)
