# SPDX-License-Identifier: Apache-2.0
"""The weights that ship: small, honest about their origin, and better than interpolation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encephalon import load_model
from encephalon.errors import UsageError
from encephalon.metrics.image_quality import nrmse
from encephalon.models.catalogue import find_model
from encephalon.studies.isotropic.evaluation.cases import (
    RADIUS_MM,
    draw_lesion,
    with_lesion,
)
from encephalon.studies.isotropic.predictor import IsotropicPredictor
from encephalon.studies.isotropic.reconstruction.interpolation import METHODS
from encephalon.studies.isotropic.reconstruction.network import NetworkMethod
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_problem
from encephalon.studies.isotropic.synthetic import HeadPair, head_pair

SHAPE = (80, 96, 80)


@pytest.fixture(scope="module")
def head() -> HeadPair:
    """A small head, T1w and T2w on the same voxels of 1.5 mm."""
    return head_pair(SHAPE, 1.5, t1w_codes="RAS")


@pytest.fixture(scope="module")
def predictor() -> IsotropicPredictor:
    """The shipped model as it is loaded by its name."""
    found = load_model("isotropic", device="cpu", threads=1).predictor
    assert isinstance(found, IsotropicPredictor)
    return found


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """In the foreground, relative to the truth's range."""
    inside = truth > 0.1 * np.percentile(truth[truth > 0], 99)
    low, high = np.percentile(truth[truth > 0], [1, 99])
    return float(10 * np.log10((high - low) ** 2 / np.mean((image - truth)[inside] ** 2)))


def test_the_shipped_folder_is_small() -> None:
    """At most 20 MB, and fewer than 5 million weights."""
    model = find_model("isotropic")
    assert sum(file.stat().st_size for file in model.path.iterdir()) < 20e6
    assert sum(array.size for array in model.tensors().values()) < 5_000_000


def test_the_card_says_that_no_infant_was_scanned_for_it() -> None:
    """And what groups with infants should do."""
    card = (find_model("isotropic").path / "README.md").read_text(encoding="utf-8")
    assert "No infant's scan was used for training" in card
    assert "go on training" in card


@pytest.mark.parametrize(
    ("axis", "voxels"), [("axial", 2), ("coronal", 3), ("sagittal", 4), ("axial", 5)]
)
def test_it_beats_aligned_cubic_in_every_plane(
    predictor: IsotropicPredictor, head: HeadPair, axis: str, voxels: int
) -> None:
    """Slices two to five voxels thick, with a T1w and without."""
    problem, truth = simulate_problem(head.t2w, head.t1w, SliceSettings(axis, 1.5 * voxels))
    cubic = psnr(METHODS["cubic"](problem).image, truth)
    estimate = predictor.reconstruct(problem)
    assert psnr(estimate.image, truth) > cubic + 0.8
    alone = predictor.reconstruct(replace(problem, guide=None, coverage=None))
    assert psnr(alone.image, truth) > cubic
    stack = problem.stack
    assert nrmse(stack.slices, stack.operator.slice(estimate.image)) < 0.01


def test_the_uncertainty_follows_the_error(predictor: IsotropicPredictor, head: HeadPair) -> None:
    """Where it says that it may be off, it is."""
    from scipy.stats import spearmanr

    problem, truth = simulate_problem(head.t2w, head.t1w, SliceSettings("axial", 6.0))
    estimate = predictor.reconstruct(problem)
    inside = truth > 0.1 * truth.max()
    assert estimate.deviation is not None
    error = np.abs(estimate.image - truth)[inside]
    assert spearmanr(estimate.deviation[inside], error).statistic > 0.3


def test_a_t1w_of_something_else_does_no_harm(
    predictor: IsotropicPredictor, head: HeadPair
) -> None:
    """A T1w upside down leaves it no worse than aligned cubic."""
    problem, truth = simulate_problem(head.t2w, head.t1w, SliceSettings("axial", 6.0))
    assert problem.guide is not None
    strange = replace(problem, guide=np.ascontiguousarray(problem.guide[::-1, ::-1, ::-1]))
    cubic = psnr(METHODS["cubic"](problem).image, truth)
    assert psnr(predictor.reconstruct(strange).image, truth) > cubic - 0.05


def test_a_lesion_in_the_t2w_alone_is_no_worse_than_interpolated(
    predictor: IsotropicPredictor, head: HeadPair
) -> None:
    """Inside it, where the T1w would draw healthy tissue."""
    for seed in range(2):
        lesion = draw_lesion(head.t2w, seed)
        problem, truth = simulate_problem(
            with_lesion(head.t2w, lesion), head.t1w, SliceSettings("axial", 6.0)
        )
        ball = lesion.distance(problem.grid) < RADIUS_MM
        error, cubic = (
            float(np.mean((image - truth)[ball] ** 2))
            for image in (predictor.reconstruct(problem).image, METHODS["cubic"](problem).image)
        )
        assert error < cubic


def test_half_precision_is_for_a_gpu() -> None:
    """On a processor it is refused in a sentence; the number of tiles at once is an option."""
    found = load_model("isotropic", device="cpu", threads=1, batch_size=4).predictor
    assert isinstance(found, IsotropicPredictor)
    assert isinstance(found.method, NetworkMethod)
    assert found.method.batch_size == 4
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match="Half precision is for a GPU"):
        load_model("isotropic", device="cpu", threads=1, half=True)


def test_a_measured_profile_may_be_asked_for(tmp_path: Path) -> None:
    """The file of a slice profile is an option of the model like any other."""
    file = tmp_path / "profile.txt"
    file.write_text("-2 0\n0 1\n2 0\n", encoding="utf-8")
    found = load_model("isotropic", device="cpu", threads=1, profile=str(file)).predictor
    assert isinstance(found, IsotropicPredictor)
    assert found.options.profile == str(file)
    assert found.evaluation.slice_profile(4.0).kind == "measured"
