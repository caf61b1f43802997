# SPDX-License-Identifier: Apache-2.0
"""Whole runs: folds, the network that ships, predictions, figures and the model folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encephalon import api
from encephalon.api import total_steps
from encephalon.errors import RecipeError, UsageError
from encephalon.models.fitted import FittedState, score_logits
from encephalon.models.folder import open_model
from encephalon.recipes.loading import load_recipe
from tests.studies.micrographs.rows import read_rows, write_rows
from tests.studies.micrographs.tiny import (
    BOX,
    CLASSES,
    QUICK,
    quick_recipe,
    rich_recipe,
    train,
    write_images,
)

BOXES = ("x", "y", "w", "h")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Two teams of threads on the same cores slow both."""
    torch.set_num_threads(1)


def column(value: Any) -> Callable[[int, int], str]:
    """What makes a column that says the same in every row."""
    return lambda _animal, _image: str(value)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight animals of three images: two held out, one image unlabelled, one of middle age."""
    extra = {"split": lambda animal, _: "test" if animal < 2 else "", "vessel": column("V")}
    extra |= {name: column(value) for name, value in zip(BOXES, BOX, strict=True)}
    path = write_images(tmp_path_factory.mktemp("images"), animals=8, extra=extra)
    rows = read_rows(path)
    rows[8]["class"], rows[12]["class"] = "", "Middle age"
    return write_rows(path, rows)


RECIPE = rich_recipe()


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    seen: list[tuple[int, str]] = []

    def report(progress: Any, _losses: Any) -> None:
        seen.append((progress.step, progress.place))

    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(RECIPE, table, folder, report=report) == folder / "model"
    (folder / "seen.json").write_text(json.dumps(seen))
    return folder


def rows_of(run: Path, name: str = "predictions") -> list[dict[str, str]]:
    """The rows of a file of the evaluation."""
    return read_rows(run / "evaluation" / f"{name}.csv")


def learned_of(run: Path) -> FittedState:
    """What the model of a run knows."""
    return FittedState.from_dict(open_model(run / "model").description.preprocessing, "the model")


def test_every_image_is_predicted_once(run: Path, table: Path) -> None:
    """In the order of the table, with its part, and its fold where folds tested it."""
    rows = rows_of(run)
    assert [row["id"] for row in rows] == [row["id"] for row in read_rows(table)]
    assert Counter(row["part"] for row in rows) == {"test": 16, "held-out": 6, "other": 2}
    for row in rows:
        assert (row["fold"] in {"0", "1", "2"}) == (row["part"] == "test")
        assert float(row["p_Young"]) + float(row["p_Aged"]) == pytest.approx(1, abs=1e-8)
        assert row["light"] in {"Green", "Amber", "Red"}
    assert Counter(row["part"] for row in rows_of(run, "validation")) == {"validation": 16}
    others = {
        row["id"]: (row["class"], row["table_class"]) for row in rows if row["part"] == "other"
    }
    assert sorted(others.values()) == [("", ""), ("", "Middle age")]


def test_animals_are_tested_by_networks_that_never_saw_them(run: Path) -> None:
    """The fold in the predictions is the one whose own table keeps the animal for testing."""
    folds = {row["animal"]: row["fold"] for row in rows_of(run) if row["part"] == "test"}
    assert len(folds) == 6
    for animal, fold in folds.items():
        parts = {
            row["split"]
            for row in read_rows(run / "folds" / fold / "table.csv")
            if row["animal"] == animal and row["class"] in CLASSES
        }
        assert parts == {"test"}


def test_logits_are_those_that_the_fold_wrote_down(run: Path) -> None:
    """Predictions are made from the ledger of each fold, digit for digit."""
    tested = [row for row in rows_of(run) if row["part"] == "test"]
    assert tested
    for row in tested:
        ledger = {one["id"]: one for one in read_rows(run / "folds" / row["fold"] / "scores.csv")}
        assert row["logit_Aged"] == ledger[row["id"]]["logit_Aged"]


def test_what_ships_is_read_as_validation_predictions_say(run: Path) -> None:
    """Held-out probabilities are the model's calibration of its logits."""
    learned = learned_of(run)
    rows = [row for row in rows_of(run) if row["part"] != "test"]
    logits = np.array([[float(row[f"logit_{name}"]) for name in CLASSES] for row in rows])
    wanted = score_logits(logits, learned.score, learned.calibration)[:, 1]
    np.testing.assert_allclose([float(row["p_Aged"]) for row in rows], wanted, atol=1e-9)
    pairs = rows_of(run, "thresholds")
    assert Counter(row["fold"] for row in pairs) == {"0": 99, "1": 99, "2": 99}


def test_the_final_network_trains_for_the_median_of_the_best_epochs(run: Path) -> None:
    """And it is judged by nothing."""
    best = []
    for fold in "012":
        history = read_rows(run / "folds" / fold / "history.csv")
        losses = [float(row["val_loss"]) for row in history]
        best.append(losses.index(min(losses)) + 1)
    final = read_rows(run / "final" / "history.csv")
    assert len(final) == sorted(best)[1]
    assert not [name for name in final[0] if name.startswith("val_")]
    learnt = [row for row in read_rows(run / "final" / "table.csv") if row["split"] == "train"]
    assert len(learnt) == 16


def test_progress_counts_over_all_networks(run: Path) -> None:
    """Steps rise to the total that the command line was told, with the name of the network."""
    seen = json.loads((run / "seen.json").read_text())
    steps = [step for step, _ in seen]
    assert steps == sorted(set(steps))
    assert steps[-1] <= total_steps(RECIPE) == 24
    assert list(dict.fromkeys(place for _, place in seen)) == [
        *(f"folds/{number}" for number in range(3)),
        "final",
    ]


def test_the_summary_holds_what_the_report_shows(run: Path) -> None:
    """Figures with intervals, levels, strata, maps in boxes, importance; the page is one file."""
    summary = json.loads((run / "evaluation" / "summary.json").read_text())
    assert summary["assessed"] == "test"
    assert summary["model"]["n"] == 16
    assert summary["held_out"]["n"] == 6
    assert {one["level"] for one in summary["model"]["levels"]} == {"image", "vessel", "animal"}
    assert {one["column"] for one in summary["model"]["strata"]} == {"sex", "region"}
    assert summary["location"]["n"] == 16
    assert set(summary["importance"]) == {"sex", "region"}
    assert summary["audit"] == [
        "No group, file or id is shared between the parts of the split.",
    ]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_the_model_says_what_it_was_shown(run: Path) -> None:
    """Classes, order of covariates, ranges of the facts, counts and scores are in model.toml."""
    description, learned = open_model(run / "model").description, learned_of(run)
    assert learned.classes == CLASSES
    assert learned.covariates == ("sex", "region")
    assert learned.thresholds is not None
    assert learned.layer == "encoder.layer4"
    assert learned.ranges["rows"] == (40.0, 40.0)
    assert "pixel_size_nm" not in learned.ranges
    assert description.labels == {0: "Young", 1: "Aged"}
    assert description.training_data["images"] == 16
    assert description.training_data["groups"] == 6
    figure = description.scores["balanced_accuracy"]
    known = {"value", "low", "high"} if figure["interval"] != "none" else {"value"}
    assert set(figure) == {*known, "interval"}
    assert "caveats" not in description.card


def test_the_model_predicts_what_training_scored(run: Path, table: Path) -> None:
    """The graph, without torch, gives the probabilities of the held-out rows."""
    model = api.load_model(run)
    samples = model.plan([table], run.parent / "unused").samples
    wanted = {row["id"]: row for row in rows_of(run)}
    for sample in samples[:4]:
        values = model.predictor.predict(model.predictor.read(sample)).values
        assert wanted[sample.id]["part"] == "held-out"
        assert values["p_Aged"] == pytest.approx(float(wanted[sample.id]["p_Aged"]), abs=1e-4)
        assert values["light"] == wanted[sample.id]["light"]


def test_a_killed_run_goes_on_to_the_same_predictions(
    table: Path, run: Path, tmp_path: Path
) -> None:
    """Killed in the second fold, between two checkpoints; the first fold is not trained again."""
    killed = tmp_path / "killed"
    program = [sys.executable, "-m", "tests.studies.micrographs.tiny", table, killed, "9"]
    root = Path(__file__).parents[3]
    sources = os.pathsep.join((str(root / "src"), str(root)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": sources}
    assert subprocess.run(program, env=environment, check=False).returncode == -9
    assert (killed / "folds" / "0" / "scores.csv").is_file()
    assert not (killed / "folds" / "1" / "scores.csv").exists()
    steps: list[int] = []
    train(RECIPE, table, killed, resume=True, report=lambda p, _: steps.append(p.step))
    assert steps[0] == 9
    for name in ("predictions.csv", "validation.csv", "thresholds.csv", "summary.json"):
        ours, theirs = (folder / "evaluation" / name for folder in (killed, run))
        assert ours.read_bytes() == theirs.read_bytes()
    weights = Path("model") / "weights.safetensors"
    assert (killed / weights).read_bytes() == (run / weights).read_bytes()


def write_plain(table: Path, folder: Path) -> Path:
    """The table without split and with a class in every row, in a folder of its own."""
    rows = []
    for row in read_rows(table):
        cells = {name: row[name] for name in ("id", "sex", "region", "animal")}
        number = int(row["animal"][1:])
        rows.append(
            {**cells, "class": CLASSES[number % 2], "image": str(table.parent / row["image"])}
        )
    return write_rows(folder / "plain.csv", rows)


def test_the_table_s_own_split_trains_one_network(table: Path, tmp_path: Path) -> None:
    """With folds = 0 the network that validated best ships, and the test part is assessed."""
    plain = write_plain(table, tmp_path)
    rows = read_rows(plain)
    for row in rows:
        number = int(row["animal"][1:])
        row["split"] = ("train", "train", "validation", "test")[number // 2]
    model = train(quick_recipe(study__folds="0"), write_rows(plain, rows), tmp_path / "run")
    assert not (tmp_path / "run" / "final").exists()
    assert Counter(row["part"] for row in rows_of(tmp_path / "run")) == {"validation": 6, "test": 6}
    assert open_model(model).description.training_data["images"] == 12
    best = read_rows(tmp_path / "run" / "folds" / "0" / "history.csv")
    assert len(best) == 2


@pytest.mark.parametrize("inputs", ["image", "covariates"])
def test_image_or_covariates_may_stand_alone(inputs: str, table: Path, tmp_path: Path) -> None:
    """A run of either kind ends in a model that predicts."""
    plain = write_plain(table, tmp_path)
    recipe = quick_recipe(study__inputs=inputs, training__epochs="1")
    model = api.load_model(train(recipe, plain, tmp_path / "run"))
    sample = model.plan([plain], tmp_path / "out").samples[0]
    assert "p_Aged" in model.predictor.predict(model.predictor.read(sample)).values
    summary = json.loads((tmp_path / "run" / "evaluation" / "summary.json").read_text())
    assert set(summary["importance"]) == (set() if inputs == "image" else {"sex", "region"})


def test_name_patterns_of_covariates_are_columns_of_the_model(table: Path, tmp_path: Path) -> None:
    """The network and its model have a covariate for every column that "fc_*" fits."""
    plain = write_plain(table, tmp_path)
    rows = [row | {"fc_2": str(n % 5), "fc_10": str(n)} for n, row in enumerate(read_rows(plain))]
    recipe = quick_recipe(
        study__inputs="covariates",
        table__covariates='{ "fc_*" = "number" }',
        training__epochs="1",
    )
    train(recipe, write_rows(plain, rows), tmp_path / "run")
    assert learned_of(tmp_path / "run").covariates == ("fc_2", "fc_10")
    model = api.load_model(tmp_path / "run")
    sample = model.plan([plain], tmp_path / "out").samples[0]
    assert "p_Aged" in model.predictor.predict(model.predictor.read(sample)).values


def test_published_trains_as_published(table: Path, tmp_path: Path) -> None:
    """Three channels of 224 pixels, one network, the sigmoid, no calibration; the card warns."""
    plain = write_plain(table, tmp_path)
    changes = {key: value for key, value in QUICK.items() if not key.startswith("study.")}
    changes |= {"study.allow_leakage": "true", "study.explain_layer": "encoder.layer4.0.conv3"}
    changes |= {"training.epochs": "1", "training.steps_per_epoch": "2"}
    model = open_model(
        train(load_recipe("micrographs-published", changes), plain, tmp_path / "run")
    )
    learned = learned_of(tmp_path / "run")
    assert learned.score == "sigmoid_logit1"
    assert learned.calibration is None
    assert model.tensors()["encoder.conv1.weight"].shape[1] == 3
    assert "leaks" in model.description.card["caveats"]
    row = rows_of(tmp_path / "run")[0]
    assert float(row["p_Aged"]) == pytest.approx(1 / (1 + np.exp(-float(row["logit_Aged"]))))


def test_a_planted_answer_is_learnt(tmp_path: Path) -> None:
    """A bright patch against a dark one is told apart in animals that were never seen."""
    parts = ("train", "train", "train", "train", "validation", "validation", "test", "test")
    split = {"split": lambda animal, _: parts[animal]}
    table = write_images(tmp_path / "images", animals=8, images=4, extra=split)
    recipe = quick_recipe(
        study__folds="0",
        study__inputs="image",
        network__options__stem="small",
        network__options__widths="[8, 8, 16, 16]",
        training__epochs="6",
        training__steps_per_epoch="12",
        training__learning_rate="5e-3",
        training__ema="0.8",
    )
    train(recipe, table, tmp_path / "run")
    rows = [row for row in rows_of(tmp_path / "run") if row["part"] == "test"]
    likelihoods = {
        name: [float(row["p_Aged"]) for row in rows if row["class"] == name] for name in CLASSES
    }
    assert max(likelihoods["Young"]) < min(likelihoods["Aged"])


def test_search_changes_the_recipe_of_each_fold(table: Path, tmp_path: Path) -> None:
    """What the search inside a fold finds best is what the fold trains with."""
    pytest.importorskip("optuna")
    space = '{ "training.learning_rate" = [1e-5, 2e-2] }'
    recipe = quick_recipe(
        study__search=f"{{ trials = 2, epochs = 1, space = {space} }}",
        training__epochs="1",
        training__steps_per_epoch="2",
    )
    train(recipe, write_plain(table, tmp_path), tmp_path / "run")
    rates = {
        load_recipe(tmp_path / "run" / "folds" / fold / "recipe.toml").training.learning_rate
        for fold in "012"
    }
    assert rates <= {1e-5, 2e-2}
    final = load_recipe(tmp_path / "run" / "final" / "recipe.toml").training
    assert final.learning_rate in rates


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"study__folds": "2"}, "folds must be 0, or 3 and more"),
        ({"training__batch_size": "1"}, "batch_size to 2 or more"),
        ({"network__options__classes": "5"}, r"network\.options\.classes is 5.* 2"),
        ({"study__inputs": "covariates", "table__covariates": "{}"}, "table.covariates names none"),
        ({"table__covariates.class": '["Young", "Aged"]'}, "given the answer"),
        ({"table__target_kind": '["Aged"]'}, "two or more classes"),
        ({"table__target_kind": '["Aged", "Aged"]'}, "names a class twice"),
        (
            {"study__score": "sigmoid_logit1", "table__target_kind": '["A", "B", "C"]'},
            "two classes, not 3",
        ),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_one_sentence(
    changes: dict[str, str], sentence: str
) -> None:
    """Each says which key is wrong."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    with pytest.raises(RecipeError, match=sentence):
        api.load_recipe("micrographs", {**QUICK, **dotted})


def test_several_devices_and_unknown_layers_are_refused(table: Path, tmp_path: Path) -> None:
    """Before anything is trained."""
    plain = write_plain(table, tmp_path)
    with pytest.raises(UsageError, match="one device"):
        train(quick_recipe(), plain, tmp_path / "run", devices=2)
    with pytest.raises(UsageError, match=r"no layer 'encoder\.layer9'"):
        train(quick_recipe(study__explain_layer="encoder.layer9"), plain, tmp_path / "run")
    assert not list(tmp_path.rglob("*.safetensors"))
