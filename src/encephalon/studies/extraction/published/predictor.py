# SPDX-License-Identifier: Apache-2.0
"""The published brain and meningioma masks, reproduced: `brainy` and `ams` 0.1.0.

Conform, standardise, predict blocks of 128 voxels, threshold at 0.3, put the mask back on the
scan's own grid; on request the second, rotated pass, the resizing and the largest piece of
`nobrainer predict`. A network of several classes gives labels, the likeliest class of each voxel.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError, UsageError
from encephalon.geometry.resample import resample
from encephalon.inference.predictor import (
    NetworkPredictor,
    OutputImage,
    OutputKind,
    Prediction,
    Quality,
)
from encephalon.inference.uncertainty import MAPS, entropy, flips, over_views
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.io.text import csv_text
from encephalon.models.folder import ModelFolder
from encephalon.networks.torch_runtime import load_network, open_network
from encephalon.recipes.validation import make_settings
from encephalon.reports.label_maps import class_colour
from encephalon.studies.base import OpenModel
from encephalon.studies.extraction.images import ShownScan
from encephalon.studies.extraction.published import preprocessing as steps
from encephalon.studies.extraction.published.settings import (
    Conformed,
    PublishedOptions,
    PublishedSettings,
)
from encephalon.studies.extraction.settings import CONTENTS
from encephalon.transforms.conform import conform_grid
from encephalon.transforms.masks import fill_holes, largest_piece

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample

__all__ = ["NOTICE", "PublishedPredictor", "make_published_predictor"]

NOTICE = "For research only: not a medical product, not for diagnosis or treatment."
"""What the published programs print; kept with every prediction of a tumour."""

Float = NDArray[np.float32]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedPredictor(NetworkPredictor[PublishedOptions]):
    """A published model, loaded: `predict` repeats the published program on one scan.

    label    what the mask is of: "brain" or "meningioma"
    classes  of a network that tells several, their names from the background on
    grid     that it was trained on
    """

    label: str
    classes: tuple[str, ...] = ()
    grid: Conformed = field(default_factory=Conformed)

    @property
    def notice(self) -> str:
        """Kept with every prediction of a tumour."""
        return NOTICE if self.label in {"meningioma", "tumour"} else ""

    @property
    def kinds(self) -> dict[str, OutputKind]:
        """Every image that can be written, by the word that asks for it."""
        label = self.label
        mask = OutputKind(
            "mask",
            label,
            description=f"1 inside the {label}, 0 outside.",
            content=CONTENTS.get(label, ""),
        )
        about = "Names and colours of the labels."
        main = {
            "labels": OutputKind("dseg", description="The likeliest class of each voxel."),
            "names": OutputKind("dseg", "names", ".tsv", about),
        }
        told = "the likeliest class" if self.classes else label
        chance = f"Probability of {told}, trilinear from the network's voxels."
        return {
            **(main if self.classes else {"mask": mask}),
            "brain": OutputKind("", label, ".nii.gz", "The scan inside the mask, 0 outside.", True),
            "probability": OutputKind("probseg", label, description=chance),
            **{name: OutputKind(name, label, description=text) for name, text in MAPS.items()},
        }

    @property
    def outputs(self) -> Mapping[str, OutputKind]:
        """The images that were asked for; of several classes the mask is their label map."""
        asked = {*self.options.save, *(("labels", "names") if "mask" in self.options.save else ())}
        return {key: kind for key, kind in self.kinds.items() if key in asked}

    def describe(self) -> dict[str, Any]:
        """Beside what every predictor says: the classes, where there are several."""
        return super().describe() | ({"classes": list(self.classes)} if self.classes else {})

    def read(self, sample: Sample) -> Image:
        """Read the scan of `sample`; raises InputError naming the file."""
        return read_image(sample.file("image"), series=self.options.series)

    def predict(self, loaded: Image) -> Prediction:
        """Return mask or labels, and what else was asked for, on the grid of `loaded`."""
        ask = self.options
        work = self._work(loaded)
        scored = steps.z_score(work.data, work.name)
        maps = self._maps(scored, work.name)
        values = dict[str, float]()
        if 0 < ask.halo < steps.REACH and not ask.rotate:
            values = self._seam(scored, maps, work.volume_ml_per_voxel)
        found = self._back(self._found(maps), work, loaded, 0)
        # In this order: the published program looked for the largest piece on the native grid.
        if ask.largest and found.any():
            found = largest_piece(found)
        if ask.fill:
            found = fill_holes(found)
        # The published programs had no check; what is certain is an empty mask, and doubts on the
        # scan itself.
        quality = Quality("check", loaded.doubts) if loaded.doubts else None
        if not found.any():
            nothing = "every voxel is background"
            if not self.classes:
                nothing = f"no voxel exceeds the threshold {ask.threshold:g}"
            quality = Quality("fail", (nothing,))
        return Prediction(
            self._images(found, maps, work, loaded),
            self._volumes(found, loaded) | values,
            quality,
            ShownScan(loaded.data, loaded.affine, found),
        )

    def _work(self, loaded: Image) -> Image:
        """The scan as the network wants it, before it is standardised."""
        ask = self.options
        if ask.resize:
            return replace(loaded, data=steps.resized(loaded.data, ask.resize, 1))
        grid = conform_grid(loaded.grid, self.grid.shape, self.grid.spacing_mm)
        return steps.conformed(loaded, ask.conform, grid)

    def _back(self, data: NDArray[Any], work: Image, native: Image, order: int) -> NDArray[Any]:
        """`data` (I, J, K) of the network's grid on that of the scan."""
        if work is native:
            return data
        if self.options.resize:
            return steps.resized(data, native.shape, order)
        return resample(data, work.affine, native.grid, order=order)

    def _maps(self, scored: Float, name: str) -> dict[str, Float]:
        """By the names of outputs what the network says (I, J, K) of each voxel."""
        ask = self.options
        names = ["probability", *(["labels"] if self.classes else []), *self._doubts]
        cut = (ask.block, ask.halo, ask.batch_size)
        maps = dict(zip(names, steps.blocks(self._told, scored, *cut), strict=True))
        if ask.rotate:
            turned = steps.rotated_blocks(self._answer, scored, name, *cut)
            maps["probability"] = (maps["probability"] + turned) / 2
        return maps

    @property
    def _doubts(self) -> list[str]:
        return [name for name in MAPS if name in self.options.save]

    def _told(self, batch: Float) -> Float:
        """What is kept of the answer to blocks (B, 1, I, J, K): a map a channel, not a class."""
        views = flips((-1, -2, -3) if self._doubts else ())
        seen = over_views(self._answer, batch, views)
        maps = [seen.first.max(axis=1)]
        if self.classes:
            maps.append(seen.first.argmax(axis=1).astype(np.float32))
        doubts = {"variance": seen.variance.mean(axis=1), "entropy": entropy(seen.mean, 1)}
        return np.stack([*maps, *(doubts[name] for name in self._doubts)], axis=1)

    def _answer(self, batch: Float) -> Float:
        (answer,) = self.runtime.run(batch)
        if answer.shape[1] != max(1, len(self.classes)):
            raise ModelError(
                f"{self.name}: the network tells {answer.shape[1]} classes, but its model names "
                f"{len(self.classes) or 'one'}: train or get the model again."
            )
        return answer

    def _found(self, maps: Mapping[str, Float]) -> NDArray[Any]:
        """Mask, or labels, of what was said of each voxel."""
        if self.classes:
            return maps["labels"].astype(np.min_scalar_type(len(self.classes) - 1))
        return np.asarray(maps["probability"] > self.options.threshold)

    def _seam(self, scored: Float, maps: Mapping[str, Float], unit: float) -> dict[str, float]:
        """How far blocks with this halo are from the whole volume, where they meet; told aloud.

        `unit` is the volume of a voxel, mL.
        """
        ask = self.options
        box, exact = steps.crossing(self._told, scored, ask.block, ask.halo)
        here = {name: volume[box] for name, volume in maps.items()}
        there = dict(zip(maps, exact, strict=True))
        difference = float(np.abs(here["probability"] - there["probability"]).max())
        changed = int((self._found(here) != self._found(there)).sum()) * unit
        logger.warning(
            "With a halo of %d voxels the probability differs by up to %.3g, and the answer in "
            "%.3g of %.3g mL, where blocks meet in the middle of the scan; from %d on nothing "
            "differs.",
            *(ask.halo, difference, changed, here["probability"].size * unit, steps.REACH),
        )
        return {"halo_difference": round(difference, 6), "halo_difference_ml": round(changed, 6)}

    def _volumes(self, found: NDArray[Any], native: Image) -> dict[str, float]:
        """Millilitres of the mask, or of each class."""
        counts = np.bincount(found.ravel(), minlength=len(self.classes)).tolist()
        unit = native.volume_ml_per_voxel
        if not self.classes:
            return {"volume_ml": round(sum(counts[1:]) * unit, 3)}
        named = zip(self.classes[1:], counts[1:], strict=True)
        return {f"volume_ml_{name.replace(' ', '_')}": round(n * unit, 3) for name, n in named}

    def _images(
        self, found: NDArray[Any], maps: Mapping[str, Float], work: Image, native: Image
    ) -> dict[str, OutputImage]:
        kinds, outputs = self.kinds, self.outputs
        made: dict[str, NDArray[Any]] = {"labels" if self.classes else "mask": found}
        if "brain" in outputs:
            made["brain"] = native.data * (found > 0)
        for name in ("probability", *self._doubts):
            if name in outputs:
                made[name] = self._back(maps[name], work, native, 1)
        images = {
            key: OutputImage(
                data, native, kinds[key].desc, kinds[key].suffix, written=key in outputs
            )
            for key, data in made.items()
        }
        if "names" in outputs:
            writer = partial(_write_names, self.classes)
            images["names"] = OutputImage(np.empty(0), None, "names", "dseg", writer=writer)
        return images


def _write_names(classes: tuple[str, ...], _: NDArray[Any], path: Path) -> None:
    """A table of labels as BIDS wants it: number, name, colour."""
    rows = [
        {"index": n, "name": name, "color": "#{:02x}{:02x}{:02x}".format(*class_colour(n))}
        for n, name in enumerate(classes)
    ]
    path.write_text(csv_text(rows, separator="\t"), encoding="utf-8")


def make_published_predictor(model: OpenModel) -> PublishedPredictor:
    """Load a published weights file, or a model folder of mode "published".

    Raises UsageError for an unknown or impossible option, ModelError for weights that do not fit.
    """
    files = model.files
    fixed, classes, grid = dict[str, Any](), tuple[str, ...](), Conformed()
    if isinstance(files, ModelFolder):
        about: Any = files.description
        fixed, classes, grid = _of_recipe(files)
    else:
        about = files.entry
    asked = replace(model, options={**fixed, **model.options}).asked(PublishedOptions)
    network: Any = None
    if not isinstance(files, ModelFolder):
        network = load_network(files)
        # A file of Keras does not name its classes.
        others = tuple(f"class {n}" for n in range(1, network.n_classes))
        classes = ("background", *others) if others else ()
    for name in ("rotate", "largest", "fill"):
        if classes and getattr(asked, name):
            raise UsageError(
                f"The model {model.name!r} tells {len(classes)} classes, and {name} is for a mask: "
                "leave it out."
            )
    runtime = open_network(files, model.device, model.threads, network and (lambda: network))
    label = str(about.labels.get(1, "brain")) if about else "classes" if classes else "brain"
    predictor = PublishedPredictor(files.describe(), runtime, asked, label, classes, grid)
    if predictor.notice:
        logger.warning("%s: %s", predictor.name, NOTICE)
    return predictor


def _of_recipe(files: ModelFolder) -> tuple[dict[str, Any], tuple[str, ...], Conformed]:
    """The options, classes and grid that a recipe fixed; its network saw conformed scans alone."""
    about = files.description
    recipe: dict[str, Any] = {"study": {}, "network": {}, **about.recipe}
    study = {key: value for key, value in recipe["study"].items() if key != "name"}
    settings = make_settings(PublishedSettings, study, f"the model {files.name!r}")
    fixed = {"threshold": settings.threshold, "block": settings.block, "conform": "always"}
    several = recipe["network"].get("options", {}).get("n_classes", 1) > 1
    classes = tuple(about.labels[n] for n in sorted(about.labels)) if several else ()
    return fixed, classes, settings.conform
