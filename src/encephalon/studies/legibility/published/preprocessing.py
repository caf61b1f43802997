# SPDX-License-Identifier: Apache-2.0
"""What the published network is given, as numbers: images, metadata and targets.

An image is published as a z-score and then between -1 and 1. The second undoes the first, as both
are straight lines, and so stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from encephalon.errors import ContentError
from encephalon.studies.legibility.data import Encoding, block_names
from encephalon.studies.legibility.settings import Cohort

__all__ = ["TargetScaling", "metadata_codes", "rescaled"]

#: Range of the levels of an image that is as good as the same everywhere.
FLAT = 1e-6


def rescaled(images: Tensor) -> Tensor:
    """Images (B, 1, side, side, side), the lowest value of each at -1 and its highest at 1.

    All voxels count, as published, those around the brain too.
    """
    low = images.amin(dim=(1, 2, 3, 4), keepdim=True)
    high = images.amax(dim=(1, 2, 3, 4), keepdim=True)
    return 2 * (images - low) / (high - low).clamp_min(FLAT) - 1


def metadata_codes(cohort: Cohort, columns: int) -> NDArray[np.float32]:
    """What makes metadata (N, columns) of the values (N, width) of all blocks: (width, columns).

    A number stands as it is: it is announced as normalised, but never was. A category is its
    number, counted from 0. Behind what is used stand the columns of what is not, which are zeros.
    """
    width = sum(len(block_names(block)) for block in cohort.blocks.values())
    codes = np.zeros((width, columns), np.float32)
    kinds = [kind for block in cohort.blocks.values() for kind in block.columns.values()]
    start = 0
    for column, kind in enumerate(kinds):
        each = [1] if kind == "number" else range(len(kind))
        codes[start : start + len(each), column] = each
        start += len(each)
    return codes


@dataclass(frozen=True)
class TargetScaling:
    """A standardised target, clamped before, from `low` to `high`: they are learnt as -1 and 1."""

    low: float
    high: float

    @classmethod
    def of(cls, encoding: Encoding, name: str) -> Self:
        """That of a target; raises ContentError for one that is constant where it is learnt."""
        low, high, mean, deviation = encoding.targets[name]
        if not low < high:
            raise ContentError(
                f"The target {name!r} is {low:g} of nearly everybody who trains: there is nothing "
                "to tell, so choose another target."
            )
        return cls((low - mean) / deviation, (high - mean) / deviation)

    def learnt(self, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        """The standardised target as it is learnt."""
        return 2 * (standardised - self.low) / (self.high - self.low) - 1

    def standardised(self, learnt: Tensor) -> Tensor:
        """What is learnt as the standardised target."""
        return (learnt + 1) / 2 * (self.high - self.low) + self.low
