# SPDX-License-Identifier: Apache-2.0
"""Verdicts follow from evidence."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from encephalon.inference.predictor import Quality
from encephalon.metrics.segmentation import dice
from encephalon.studies.extraction.quality import Findings, check_quality
from encephalon.studies.extraction.segmentation.boundary import Boundary, slope_error
from encephalon.studies.extraction.segmentation.evidence import ExpectedError
from encephalon.studies.extraction.segmentation.orientation import Orientation

NOTHING: Any = None
GOOD = Boundary(NOTHING, NOTHING, NOTHING, 0.99, 0.97, slope_error=0.05, second_piece=0.0)


def verdict_on(
    volume_ml: float = 1300.0,
    cut: Any = MappingProxyType({}),
    organ: bool = True,
    near: float = 0.0,
    expected: ExpectedError | None = None,
    **change: Any,
) -> Quality:
    """The verdict on a good mask with changes."""
    findings = Findings(volume_ml, cut, near, expected)
    return check_quality(replace(GOOD, **change), findings, organ=organ)


def test_good_evidence_is_ok_without_reasons() -> None:
    """Nothing to say about a sound mask."""
    assert verdict_on().status == "ok"
    assert verdict_on().reasons == ()


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"volume_ml": 250.0}, "check", "volume"),
        ({"volume_ml": 60.0}, "fail", "volume"),
        ({"volume_ml": 2200.0}, "check", "volume"),
        ({"volume_ml": 4000.0}, "fail", "volume"),
        ({"volume_ml": 0.0}, "fail", "empty"),
        ({"cut": {"bottom": 93.2, "top": 1.0}}, "check", "cuts the brain at the bottom (93 cm²)"),
        ({"near": 0.05}, "check", "within 6 mm of the mask over 5% of its surface"),
        ({"second_piece": 0.1}, "check", "pieces"),
        ({"second_piece": 0.9}, "fail", "pieces"),
        ({"mirror": 0.95}, "check", "mirrored"),
        ({"mirror": 0.5}, "fail", "mirrored"),
        ({"turn": 0.88}, "check", "turned"),
        ({"turn": float("nan")}, "fail", "turned"),
        ({"slope_error": 0.4}, "check", "blurred"),
        ({"slope_error": 0.9}, "fail", "blurred"),
        ({"bare": 0.99}, "check", "skull"),
        ({"orientation": Orientation((1, 0, 2))}, "check", "header"),
    ],
)
def test_each_kind_of_doubt_has_its_reason(change: dict[str, Any], status: str, word: str) -> None:
    """One bad number gives one reason, and the status that it deserves."""
    verdict = verdict_on(**change)
    assert verdict.status == status
    assert len(verdict.reasons) == 1
    assert word in verdict.reasons[0]


def test_the_worst_of_several_doubts_decides() -> None:
    """All reasons are kept."""
    verdict = verdict_on(mirror=0.95, volume_ml=50.0)
    assert verdict.status == "fail"
    assert len(verdict.reasons) == 2


@pytest.mark.parametrize(
    ("good", "status"),
    [(0.99, "ok"), (0.95, "ok"), (0.949, "check"), (0.3, "check"), (0.1, "fail")],
)
def test_a_learnt_error_takes_the_place_of_limits(good: float, status: str) -> None:
    """ "ok" stands for a Dice above 0.94 with a probability of 95 %, whatever a limit says."""
    verdict = verdict_on(mirror=0.5, expected=ExpectedError(good, 0.93, 20, 10))
    assert verdict.status == status
    assert all("Dice about 0.93" in reason for reason in verdict.reasons)
    assert "(Dice about 0.93, above 0.94 with a probability of 94.9%, expected 95%)" in " ".join(
        verdict_on(expected=ExpectedError(0.949, 0.93, 20, 10)).reasons
    )


def test_a_mask_at_a_face_is_told_once() -> None:
    """A cut that is seen needs no second reason."""
    assert len(verdict_on(cut={"top": 20.0}, near=0.2).reasons) == 1


def test_a_lesion_may_be_small_and_in_pieces() -> None:
    """What holds of whole brains is not asked of tumours."""
    assert verdict_on(3.0, second_piece=0.8, turn=0.2, organ=False).status == "ok"


def test_a_true_distance_has_no_slope_error_and_a_flat_map_has_one() -> None:
    """The slope of a distance is 1."""
    i, j, k = np.mgrid[:24, :24, :24] - 11.5
    ball = (8 - np.sqrt(i**2 + j**2 + k**2)).astype(np.float32)
    assert slope_error(ball) < 0.05
    assert slope_error(0.2 * ball) == pytest.approx(0.8, abs=0.05)
    assert slope_error(np.full((8, 8, 8), 5, np.float32)) == 1.0


def test_two_empty_masks_agree() -> None:
    """Nothing equals nothing."""
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 1
