# SPDX-License-Identifier: Apache-2.0
"""What a classifier said of a set of images, with all that the evaluation needs to know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNKNOWN_CLASS", "Scored", "concatenate"]

UNKNOWN_CLASS = -1
"""The truth of an image that nobody labelled."""


@dataclass(frozen=True)
class Scored:
    """Predictions of N images in C classes, in the order of the table.

    ids            (N) names
    classes        (C) class names, in the order of the logits; of two, the second is "positive"
    logits         (N, C) raw outputs of the network, float64
    probabilities  (N, C) what is reported: calibrated in sound mode
    truth          (N,) index of the true class, or UNKNOWN_CLASS
    rows           (N) cells of the table's row: covariates, group, levels
    fold           (N,) the fold that each image was tested in, from 0; 0 where there are none
    """

    ids: Sequence[str]
    classes: tuple[str, ...]
    logits: NDArray[np.float64] = field(repr=False)
    probabilities: NDArray[np.float64] = field(repr=False)
    truth: NDArray[np.int64] = field(repr=False)
    rows: Sequence[Mapping[str, Any]] = field(repr=False)
    fold: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) the most likely class."""
        return np.asarray(np.argmax(self.probabilities, axis=1), np.int64)

    @property
    def labelled(self) -> Scored:
        """Those whose class is known."""
        return self.select(np.flatnonzero(self.truth != UNKNOWN_CLASS))

    def column(self, name: str) -> list[str]:
        """The cells of one column of the table, "" where it says nothing."""
        cells = [row.get(name) for row in self.rows]
        return ["" if cell is None else str(cell) for cell in cells]

    def select(self, index: NDArray[np.int64]) -> Scored:
        """The images at these positions."""
        return replace(
            self,
            ids=[self.ids[i] for i in index],
            logits=self.logits[index],
            probabilities=self.probabilities[index],
            truth=self.truth[index],
            rows=[self.rows[i] for i in index],
            fold=self.fold[index],
        )


def concatenate(parts: Sequence[Scored]) -> Scored:
    """Several sets of predictions, of the same classes, as one."""
    first = parts[0]
    return replace(
        first,
        ids=[name for part in parts for name in part.ids],
        logits=np.concatenate([part.logits for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
        rows=[row for part in parts for row in part.rows],
        fold=np.concatenate([part.fold for part in parts]),
    )
