# SPDX-License-Identifier: Apache-2.0
"""Cases are put to the test in many ways, and not in those that they lack something for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from encephalon.evaluation.cases import Case
from encephalon.studies.isotropic.evaluation.cases import case_variants, mismatched_subject
from encephalon.studies.isotropic.settings import EvaluationOptions
from encephalon.tables.samples import Sample


def made(name: str, group: str, *roles: str, truth: Path | None = None) -> Case:
    """A case of a person with files of these roles."""
    return Case(Sample(name, {role: Path(f"{name}.nii") for role in roles}), group, truth)


#: Two of one person, one without a T1w, one with a reference.
CASES = [
    made("a", "p1", "t2w", "t1w"),
    made("b", "p1", "t2w", "t1w"),
    made("c", "p2", "t2w"),
    made("d", "p3", "t2w", "t1w", truth=Path("truth.nii")),
]


def test_a_mismatched_subject_is_another_person_with_a_t1w() -> None:
    """Neither oneself, nor one's other scan, nor one without a T1w."""
    assert mismatched_subject(CASES[0], CASES) is CASES[3]
    assert mismatched_subject(CASES[3], CASES) is CASES[0]
    assert mismatched_subject(CASES[0], CASES[:3]) is None


def test_what_a_case_lacks_is_not_planned() -> None:
    """No variants about a T1w without one; a scan with a reference is not cut again."""
    asked = EvaluationOptions(axes="axial, coronal", thicknesses=4, stress="wrong,missing")
    names = [variant.name for variant in case_variants(CASES, asked)]
    assert [name for name in names if name.startswith("a_")] == [
        "a_axial-4mm_normal",
        "a_coronal-4mm_normal",
        "a_axial-4mm_wrong-T1w",
        "a_coronal-4mm_wrong-T1w",
        "a_axial-4mm_no-T1w",
        "a_coronal-4mm_no-T1w",
    ]
    assert [name for name in names if name.startswith("c_")] == [
        "c_axial-4mm_normal",
        "c_coronal-4mm_normal",
    ]
    assert [name for name in names if name.startswith("d_")] == [
        "d_acquired_normal",
        "d_acquired_no-T1w",
    ]


def test_options_are_words_or_lists() -> None:
    """As a command line or a recipe has them; nonsense is refused."""
    asked = EvaluationOptions(axes="axial", thicknesses="2, 3.5", stress=["lesion"])
    assert (asked.axes, asked.thicknesses) == (("axial",), (2.0, 3.5))
    assert asked.conditions == ("normal", "lesion")
    assert EvaluationOptions(thicknesses="4,4").thicknesses == (4.0,)
    assert EvaluationOptions(profile="point").slice_profile(4.0).kind == "point"
    for wrong in ({"axes": "diagonal"}, {"thicknesses": "0"}, {"axes": ""}, {"stress": "rain"}):
        with pytest.raises(ValidationError):
            EvaluationOptions(**wrong)
