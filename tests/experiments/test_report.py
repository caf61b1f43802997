# SPDX-License-Identifier: Apache-2.0
"""The page of a training run: everything in its place, and nothing hidden that flatters."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from encephalon.evaluation.assessment import Assessment, assess, compare
from encephalon.evaluation.comparison import correct
from encephalon.evaluation.operating_point import OperatingPoint, fit_operating_point
from encephalon.evaluation.predictions import Predictions
from encephalon.evaluation.traffic_light import TrafficLight
from encephalon.experiments.attribution import Example
from encephalon.experiments.folds import Fold, Splits
from encephalon.experiments.report import CrossValidationResult, write_training_report
from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Classification, Recipe
from encephalon.reports.images import Picture
from encephalon.statistics.intervals import Interval
from encephalon.tables.leakage import LeakageReport
from encephalon.tables.schema import Table

COUNT, FOLDS = 60, 3
LIGHT = TrafficLight()
TWO, THREE = ("Young", "Aged"), ("a", "b", "c")


def recipe_of(classes: tuple[str, ...]) -> Recipe:
    recipe = load_recipe("micrographs")
    return recipe.model_copy(update={"table": replace(recipe.table, target_kind=classes)})


def predictions(classes: tuple[str, ...], strength: float = 1.5) -> Predictions:
    """Predictions of COUNT images of 12 animals that are mostly right."""
    rng = np.random.default_rng(4)
    owners = np.arange(COUNT) % 12
    truth = owners % len(classes)
    logits = rng.normal(size=(COUNT, len(classes)))
    logits[np.arange(COUNT), truth] += strength
    rows = [
        {
            "id": f"S{n}",
            "class": classes[label],
            "sex": "FM"[n % 2],
            "region": "CC",
            "animal": f"A{owner}",
        }
        for n, (owner, label) in enumerate(zip(owners, truth, strict=True))
    ]
    ids, fold = [row["id"] for row in rows], owners % FOLDS
    return Predictions(ids, classes, logits, np.full_like(logits, np.nan), truth, rows, fold)


def splits_of(recipe: Recipe, scored: Predictions, audit: LeakageReport | None = None) -> Splits:
    rows = np.arange(COUNT)
    folds = [
        Fold(
            number,
            rows[~np.isin(scored.fold, (number, (number + 1) % FOLDS))],
            rows[scored.fold == (number + 1) % FOLDS],
            rows[scored.fold == number],
        )
        for number in range(FOLDS)
    ]
    nothing = np.array([], dtype=np.int64)
    table = Table(pd.DataFrame(scored.rows), recipe.table, Path())
    return Splits(table, tuple(folds), nothing, nothing, audit or LeakageReport())


@lru_cache
def known(
    classes: tuple[str, ...], strength: float = 1.5
) -> tuple[Predictions, OperatingPoint, Assessment]:
    """Predictions with their operating point and assessment."""
    scored = predictions(classes, strength)
    parts = [scored.select(np.flatnonzero(scored.fold == number)) for number in range(FOLDS)]
    point = fit_operating_point(parts, Classification(), "animal", LIGHT)
    read = point.read(scored)
    decided = point.decide(read.y_prob) if len(classes) == 2 else None
    assessed = assess(read, group="animal", strata=["sex"], rule=LIGHT, decided=decided, repeats=50)
    return read, point, assessed


def history(epochs: int = 3) -> list[dict[str, float]]:
    return [{"epoch": n, "train_loss": 1 / n, "val_loss": 1.1 / n} for n in range(1, epochs + 1)]


def write(path: Path, classes: tuple[str, ...] = TWO, **changes: Any) -> str:
    """Write the page with everything on it, changed as asked, and return its text."""
    recipe = recipe_of(classes)
    scored, point, assessed = known(classes)
    weak, _, weak_assessed = known(classes, 0.3)
    picture = Picture(np.zeros((8, 8), np.uint8), "a map")
    shown = [Example(f"S{n}", classes[0], 0.9, classes[n % 2], picture) for n in range(4)]
    given: dict[str, Any] = {
        "recipe": recipe,
        "settings": Classification(),
        "splits": splits_of(recipe, scored),
        "histories": {f"fold {n}": history() for n in range(FOLDS)},
        "assessment": assessed,
        "point": point,
        "baselines": {"texture": weak_assessed},
        "comparisons": {"texture": compare(scored, weak, "animal", repeats=50)},
        "examples": (shown[:2], shown[2:]),
        "importance": {"sex": Interval(0.1, 0.05, 0.2, 0.95, 12, "bootstrap")},
    }
    result = CrossValidationResult(**{**given, **changes})
    return write_training_report(path, result, {"Seconds": 12}).read_text("utf-8")


def section(page: str, title: str) -> str:
    """The section with that heading."""
    parts = page.split("<section>")
    return next(part for part in parts if f">{title}</h2>" in part[:200])


def test_the_page_has_all_that_a_reader_needs(tmp_path: Path) -> None:
    """Baselines, scores, light, calibration, levels, strata, thresholds, images, curves, audit."""
    page = write(tmp_path / "report.html")
    for title in (
        "Beside the baselines",
        "Scores",
        "Traffic light",
        "Calibration and certainty",
        "Image level and group level",
        "Subgroups",
        "Thresholds and calibration that ship",
        "The most and the least certain images",
        "What the covariates decide",
        "Learning curves",
        "Data",
        "Audit of the split",
        "Run",
    ):
        assert section(page, title)
    assert "in 12 values of “animal”, 3 folds, each tested once" in page
    assert not re.search(r"https?://|<script[^>]* src|<link|@import", page)


def test_the_model_stands_beside_its_baselines_with_intervals(tmp_path: Path) -> None:
    """Both have a bar on one axis, and the paired difference has its interval and its p."""
    _, _, assessed = known(TWO)
    part = section(write(tmp_path / "report.html"), "Beside the baselines")
    assert part.count('class="span"') == 2
    assert "texture features and logistic regression" in part
    assert f"{assessed.figures['balanced_accuracy'].value:.3f}" in part
    assert "Wilcoxon" in part
    assert "guessing has 0.500" in part


def test_a_baseline_that_is_not_beaten_is_named_in_words(tmp_path: Path) -> None:
    """The verdict follows corrected test and interval, and an unknown one is no success."""
    scored, weak = known(TWO)[0], known(TWO, 0.3)[0]
    won, lost = (compare(*pair, "animal", repeats=50) for pair in ((scored, weak), (weak, scored)))
    assert won["difference"].low > 0
    better = write(tmp_path / "a.html", comparisons={"texture": won})
    assert "better than every baseline" in better
    worse = write(tmp_path / "b.html", comparisons={"texture": lost})
    assert "does not beat texture features and logistic regression" in worse
    chance = {**won, "p_corrected": 0.06}
    assert "does not beat" in write(tmp_path / "d.html", comparisons={"texture": chance})
    unknown = {**won, "difference": replace(won["difference"], low=float("nan"))}
    assert "does not beat" in write(tmp_path / "c.html", comparisons={"texture": unknown})


def test_a_baseline_that_ran_on_one_fold_is_no_ground_for_a_verdict(tmp_path: Path) -> None:
    """What one fold of three has shown is said, with its images; nothing is concluded from it."""
    scored, weak = known(TWO)[0], known(TWO, 0.3)[0]
    one_fold = weak.select(np.flatnonzero(weak.fold == 0))
    compared = correct(
        {
            "texture": compare(scored, weak, "animal", repeats=50),
            "shuffled": compare(scored, one_fold, "animal", repeats=50),
        }
    )
    assessed = assess(one_fold, group="animal", repeats=50)
    baselines = {"texture": known(TWO, 0.3)[2], "shuffled": assessed}
    page = write(tmp_path / "a.html", baselines=baselines, comparisons=compared)
    part = section(page, "Beside the baselines")
    assert "better than every baseline" not in part
    assert "better than texture features and logistic regression: on all 3 folds" in part
    assert "label-permutation control (the same network taught shuffled labels)" in part
    assert "ran on 1 of 3 folds and 20 of 60 images, in 4 units" in part
    assert "corrected by Holm for 2 comparisons" in part


def test_several_comparisons_are_corrected_by_holm() -> None:
    """The smallest p counts as often as there are comparisons, the next once less."""
    found = correct({name: {"p_value": p} for name, p in (("a", 0.03), ("b", 0.01), ("c", 0.02))})
    assert [each["p_corrected"] for each in found.values()] == pytest.approx([0.04, 0.03, 0.04])


def test_perfect_figures_name_the_interval_that_they_have(tmp_path: Path) -> None:
    """Perfect shares have Wilson's bound of a class's 6 animals; areas and precision none."""
    scored = known(TWO)[0]
    perfect = np.where(np.eye(2)[scored.y_true] > 0, 0.99, 0.01)
    assessed = assess(replace(scored, y_prob=perfect), group="animal", repeats=50)
    part = section(write(tmp_path / "a.html", assessment=assessed), "Scores")
    rows = dict(re.findall(r"<tr><td>([^<]+)</td><td[^>]*>1[.0]*</td>(.*?)</tr>", part))
    for name in ("Sensitivity", "Specificity"):
        assert "0.610 to 1" in rows[name]
        assert "Wilson" in rows[name]
    for name in ("Balanced accuracy", "ROC AUC", "Average precision", "Precision", "F1"):
        assert re.findall(r"<td[^>]*>([^<]*)</td>", rows[name]) == ["–", "none"]


def test_the_chosen_thresholds_are_marked_among_the_symmetric_pairs(tmp_path: Path) -> None:
    """One pair is bold, and its spread over the folds stands below."""
    _, point, _ = known(TWO)
    part = section(write(tmp_path / "report.html"), "Thresholds and calibration that ship")
    assert point.rule is not None
    pair = point.rule.thresholds
    chosen = re.findall(r"<strong>([^<]+)</strong>", part)
    assert chosen == [f"{pair.green:.2f} / {pair.amber:.2f}"]
    assert "SD of the chosen" in part
    assert "Temperature" in part


def test_more_than_two_classes_have_no_light_and_say_so(tmp_path: Path) -> None:
    """Three classes: a matrix of nine cells, no thresholds, no sensitivity."""
    page = write(tmp_path / "report.html", THREE)
    assert "Traffic light" not in page
    assert "more than two classes" in section(page, "Thresholds and calibration that ship")
    assert section(page, "Scores").count("--share:") == 9
    assert "Sensitivity" not in page
    assert "guessing has 0.333" in page


def test_a_split_that_leaks_is_said_before_any_figure(tmp_path: Path) -> None:
    """The warning stands above the tiles, with the findings."""
    recipe, (scored, _, _) = recipe_of(TWO), known(TWO)
    audit = LeakageReport(column="animal", ids=("S1",), exposed={"test": (36, 36)})
    page = write(tmp_path / "report.html", splits=splits_of(recipe, scored, audit))
    assert page.index("flatters the model") < page.index('class="stat-cards"')
    assert "36 of 36 test rows share" in section(page, "Audit of the split")


def test_figures_of_validation_rows_are_called_so(tmp_path: Path) -> None:
    """Without test rows the page must not speak of a test."""
    recipe, (scored, _, _) = recipe_of(TWO), known(TWO)
    splits = splits_of(recipe, scored)
    nothing = np.array([], dtype=np.int64)
    alone = replace(splits, folds=(replace(splits.folds[0], test=nothing),))
    page = write(tmp_path / "report.html", splits=alone)
    assert "validation images, which flatter the model" in page
    assert "test images" not in page.partition("Beside the baselines")[0]


def test_held_out_rows_have_sections_of_their_own(tmp_path: Path) -> None:
    """What the final model says of rows that no fold knew is told apart."""
    page = write(tmp_path / "report.html", held_out=known(TWO)[2])
    assert section(page, "Held-out rows, scored once")
    assert section(page, "Held out: Scores")


@pytest.mark.parametrize("folds", [3, 8])
def test_each_curve_is_named_however_many_there_are(folds: int, tmp_path: Path) -> None:
    """Eight folds have eight curves, and names in as many lines as they take."""
    histories = {f"fold {n}": history() for n in range(folds)}
    part = section(write(tmp_path / "report.html", histories=histories), "Learning curves")
    assert part.count("<polyline") == 2 * folds
    assert part.count(">fold 0</text>") == 2


def test_the_data_are_counted_by_part_and_class(tmp_path: Path) -> None:
    """Each fold's images, groups and classes, and each category of a covariate."""
    part = section(write(tmp_path / "report.html"), "Data")
    assert part.count("tested in fold") == FOLDS
    row = re.search(r"tested in fold 0</td>(.*?)</tr>", part)
    assert row is not None
    assert re.findall(r">(\d+)<", row[1]) == ["20", "4", "10", "10"]


def test_a_wrong_image_says_what_it_is(tmp_path: Path) -> None:
    """The true class stands only where it is another."""
    part = section(write(tmp_path / "report.html"), "The most and the least certain images")
    assert part.count("true: Aged") == 2
    assert "true: Young" not in part


def test_a_plain_run_has_a_page_too(tmp_path: Path) -> None:
    """No baselines, no maps, no thresholds, no history: what is missing is left out."""
    none = OperatingPoint("sigmoid_logit1")
    bare: dict[str, Any] = {"baselines": {}, "comparisons": {}, "examples": ((), ())}
    bare |= {"importance": {}, "histories": {}, "point": none}
    page = write(tmp_path / "report.html", **bare)
    assert "Beside the baselines" not in page
    assert "not calibrated (score: sigmoid_logit1)" in page
    assert "No epoch was recorded" in page
