# SPDX-License-Identifier: Apache-2.0
"""A page of a classifier has its curves, the images that are wrong, and a dot for each animal."""

from __future__ import annotations

import re

import numpy as np
import pytest

from encephalon.evaluation import details
from encephalon.evaluation.assessment import assess
from encephalon.evaluation.details import ClassDetails
from encephalon.evaluation.predictions import UNKNOWN_CLASS, Predictions
from encephalon.evaluation.report import assessment_sections
from encephalon.reports.page import Page


def predictions(y_prob: list[list[float]], truth: list[int], animals: list[str]) -> Predictions:
    """Images in as many classes as there are probabilities."""
    shares = np.array(y_prob)
    return Predictions(
        ids=[f"image-{n}" for n in range(len(truth))],
        classes=("sham", "stroke", "tumour")[: shares.shape[1]],
        logits=np.log(shares),
        y_prob=shares,
        y_true=np.array(truth),
        rows=[{"animal": name} for name in animals],
        fold=np.zeros(len(truth), dtype=np.int64),
    )


BINARY = predictions(
    [[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6], [0.95, 0.05], [0.5, 0.5]],
    [0, 0, 1, 1, 1, UNKNOWN_CLASS],
    ["A", "A", "B", "B", "C", "D"],
)


def test_wrong_images_are_listed_the_most_certain_first() -> None:
    """With animal, both classes and the probability of the wrong one; unknown ones are not."""
    found = assess(BINARY, group="animal", repeats=20).details
    assert found is not None
    told = [(each.id, each.unit, each.truth, each.predicted) for each in found.wrong]
    assert told == [("image-4", "C", "stroke", "sham"), ("image-1", "A", "sham", "stroke")]
    assert [each.probability for each in found.wrong] == [0.95, 0.7]


def test_every_animal_is_a_dot() -> None:
    """In the strip of its true class, at the mean probability of the positive one."""
    found = assess(BINARY, group="animal", repeats=20).details
    assert found is not None
    dots = {each.name: (each.truth, each.images, each.right) for each in found.units}
    assert dots == {"A": ("sham", 2, 1), "B": ("stroke", 2, 2), "C": ("stroke", 1, 0)}
    np.testing.assert_allclose([each.probability for each in found.units], [0.4, 0.7, 0.05])
    (strip,) = found.unit_blocks()
    assert re.findall(r"<title>([^<]+)</title>", strip)[0] == "A: 0.400, 1 of 2 images right"


def test_each_of_several_classes_has_its_curves() -> None:
    """Each against the rest, and an animal has the probability of its true class."""
    three = predictions(
        [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.6, 0.2, 0.2]],
        [0, 1, 2, 2],
        ["A", "B", "C", "C"],
    )
    found = ClassDetails.of(three, ["A", "B", "C", "C"], "animal")
    assert [each[0] for each in found.curves] == ["sham", "stroke", "tumour"]
    np.testing.assert_allclose(found.units[-1].probability, 0.45)


def test_the_page_has_them_all_and_the_summary_does_not() -> None:
    """summary.json stays small: predictions.csv has every image."""
    found = assess(BINARY, group="animal", repeats=20)
    page = assessment_sections(Page("Classes"), found).render()
    for words in ("ROC curve", "Precision and recall", "Wrong images", "image-4", "Every animal"):
        assert words in page
    assert "details" not in found.summary()


def test_one_class_alone_and_images_that_are_all_right_say_so() -> None:
    right = ClassDetails.of(predictions([[0.9, 0.1]], [0], ["A"]), None, None)
    assert "more than one class" in right.blocks()[0]
    assert "Every image has its true class." in right.wrong_blocks()[0]
    assert right.unit_blocks() == []


def test_a_long_list_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "LISTED", 1)
    found = assess(BINARY, group="animal", repeats=20).details
    assert found is not None
    shown = "".join(found.wrong_blocks())
    assert "1 more are in predictions.csv." in shown
    assert "image-1" not in shown
