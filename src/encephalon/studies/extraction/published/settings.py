# SPDX-License-Identifier: Apache-2.0
"""What the `[study]` section of a legacy recipe may say; checked without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from encephalon.studies.extraction.settings import Section, Size
from encephalon.transforms.rigid import PairRanges

__all__ = ["Conformed", "LegacySettings"]

#: The network halves its grid three times.
MULTIPLE = 8


class Conformed(Section):
    """The grid that scans are put on: voxels, and their edge in mm."""

    shape: Size = (256, 256, 256)
    spacing_mm: float = Field(default=1.0, gt=0)


class LegacySettings(Section):
    """How the published networks were trained; the defaults are the published values.

    Attributes
    ----------
    conform
        The grid on which everything happens.
    normalise
        "z-score": over the whole volume, background included, after it was moved.
    block
        Voxels of the blocks that the volume is cut into, not overlapping; they fill its shape.
    threshold
        Probability above which a voxel belongs to the mask, when an epoch is judged and later.
    augmentation
        How pairs are moved; see `encephalon.transforms.rigid`.
    target
        What the mask is of: "brain", or "lesion" for something inside it.
    """

    conform: Conformed = Conformed()
    normalise: Literal["z-score"] = "z-score"
    block: Size = (128, 128, 128)
    threshold: float = Field(default=0.3, gt=0, lt=1)
    augmentation: PairRanges = PairRanges()
    target: Literal["brain", "lesion"] = "brain"

    @field_validator("augmentation")
    @classmethod
    def _possible(cls, ranges: PairRanges) -> PairRanges:
        if not 0 <= ranges.probability <= 1:
            raise ValueError("has a probability that is not between 0 and 1")
        return ranges

    @model_validator(mode="after")
    def _blocks_fill_the_volume(self) -> LegacySettings:
        for size, block in zip(self.conform.shape, self.block, strict=True):
            if block < MULTIPLE or block % MULTIPLE or size % block:
                raise ValueError(
                    f"the block {list(self.block)} must fill the shape {list(self.conform.shape)} "
                    f"in multiples of {MULTIPLE} voxels"
                )
        return self
