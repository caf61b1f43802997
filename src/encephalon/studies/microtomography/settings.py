# SPDX-License-Identifier: Apache-2.0
"""What a recipe of microtomography may say, and what may be asked of its models."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from encephalon.recipes.schema import Flag, Network, Section, listed
from encephalon.transforms.tiles import AnyOperation

__all__ = [
    "Intensity",
    "MicrotomographySettings",
    "PredictOptions",
    "SelfSupervision",
    "sees_volumes",
]

Method = Literal["supervised", "byol", "myow", "myow-merged", "pca", "nmf", "frozen"]
Saved = Literal["structures", "regions", "variance", "entropy"]
LABELS: tuple[Saved, ...] = ("structures", "regions")
"""What is always written, of structures or of regions."""
SELF_SUPERVISED = ("byol", "myow", "myow-merged")
#: Networks of three dimensions alone; all others have the option `spatial_dims`.
VOLUME_NETWORKS = ("vnet-light", "highresnet")


def sees_volumes(network: Network) -> bool:
    """Whether a network is given (B, 1, Z, Y, X), and not the single slices (B, 1, Y, X)."""
    return network.name in VOLUME_NETWORKS or network.options.get("spatial_dims", 2) == 3


class Intensity(Section):
    """How voxels become numbers: (v - low) / (high - low), then less the mean, over the spread.

    What is left out is measured on the tiles that train, and written into the model. A model of
    images that differ in brightness has `each_box`, which measures the window of each box anew:
    its percentiles 0.1 and 99.9, or two standard deviations around its mean, which bright specks
    move less.
    """

    window: tuple[float, float] | None = None
    mean: float | None = None
    std: float | None = Field(default=None, gt=0)
    each_box: Literal["percentiles", "deviations"] | None = None


class SelfSupervision(Section):
    """How a representation is learnt without labels, as MTNeuro does (Quesada et al. 2022).

    momentum              Of the averaged target network at the start; it rises to 1 by a cosine.
    pool                  Other tiles, among which neighbours are sought.
    mined_weight, ramp_epochs
                          Weight of the neighbours, reached after so many epochs.
    """

    momentum: float = Field(default=0.996, ge=0, lt=1)
    pool: int = Field(default=8, ge=1)
    mined_weight: float = Field(default=0.1, ge=0)
    ramp_epochs: int = Field(default=10, ge=0)


class MicrotomographySettings(Section):
    """What `[study]` says.

    target        "region" tells the class of a tile, "structure" that of each voxel,
                  "representation" tells tiles apart without either.
    method        How a representation is learnt; "supervised" for the other two targets. "frozen"
                  takes an encoder as it is, for one from elsewhere.
    structures    The classes of voxels in order, as the labels of the table have them.
    augmentation  What is done to tiles in training, in this order: { name = "flip-rows", ... }, see
                  `encephalon.transforms.tiles`.
    encoder_from  A model of tiles whose encoder is taken as the start.
    components    Of PCA and NMF.
    """

    target: Literal["region", "structure", "representation"] = "region"
    method: Method = "supervised"
    structures: tuple[str, ...] = ()
    intensity: Intensity = Intensity()
    augmentation: tuple[AnyOperation, ...] = ()
    encoder_from: str | None = None
    components: int = Field(default=256, ge=1)
    self_supervision: SelfSupervision = SelfSupervision()

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if (self.target == "representation") == (self.method == "supervised"):
            raise ValueError(
                f"has the target {self.target!r} and the method {self.method!r}: a representation "
                "is learnt by one of the other methods, and all else is supervised"
            )
        if (self.target == "structure") == (len(self.structures) < 2):
            raise ValueError("needs two or more structures for that target, and none for another")
        return self


class PredictOptions(Section):
    """What may be asked of a model of tiles, for volumes that are worked on block by block."""

    tile: Annotated[
        int | None,
        Flag("--tile", "Side of the tiles whose regions are told, voxels; as in training."),
    ] = Field(default=None, ge=8)
    blend: Annotated[
        bool, Flag("--blend", "Let the tiles of a volume fade into each other, instead of ending.")
    ] = False
    save: Annotated[
        tuple[Saved, ...],
        Flag("--save", "Beside the labels of structures: variance,entropy.", "KINDS"),
    ] = LABELS

    @field_validator("save", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        words = listed(value)
        return (*LABELS, *words) if isinstance(words, list | tuple) else value
