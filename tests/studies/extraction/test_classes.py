# SPDX-License-Identifier: Apache-2.0
"""A published network of several classes: trained, predicted and scored class by class."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encephalon
from encephalon.errors import RecipeError, UsageError
from encephalon.evaluation.run import evaluate
from encephalon.inference.outputs import OutputLayout
from encephalon.io.reading import read_image
from encephalon.models.folder import open_model
from encephalon.studies.extraction.evaluation import MaskEvaluation
from encephalon.studies.extraction.published.data import prepare_pairs
from encephalon.studies.extraction.published.predictor import (
    PublishedPredictor,
    make_published_predictor,
)
from encephalon.studies.extraction.published.settings import Conformed, PublishedOptions
from encephalon.studies.extraction.published.task import PublishedLearner
from encephalon.tables.reading import read_table
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Columns
from tests.inference.conftest import predict_all
from tests.studies.calls import FakeRuntime, opened
from tests.studies.extraction.tiny_heads import DEFAULT, PUBLISHED, pair_table, recipe

pytest.importorskip("torch")

NAMES = ("background", "white matter", "cortex")
CLASSES = {
    **PUBLISHED,
    "study.classes": str(list(NAMES)),
    "network.options": "{ n_classes = 3, filters = 2 }",
    "table.labels": "{ 2 = 1, 3 = 2 }",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three heads with white matter and cortex, and a model that has hardly seen them."""
    here = tmp_path_factory.mktemp("classes")
    asked = recipe("brain-extraction-published", CLASSES)
    pair_table(here, asked)
    encephalon.train(asked, here / "heads.csv", here / "run", device="cpu", threads=1, workers=1)
    return here


def levels(batch: np.ndarray) -> np.ndarray:
    """A network that knows the heads: white matter is brightest, then comes the cortex."""
    low, high = batch.min(), batch.max()
    share = (batch[:, 0] - low) / (high - low)
    white, cortex = share > 0.8, (share > 0.55) & (share <= 0.8)
    chances = np.stack([~(white | cortex), white, cortex], axis=1) * 0.9 + 0.1 / 3
    return np.asarray(chances, np.float32)


@dataclass
class Loaded:
    """What is scored: a loaded model."""

    predictor: Any
    columns: Columns


def model(save: tuple[str, ...] = ("mask",)) -> PublishedPredictor:
    """A predictor of that network on a grid of its own."""
    asked = PublishedOptions(save=save, conform="always")
    grid = Conformed(shape=(64, 64, 64), spacing_mm=1.0)
    return PublishedPredictor(
        {"name": "fake"}, FakeRuntime(levels), asked, "white matter", NAMES, grid
    )


def test_labels_come_with_a_table_of_their_names_and_colours(folder: Path, tmp_path: Path) -> None:
    """On the grid of the scan, with the volume of each class in the row."""
    scan = Sample("h", {"image": folder / "scan0.nii.gz"})
    result = predict_all(model(("mask", "probability")), [scan], OutputLayout(tmp_path))
    assert result.exit_code == 0, result.failures
    labels = read_image(tmp_path / "h_labels.nii.gz")
    assert labels.shape == read_image(folder / "scan0.nii.gz").shape
    assert set(np.unique(labels.data)) == {0, 1, 2}
    names = (tmp_path / "h_names.tsv").read_text(encoding="utf-8").splitlines()
    assert names[0] == "index\tname\tcolor"
    assert tuple(line.split("\t")[1] for line in names[1:]) == NAMES
    counted = np.count_nonzero(labels.data == 2) / 1000
    assert result.rows[0]["volume_ml_cortex"] == pytest.approx(counted, abs=1e-3)
    chance = read_image(tmp_path / "h_probability.nii.gz", check=False).data
    assert chance.max() == pytest.approx(0.9 + 0.1 / 3)
    said = json.loads((tmp_path / "h_labels.json").read_text(encoding="utf-8"))
    assert tuple(said["Settings"]["classes"]) == NAMES


def test_each_class_has_its_dice(folder: Path, tmp_path: Path) -> None:
    """A row a class, the classes as subgroups, and labels mapped as the recipe maps them."""
    table = folder / "test.csv"
    table.write_text("id,image,labels\nh0,scan0.nii.gz,mask0.nii.gz\n", encoding="utf-8")
    columns = recipe("brain-extraction-published", CLASSES).table
    result = evaluate(MaskEvaluation(Loaded(model(), columns), table), tmp_path / "scores")
    assert [row["class"] for row in result.rows] == ["white matter", "cortex"]
    assert min(row["dice"] for row in result.rows) > 0.8
    parts = {part.value: part.n for part in result.summary.subgroups if part.column == "class"}
    assert parts == {"white matter": 1, "cortex": 1}
    page = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    assert "white matter" in page


def test_a_trained_model_names_its_classes_and_conforms_as_it_was_trained(folder: Path) -> None:
    """The grid and the labels of its recipe, with what was learnt from as the predictor sees it."""
    trained = make_published_predictor(opened(open_model(folder / "run" / "model")))
    assert trained.classes == NAMES
    work = trained._work(read_image(folder / "scan0.nii.gz"))
    assert (work.shape, work.spacing) == ((32, 32, 32), pytest.approx((2, 2, 2)))
    table = read_table(folder / "heads.csv", recipe("brain-extraction-published", CLASSES).table)
    pair = prepare_pairs(table, folder / "cache", trained.grid, classes=3, workers=1)[0]
    assert np.array_equal(work.data, pair.read()[0])
    labels = trained.predict(read_image(folder / "scan0.nii.gz")).images["labels"]
    assert labels.data.max() <= 2


@pytest.mark.parametrize("option", ["rotate", "largest", "fill"])
def test_what_is_for_a_mask_is_refused_for_classes(folder: Path, option: str) -> None:
    """As the published program refused it."""
    with pytest.raises(UsageError, match="tells 3 classes"):
        make_published_predictor(opened(open_model(folder / "run" / "model"), **{option: True}))


def test_names_must_be_as_many_as_classes() -> None:
    """Before anything is trained."""
    names: dict[str, Any] = {**CLASSES, "study.classes": '["background", "brain"]'}
    with pytest.raises(RecipeError, match=r"names 2 classes .*n_classes is 3"):
        _ = PublishedLearner(recipe("brain-extraction-published", names)).network


def test_the_default_mode_says_that_it_learns_one_border(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """To whoever maps the labels of scans to several classes."""
    from encephalon.studies.extraction.task import ExtractionLearner

    asked = recipe("brain-extraction", {**DEFAULT, "table.labels": "{ 2 = 1, 3 = 2 }"})
    ExtractionLearner(asked).prepare(pair_table(tmp_path, asked), tmp_path / "cache", 1)
    assert "mode 'default' learns one border" in caplog.text
