# SPDX-License-Identifier: Apache-2.0
"""Verdicts on reconstructions follow from evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from encephalon.inference.predictor import told_apart
from encephalon.studies.isotropic.quality import (
    QualityMetrics,
    check_quality,
    quality_checks,
    values,
)

GOOD = QualityMetrics(
    consistency=0.0001,
    ratio=4.0,
    distance=4.0,
    thickness=4.0,
    trained=(1.6, 6.5),
    trusted=True,
    coverage=1.0,
    correlation=-0.4,
    uncertain=0.02,
    disagreement=0.03,
)


def test_good_evidence_is_ok_without_reasons() -> None:
    """Nothing to say about a sound reconstruction."""
    assert check_quality(GOOD).status == "ok"
    assert check_quality(GOOD).reasons == ()


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"consistency": 0.03}, "check", "3.0%"),
        ({"consistency": 0.5}, "fail", "slice axis"),
        ({"consistency": float("nan")}, "fail", "not numbers"),
        ({"trusted": False, "reasons": ("the starts disagree by 8 mm",)}, "check", "8 mm"),
        ({"trusted": False}, "check", "could not be aligned"),
        ({"coverage": 0.9}, "ok", "90%"),
        ({"coverage": 0.4}, "check", "40%"),
        ({"correlation": 0.97}, "check", "check that it is a T2w"),
        ({"ratio": 8.0}, "check", "coarser spacing"),
        ({"ratio": 1.3}, "check", "finer spacing"),
        ({"thickness": 1.5}, "check", "62%"),
        ({"uncertain": 0.3}, "check", "30%"),
        ({"disagreement": 0.2}, "check", "guided method"),
        ({"warnings": ("2 slices are empty.",)}, "check", "2 slices are empty"),
        ({"notes": ("the spacing is 0.8 mm",)}, "ok", "0.8 mm"),
    ],
)
def test_each_kind_of_doubt_has_its_reason(change: dict[str, Any], status: str, word: str) -> None:
    """One bad number gives one plain sentence, and the status that it deserves."""
    verdict = check_quality(replace(GOOD, **change))
    assert verdict.status == status
    assert len(verdict.reasons) == 1
    assert word in verdict.reasons[0]


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": 6.5},
        {"ratio": 1.6},
        {"ratio": 20.0, "trained": None},
        {"thickness": 2.0},
        {"thickness": 5.0},
        {"uncertain": None, "disagreement": None, "correlation": None, "coverage": None},
    ],
)
def test_what_is_usual_or_unknown_is_no_doubt(change: dict[str, Any]) -> None:
    """Ends of the learnt range, methods without weights, common gaps, overlap, no numbers."""
    assert check_quality(replace(GOOD, **change)).reasons == ()


def test_no_t1w_is_ok_and_said() -> None:
    """A T2w alone is no fault, but its reader must know."""
    verdict = check_quality(replace(GOOD, trusted=None, coverage=None, correlation=None))
    assert verdict.status == "ok"
    assert "rests on the T2w alone" in verdict.reasons[0]


def test_several_scans_may_differ_by_their_noise() -> None:
    """What one scan must not do, three may."""
    assert check_quality(replace(GOOD, consistency=0.03, stacks=3)).status == "ok"


def test_the_gravest_finding_comes_first_and_decides() -> None:
    """All are kept."""
    bad = replace(GOOD, consistency=0.5, notes=("a note",), ratio=9.0)
    assert [one.status for one in quality_checks(bad)] == ["fail", "check", "ok"]
    assert check_quality(bad).status == "fail"
    assert len(check_quality(bad).reasons) == 3


def test_reasons_can_be_joined_and_parted_again() -> None:
    """The table joins reasons by semicolons, so that no reason may hold one."""
    odd = replace(GOOD, warnings=("a.nii: one; two.",), notes=("three.",))
    assert "; ".join(check_quality(odd).reasons).split("; ") == ["a.nii: one, two", "three"]


def test_the_evidence_makes_cells() -> None:
    """Unknown numbers are empty, and the columns are not named like the images."""
    cells = values(replace(GOOD, trusted=None, coverage=None))
    assert cells["guide"] == "absent"
    assert cells["coverage_share"] is None
    assert cells["ratio"] == 4
    assert not {"t2w", "t1w", "uncertainty"} & set(cells)


@pytest.mark.parametrize(
    ("value", "limit", "written"),
    [(0.0104, 0.01, "1.04%"), (0.02, 0.01, "2.0%"), (0.0100001, 0.01, "1.00001%")],
)
def test_a_figure_beyond_its_limit_never_reads_like_the_limit(
    value: float, limit: float, written: str
) -> None:
    """It has as many decimals as tell the two apart."""
    assert told_apart(value, limit, 1, "%") == written
    reasons = check_quality(replace(GOOD, consistency=value)).reasons
    assert f"slices by {written} (at most 1% expected)" in reasons[0]
