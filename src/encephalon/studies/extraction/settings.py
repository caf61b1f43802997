# SPDX-License-Identifier: Apache-2.0
"""The settings of the extraction study: what a recipe's `[study]` section and a user may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from encephalon.recipes.schema import SERIES, Flag, Section, listed
from encephalon.transforms.parameters import SpatialRanges, SynthesisRanges

__all__ = ["CONTENTS", "ExtractionSettings", "Grids", "PredictOptions", "Section", "Size"]

Size = tuple[int, int, int]
#: What BIDS calls the content of a mask ("Type"), by the label of what it is of.
CONTENTS = {"brain": "Brain", "meningioma": "Lesion"}

#: Dice with the truth from which on a mask is good, and the probability of it that "ok" stands for.
GOOD_DICE, SURE = 0.94, 0.95
#: The model that finds brains for every other one.
LOCATOR = "brain-extraction"
#: What the label 1 of a model means, by its target.
LABELS = {"brain": "brain", "lesion": "tumour"}


class Grids(Section):
    """The two working grids, voxels along left-right, back-front and foot-head.

    `coarse` sees the whole field of view and finds the brain; `fine` is laid around the brain.
    """

    coarse: Size = (48, 64, 48)
    fine: Size = (96, 112, 96)
    margin: float = Field(default=0.12, ge=0, le=1)


class Fit(Section):
    """A linear model of the errors of a mask in its evidence; see `segmentation.evidence`.

    evidence       Names of what it knows.
    centre, scale  Mean and standard deviation of each on the heads that it was fitted on.
    good           Log-odds of a Dice above `GOOD_DICE`: intercept, then a coefficient each.
    loss           Logarithm of 1 - Dice, likewise.
    missed, leaked Logarithm of 1 + mL of brain outside the mask, and of mask outside the brain.
    """

    evidence: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    good: tuple[float, ...]
    loss: tuple[float, ...]
    missed: tuple[float, ...]
    leaked: tuple[float, ...]

    @model_validator(mode="after")
    def _lengths(self) -> Fit:
        count = len(self.evidence)
        lines = self.good, self.loss, self.missed, self.leaked
        if {len(self.centre), len(self.scale)} != {count} or {*map(len, lines)} != {count + 1}:
            raise ValueError(f"coefficients must be {count} and an intercept: fit it again")
        return self


class ErrorModel(Section):
    """How wrong a mask is likely to be: of several fits that which knows most of what was seen."""

    fits: tuple[Fit, ...]


class ExtractionSettings(Section):
    """Everything that only this study understands.

    grids                 See `Grids`.
    placement, synthesis  How heads lie in the grid and how scans are made up.
    coarse_steps          Batches at the beginning that use the coarse grid alone, which is eight
                          times as fast.
    coarse_share          Share of coarse batches afterwards.
    coarse_batch          Samples in a batch of the coarse grid; a batch of the fine grid has
                          `batch_size`.
    real_share            Share of samples drawn from rows with a scan, when the table has both
                          kinds.
    validation_samples    Samples of each grid that every epoch is judged by.
    target                "brain": the target encloses the brain, which is what the grids are laid
                          around; "lesion": something inside it, so that the shipped brain model
                          lays the grids.
    rim                   Millimetres outside the learnt border of the brain at which its mask ends.
                          Masks that are drawn voxel by voxel hold every voxel that the brain
                          touches, which at 1 mm is half a mm.
    errors                What tells how wrong a mask is likely to be, fitted after the training; of
                          a model without, limits of the evidence make the verdict.
    unseen                What the network sees where the scan does not reach; scans lie in 0 to 1.
                          At 0 it cannot tell that from air.
    border_spread         Millimetres of distance over which the odds of lying inside change by a
                          factor of e; fitted with `errors`, after the training.
    """

    grids: Grids = Grids()
    placement: SpatialRanges = SpatialRanges()
    synthesis: SynthesisRanges = SynthesisRanges()
    coarse_steps: int = Field(default=2000, ge=0)
    coarse_share: float = Field(default=0.4, ge=0, le=1)
    coarse_batch: int = Field(default=4, gt=0)
    real_share: float = Field(default=0.5, ge=0, le=1)
    validation_samples: int = Field(default=12, gt=0)
    target: Literal["brain", "lesion"] = "brain"
    rim: float = Field(default=0.0, ge=0, le=5)
    errors: ErrorModel | None = None
    unseen: float = Field(default=0.0, ge=-1, le=0)
    border_spread: float = Field(default=1.0, gt=0)

    @property
    def borders(self) -> int:
        """Borders that the network draws: brain and tissue, or that of the lesion."""
        return 2 if self.target == "brain" else 1


Output = Literal["mask", "brain", "distance", "probability", "variance", "entropy"]
#: Of a model of either mode; one that is published has no distance.
SAVE = Flag("--save", "Images to write: mask,brain,distance,probability,variance,entropy.", "KINDS")


class PredictOptions(Section):
    """What the user may ask of a prediction in default mode.

    border  Millimetres by which the border is moved outwards (inwards when negative).
    csf     Whether the fluid around the brain belongs to it.
    fast    Whether to predict once, neither mirrored nor turned, and so to tell no agreement.
    series  Which DICOM series of a folder, or which volume of one; see `encephalon.io.dicom.read`.
    save    The images to write.
    """

    border: Annotated[
        float, Flag("--border", "Move the mask's border outwards, or inwards below 0.", "MM")
    ] = Field(default=0.0, ge=-10, le=10, serialization_alias="border_mm")
    csf: Annotated[
        bool, Flag("--csf/--no-csf", "Keep the CSF around the brain, or leave it out.")
    ] = True
    fast: Annotated[
        bool,
        Flag(
            "--fast --disable-tta",
            "Predict once, not mirrored and turned too (no test-time augmentation): fewer checks.",
        ),
    ] = False
    series: Annotated[str | None, SERIES] = Field(default=None, coerce_numbers_to_str=True)
    save: Annotated[tuple[Output, ...], SAVE] = ("mask",)

    @field_validator("save", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return listed(value)
