# SPDX-License-Identifier: Apache-2.0
"""Any head scan to a mask on its own grid, with a verdict on the mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Grid
from encephalon.inference.predictor import (
    NetworkPredictor,
    OutputImage,
    OutputKind,
    Prediction,
    Quality,
)
from encephalon.inference.runtimes import Runtime
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.models.catalogue import find_model
from encephalon.studies.base import OpenModel
from encephalon.studies.extraction.quality import check_quality
from encephalon.studies.extraction.report import scan_pictures
from encephalon.studies.extraction.segmentation.boundary import (
    predict_boundary,
    resampled_map,
    resampled_mask,
)
from encephalon.studies.extraction.segmentation.localisation import (
    areas_on_faces,
    larger_areas,
    network_of,
)
from encephalon.studies.extraction.settings import (
    CONTENTS,
    LOCATOR,
    ExtractionSettings,
    PredictOptions,
)
from encephalon.tables.samples import Sample
from encephalon.transforms.conform import straightened
from encephalon.transforms.masks import fill_and_keep_largest, require_head_size

Float = NDArray[np.float32]

RESEARCH_ONLY = "For research only: not for diagnosis or treatment."
#: The label of `desc-` for what a model finds, by the target of its recipe.
LABELS = {"brain": "brain", "lesion": "meningioma"}


@dataclass(frozen=True)
class ExtractionPredictor(NetworkPredictor[PredictOptions]):
    """A loaded extraction model.

    settings  the study's settings from the model's recipe
    locator   the network that finds the brain, when the model itself finds something else in it
    """

    settings: ExtractionSettings
    locator: Runtime | None = None

    @property
    def label(self) -> str:
        """What the mask is of."""
        return LABELS[self.settings.target]

    @property
    def notice(self) -> str:
        """Kept with every prediction of a lesion."""
        return RESEARCH_ONLY if self.settings.target == "lesion" else ""

    @property
    def kinds(self) -> dict[str, OutputKind]:
        """Every image that can be written, by the word that asks for it."""
        label = self.label
        return {
            "mask": OutputKind(
                "mask",
                label,
                description="1 inside the border, 0 outside.",
                content=CONTENTS[label],
            ),
            "brain": OutputKind("", label, ".nii.gz", "The scan inside the mask, 0 outside.", True),
            "distance": OutputKind(
                "dist", label, description="Signed distance to the border, mm, positive inside."
            ),
            "probability": OutputKind("probseg", label, description="Probability of lying inside."),
        }

    def read(self, sample: Sample) -> Image:
        """The scan of `sample`; raises InputError naming the file."""
        return require_head_size(read_image(sample.file("image"), series=self.options.series))

    def predict(self, loaded: Image) -> Prediction:
        """Mask and whatever else was asked for, on the grid of `loaded`."""
        network, locator = network_of(self.runtime), network_of(self.locator or self.runtime)
        fast = self.options.fast
        borders = predict_boundary(straightened(loaded), self.settings, network, locator, fast=fast)
        distance = fill_and_keep_largest(
            borders.distances[0 if self.options.csf else -1], self.options.border
        )
        mask = resampled_mask(distance, borders.view.grid, loaded.grid, self.options.border)
        inside = mask.view(bool)
        volume = int(np.count_nonzero(inside)) * loaded.volume_ml_per_voxel
        cut = larger_areas(areas_on_faces(inside, loaded.grid), borders.across)
        quality = check_quality(borders, volume, cut, organ=self.settings.target == "brain")
        doubts = Quality("check" if loaded.doubts else "ok", loaded.doubts)
        agreement = {"agreement_mirror": borders.mirror, "agreement_turn": borders.turn}
        values = {
            "volume_ml": round(volume, 3),
            **{name: round(one, 4) for name, one in agreement.items() if one is not None},
            "slope_error": round(borders.slope_error, 4),
        }
        return Prediction(
            self._images(loaded, mask, distance, borders.view.grid),
            values,
            quality.worse_of(doubts),
            partial(scan_pictures, loaded.data, loaded.affine, mask),
        )

    def _images(
        self, image: Image, mask: NDArray[np.uint8], distance: Float, grid: Grid
    ) -> dict[str, OutputImage]:
        saved, label = set(self.options.save), self.label
        images = {"mask": OutputImage(mask, image, label, "mask", "mask" in saved)}
        if "brain" in saved:
            images["brain"] = OutputImage(image.data * mask, image, label, "")
        if saved & {"distance", "probability"}:
            whole = resampled_map(distance, grid, image.grid)
            if "distance" in saved:
                images["distance"] = OutputImage(whole, image, label, "dist")
            if "probability" in saved:
                chance = probability(whole + self.options.border, self.settings.border_spread)
                images["probability"] = OutputImage(chance, image, label, "probseg")
        return images


def probability(distance: Float, spread: float) -> Float:
    """Probability of lying inside: logistic in the distance (mm), `spread` mm to each e-fold."""
    return (1 / (1 + np.exp(-np.clip(distance / spread, -30, 30)))).astype(np.float32)


def make_extraction_predictor(model: OpenModel) -> ExtractionPredictor:
    """The predictor of a model folder; raises UsageError for an option that it does not know."""
    asked, settings = model.asked(PredictOptions), model.settings(ExtractionSettings)
    lesion = settings.target == "lesion"
    locator = replace(model, files=find_model(LOCATOR)) if lesion else None
    return ExtractionPredictor(
        model.files.describe(),
        model.runtime(),
        asked,
        settings,
        locator.runtime() if locator else None,
    )
