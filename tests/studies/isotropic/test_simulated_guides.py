# SPDX-License-Identifier: Apache-2.0
"""An evaluation places and doubts a T1w as a prediction does, unless the method alone is asked."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.evaluation.cases import Case
from encephalon.io.reading import write_image
from encephalon.studies.isotropic.evaluation.cases import (
    CaseSimulator,
    CaseVariant,
    SimulatedCase,
)
from encephalon.studies.isotropic.settings import EvaluationOptions, PredictOptions
from encephalon.studies.isotropic.synthetic import head_pair
from encephalon.tables.samples import Sample

SHAPE = (80, 96, 80)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Two heads with a T1w each on the voxels of the T2w, the second one the first mirrored."""
    folder = tmp_path_factory.mktemp("heads")
    pair, found = head_pair(SHAPE, 1.5, t1w_codes="RAS"), []
    for name, step in (("a", 1), ("b", -1)):
        paths = {role: folder / f"{name}_{role}.nii.gz" for role in ("t1w", "t2w")}
        for role, path in paths.items():
            image = getattr(pair, role)
            write_image(np.ascontiguousarray(image.data[::step]), path, like=image)
        found.append(Case(Sample(name, dict(paths)), name, None))
    return found


def made(cases: list[Case], condition: str, **options: object) -> SimulatedCase:
    """The first head in slices of 6 mm, in that condition."""
    asked = EvaluationOptions.model_validate({"axes": "axial", "thicknesses": 6, **options})
    simulator = CaseSimulator(cases[0], cases, asked, PredictOptions())
    return simulator.make(CaseVariant(cases[0], "axial", 6.0, condition))


def test_the_right_t1w_is_used_where_it_lies(cases: list[Case]) -> None:
    """Headers that are right are kept, so that nothing changes against the method alone."""
    placed, bare = made(cases, "normal"), made(cases, "normal", bare=True)
    assert (placed.guide, bare.guide) == ("used", "used")
    assert placed.problem.guide is not None
    assert bare.problem.guide is not None
    np.testing.assert_allclose(placed.problem.guide, bare.problem.guide, atol=1.0)


def test_a_moved_t1w_is_put_right_as_in_a_prediction(cases: list[Case]) -> None:
    """The method alone sees it where its header says."""
    right = made(cases, "normal").problem.guide
    placed, bare = made(cases, "misaligned T1w"), made(cases, "misaligned T1w", bare=True)
    assert placed.guide == "used"
    assert right is not None
    guides = [each.problem.guide for each in (placed, bare)]
    alike = [np.corrcoef(each.ravel(), right.ravel())[0, 1] for each in guides if each is not None]
    assert alike[0] > 0.99 > alike[1]


def test_the_t1w_of_somebody_else_is_left_out_as_in_a_prediction(cases: list[Case]) -> None:
    """And told as such in the row; the method alone uses it."""
    placed, bare = made(cases, "wrong T1w"), made(cases, "wrong T1w", bare=True)
    assert (placed.guide, placed.problem.guide) == ("untrusted", None)
    assert bare.guide == "used"
    assert made(cases, "no T1w").guide == "absent"
