# SPDX-License-Identifier: Apache-2.0
"""Any head scan to a mask on its own grid, with a verdict on the mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.inference.predictor import (
    NetworkPredictor,
    OutputImage,
    OutputKind,
    Prediction,
    Quality,
)
from encephalon.inference.uncertainty import (
    MAPS,
    Moments,
    combined,
    entropy,
    flips,
    gammas,
    over_views,
)
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.models.catalogue import find_model
from encephalon.models.published import PublishedFile
from encephalon.studies.base import OpenModel
from encephalon.studies.extraction.images import ShownScan
from encephalon.studies.extraction.quality import Findings, check_quality
from encephalon.studies.extraction.segmentation.boundary import (
    SKULL_STRIPPED,
    Boundary,
    predict_boundary,
    resampled_map,
    resampled_mask,
)
from encephalon.studies.extraction.segmentation.evidence import (
    ExpectedError,
    evidence_of,
    expected_error,
    share_near_faces,
)
from encephalon.studies.extraction.segmentation.fluid import without_fluid
from encephalon.studies.extraction.segmentation.localisation import (
    Network,
    areas_on_faces,
    larger_areas,
    network_of,
    unseen_by,
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
FLUID_AS_BRIGHT = (
    "CSF cannot be told from tissue by its intensity, so the mask ends at a smooth border"
)
#: Powers of the intensities, 0 to 1, in which a scan is seen for a variance: training varied them
#: as much. The first changes nothing.
CONTRASTS = (1.0, 0.8, 1.25)
#: The `desc-` of what a model finds, by the target of its recipe.
DESCRIPTIONS = {"brain": "brain", "lesion": "meningioma"}


@dataclass(frozen=True)
class ExtractionPredictor(NetworkPredictor[PredictOptions]):
    """A loaded extraction model.

    settings  the study's settings from the model's recipe
    locator   the network that finds the brain, when the model itself finds something else in it
    """

    settings: ExtractionSettings
    locator: Network | None = None

    @property
    def label(self) -> str:
        """What the mask is of."""
        return DESCRIPTIONS[self.settings.target]

    @property
    def network(self) -> Network:
        """The network that draws the borders."""
        return network_of(self.runtime, self.settings.unseen)

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
                "dist",
                label,
                description="Signed distance to the outer border, mm, positive inside.",
            ),
            "probability": OutputKind("probseg", label, description="Probability of lying inside."),
            **{name: OutputKind(name, label, description=text) for name, text in MAPS.items()},
        }

    def read(self, sample: Sample) -> Image:
        """The scan of `sample`; raises InputError naming the file."""
        return require_head_size(read_image(sample.file("image"), series=self.options.series))

    def predict(self, loaded: Image) -> Prediction:
        """Mask and whatever else was asked for, on the grid of `loaded`."""
        straight = straightened(loaded)
        borders = predict_boundary(
            straight,
            self.settings,
            self.network,
            self.locator or self.network,
            fast=self.options.fast,
        )
        distance = fill_and_keep_largest(borders.distances[0], self.options.border)
        mask = resampled_mask(distance, borders.view.grid, loaded.grid, self.options.border)
        dry = self.settings.borders > 1 and not self.options.csf and bool(mask.any())
        mask, told = without_fluid(loaded, straight, mask, borders) if dry else (mask, True)
        inside = mask.view(bool)
        volume = int(np.count_nonzero(inside)) * loaded.volume_ml_per_voxel
        findings = self._findings(straight, volume, areas_on_faces(inside, loaded.grid), borders)
        quality = check_quality(borders, findings, organ=self.settings.target == "brain")
        reasons = (*loaded.doubts, *(() if told else (FLUID_AS_BRIGHT,)))
        doubts = Quality("check" if reasons else "ok", reasons)
        values = {"volume_ml": round(volume, 3), **_evidence_told(borders, findings.expected)}
        return Prediction(
            self._images(loaded, mask, distance, borders),
            values,
            quality.worse_of(doubts),
            ShownScan(loaded.data, loaded.affine, mask),
        )

    def _findings(
        self, scan: Image, volume: float, on_faces: Mapping[str, float], borders: Boundary
    ) -> Findings:
        """What the verdict on a mask of `volume` mL is made from."""
        if volume <= 0:
            return Findings(volume)
        near = share_near_faces(borders.distances[0], borders.view.grid, scan.grid)
        expected = None
        if self.settings.errors and borders.bare <= SKULL_STRIPPED:
            told = evidence_of(borders, scan.grid)
            expected = expected_error(told, self.settings.errors)
        return Findings(volume, larger_areas(on_faces, borders.across), near, expected)

    def _images(
        self, image: Image, mask: NDArray[np.uint8], distance: Float, borders: Boundary
    ) -> dict[str, OutputImage]:
        saved, grid = set(self.options.save), borders.view.grid
        made: dict[str, NDArray[Any]] = {"mask": mask}
        if "brain" in saved:
            made["brain"] = image.data * mask
        if saved & {"distance", "probability"}:
            whole = resampled_map(distance, grid, image.grid)
            made |= {"distance": whole, "probability": self._chance(whole)}
        if saved & set(MAPS):
            seen = self._views(borders, distance)
            variance, mean = (
                resampled_map(values, grid, image.grid, outside=0.0)
                for values in (seen.variance, seen.mean)
            )
            made |= {"variance": variance, "entropy": entropy(mean[None], 0)}
        kinds = self.kinds
        return {
            key: OutputImage(data, image, kinds[key].desc, kinds[key].suffix, written=key in saved)
            for key, data in made.items()
            if key in saved or key == "mask"
        }

    def _chance(self, distance: Float) -> Float:
        """Probability of lying inside the border that was asked for."""
        return probability(distance + self.options.border, self.settings.border_spread)

    def _views(self, borders: Boundary, distance: Float) -> Moments:
        """The probability on the fine grid over mirrored and brighter or darker views of the scan.

        Of a bare brain, whose outline needs no network, there is one view.
        """
        if borders.bare > SKULL_STRIPPED:
            return over_views(self._chance, distance, flips(()))
        network = borders.orientation.network(self.network)

        def inside(image: Float) -> Float:
            distance = network(image)[0] * np.float32(borders.view.spacing)
            return self._chance(distance + np.float32(self.settings.rim))

        sides = flips([borders.orientation.order[0] - 3])
        return over_views(inside, borders.view.image, combined(sides, gammas(CONTRASTS)))


def _evidence_told(borders: Boundary, expected: ExpectedError | None) -> dict[str, float]:
    """What the row of a scan says of its mask."""
    agreement = {"agreement_mirror": borders.mirror, "agreement_turn": borders.turn}
    told = {name: round(one, 4) for name, one in agreement.items() if one is not None}
    told["slope_error"] = round(borders.slope_error, 4)
    if expected is None:
        return told
    return told | {
        "expected_dice": round(expected.dice, 4),
        "good_probability": round(expected.good, 4),
        "expected_missed_ml": round(expected.missed_ml, 1),
        "expected_leaked_ml": round(expected.leaked_ml, 1),
    }


def probability(distance: Float, spread: float) -> Float:
    """Probability of lying inside: logistic in the distance (mm), `spread` mm to each e-fold."""
    return (1 / (1 + np.exp(-np.clip(distance / spread, -30, 30)))).astype(np.float32)


def make_extraction_predictor(model: OpenModel) -> ExtractionPredictor:
    """The predictor of a model folder; raises UsageError for an option that it does not know."""
    asked, settings = model.asked(PredictOptions), model.settings(ExtractionSettings)
    locator = _brain_network(model) if settings.target == "lesion" else None
    return ExtractionPredictor(
        model.files.describe(),
        model.runtime(),
        asked,
        settings,
        locator,
    )


def _brain_network(model: OpenModel) -> Network:
    """The network of the shipped brain model, run as `model` is."""
    files = find_model(LOCATOR)
    unseen = 0.0 if isinstance(files, PublishedFile) else unseen_by(files)
    return network_of(replace(model, files=files).runtime(), unseen)
