# SPDX-License-Identifier: Apache-2.0
"""Curves over every threshold are those of scikit-learn, also where scores are tied."""

from __future__ import annotations

import numpy as np
import pytest

from encephalon.metrics.curves import precision_recall_curve, roc_curve


@pytest.mark.parametrize("digits", [1, 2, 9])
def test_curves_are_those_of_scikit_learn(digits: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(digits)
    truth = rng.random(200) < 0.3
    scores = np.round(np.clip(0.3 * truth + rng.normal(0.4, 0.2, 200), 0, 1), digits)
    x, y = roc_curve(truth, scores)
    known = metrics.roc_curve(truth, scores)
    np.testing.assert_allclose(np.trapezoid(y, x), metrics.roc_auc_score(truth, scores))
    np.testing.assert_allclose(np.interp(0.317, x, y), np.interp(0.317, known[0], known[1]))
    recall, precision = precision_recall_curve(truth, scores)
    area = np.sum(np.diff(np.append(0, recall)) * precision)
    np.testing.assert_allclose(area, metrics.average_precision_score(truth, scores))


def test_a_perfect_classifier_has_a_corner() -> None:
    x, y = roc_curve([False, False, True, True], [0.1, 0.2, 0.8, 0.9])
    assert (x.tolist(), y.tolist()) == ([0, 0, 1], [0, 1, 1])


@pytest.mark.parametrize("truth", [[True, True], [False, False], []])
def test_one_class_alone_has_no_curve(truth: list[bool]) -> None:
    assert roc_curve(truth, np.linspace(0, 1, len(truth)))[0].size == 0


def test_without_positives_there_is_no_recall() -> None:
    assert precision_recall_curve([False, False], [0.1, 0.2])[0].size == 0
    assert precision_recall_curve([True, False], [0.1, 0.2])[1].tolist() == [0.5]
