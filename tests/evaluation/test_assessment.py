# SPDX-License-Identifier: Apache-2.0
"""An assessment says what the predictions say: by image, vessel, animal and stratum."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import TableError, UsageError
from encephalon.evaluation.assessment import assess, compare
from encephalon.evaluation.predictions import UNKNOWN_CLASS, Predictions
from encephalon.evaluation.traffic_light import TrafficLight, breakdown, colours
from encephalon.io.atomic import write_json
from encephalon.metrics.classification import balanced_accuracy, classification_metrics
from tests.studies.micrographs.published_scores import AMBER, GREEN, LIKELIHOOD, ROWS, TRUTH

LIGHT = TrafficLight()


def scored_of(
    probabilities: Any,
    truth: Any,
    rows: list[dict[str, Any]] | None = None,
    classes: tuple[str, ...] = ("Young", "Aged"),
) -> Predictions:
    """Predictions of images named i0, i1, …"""
    table = np.asarray(probabilities, dtype=np.float64)
    table = np.stack([1 - table, table], axis=1) if table.ndim == 1 else table
    n = len(table)
    return Predictions(
        ids=[f"i{place}" for place in range(n)],
        classes=classes,
        logits=np.log(np.clip(table, 1e-9, 1)),
        y_prob=table,
        y_true=np.asarray(truth, dtype=np.int64),
        rows=rows or [{} for _ in range(n)],
        fold=np.zeros(n, dtype=np.int64),
    )


def animals(rng: np.random.Generator, count: int = 12, images: int = 6) -> Predictions:
    """Half of the animals aged; each has a level of its own, two vessels V1 and V2, one sex."""
    owner = np.repeat(np.arange(count), images)
    truth = owner % 2
    level = rng.normal(0, 1.0, count)[owner]
    logit = 1.5 * (truth - 0.5) + level + rng.normal(0, 0.3, owner.size)
    rows = [
        {
            "animal": f"m{animal}",
            "vessel": f"V{place % 2 + 1}",
            "sex": "FM"[animal // 2 % 2],
            "age": 50 + 7 * animal,
        }
        for place, animal in enumerate(owner)
    ]
    return scored_of(1 / (1 + np.exp(-logit)), truth, rows)


def test_the_published_scores_are_assessed_as_published() -> None:
    """Area, Brier, lights, and the strata of sex and region, all in one assessment."""
    found = assess(
        scored_of(LIKELIHOOD, TRUTH, list(ROWS)),
        strata=("Sex", "Brain Region"),
        rule=LIGHT,
        decided=colours(LIKELIHOOD, GREEN, AMBER),
        repeats=200,
    )
    values = {name: round(each.value, 3) for name, each in found.figures.items()}
    assert (values["roc_auc"], values["pr_auc"], values["brier"]) == (0.701, 0.639, 0.241)
    assert (values["sensitivity"], values["specificity"]) == (0.688, 0.526)
    assert found.confusion == ((10, 9), (5, 11))
    assert found.decision is not None
    assert found.decision.counts == {"Green": 10, "Amber": 16, "Red": 9}
    rates = (found.decision.sensitivity, found.decision.specificity)
    assert [(each.value, round(each.low, 2), round(each.high, 2)) for each in rates] == [
        (7 / 9, 0.45, 0.94),
        (8 / 10, 0.49, 0.94),
    ]
    strata = [(each.column, each.value, each.n, each.classes["Aged"]) for each in found.strata]
    assert strata == [
        ("Sex", "Female", 17, 8),
        ("Sex", "Male", 18, 8),
        ("Brain Region", "CC", 17, 7),
        ("Brain Region", "HC", 7, 3),
        ("Brain Region", "PFC", 11, 6),
    ]
    areas = [round(each.figures["roc_auc"].value, 3) for each in found.strata]
    assert areas == [0.75, 0.662, 0.714, 0.75, 0.867]
    hippocampus = found.strata[3].decision
    assert hippocampus is not None
    assert (hippocampus.n, round(hippocampus.specificity.value, 3)) == (4, 0.667)


def test_animals_not_images_are_drawn(rng: np.random.Generator) -> None:
    """Images of one animal agree, so intervals by animal are wider, of the same figure."""
    scored = animals(rng, count=30)
    by_animal, by_image = assess(scored, group="animal"), assess(scored)
    assert (by_animal.n, by_animal.units, by_image.units) == (180, 30, 180)
    for name in ("roc_auc", "balanced_accuracy", "log_loss"):
        wide, narrow = by_animal.figures[name], by_image.figures[name]
        assert wide.value == narrow.value
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low), name
    assert by_animal.coverage_risk.area.units == 30


def test_the_parallel_ways_agree(rng: np.random.Generator) -> None:
    """Balanced accuracy, the bins and the matrix of one assessment tell one story."""
    scored = animals(rng)
    found = assess(scored, group="animal", repeats=50)
    rows = [[10.0 * count for count in row] for row in found.confusion]
    recalls = [row[place] / sum(row) for place, row in enumerate(rows)]
    assert found.figures["balanced_accuracy"].value == pytest.approx(np.mean(recalls))
    bins = found.reliability
    assert sum(each.n for each in bins) == found.n
    distances = [each.n * abs(each.observed.value - each.mean_probability) for each in bins]
    assert found.calibration_error == pytest.approx(sum(distances) / found.n)
    assert found.coverage_risk.risk[-1] == pytest.approx(1 - found.figures["accuracy"].value)


def test_vessels_and_animals_are_scored_as_a_whole(rng: np.random.Generator) -> None:
    """V1 of one animal is not V1 of another, and animals are drawn at every level."""
    scored = animals(rng)
    levels = assess(scored, group="animal", levels=("vessel", "animal")).levels
    assert [(each.level, each.n, each.images) for each in levels] == [
        ("image", 72, 72),
        ("vessel", 24, 72),
        ("animal", 12, 72),
    ]
    assert {each.figures["roc_auc"].units for each in levels} == {12}
    by_animal = scored.logits.reshape(12, 6, 2).mean(axis=1).argmax(axis=1)
    expected = balanced_accuracy(np.arange(12) % 2, by_animal)
    assert levels[2].figures["balanced_accuracy"].value == pytest.approx(expected)


def test_a_group_of_two_classes_is_noted_and_not_scored() -> None:
    """The images are still scored; the note names the animal."""
    rows = [{"animal": name} for name in ("m1", "m1", "m2", "m2")]
    found = assess(scored_of([0.2, 0.8, 0.3, 0.9], [0, 1, 0, 1], rows), group="animal", repeats=20)
    level = found.levels[1]
    assert (level.n, level.images, level.figures) == (2, 4, {})
    assert "'m1' holds samples of more than one class" in level.note
    assert found.figures["balanced_accuracy"].value == 1.0


def test_a_level_that_no_image_names_is_noted() -> None:
    """Nothing to score is said and does not fail."""
    level = assess(scored_of([0.2, 0.8], [0, 1]), levels=("vessel",), repeats=20).levels[1]
    assert (level.n, level.note) == (0, "No image says its vessel.")
    assert math.isnan(level.figures["roc_auc"].value)


def test_an_image_without_an_animal_is_its_own_unit() -> None:
    """Two empty cells are not one animal."""
    rows = [{"animal": name} for name in ("m1", "m1", "", None)]
    assert assess(scored_of([0.2, 0.8, 0.3, 0.9], [0, 1, 0, 1], rows), group="animal").units == 3


def test_unlabelled_images_are_counted_and_not_scored(rng: np.random.Generator) -> None:
    """They change no figure, and their lights are not counted."""
    scored = animals(rng)
    lights = colours(scored.y_prob[:, 1], GREEN, AMBER)
    hidden = np.where(np.arange(72) < 12, UNKNOWN_CLASS, scored.y_true)
    some = assess(
        scored_of(scored.y_prob, hidden, list(scored.rows)), rule=LIGHT, decided=lights, repeats=20
    )
    rest = assess(scored.select(np.arange(12, 72)), rule=LIGHT, decided=lights[12:], repeats=20)
    assert (some.n, some.unlabelled) == (60, 12)
    # As text: the end of an interval may be NaN, which equals nothing.
    assert repr((some.figures, some.decision)) == repr((rest.figures, rest.decision))


def test_without_any_class_there_is_nothing_to_assess() -> None:
    """One sentence says what to do."""
    with pytest.raises(TableError, match=r"None of the 2 images has a known class.*predict"):
        assess(scored_of([0.2, 0.8], [UNKNOWN_CLASS, UNKNOWN_CLASS]))


def test_three_classes_are_assessed(rng: np.random.Generator) -> None:
    """No sensitivity of a positive class there; reliability is of the most likely class."""
    truth = rng.integers(0, 3, 90)
    table = rng.dirichlet([1, 1, 1], 90) * 0.5 + 0.5 * np.eye(3)[truth]
    found = assess(scored_of(table, truth, classes=("a", "b", "c")), repeats=50)
    assert not {"sensitivity", "specificity"} & set(found.figures)
    assert (len(found.confusion), sum(map(sum, found.confusion))) == (3, 90)
    assert min(each.low for each in found.reliability) >= 0.3


def test_a_column_of_many_numbers_is_cut_into_thirds(rng: np.random.Generator) -> None:
    """Twelve ages become three strata of four animals, and no image is lost."""
    strata = assess(animals(rng), group="animal", strata=("age",), repeats=50).strata
    assert [(each.value, each.units) for each in strata] == [
        ("< 78", 4),
        ("78 to 106", 4),
        (">= 106", 4),
    ]
    assert sum(each.n for each in strata) == 72


def test_a_stratum_of_one_class_has_no_area() -> None:
    """It is shown with its size, and NaN where nothing can be said."""
    rows = [{"sex": sex} for sex in "FFM"]
    strata = assess(scored_of([0.2, 0.8, 0.9], [0, 1, 1], rows), strata=("sex",), repeats=20).strata
    male = strata[1]
    assert (male.n, male.classes) == (1, {"Young": 0, "Aged": 1})
    assert math.isnan(male.figures["roc_auc"].value)
    assert male.figures["sensitivity"].value == 1.0


def test_an_unknown_stratum_is_refused() -> None:
    """The column is named."""
    with pytest.raises(TableError, match="'site'"):
        assess(scored_of([0.2, 0.8], [0, 1], [{"sex": "F"}] * 2), strata=("site",), repeats=20)


def test_the_summary_is_written_as_json(rng: np.random.Generator, tmp_path: Path) -> None:
    """Everything is plain data, and what is not known is null."""
    found = assess(
        animals(rng), group="animal", strata=("sex",), levels=("vessel",), rule=LIGHT, repeats=20
    )
    write_json(tmp_path / "summary.json", found.summary())
    read = json.loads((tmp_path / "summary.json").read_text())
    assert read["figures"]["roc_auc"]["value"] == found.figures["roc_auc"].value
    assert read["levels"][1]["level"] == "vessel"
    assert read["light"] is None


def test_the_same_seed_gives_the_same_intervals(rng: np.random.Generator) -> None:
    """And another seed gives others, of the same figures."""
    scored = animals(rng)
    one, two, other = (assess(scored, group="animal", seed=seed, repeats=50) for seed in (1, 1, 2))
    assert repr(one) == repr(two)  # NaN is not equal to itself
    assert one.figures["log_loss"] != other.figures["log_loss"]
    assert one.figures["log_loss"].value == other.figures["log_loss"].value


def test_a_model_is_compared_with_a_worse_one(rng: np.random.Generator) -> None:
    """The difference is that of the balanced accuracies, by animal, and its interval is above 0."""
    good = animals(rng, count=20)
    bad = scored_of(rng.random(len(good)), good.y_true, list(good.rows))
    found = compare(good, bad, "animal")
    values = [
        classification_metrics(each.y_true, each.y_prob)["balanced_accuracy"].value
        for each in (good, bad)
    ]
    assert [found["first"], found["second"]] == values
    assert found["difference"].value == pytest.approx(values[0] - values[1])
    assert found["difference"].low > 0
    assert (found["n"], found["units"], found["left_out"]) == (120, 20, 0)
    assert found["test"] == "Wilcoxon signed rank"
    assert found["p_value"] < 0.05
    back = compare(bad, good, "animal")
    assert back["difference"].value == -found["difference"].value
    assert back["first_better"] == found["second_better"]


def test_a_model_equals_itself(rng: np.random.Generator) -> None:
    """No difference in any draw, no interval, p 1; without groups the test is McNemar's."""
    scored = animals(rng)
    found = compare(scored, scored)
    difference = found["difference"]
    assert (difference.value, difference.method) == (0.0, "none")
    assert (found["p_value"], found["test"], found["ties"]) == (1.0, "McNemar exact", 72)


def test_models_are_compared_on_common_images_by_id(rng: np.random.Generator) -> None:
    """Order does not matter, and images that one model lacks are counted as left out."""
    scored = animals(rng)
    shuffled = scored.select(rng.permutation(72)[:60])
    found = compare(scored, shuffled, "animal")
    assert (found["n"], found["left_out"], found["difference"].value) == (60, 12, 0.0)


def test_predictions_that_do_not_belong_together_are_refused() -> None:
    """Other classes, other truths, no common image: one sentence each."""
    one = scored_of([0.2, 0.8], [0, 1])
    with pytest.raises(UsageError, match="Young, Aged and Old, New"):
        compare(one, scored_of([0.2, 0.8], [0, 1], classes=("Old", "New")))
    with pytest.raises(TableError, match=r"i1: .*different true classes"):
        compare(one, scored_of([0.2, 0.8], [0, 0]))
    with pytest.raises(TableError, match="no labelled image in common"):
        compare(one, scored_of([0.2, 0.8], [UNKNOWN_CLASS, UNKNOWN_CLASS]))


def test_counts_by_stratum_are_those_of_the_breakdown(rng: np.random.Generator) -> None:
    """Two ways to the same counts."""
    scored = animals(rng)
    lights = colours(scored.y_prob[:, 1], GREEN, AMBER)
    strata = assess(scored, strata=("sex",), rule=LIGHT, decided=lights, repeats=20).strata
    for part, count in zip(strata, breakdown(lights, scored.rows, ("sex",)), strict=True):
        assert part.decision is not None
        assert part.decision.counts == {light: count[light] for light in ("Green", "Amber", "Red")}
