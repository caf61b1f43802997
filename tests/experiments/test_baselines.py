# SPDX-License-Identifier: Apache-2.0
"""The baselines: texture features and logistic regression, covariates alone, shuffled classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from encephalon.experiments.baselines import fit_linear
from encephalon.studies.micrographs.data import texture_features
from tests.studies.micrographs.rows import read_rows
from tests.studies.micrographs.tiny import quick_recipe, train, write_images


def _noise(rng: np.random.Generator, grain: float) -> np.ndarray:
    return gaussian_filter(rng.normal(size=(48, 48)), grain).astype(np.float32)


def test_texture_features_do_not_know_of_brightness_or_contrast() -> None:
    """A picture and a brighter one of twice its contrast have the same features."""
    picture = _noise(np.random.default_rng(0), 1.0)
    assert texture_features(picture) == pytest.approx(
        texture_features(2 * picture + 3), abs=2e-2, rel=2e-2
    )


def test_texture_tells_fine_from_coarse_grain() -> None:
    """A regression on the features of 20 pictures of each grain is right on 20 others."""
    rng = np.random.default_rng(1)
    features = np.array([texture_features(_noise(rng, grain)) for grain in (0.6, 1.4) * 30])
    truth = np.array([0, 1] * 30)
    train, validation, test = slice(0, 30), slice(30, 40), slice(40, 60)
    judged, wanted = fit_linear(
        (features[train], truth[train]),
        (features[validation], truth[validation]),
        features[test],
        2,
    )
    assert judged.shape == (10, 2)
    assert (wanted.argmax(axis=1) == truth[test]).mean() == 1.0
    assert np.exp(wanted).sum(axis=1) == pytest.approx(np.ones(20), abs=1e-4)


def test_a_class_that_training_lacks_is_improbable_and_not_missing() -> None:
    """Three columns come out for three classes, though only two were learnt."""
    rng = np.random.default_rng(2)
    features, truth = rng.normal(size=(20, 3)), np.array([0, 2] * 10)
    features[:, 0] += 4 * truth
    _, wanted = fit_linear((features, truth), (features, truth), features, 3)
    assert wanted.shape == (20, 3)
    assert (wanted[:, 1] < np.log(1e-5)).all()


def test_baselines_are_tested_on_the_folds_of_the_model(tmp_path: Path) -> None:
    """Each is compared on its own images; the shuffled network has the first fold's alone."""
    pytest.importorskip("skimage")
    recipe = quick_recipe(
        study__baselines='["texture", "covariates", "shuffled"]',
        training__epochs="1",
        training__steps_per_epoch="2",
    )
    run = tmp_path / "run"
    train(recipe, write_images(tmp_path / "images"), run)
    summary = json.loads((run / "evaluation" / "summary.json").read_text("utf-8"))
    tested = [row for row in read_rows(run / "evaluation" / "predictions.csv") if row["fold"]]
    first = sum(row["fold"] == "0" for row in tested)
    counts = {"texture": len(tested), "covariates": len(tested), "shuffled": first}
    assert {name: one["n"] for name, one in summary["baselines"].items()} == counts
    assert {name: one["n"] for name, one in summary["comparisons"].items()} == counts
    assert summary["comparisons"]["shuffled"]["left_out"] == len(tested) - first
    # Patches are bright or dark, which texture sees; sex and region say nothing of the class.
    scores = {
        name: one["figures"]["roc_auc"]["value"] for name, one in summary["baselines"].items()
    }
    assert scores["texture"] > 0.9 > scores["covariates"]
    dealt = run / "baselines" / "shuffled" / "folds" / "0"
    own = run / "folds" / "0"
    assert (dealt / "table.csv").read_text() == (own / "table.csv").read_text()
    assert (dealt / "scores.csv").read_text() != (own / "scores.csv").read_text()
