# SPDX-License-Identifier: Apache-2.0
"""The published brain and meningioma masks, reproduced: `brainy` and `ams` 0.1.0.

Conform, standardise, predict blocks of 128 voxels, threshold at 0.3, put the mask back on the
scan's own grid; on request the second, rotated pass and the largest piece of `nobrainer predict`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError
from encephalon.geometry.resample import resample
from encephalon.inference.predictor import (
    NetworkPredictor,
    OutputImage,
    OutputKind,
    Prediction,
    Quality,
)
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.models.published import PublishedFile
from encephalon.networks.torch_runtime import open_network
from encephalon.studies.base import OpenModel
from encephalon.studies.extraction.published import preprocessing as steps
from encephalon.studies.extraction.published.settings import PublishedOptions
from encephalon.studies.extraction.report import scan_pictures
from encephalon.studies.extraction.settings import CONTENTS
from encephalon.transforms.masks import fill_holes, largest_piece

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample

__all__ = ["NOTICE", "PublishedPredictor", "make_published_predictor"]

NOTICE = "For research only: not a medical product, not for diagnosis or treatment."
"""What the published programs print; kept with every prediction of a tumour."""

Output = Literal["mask", "brain", "probability"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedPredictor(NetworkPredictor[PublishedOptions]):
    """A published model, loaded: `predict` repeats the published program on one scan.

    label  what the mask is of: "brain" or "meningioma"
    """

    label: str

    @property
    def notice(self) -> str:
        """Kept with every prediction of a tumour."""
        return "" if self.label == "brain" else NOTICE

    @property
    def kinds(self) -> dict[str, OutputKind]:
        """Every image that can be written, by the word that asks for it."""
        label = self.label
        return {
            "mask": OutputKind(
                "mask",
                label,
                description=f"1 inside the {label}, 0 outside.",
                content=CONTENTS.get(label, ""),
            ),
            "brain": OutputKind("", label, ".nii.gz", "The scan inside the mask, 0 outside.", True),
            "probability": OutputKind(
                "probseg", label, description=f"Probability of {label}, trilinear from 1 mm voxels."
            ),
        }

    def read(self, sample: Sample) -> Image:
        """Read the scan of `sample`; raises InputError naming the file."""
        return read_image(sample.file("image"), series=self.options.series)

    def predict(self, loaded: Image) -> Prediction:
        """Return the mask, and what else was asked for, on the grid of `loaded`."""
        ask = self.options
        work = steps.conformed(loaded, ask.conform)
        chance = self._probabilities(work)
        mask = chance > ask.threshold
        if work is not loaded:
            mask = resample(mask, work.grid.affine, loaded.grid, order=0)
        # In this order: the published program looked for the largest piece on the native grid.
        if ask.largest and mask.any():
            mask = largest_piece(mask)
        if ask.fill:
            mask = fill_holes(mask)
        # The published programs had no check; what is certain is an empty mask, and doubts on the
        # scan itself.
        quality = Quality("check", loaded.doubts) if loaded.doubts else None
        if not mask.any():
            quality = Quality("fail", (f"no voxel exceeds the threshold {ask.threshold:g}",))
        return Prediction(
            self._images(mask, chance, work, loaded),
            {"volume_ml": round(float(mask.sum()) * loaded.volume_ml_per_voxel, 3)},
            quality,
            partial(scan_pictures, loaded.data, loaded.affine, mask),
        )

    def _probabilities(self, work: Image) -> NDArray[np.float32]:
        ask = self.options
        scored = steps.z_score(work.data, work.name)
        cut = (ask.block, ask.halo, ask.batch_size)
        chance = steps.blocks(self._answer, scored, *cut)
        if ask.rotate:
            chance += steps.rotated_blocks(self._answer, scored, work.name, *cut)
            chance /= 2
        return chance

    def _answer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        (answer,) = self.runtime.run(batch)
        if answer.shape[1] != 1:
            raise ModelError(
                f"The published path knows one class, but this network has {answer.shape[1]}: "
                "use a model of mode 'default'."
            )
        return answer

    def _images(
        self,
        mask: NDArray[np.bool_],
        chance: NDArray[np.float32],
        work: Image,
        native: Image,
    ) -> dict[str, OutputImage]:
        save = self.options.save
        images = {"mask": OutputImage(mask, native, self.label, "mask", "mask" in save)}
        if "brain" in save:
            images["brain"] = OutputImage(native.data * mask, native, self.label, "")
        if "probability" in save:
            if work is not native:
                chance = resample(chance, work.affine, native.grid, order=1)
            images["probability"] = OutputImage(chance, native, self.label, "probseg")
        return images


def make_published_predictor(model: OpenModel) -> PublishedPredictor:
    """Load a published weights file, or a model folder of mode "published".

    Raises UsageError for an unknown or impossible option, ModelError for weights that do not fit.
    """
    files = model.files
    about = files.entry if isinstance(files, PublishedFile) else files.description
    # What the recipe of a model folder fixed for its network.
    study = {} if isinstance(files, PublishedFile) else files.description.recipe.get("study", {})
    fixed = {key: study[key] for key in ("threshold", "block") if key in study}
    if isinstance(fixed.get("block"), list | tuple):
        fixed["block"] = int(max(fixed["block"]))
    asked = replace(model, options={**fixed, **model.options}).asked(PublishedOptions)
    network = open_network(files, model.device, model.threads)
    label = str(about.labels.get(1, "brain")) if about else "brain"
    predictor = PublishedPredictor(files.describe(), network, asked, label)
    if predictor.notice:
        logger.warning("%s: %s", predictor.name, NOTICE)
    return predictor
