# SPDX-License-Identifier: Apache-2.0
"""The sound predictor: any head scan to a mask on its own grid, with a verdict on the mask."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry import Grid
from encephalon.inference.predictor import OutputImage, OutputKind, Prediction
from encephalon.inference.runtimes import Runtime
from encephalon.io import Image, read_image
from encephalon.studies.extraction.bare import BARE, bare_share, outline
from encephalon.studies.extraction.localise import (
    Found,
    Network,
    View,
    find_brain,
    grid_around,
    view_on,
)
from encephalon.studies.extraction.native import map_on, mask_on
from encephalon.studies.extraction.options import ExtractionSettings, PredictOptions
from encephalon.studies.extraction.pieces import largest_piece, second_share, solidify
from encephalon.studies.extraction.quality import (
    PLAUSIBLE_ML,
    Evidence,
    cut_share,
    dice_of,
    judge,
    slope_error,
)
from encephalon.studies.extraction.uprighting import AS_STORED, Orientation, likely_orientations
from encephalon.tables.samples import Sample

Float = NDArray[np.float32]

#: Slope error from which on other orientations are tried, and how much cleaner (as a factor) the
#: border must get for one to be believed.
DOUBTFUL_SLOPE, CLEARLY_CLEANER = 0.25, 0.85
#: Degrees by which the scan is turned, about the left-right axis, to see whether the mask follows.
TURN = 10.0

KINDS: Mapping[str, OutputKind] = {
    "mask": OutputKind("mask", "brain", description="1 inside the border, 0 outside."),
    "brain": OutputKind("T1w", "brain", description="The scan inside the mask, 0 outside."),
    "distance": OutputKind(
        "dist", "brain", description="Signed distance to the border, mm, positive inside."
    ),
    "probability": OutputKind("probseg", "brain", description="Probability of lying inside."),
}


@dataclass(frozen=True)
class Borders:
    """Distances (mm) on the fine grid, and the evidence that came with them.

    Attributes
    ----------
    found
        The brain on the coarse grid.
    view
        The fine grid and what the network saw.
    distances
        (borders, I, J, K), mm, positive inside.
    mirror, turn, slope_error, second_piece, bare
        See `encephalon.studies.extraction.quality.Evidence`.
    orientation
        How the head lies in the scan's axes, once these are sorted to RAS.
    """

    found: Found
    view: View
    distances: Float
    mirror: float
    turn: float
    slope_error: float
    second_piece: float
    bare: float = 0.0
    orientation: Orientation = AS_STORED


@dataclass(frozen=True)
class SoundPredictor:
    """A loaded extraction model.

    Attributes
    ----------
    model
        What sidecars say of the model.
    runtime
        The opened graph.
    settings
        The study's settings from the model's recipe.
    options
        What the user asked for.
    locator
        The network that finds the brain, when the model itself finds something else in it.
    """

    model: Mapping[str, str]
    runtime: Runtime
    settings: ExtractionSettings
    options: PredictOptions
    locator: Runtime | None = None
    notice: str = ""
    outputs: Mapping[str, OutputKind] = field(init=False)

    def __post_init__(self) -> None:
        kinds = {key: KINDS[key] for key in KINDS if key in self.options.save}
        object.__setattr__(self, "outputs", kinds)

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.model["name"])

    def describe(self) -> dict[str, Any]:
        """Model, runtime, device and options, for sidecars."""
        return {
            "model": dict(self.model),
            "runtime": self.runtime.name,
            "device": self.runtime.device,
            "python": platform.python_version(),
            "border_mm": self.options.border,
            "csf": self.options.csf,
            **({"notice": self.notice} if self.notice else {}),
        }

    def read(self, sample: Sample) -> Image:
        """The scan of `sample`; raises InputError naming the file."""
        return read_image(sample.inputs["image"])

    def predict(self, loaded: Image) -> Prediction:
        """Mask and whatever else was asked for, on the grid of `loaded`."""
        borders = find_borders(loaded, self.settings, self._network, self._locator)
        distance = self._distance(borders)
        mask = mask_on(distance, borders.view.grid, loaded.grid, self.options.border)
        evidence = _evidence(borders, mask, loaded.grid)
        quality = judge(evidence, organ=self.settings.target == "brain")
        values = {
            "volume_ml": round(evidence.volume_ml, 3),
            "agreement_mirror": round(evidence.mirror, 4),
            "agreement_turn": round(evidence.turn, 4),
            "slope_error": round(evidence.slope_error, 4),
        }
        images = self._images(loaded, mask, distance, borders.view.grid)
        return Prediction(images, values, quality, LazyPictures(loaded, mask))

    def _network(self, image: Float) -> Float:
        return _distances(self.runtime, image)

    def _locator(self, image: Float) -> Float:
        return _distances(self.locator or self.runtime, image)

    def _distance(self, borders: Borders) -> Float:
        channel = 0 if self.options.csf else len(borders.distances) - 1
        return solidify(borders.distances[channel], self.options.border)

    def _images(
        self, image: Image, mask: NDArray[np.uint8], distance: Float, grid: Grid
    ) -> dict[str, OutputImage]:
        images = {"mask": OutputImage(mask, image, "brain", "mask", "mask" in self.options.save)}
        if "brain" in self.options.save:
            images["brain"] = OutputImage(image.data * mask, image, "brain", "T1w")
        if {"distance", "probability"} & set(self.options.save):
            whole = map_on(distance, grid, image.grid)
            if "distance" in self.options.save:
                images["distance"] = OutputImage(whole, image, "brain", "dist")
            if "probability" in self.options.save:
                chance = probability(whole + self.options.border, self.settings.border_spread)
                images["probability"] = OutputImage(chance, image, "brain", "probseg")
        return images


def _distances(runtime: Runtime, image: Float) -> Float:
    """Distances (borders, I, J, K) in voxels for one image (I, J, K)."""
    (batch,) = runtime.run(image[None, None])
    distances: Float = batch[0]
    return distances


@dataclass(frozen=True)
class LazyPictures:
    """Pictures of a scan and its mask, drawn only when a report asks for them."""

    image: Image
    mask: NDArray[np.uint8]

    def __iter__(self) -> Iterator[Any]:
        from encephalon.studies.extraction.report import scan_pictures

        return iter(scan_pictures(self.image.data, self.image.affine, self.mask))


def probability(distance: Float, spread: float) -> Float:
    """Probability of lying inside: logistic in the distance (mm), `spread` mm to each e-fold."""
    return (1 / (1 + np.exp(-np.clip(distance / spread, -30, 30)))).astype(np.float32)


def find_borders(
    image: Image, settings: ExtractionSettings, network: Network, locator: Network
) -> Borders:
    """Find the brain in `image`, draw its borders on the fine grid, and gather the evidence.

    When the border is doubtful, the head may lie otherwise than the header says: the orientations
    that its symmetry leaves are tried, and the best is kept if its border is clearly cleaner. A
    scan in which nothing is found yields distances that are negative everywhere.
    """
    stored = _borders_in(AS_STORED, image, settings, network, locator)
    if not _doubtful(stored):
        return stored
    others = [one for one in likely_orientations(stored.found.view, locator) if one != AS_STORED]
    tried = (_borders_in(one, image, settings, network, locator) for one in others)
    best = min(tried, key=lambda borders: borders.slope_error)
    return best if best.slope_error < CLEARLY_CLEANER * stored.slope_error else stored


def _doubtful(borders: Borders) -> bool:
    """Whether the border is blurred or holds a volume that no human brain has."""
    volume = np.count_nonzero(borders.distances[0] > 0) * borders.view.spacing**3 / 1000
    possible = PLAUSIBLE_ML[0] <= volume <= PLAUSIBLE_ML[1]
    return borders.bare <= BARE and (borders.slope_error > DOUBTFUL_SLOPE or not possible)


def _borders_in(
    orientation: Orientation,
    image: Image,
    settings: ExtractionSettings,
    network: Network,
    locator: Network,
) -> Borders:
    """The borders for a head that lies in `orientation` to the axes of the scan."""
    network, locator = orientation.network(network), orientation.network(locator)
    grids = orientation.grids(settings.grids)
    found = find_brain(image, grids, locator)
    if not found.mask.any():
        return _nothing(found, settings.borders, orientation)
    view = view_on(image, grid_around(found, grids.fine, grids.margin))
    left_right = orientation.order[0]
    upright = network(view.image)
    mirrored = np.flip(network(np.flip(view.image, left_right)), left_right + 1)
    mean: Float = (upright + mirrored) / np.float32(2)
    bare = bare_share(view.image, mean[0] * view.spacing) if settings.target == "brain" else 0.0
    drawn = np.broadcast_to(outline(image, view.grid), mean.shape) if bare > BARE else mean
    return Borders(
        found,
        view,
        drawn * np.float32(view.spacing),
        mirror=dice_of(upright[0] > 0, mirrored[0] > 0),
        turn=_turned_agreement(view, mean[0], grids.coarse, network),
        slope_error=slope_error(mean[0]),
        second_piece=second_share(mean[0] > 0),
        bare=bare,
        orientation=orientation,
    )


def _nothing(found: Found, borders: int, orientation: Orientation) -> Borders:
    nowhere = np.full((borders, *found.view.grid.shape), -1.0, np.float32)
    return Borders(found, found.view, nowhere, 0.0, 0.0, 1.0, 0.0, 0.0, orientation)


def _turned_agreement(
    view: View, distance: Float, shape: tuple[int, int, int], network: Network
) -> float:
    """Dice between the mask and that of the scan turned by `TURN`, both on a coarse grid."""
    from scipy import ndimage

    angle = np.deg2rad(TURN)
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    zoom = float((np.array(view.image.shape) / np.array(shape)).max()) * 1.25
    matrix = turn * zoom
    offset = (np.array(view.image.shape) - 1) / 2 - matrix @ ((np.array(shape) - 1) / 2)
    blurred = ndimage.uniform_filter(view.image, max(1, round(zoom)))
    image = ndimage.affine_transform(blurred, matrix, offset, shape, order=1)
    mine = ndimage.affine_transform(distance, matrix, offset, shape, order=1, cval=-1.0) > 0
    return dice_of(mine, largest_piece(network(image.astype(np.float32))[0] > 0))


def _evidence(borders: Borders, mask: NDArray[np.uint8], grid: Grid) -> Evidence:
    inside = mask.view(bool)
    voxel_ml = float(np.prod(grid.affine.spacing)) / 1000
    return Evidence(
        volume_ml=int(np.count_nonzero(inside)) * voxel_ml,
        cut_share=cut_share(inside, grid),
        second_piece=borders.second_piece,
        mirror=borders.mirror,
        turn=borders.turn,
        slope_error=borders.slope_error,
        bare=borders.bare,
        reoriented=borders.orientation != AS_STORED,
    )
