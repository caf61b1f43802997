# SPDX-License-Identifier: Apache-2.0
"""What the shipped models and a small training say, number by number, against golden.json.

A change of the code that is no change of the method moves none of this. Names, orders, folds and
counts are compared exactly; numbers as closely as another processor allows. Where a method was
meant to change, tests/golden/measure.py writes the file again.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encephalon
from tests.golden import measure

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "golden.json").read_text(encoding="utf-8")
)


def close(found: Any, golden: Any, rel: float = 0.0, abs: float = 0.0) -> None:
    """Numbers, or lists of them, agree within both tolerances; what is missing is missing."""
    numbers = (np.atleast_1d(np.array(value, float)) for value in (found, golden))
    np.testing.assert_allclose(*numbers, rtol=rel, atol=abs)


def same_scores(found: measure.Facts, golden: measure.Facts, loose: dict[str, float]) -> None:
    """Columns, rows and keys exactly; numbers to 0.3 %, or as far as `loose` says."""
    for part in ("columns", "rows", "summary"):
        assert found[part] == golden[part]
    for name, numbers in golden["numbers"].items():
        close(found["numbers"][name], numbers, rel=loose.get(name, 0.003), abs=1e-6)


def test_the_packaged_models_hold_what_they_held() -> None:
    """Tensors, weights, and the first and last of their names."""
    assert measure.packaged() == GOLDEN["packaged"]


@pytest.fixture(scope="module")
def extraction() -> encephalon.Model:
    """The shipped brain extraction, which also says the distance to the border."""
    return encephalon.load_model("brain-extraction", save="mask,distance", **measure.CPU)


@pytest.mark.data
@pytest.mark.parametrize("scan", measure.SCANS)
def test_the_mask_of_a_real_head_is_the_same(
    extraction: encephalon.Model, data: Path, scan: str
) -> None:
    """Volume to 0.2 %, centroid to 0.1 mm, distances at fixed places to 0.1 mm."""
    found, golden = measure.mask_facts(extraction, data / "heads" / scan), GOLDEN["masks"][scan]
    assert (found["shape"], found["quality"]) == (golden["shape"], golden["quality"])
    close(found["volume_ml"], golden["volume_ml"], rel=0.002)
    close(found["centroid_mm"], golden["centroid_mm"], abs=0.1)
    for name in ("distances_mm", "percentiles_mm"):
        close(found[name], golden[name], abs=0.1)
    for name in ("agreement_mirror", "agreement_turn", "slope_error"):
        close(found[name], golden[name], abs=0.004)


@pytest.mark.data
def test_a_border_moved_outwards_without_fluid_is_the_same(data: Path) -> None:
    """Both options of the mask, of one head, to 0.2 %."""
    close(measure.moved_volume(data), GOLDEN["masks"]["border 2, no CSF"], rel=0.002)


@pytest.mark.data
def test_the_scores_of_a_real_mask_are_the_same(data: Path, tmp_path: Path) -> None:
    """Dice, surface distances and volumes of a FLAIR, and the keys of the summary."""
    loose = {"hd95_mm": 0.01, "assd_mm": 0.01, "volume_error_ml": 0.05}
    loose["volume_error_percent"] = 0.05
    same_scores(measure.mask_scores(data, tmp_path), GOLDEN["mask_scores"], loose)


@pytest.mark.data
def test_the_isotropic_t2w_of_a_real_pair_is_the_same(data: Path) -> None:
    """Registration, guided start and network: percentiles to 1 and 2 %, a line of voxels to 5 %.

    Registrations of one pair end up to 0.05 mm apart, from processor to processor.
    """
    found, golden = measure.isotropic_facts(data), GOLDEN["isotropic"]
    assert (found["shape"], found["quality"]) == (golden["shape"], golden["quality"])
    assert list(found["values"]) == list(golden["values"])
    assert found["values"].pop("guide") == golden["values"]["guide"]
    close(list(found["values"].values()), list(golden["values"].values())[1:], abs=0.002)
    close(found["t2w"], golden["t2w"], rel=0.01, abs=0.5)
    close(found["uncertainty"], golden["uncertainty"], rel=0.02)
    close(found["profile"], golden["profile"], rel=0.05)


def test_the_scores_of_every_isotropic_method_are_the_same(tmp_path: Path) -> None:
    """A made-up head of thick slices: the network, the guided method and the interpolations."""
    loose = dict.fromkeys(("deviation_correlation", "coverage_68", "coverage_95"), 0.01)
    loose |= {name: 0.02 for name in GOLDEN["isotropic_scores"]["numbers"] if "mse" in name}
    same_scores(measure.isotropic_scores(tmp_path), GOLDEN["isotropic_scores"], loose)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> measure.Facts:
    """A small cross-validation of made-up micrographs."""
    return measure.run_facts(tmp_path_factory.mktemp("micrographs"))


EXACT = (
    *("columns", "tested", "validated", "threshold_columns", "pairs_tried"),
    *("summary", "predicted_columns"),
)


@pytest.mark.parametrize("name", EXACT)
def test_a_cross_validation_is_laid_out_as_it_was(run: measure.Facts, name: str) -> None:
    """Columns, the order of rows, who is tested and validated in which fold, keys."""
    assert run[name] == GOLDEN["micrographs"][name]


@pytest.mark.parametrize("name", ["p_aged", "predicted_p_aged"])
def test_each_image_has_the_probability_that_it_had(run: measure.Facts, name: str) -> None:
    """Of folds and of the final model, to 0.005: those of the images differ by 0.1."""
    close(run[name], GOLDEN["micrographs"][name], abs=0.005)


def test_the_figures_of_a_cross_validation_are_the_same(run: measure.Facts) -> None:
    """Smooth ones to 0.003; those of ranks and counts to one pair or two images."""
    found, golden = run["figures"], GOLDEN["micrographs"]["figures"]
    assert list(found) == list(golden)
    for name, value in golden.items():
        smooth = name in ("log_loss", "brier")
        close(found[name], value, abs=0.003 if smooth else 0.07)
    for name, value in GOLDEN["micrographs"]["baselines"].items():
        close(run["baselines"][name], value, abs=0.03)


def test_the_figures_are_those_of_the_predictions(run: measure.Facts) -> None:
    """Recomputed from the table alone: no other rows, classes or folds were scored."""
    aged = np.array([row[2] == "Aged" for row in run["tested"]])
    p, figures = np.array(run["p_aged"]), run["figures"]
    right = (p > 0.5) == aged
    pairs = p[aged][:, None] - p[~aged]
    recomputed = {
        "accuracy": right.mean(),
        "sensitivity": right[aged].mean(),
        "specificity": right[~aged].mean(),
        "balanced_accuracy": (right[aged].mean() + right[~aged].mean()) / 2,
        "roc_auc": ((pairs > 0) + 0.5 * (pairs == 0)).mean(),
        "brier": np.mean((p - aged) ** 2),
        "log_loss": -np.log(np.where(aged, p, 1 - p)).mean(),
    }
    for name, value in recomputed.items():
        assert math.isclose(figures[name], value, abs_tol=1e-6), name
