# SPDX-License-Identifier: Apache-2.0
"""Which slices of a file were measured, and which are only filled up with zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, listed
from encephalon.studies.isotropic.remarks import Remarks

__all__ = ["measured_slices"]

#: A head ends before a slice of zeros if the slice beside it is filled by less than this share of
#: the fullest one; otherwise the slice was never measured.
ENDING = 0.25


def measured_slices(data: NDArray[Any], axis: int, remarks: Remarks) -> tuple[int, ...]:
    """Which slices across `axis` of `data` (I, J, K) were measured: all but the missing ones.

    Missing are slices of nothing but zeros between others, and those at an end that cut a head off;
    above and below a head that ends before them zeros are its air. Raises ContentError when fewer
    than two slices hold anything.
    """
    others = tuple(other for other in range(3) if other != axis)
    filled = np.count_nonzero(data, axis=others)
    full = np.flatnonzero(filled)
    if len(full) < 2:
        raise ContentError(
            f"{remarks.name}: only {len(full)} of its {len(filled)} slices holds anything but "
            "zeros, and two are needed; check the file."
        )
    first, last = int(full[0]), int(full[-1])
    missing = filled == 0
    holes = [place for place in range(first, last) if missing[place]]
    for end, place in ((slice(0, first), first), (slice(last + 1, None), last)):
        missing[end] &= filled[place] > ENDING * filled.max()
    ends = [int(place) for place in np.flatnonzero(missing) if place not in holes]
    if holes:
        remarks.warn(f"{_slices(holes, len(filled))} nothing but zeros and interpolated")
    if ends:
        remarks.note(f"{_slices(ends, len(filled))} nothing but zeros and left out")
    return tuple(int(place) for place in np.flatnonzero(~missing))


def _slices(places: list[int], count: int) -> str:
    """Slices as people count them, from 1: "slices 3, 4 of 30 are"."""
    shown = listed((place + 1 for place in places), 8)
    one = len(places) == 1
    return f"{'slice' if one else 'slices'} {shown} of {count} {'is' if one else 'are'}"
