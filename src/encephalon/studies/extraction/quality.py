# SPDX-License-Identifier: Apache-2.0
"""Does this mask deserve trust? Evidence, gathered while predicting, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from encephalon.inference.predictor import Quality, Status, told_apart
from encephalon.studies.extraction.segmentation.boundary import (
    PLAUSIBLE_ML,
    POSSIBLE_ML,
    SKULL_STRIPPED,
    Boundary,
)
from encephalon.studies.extraction.segmentation.evidence import EDGE_MM, ExpectedError
from encephalon.studies.extraction.settings import GOOD_DICE, SURE

#: Area (cm²) of brain on a face of the field of view from which on the brain is cut. Chosen on
#: few heads: 17 scans of 9 people as they are, and cut at 20 to 92 % of the brain along each axis.
#: The whole ones have 0.8 at the most, those cut on purpose 16 at the least, and the two that the
#: scanner cut 2.4 and 27. With one person left out the middle between the two kinds lies from 1.4
#: to 3.6, which changes the verdict on the scan with 2.4 alone. A cut through the stem alone, at
#: 5 % of the height, is not seen.
CUT_CM2 = 2.0
#: Size of the second largest piece, relative to the largest, before pieces are dropped.
PIECES = (0.02, 0.25)
#: Dice between the mask and what the network says of the mirrored and the turned scan. The heads
#: of the development data reach 0.973 and 0.931 at the least.
AGREEMENT_MIRROR, AGREEMENT_TURN = (0.965, 0.90), (0.90, 0.80)
#: Mean departure of the distance's slope from 1 near the border. A true distance has slope 1
#: everywhere; a network that has not seen the like of its input writes flat or torn maps.
SLOPE = (0.30, 0.45)
#: Share of the mask's border near a face of the field of view from which on it may be cut.
NEAR_SHARE = 0.02
#: Probability of a good mask below which it has failed.
LOST = 0.2


@dataclass(frozen=True)
class Findings:
    """What a verdict is made from, beside the borders.

    volume    Of the mask, mL.
    areas     Of brain on the faces of the field of view, by side, cm².
    near      Share of the mask's border within `EDGE_MM` of a face.
    expected  How wrong the mask is likely to be; None of a model that cannot tell.
    """

    volume: float
    areas: Mapping[str, float] = field(default_factory=dict)
    near: float = 0.0
    expected: ExpectedError | None = None


def check_quality(borders: Boundary, found: Findings, *, organ: bool = True) -> Quality:
    """The verdict on a mask; `organ` False (a lesion) leaves out what holds of whole brains."""
    if found.volume <= 0:
        return Quality("fail", ("the mask is empty",))
    doubts = [
        (
            _check(borders.reoriented),
            "the orientation in the header seems wrong, left and right may be swapped",
        ),
        *(_of_a_brain(borders, found) if organ else ()),
        *(_disagreement(borders, organ) if found.expected is None else (_error(found.expected),)),
    ]
    quality = Quality("ok")
    for status, reason in doubts:
        if status != "ok":
            quality = quality.worse_of(Quality(status, (reason,)))
    return quality


def _of_a_brain(borders: Boundary, found: Findings) -> list[tuple[Status, str]]:
    """Size, field of view and skull."""
    (low, high), (least, most) = PLAUSIBLE_ML, POSSIBLE_ML
    volume = found.volume
    size = _status(volume, high, most) if volume > high else _status(-volume, -low, -least)
    cut = {side: area for side, area in found.areas.items() if area >= CUT_CM2}
    where = " and ".join(f"at the {side} ({area:.0f} cm²)" for side, area in cut.items())
    return [
        (
            size,
            f"the volume of {volume:.0f} mL is outside the human range of {low:.0f}-{high:.0f} mL",
        ),
        (_check(bool(cut)), f"the field of view cuts the brain {where}"),
        (
            _check(not cut and found.near > NEAR_SHARE),
            f"the field of view ends within {EDGE_MM:.0f} mm of the mask over "
            f"{found.near:.0%} of its surface",
        ),
        (
            _check(borders.bare > SKULL_STRIPPED),
            "the skull was taken away before, so the mask is all that is left",
        ),
    ]


def _error(expected: ExpectedError) -> tuple[Status, str]:
    """Whether the mask is good enough, as far as can be told."""
    words = (
        f"the mask may be wrong (Dice about {expected.dice:.2f}, above {GOOD_DICE} with a "
        f"probability of {told_apart(expected.good, SURE, 0, '%')}, expected {SURE:.0%})"
    )
    return _status(-expected.good, -SURE, -LOST), words


def _disagreement(borders: Boundary, organ: bool) -> list[tuple[Status, str]]:
    """Limits of the evidence, of a model whose errors were not learnt."""
    found = [
        _below("the prediction for the mirrored scan differs", borders.mirror, AGREEMENT_MIRROR),
        _above(
            "the border is blurred, the scan may be unlike the training data",
            borders.slope_error,
            SLOPE,
        ),
    ]
    if organ:
        found += [
            _above("the mask fell into several large pieces", borders.second_piece, PIECES),
            _below("the prediction for the turned scan differs", borders.turn, AGREEMENT_TURN),
        ]
    return found


def _above(reason: str, value: float, limits: tuple[float, float]) -> tuple[Status, str]:
    words = f"{reason} ({told_apart(value, limits[0])}, expected below {limits[0]})"
    return _status(value, *limits), words


def _below(reason: str, value: float | None, limits: tuple[float, float]) -> tuple[Status, str]:
    if value is None:  # not looked at
        return "ok", ""
    words = f"{reason} (Dice {told_apart(value, limits[0], 3)}, expected above {limits[0]})"
    return _status(-value, -limits[0], -limits[1]), words


def _status(value: float, check: float, fail: float) -> Status:
    if not np.isfinite(value) or value > fail:
        return "fail"
    return "check" if value > check else "ok"


def _check(wrong: bool) -> Status:
    return "check" if wrong else "ok"
