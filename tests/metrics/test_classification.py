# SPDX-License-Identifier: Apache-2.0
"""Figures of classifiers agree with scikit-learn, and are NaN where there is nothing to say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from encephalon.errors import UsageError
from encephalon.metrics.classification import (
    SCORES,
    balanced_accuracy,
    classification_metrics,
    classification_scores,
    confusion,
    confusion_matrix,
    decision_metrics,
    most_balanced_accuracy,
)


def drawn(rng: np.random.Generator, n: int, classes: int) -> tuple[NDArray[np.int64], ...]:
    """True classes (n,) and informative probabilities (n, classes) with many ties."""
    truth = rng.integers(0, classes, n)
    table = np.round(rng.dirichlet(np.ones(classes), n) + 0.6 * np.eye(classes)[truth], 1) + 0.01
    return truth, table / table.sum(axis=1, keepdims=True)


def test_two_classes_agree_with_scikit_learn(rng: np.random.Generator) -> None:
    """The second class is the positive one; ties of the probabilities are many."""
    truth, table = drawn(rng, 200, 2)
    said, called = table[:, 1], table.argmax(axis=1)
    assert classification_scores(truth, table) == pytest.approx(
        {
            "loss": metrics.log_loss(truth, table),
            "accuracy": metrics.accuracy_score(truth, called),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, called),
            "f1": metrics.f1_score(truth, called),
            "roc_auc": metrics.roc_auc_score(truth, said),
            "pr_auc": metrics.average_precision_score(truth, said),
            "sensitivity": metrics.recall_score(truth, called),
            "specificity": metrics.recall_score(truth, called, pos_label=0),
            "precision": metrics.precision_score(truth, called),
        }
    )
    assert classification_metrics(truth, said)["brier"].value == pytest.approx(
        metrics.brier_score_loss(truth, said)
    )


def test_three_classes_agree_with_scikit_learn(rng: np.random.Generator) -> None:
    """Each class against the rest, and the plain mean."""
    truth, table = drawn(rng, 200, 3)
    called = table.argmax(axis=1)
    scores = classification_scores(truth, table)
    rows = np.eye(3)[truth]
    assert scores["loss"] == pytest.approx(metrics.log_loss(truth, table))
    assert scores["roc_auc"] == pytest.approx(
        metrics.roc_auc_score(truth, table, multi_class="ovr")
    )
    assert scores["pr_auc"] == pytest.approx(metrics.average_precision_score(rows, table))
    for name, score in (("f1", metrics.f1_score), ("precision", metrics.precision_score)):
        assert scores[name] == pytest.approx(score(truth, called, average="macro"))
    assert scores["sensitivity"] == pytest.approx(scores["balanced_accuracy"])
    assert classification_metrics(truth, table)["brier"].value == pytest.approx(
        ((table - rows) ** 2).sum(axis=1).mean()
    )


def test_one_class_gives_nan_and_no_error() -> None:
    """What needs both classes is NaN; what does not is there."""
    scores = classification_scores([0, 0, 0], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    undefined = {name for name, value in scores.items() if math.isnan(value)}
    assert undefined == {"balanced_accuracy", "roc_auc", "pr_auc", "sensitivity"}
    assert scores["specificity"] == scores["accuracy"] == pytest.approx(2 / 3)
    assert math.isnan(balanced_accuracy([1, 1], [1, 0]))


def test_a_class_that_does_not_occur_is_left_out_of_the_mean() -> None:
    """Two of three classes occur, and they are told apart without error."""
    table = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]] * 2
    scores = classification_scores([0, 1, 0, 1], table)
    assert scores["roc_auc"] == scores["balanced_accuracy"] == scores["f1"] == 1.0


@pytest.mark.parametrize("classes", [2, 3])
def test_no_sample_gives_nan(classes: int) -> None:
    """Nothing was scored, so nothing is known."""
    scores = classification_scores([], np.empty((0, classes)))
    assert set(scores) == set(SCORES)
    assert all(math.isnan(value) for value in scores.values())


def test_a_network_that_broke_down_scores_nan() -> None:
    """Probabilities that are NaN do not stop the training that made them."""
    scores = classification_scores([0, 1], [[0.5, 0.5], [np.nan, np.nan]])
    assert all(math.isnan(value) for value in scores.values())


def test_a_certain_error_has_a_finite_loss() -> None:
    """A probability of 0 for the truth costs the most that float64 can say."""
    assert classification_scores([1], [[1.0, 0.0]])["loss"] == pytest.approx(
        -math.log(np.finfo(float).eps)
    )


def test_nothing_found_is_a_precision_of_zero() -> None:
    """As in scikit-learn; with nothing to find either, there is no precision."""
    assert confusion([1, 0], [0, 0]).precision == 0.0
    assert math.isnan(confusion([0, 0], [0, 0]).precision)
    figures = classification_metrics([1, 0], [[0.9, 0.1], [0.9, 0.1]])
    assert figures["precision"].value == figures["f1"].value == 0.0


def test_a_confusion_knows_its_rates() -> None:
    """3 of 4 found, 4 of 6 left alone, 3 of 5 calls right."""
    table = confusion([1] * 4 + [0] * 6, [1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    assert (table.tp, table.fn, table.tn, table.fp, table.n) == (3, 1, 4, 2, 10)
    rates = (table.sensitivity, table.specificity, table.precision, table.f1, table.youden)
    assert rates == pytest.approx((3 / 4, 4 / 6, 3 / 5, 6 / 9, 3 / 4 + 4 / 6 - 1))
    assert table.accuracy == 0.7


def test_the_matrix_has_the_true_class_down() -> None:
    """One sample of class 0 was called 2."""
    assert confusion_matrix([0, 0, 1], [0, 2, 1], 3).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_samples_without_a_class_are_refused() -> None:
    """-1 must not count backwards into the last class."""
    with pytest.raises(UsageError, match=r"0 to 1.*-1 to 1"):
        classification_scores([1, -1], [[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(UsageError, match=r"\(1,\), \(2,\)"):
        classification_scores([1], [0.2, 0.3])


@pytest.mark.parametrize("classes", [2, 3])
def test_weighted_draws_are_the_drawn_samples(rng: np.random.Generator, classes: int) -> None:
    """Every figure of weights 0, 1, 2 … equals the figure of the samples repeated so often."""
    truth, table = drawn(rng, 60, classes)
    weights = rng.integers(0, 4, (3, 60))
    figures = classification_metrics(truth, table)
    for place, row in enumerate(weights):
        repeated = classification_metrics(np.repeat(truth, row), np.repeat(table, row, axis=0))
        for name, figure in figures.items():
            of_draw = figure.weigh(weights.astype(float))[place]
            assert of_draw == pytest.approx(repeated[name].value), name


def test_a_draw_without_one_class_is_undefined(rng: np.random.Generator) -> None:
    """Its areas are NaN, and so are not counted."""
    truth, table = drawn(rng, 40, 2)
    weights = np.stack([np.ones(40), (truth == 1) * 1.0])
    figures = classification_metrics(truth, table)
    for name in ("roc_auc", "pr_auc", "balanced_accuracy", "specificity"):
        whole, part = figures[name].weigh(weights)
        assert math.isfinite(whole)
        assert math.isnan(part), name


def test_the_interval_is_that_of_the_slow_bootstrap(rng: np.random.Generator) -> None:
    """Drawing weights of groups gives what drawing and re-sorting samples gives, up to noise."""
    truth, table = drawn(rng, 120, 2)
    groups = np.repeat(np.arange(20), 6)
    fast = classification_metrics(truth, table)["roc_auc"].interval(groups.tolist())
    slow = []
    for draw in rng.integers(20, size=(600, 20)):
        rows = np.concatenate([np.flatnonzero(groups == group) for group in draw])
        slow.append(classification_scores(truth[rows], table[rows, 1])["roc_auc"])
    assert (fast.value, fast.units) == (classification_scores(truth, table)["roc_auc"], 20)
    assert (fast.low, fast.high) == pytest.approx(np.percentile(slow, [2.5, 97.5]), abs=0.015)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=25))
def test_the_area_is_the_share_of_pairs_in_order(samples: list[tuple[float, bool]]) -> None:
    """Counted pair by pair, a tie is half a pair."""
    aged = [p for p, truth in samples if truth]
    young = [p for p, truth in samples if not truth]
    pairs = [(a > b) + (a == b) / 2 for a in aged for b in young]
    area = classification_scores([truth for _, truth in samples], [p for p, _ in samples])[
        "roc_auc"
    ]
    assert area == pytest.approx(np.mean(pairs) if pairs else math.nan, nan_ok=True)


@pytest.mark.parametrize("classes", [2, 4])
def test_decisions_agree_with_scikit_learn_for_any_weights(
    rng: np.random.Generator, classes: int
) -> None:
    """Macro precision, recall and F1, and the correlation of Matthews."""
    truth, table = drawn(rng, 120, classes)
    called = table.argmax(axis=1)
    weights = np.stack([np.ones(120), rng.random(120)])
    found = decision_metrics(truth, called, classes)
    for place, row in enumerate(weights):
        known = {
            "macro_precision": metrics.precision_score,
            "macro_recall": metrics.recall_score,
            "macro_f1": metrics.f1_score,
        }
        expected = {
            name: score(truth, called, average="macro", sample_weight=row)
            for name, score in known.items()
        } | {"mcc": metrics.matthews_corrcoef(truth, called, sample_weight=row)}
        assert {name: each.weigh(weights)[place] for name, each in found.items()} == (
            pytest.approx(expected)
        )


def test_one_answer_for_all_correlates_with_nothing() -> None:
    """Its Matthews correlation is 0; that of a single true class does not exist."""
    same = decision_metrics([0, 1, 1], [1, 1, 1], 2)
    assert same["mcc"].value == 0.0
    assert same["macro_precision"].value == pytest.approx((0 + 2 / 3) / 2)
    alone = decision_metrics([1, 1], [1, 0], 2)
    assert math.isnan(alone["mcc"].value)
    assert math.isnan(alone["macro_recall"].value)
    assert all(math.isnan(each.value) for each in decision_metrics([], [], 2).values())


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.2), (0.5, 0.3, 0.2)])
def test_the_most_of_classes_is_that_of_a_simulation(shares: tuple[float, ...]) -> None:
    """A lasting class, mistaken in a tenth of sessions: whoever knows it scores just so."""
    rng, count, classes = np.random.default_rng(0), 200_000, len(shares)
    lasting = rng.choice(classes, size=count, p=shares)

    def measured() -> Any:
        wrong = rng.random(count) < 0.1
        return np.where(wrong, (lasting + rng.integers(1, classes, count)) % classes, lasting)

    one, two = measured(), measured()
    recalls = [np.mean(lasting[one == each] == each) for each in range(classes)]
    told = most_balanced_accuracy(float(np.mean(one == two)), np.bincount(one) / count)
    assert told == pytest.approx(np.mean(recalls), abs=0.01)
