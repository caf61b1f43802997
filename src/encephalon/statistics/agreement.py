# SPDX-License-Identifier: Apache-2.0
"""How well two ways of measuring the same agree: bias and limits of agreement.

After Bland and Altman, Lancet 1986; 327: 307-310.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from encephalon.errors import UsageError

__all__ = ["Agreement", "agreement_of"]

# Standard deviations on either side that hold 95 % of what is normally distributed.
_WIDTH = 1.96


@dataclass(frozen=True)
class Agreement:
    """Differences of pairs by their means, in the unit of what was measured.

    means        of each pair, (N,)
    differences  of each pair, the first less the second, (N,)
    bias         the mean difference; NaN without pairs
    sd           standard deviation of the differences (n - 1); NaN for fewer than two
    """

    means: tuple[float, ...]
    differences: tuple[float, ...]
    bias: float
    sd: float

    @property
    def low(self) -> float:
        """The lower 95 % limit of agreement: 1.96 standard deviations below the bias."""
        return self.bias - _WIDTH * self.sd

    @property
    def high(self) -> float:
        """The upper one, as far above it."""
        return self.bias + _WIDTH * self.sd


def agreement_of(measured: ArrayLike, reference: ArrayLike) -> Agreement:
    """Compare measurements (N,) with those of a reference (N,); pairs that lack one are left out.

    Raises UsageError for two of different lengths.

    >>> found = agreement_of([11.0, 19.0], [10.0, 20.0])
    >>> found.means, found.differences, found.bias
    ((10.5, 19.5), (1.0, -1.0), 0.0)
    """
    first, second = (np.asarray(each, np.float64).ravel() for each in (measured, reference))
    if first.shape != second.shape:
        raise UsageError(
            f"Agreement is of pairs, but there are {first.size} measurements and {second.size} of "
            "the reference: give one for each."
        )
    known = np.isfinite(first) & np.isfinite(second)
    means, differences = ((first + second) / 2)[known], (first - second)[known]
    return Agreement(
        tuple(means.tolist()),
        tuple(differences.tolist()),
        float(differences.mean()) if differences.size else float("nan"),
        float(differences.std(ddof=1)) if differences.size > 1 else float("nan"),
    )
