# SPDX-License-Identifier: Apache-2.0
"""How far to trust what is told of a person: how unlike the people who trained they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from encephalon.inference.predictor import Quality

__all__ = ["Unlikeness", "check_quality"]

#: Percent of the people who train whom a person may be further from the mean than: beyond, one of a
#: hundred of the like would lie.
USUAL = 99.0


@dataclass(frozen=True)
class Unlikeness:
    """How far a person lies from the mean of those who trained, in one input.

    distance    root of the mean squared standardised difference: about 1 is usual
    percentile  of the people who trained, how many percent lie nearer
    """

    distance: float
    percentile: float


def check_quality(unlike: Mapping[str, Unlikeness], doubts: Sequence[str] = ()) -> Quality:
    """The verdict: "check" for a person who is unlike all others, and for doubts of a scan."""
    reasons = [
        f"the {name} is further from the mean of the people who trained than {each.percentile:.0f} "
        f"% of theirs (distance {each.distance:.1f})"
        for name, each in unlike.items()
        if each.percentile > USUAL
    ]
    reasons += doubts
    return Quality("check" if reasons else "ok", tuple(reasons))
