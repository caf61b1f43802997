# SPDX-License-Identifier: Apache-2.0
"""How unlike all that a model learnt from a new sample is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Usual"]

Values = NDArray[np.float64]

#: Of the distances of samples, the percentiles that are kept.
PERCENTILES = (0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 100.0)


@dataclass(frozen=True, eq=False)
class Usual:
    """How far the samples that a model learnt from lie from their mean.

    distances       at the PERCENTILES: roots of mean squared differences, standardised
    centre, spread  the mean (F,) and the standard deviation around it over all features, where they
                    were not standardised before
    """

    distances: tuple[float, ...]
    centre: tuple[float, ...] = ()
    spread: float = 1.0

    @classmethod
    def fit(cls, features: Values, *, standardised: bool) -> Usual:
        """What is usual of features (N, F), NaN where unknown."""
        if standardised:
            found = cls(())
        else:
            centre = np.round(features.mean(axis=0), 4)
            found = cls((), tuple(centre.tolist()), float(np.std(features - centre)) or 1.0)
        # Each is seen from the mean of the others, as a new sample will be.
        apart = len(features) / max(1, len(features) - 1)
        away = [apart * found.distance(row) for row in features]
        return replace(found, distances=tuple(np.percentile(away, PERCENTILES).tolist()))

    def distance(self, features: Values) -> float:
        """How far features (F,) of a sample lie from the mean, of what is known."""
        away = (features - (np.array(self.centre) if self.centre else 0.0)) / self.spread
        return float(np.sqrt(np.nanmean(away**2)))

    def percentile(self, distance: float) -> float:
        """The share of those samples that lie nearer to the mean, in percent."""
        return float(np.interp(distance, self.distances, PERCENTILES, left=0.0, right=100.0))
