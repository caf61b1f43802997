# SPDX-License-Identifier: Apache-2.0
"""The settings of the extraction study: what a recipe's `[study]` section may say."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from encephalon.transforms.ranges import SpatialRanges, SynthesisRanges

Size = tuple[int, int, int]


class Section(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Grids(Section):
    """The two working grids, voxels along left-right, back-front and foot-head.

    `coarse` sees the whole field of view and finds the brain; `fine` is laid around the brain.
    """

    coarse: Size = (48, 64, 48)
    fine: Size = (96, 112, 96)
    margin: float = Field(default=0.12, ge=0, le=1)


class ExtractionSettings(Section):
    """Everything that only this study understands.

    Attributes
    ----------
    grids
        See `Grids`.
    placement, synthesis
        How heads lie in the grid and how scans are made up.
    coarse_steps
        Batches at the beginning that use the coarse grid alone, which is eight times as fast.
    coarse_share
        Share of coarse batches afterwards.
    coarse_batch
        Samples in a batch of the coarse grid; a batch of the fine grid has `batch_size`.
    real_share
        Share of samples drawn from rows with a scan, when the table has both kinds.
    validation_samples
        Samples of each grid that every epoch is judged by.
    """

    grids: Grids = Grids()
    placement: SpatialRanges = SpatialRanges()
    synthesis: SynthesisRanges = SynthesisRanges()
    coarse_steps: int = Field(default=2000, ge=0)
    coarse_share: float = Field(default=0.4, ge=0, le=1)
    coarse_batch: int = Field(default=4, gt=0)
    real_share: float = Field(default=0.5, ge=0, le=1)
    validation_samples: int = Field(default=12, gt=0)
