# SPDX-License-Identifier: Apache-2.0
"""The published study: what it uses, its numbers, its training, and its table of results."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from encephalon import api
from encephalon.errors import ContentError, RecipeError, TableError, UsageError
from encephalon.experiments.folds import Fold
from encephalon.io.text import read_records
from encephalon.networks import build_network
from encephalon.recipes.loading import load_recipe
from encephalon.studies.legibility.data import Encoding
from encephalon.studies.legibility.modes import legibility_settings
from encephalon.studies.legibility.published.data import PublishedInputs, split_as_published
from encephalon.studies.legibility.published.performance import (
    class_scores,
    performance_row,
    value_scores,
)
from encephalon.studies.legibility.published.preprocessing import TargetScaling, rescaled
from encephalon.studies.legibility.published.settings import PublishedSettings, published_settings
from encephalon.studies.legibility.published.task import FittedPublished, fit, penalty
from encephalon.studies.legibility.settings import Cohort
from encephalon.tables.schema import Columns, Table
from encephalon.training.runs import RunFolder
from tests.studies.calls import context
from tests.studies.legibility.published_people import (
    CONTINUOUS,
    VARIABLES,
    asked,
    people_of,
    published_cohort,
    recipe_of,
)

BLOCKS = ["serology"]


def table_of(ids: list[str], split: list[str] | None = None) -> Table:
    frame = pd.DataFrame({"id": ids} | ({"part": split} if split else {}), dtype=object)
    return Table(frame, Columns(inputs={}, split="part"), Path())


def folds(count: int) -> Fold:
    rows = np.arange(count)
    return Fold(0, rows[: count // 2], rows[count // 2 : -4], rows[-4:])


def trained(
    tmp_path: Path, settings: PublishedSettings, count: int = 24, **training: Any
) -> FittedPublished:
    assert settings.cohort is not None
    people = people_of(settings.cohort, tmp_path, count)
    run = RunFolder(tmp_path / "run")
    return fit(recipe_of(settings, **training), people, folds(len(people)), run, context())


# --- what is used ---


@pytest.mark.parametrize("target", [one for names in VARIABLES.values() for one in names.split()])
def test_the_metadata_of_any_of_the_25_targets_has_24_columns(target: str) -> None:
    """Columns minus id and target; those of its own domain and of absent blocks are zeros."""
    settings = asked(targets=[target])
    assert settings.columns == 24
    assert asked(targets=[target], metadata_blocks=["disease", "serology"]).columns == 24
    assert settings.cohort is not None
    domain = next(name for name, names in VARIABLES.items() if target in names.split())
    assert set(settings.cohort.blocks) == set(VARIABLES) - {domain}
    assert settings.network_options(64_620)["outputs"] == (1 if target in CONTINUOUS else 2)


def test_the_recipe_says_the_published_values() -> None:
    """Adam, 1e-4, batches of 64, patience 50 as the script has it, seed 1337."""
    recipe = load_recipe("legibility-published")
    training, settings = recipe.training, published_settings(recipe)
    assert (training.optimiser, training.learning_rate) == ("adam", 1e-4)
    assert (training.batch_size, training.patience, training.seed) == (64, 50, 1337)
    assert (training.schedule, training.ema, training.precision) == ("constant", 0, "32")
    assert settings == PublishedSettings()
    assert (settings.penalty, settings.connectivity_penalty) == (1e-4, 1e-3)
    assert (settings.target, settings.side, settings.class_balance) == ("sex", 64, "undersample")
    assert legibility_settings(recipe) == settings


def test_a_model_is_told_from_one_set_of_inputs() -> None:
    """All inputs are one unit; correlations stay as they are, and a model asks for no more."""
    settings = asked(inputs=["metadata", "t1", "connectivity"], targets=["asthma"])
    assert settings.inputs == ("t1", "connectivity", "metadata")
    cohort = settings.cohort
    assert cohort is not None
    expected = ("t1", "rsfmri", "constitutional", "serology", "psychology")
    assert cohort.input_sets() == (expected,)
    assert cohort.sources["rsfmri"].representation == "correlation"
    assert settings.using(cohort, lambda known: known) == settings


def test_the_side_is_64_where_no_image_is_used() -> None:
    """As the script forces it."""
    assert asked(side=128).side == 128
    assert asked(side=128, inputs=["connectivity"]).side == 64


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"targets": ["sex", "age"]}, "tells one target, but study.targets has 2"),
        ({"targets": ["height"]}, "has no 'height'"),
        ({"metadata_blocks": ["serologi"]}, "has no 'serologi'; did you mean 'serology'"),
        ({"inputs": ["metadata"], "metadata_blocks": ["constitutional"]}, "told from nothing"),
    ],
)
def test_what_cannot_be_used_is_said(study: dict[str, Any], message: str) -> None:
    """In one sentence."""
    with pytest.raises(RecipeError, match=message):
        asked(**study)


def test_images_and_kinds_of_targets_that_the_network_cannot_see_are_refused() -> None:
    """Nothing is left out unsaid."""
    data = published_cohort().model_dump()
    data["sources"]["swi"] = {"kind": "image"}
    data["targets"]["grade"] = {"kind": "ordinal", "classes": ["a", "b", "c"]}
    cohort = Cohort.model_validate(data)
    with pytest.raises(RecipeError, match="sees flair, t1 or dwi, but the cohort 'biobank' has"):
        asked(cohort)
    assert asked(cohort, inputs=["t1"]).inputs == ("t1",)
    with pytest.raises(RecipeError, match="'grade' is ordinal"):
        asked(cohort, inputs=["t1"], targets=["grade"])
    with pytest.raises(RecipeError, match="The cohort 'biobank' has no 'connectivity'"):
        asked(cohort.only(("t1",), ()), inputs=["t1", "connectivity"])


# --- numbers ---


def test_the_published_split_of_the_published_people() -> None:
    """Of 23,810 people 19,048 train, and of the rest as many test as validate."""
    ids = [f"{number:07d}" for number in range(23_810)]
    parts = pd.Series(split_as_published(table_of(ids)).texts("part"))
    assert parts.value_counts().to_dict() == {"train": 19_048, "test": 2_381, "validation": 2_381}


def test_who_does_not_train_tests_and_validates_by_turns_in_the_order_of_the_ids() -> None:
    """Of the layout TRAIN and TEST; a table whose split validates keeps it."""
    table = table_of(["5", "4", "3", "2", "1"], ["train", "test", "test", "", "test"])
    parts = ["train", "test", "validation", "", "test"]
    assert split_as_published(table).texts("part") == parts
    assert split_as_published(split_as_published(table)).texts("part") == parts


def test_images_lie_between_minus_1_and_1_whatever_they_were() -> None:
    """Their z-score is undone by it; an image that is the same everywhere is no accident."""
    image = torch.randn(2, 1, 8, 8, 8) * torch.tensor([1.0, 50.0]).view(2, 1, 1, 1, 1) + 3
    found = rescaled(image)
    torch.testing.assert_close(rescaled((image - image.mean()) / image.std()), found)
    assert found.amin(dim=(1, 2, 3, 4)).tolist() == [-1, -1]
    assert found.amax(dim=(1, 2, 3, 4)).tolist() == [1, 1]
    assert rescaled(torch.full((1, 1, 2, 2, 2), 7.0)).isfinite().all()


def test_a_continuous_target_is_clamped_standardised_and_lies_between_minus_1_and_1() -> None:
    """By the percentiles 0.5 and 99.5 of those who train, and back again."""
    values = np.arange(1001.0)
    encoding = Encoding(published_cohort(), {}, {"age": (5.0, 995.0, 500.0, 280.0)})
    scaling = TargetScaling.of(encoding, "age")
    learnt = scaling.learnt(encoding.scaled("age", values))
    assert (learnt.min(), learnt.max()) == pytest.approx((-1, 1))
    np.testing.assert_allclose(learnt, 2 * (values.clip(5, 995) - 5) / 990 - 1, atol=1e-12)
    back = scaling.standardised(torch.from_numpy(learnt)).numpy()
    np.testing.assert_allclose(encoding.natural("age", back), values.clip(5, 995))
    with pytest.raises(ContentError, match="'age' is 5 of nearly everybody"):
        TargetScaling.of(replace(encoding, targets={"age": (5.0, 5.0, 5.0, 1.0)}), "age")


def test_metadata_stands_as_it_is_and_absent_columns_are_zeros(tmp_path: Path) -> None:
    """A number raw, a category by its number; who lacks a column of it is no complete case."""
    data = published_cohort().model_dump()
    data["blocks"]["serology"]["columns"] = {"hdl": "number", "type": ("A", "B", "O")}
    settings = asked(Cohort.model_validate(data), inputs=["metadata"], metadata_blocks=["serology"])
    assert settings.cohort is not None
    assert settings.columns == 22
    people = people_of(settings.cohort, tmp_path, count=4)
    rows = [[1.5e3, 1, 0, 0], [-2, 0, 1, 0], [0, 0, 0, 1], [np.nan, 1, 0, 0]]
    given = PublishedInputs(replace(people, values={"serology": np.array(rows)}), settings)
    (metadata,) = given(np.arange(3))
    assert metadata[:, :2].tolist() == [[1500, 0], [-2, 1], [0, 2]]
    assert not metadata[:, 2:].any()
    assert given.complete.tolist() == [True, True, True, False]


def test_the_penalty_is_the_mean_square_of_each_tensor_of_weights() -> None:
    """1e-3 of the first layer of connectivity, 1e-4 of the rest, also of what is passed over."""
    options = {"inputs": ["t1"], "width": 2, "connections": 10, "columns": 4}
    network = build_network("published-legibility", options)
    weights = {n: p for n, p in network.named_parameters() if n.endswith("weight")}
    first = weights.pop("connectivity.0.weight")
    expected = 1e-3 * (first**2).mean() + sum(1e-4 * (one**2).mean() for one in weights.values())
    found = penalty(network, PublishedSettings())
    torch.testing.assert_close(found, expected)
    found.backward()
    assert all(one.grad is not None for one in network.parameters())


# --- training ---


def test_an_epoch_draws_the_larger_class_down_to_the_smaller_anew(tmp_path: Path) -> None:
    """As the script does; "none" sees everybody."""
    settings = asked(inputs=["metadata"], metadata_blocks=BLOCKS)
    task = trained(tmp_path, settings, batch_size=2).task
    classes = [np.flatnonzero(task.truth == number) for number in (0, 1)]
    task = replace(task, train=np.concatenate([classes[0][:3], classes[1]]))
    epochs = [task.epoch_rows(number) for number in range(8)]
    assert {task.truth[rows].mean() for rows in epochs} == {0.5}
    assert {len(rows) for rows in epochs} == {6}
    assert len({tuple(sorted(rows)) for rows in epochs}) > 1
    task = replace(task, settings=task.settings.model_copy(update={"class_balance": "none"}))
    assert sorted(task.epoch_rows(3)) == sorted(task.train)


def test_several_devices_share_the_batch_of_one(tmp_path: Path) -> None:
    """As the published replicas did."""
    task = trained(tmp_path, asked(inputs=["metadata"]), batch_size=4).task
    halves = replace(task, devices=2)
    for step in range(2 * task.training.steps_per_epoch):
        parts = [halves.batch(2 * step + rank) for rank in (0, 1)]
        (whole,), target = task.batch(step)
        assert torch.equal(torch.cat([given[0] for given, _ in parts]), whole)
        assert torch.equal(torch.cat([said for _, said in parts]), target)


def test_the_scores_of_a_run_lie_beside_it_as_the_published_table_has_them(tmp_path: Path) -> None:
    """A row of validation and one of test; a run that is over gives the same network again."""
    settings = asked(metadata_blocks=BLOCKS)
    fitted = trained(tmp_path, settings, count=12, batch_size=2)
    assert fitted.balance["people_that_train"] == 6
    least = min(fitted.balance[f"people_that_train_{number}"] for number in (0, 1))
    assert fitted.balance["people_an_epoch"] == 2 * least // 2 * 2
    (path,) = (tmp_path / "run").glob("performance_metrics_*.csv")
    assert path.stem == "performance_metrics_sex_flair_t1_dwi_connectivity_metadata_serology"
    before, (_, rows) = path.read_bytes(), read_records(path)
    assert [row["Mode"] for row in rows] == ["Validation", "Test"]
    sources = "rsfMRI Connectivity + DWI + FLAIR + T1 + Non-imaging data (C)"
    assert rows[0]["Inputs"] == sources.replace("(C)", "(S)")
    assert rows[0]["Weighted recall"] == rows[0]["Balanced accuracy"]
    assert rows[1]["r2"] == ""
    recipe, people = recipe_of(settings, batch_size=2), fitted.task.people
    run = RunFolder(tmp_path / "run")
    again = fit(recipe, people, folds(len(people)), run, context(resume=True))
    for name, one in fitted.network.state_dict().items():
        assert torch.equal(one, again.network.state_dict()[name])
    assert path.read_bytes() == before


def test_a_continuous_target_is_answered_standardised(tmp_path: Path) -> None:
    """Which the encoding brings into its own unit; who is no complete case has no answer."""
    fitted = trained(tmp_path, asked(targets=["age"], inputs=["connectivity", "metadata"]))
    people = fitted.task.people
    people.present[3] = False
    answers = np.stack([fitted.answers(np.arange(8))[row] for row in range(8)])
    assert np.isnan(answers).ravel().tolist() == [row == 3 for row in range(8)]
    said = fitted.encoding.natural("age", np.delete(answers, 3).astype(np.float64))
    assert ((said > 0) & (said < 100)).all()
    (path,) = (tmp_path / "run").glob("performance_metrics_age_*.csv")
    row = read_records(path)[1][1]
    assert float(row["MAE"]) > 0
    assert row["Domain"] == "Constitutional"


def test_what_is_exported_takes_sources_and_answers_as_the_network_does(tmp_path: Path) -> None:
    """Raw values of blocks and unscaled images go in; who lacks one is not answered."""
    settings = asked(inputs=["t1", "metadata"], metadata_blocks=BLOCKS)
    fitted = trained(tmp_path, settings, count=12, batch_size=2)
    rows, people = np.arange(4), fitted.task.people
    given = fitted.task.inputs(rows, people.present[rows])
    assert len(given) == len(people.cohort.inputs) + 1
    graph = fitted.graph.eval()
    with torch.no_grad():
        said = graph(*given)
        given[-1][2, 0] = False
        assert graph(*given).isnan().ravel().tolist() == [False, False, True, False]
    expected = np.stack([fitted.answers(rows)[row] for row in range(4)])
    np.testing.assert_allclose(said.numpy(), expected, rtol=1e-5)


def test_learnable_people_are_learnt(tmp_path: Path) -> None:
    """Metadata that says the sex is read of it."""
    settings = asked(inputs=["metadata"], metadata_blocks=BLOCKS, class_balance="none")
    fitted = trained(tmp_path, settings, epochs=10, learning_rate=1e-2)
    answers = fitted.answers(np.arange(24))
    right = [(answers[row][0] > 0) == fitted.task.truth[row] for row in range(24)]
    assert np.mean(right) > 0.9


def test_who_lacks_what_is_used_is_left_out_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The published study takes complete cases alone; data_size takes the first of them."""
    settings = asked(inputs=["metadata"], metadata_blocks=BLOCKS)
    assert settings.cohort is not None
    people = people_of(settings.cohort, tmp_path)
    people.values["serology"][2] = np.nan
    people.truth["sex"][5] = np.nan
    recipe, run = recipe_of(settings), RunFolder(tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        fitted = fit(recipe, people, folds(24), run, context())
    assert "2 of 20 people are left out" in caplog.text
    assert not {2, 5} & {*fitted.task.train}
    few = settings.model_copy(update={"data_size": 8})
    fitted = fit(recipe_of(few), people, folds(24), RunFolder(tmp_path / "few"), context())
    assert (len(fitted.task.train), len(fitted.task.validation)) == (8, 8)


def test_batches_that_cannot_be_filled_or_shared_are_refused(tmp_path: Path) -> None:
    """With what to set instead."""
    settings = asked(inputs=["metadata"])
    assert settings.cohort is not None
    people, run = people_of(settings.cohort, tmp_path), RunFolder(tmp_path / "run")
    with pytest.raises(TableError, match=r"fill no batch of 64: set training.batch_size to \d+ or"):
        fit(recipe_of(settings, batch_size=64), people, folds(24), run, context())
    with pytest.raises(UsageError, match="3 devices cannot share a batch of 4"):
        fit(recipe_of(settings), people, folds(24), run, context(devices=3))
    recipe = recipe_of(settings)
    people.truth["sex"][:] = 1
    with pytest.raises(TableError, match="an epoch has 0 complete cases"):
        fit(recipe, people, folds(24), run, context())
    for known, words in ((1, "complete case"), (0, "nobody who trains is")):
        people.values["serology"][known:, 2] = np.nan
        with pytest.raises(TableError, match=f"{words}.* 'hba1c', which {known} of 24 have"):
            fit(recipe, people, folds(24), run, context())
    for change in ({"training.batch_size": "1"}, {"network.name": "masked-fusion"}):
        with pytest.raises(RecipeError, match="published"):
            api.load_recipe("legibility-published", change)


# --- the table of results ---


@pytest.mark.parametrize(
    ("wrong", "accuracy", "precision", "f1"),
    [
        ((4, 4), 0.996634482, 0.996634482, 0.996634482),
        ((11, 12), 0.990341273, 0.990308007, 0.990324464),
    ],
)
def test_the_scores_of_the_published_models_of_sex(
    wrong: tuple[int, int], accuracy: float, precision: float, f1: float
) -> None:
    """T1, FLAIR and DWI with 8 errors, and rsfMRI, T1 and FLAIR with 23, of 1,142 and 1,239."""
    truth = np.repeat([0, 1], [1142, 1239])
    said = truth.copy()
    said[: wrong[0]], said[-wrong[1] :] = 1, 0
    scores = class_scores(truth, np.eye(2)[said] * 8 - 4)
    assert scores["balanced_accuracy"] == scores["macro_recall"] == pytest.approx(accuracy)
    assert scores["macro_precision"] == pytest.approx(precision)
    assert scores["macro_f1"] == pytest.approx(f1)


def test_a_network_that_says_the_same_of_everybody_has_the_micro_auc_of_the_larger_class() -> None:
    """As the published handedness: a balanced accuracy of 0.5, and an area of 0.89."""
    truth = np.repeat([1, 0], [89, 11])
    scores = class_scores(truth, np.tile([-2.0, 2.0], (100, 1)))
    assert (scores["balanced_accuracy"], scores["micro_auc"]) == pytest.approx((0.5, 0.89))


def test_values_are_scored_as_classes_too() -> None:
    """By the median of the truth."""
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    scores = value_scores(truth, truth + 1)
    assert (scores["mae"], scores["pearson_r"]) == pytest.approx((1, 1))
    assert scores["r2"] == pytest.approx(1 - 4 / 5)
    assert (scores["balanced_accuracy"], scores["micro_auc"]) == pytest.approx((0.75, 1))


def test_a_row_has_the_columns_of_the_published_table() -> None:
    """As they stand in metrics_comparison_test.csv of the release."""
    settings = asked(inputs=["t1", "flair", "metadata"], targets=["anxious"])
    assert settings.cohort is not None
    scores = {"loss": 0.6, "balanced_accuracy": 0.5}
    row = performance_row("Test", settings.cohort, settings.inputs, scores, 213.0)
    columns = (
        "Mode,Target,Inputs,Balanced accuracy,Weighted precision,Weighted recall,Weighted F1,AUC,"
        "Training time (mins),Loss,r2,r,MAE,Metadata,Constitutional,Serology,Psychology,Disease,"
        "T1,FLAIR,DWI,rsfMRI connectivity,Domain"
    )
    assert ",".join(row) == columns
    assert row["Inputs"] == "FLAIR + T1 + Non-imaging data (C + D + S)"
    assert (row["Metadata"], row["Psychology"], row["DWI"]) == ("Yes", "No", "No")
    assert (row["Domain"], row["Training time (mins)"]) == ("Psychology", 213.0)
