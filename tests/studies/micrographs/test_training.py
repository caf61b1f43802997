# SPDX-License-Identifier: Apache-2.0
"""Batches of pictures, the weights of classes, and how an epoch is judged."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encephalon.errors import OutputError, RunError, TableError
from encephalon.experiments.folds import Fold
from encephalon.studies.micrographs.data import ImageDataset, prepare_dataset
from encephalon.studies.micrographs.preprocessing import Preprocessing
from encephalon.studies.micrographs.settings import micrograph_settings
from encephalon.studies.micrographs.task import (
    DatasetView,
    MicrographTask,
    compute_logits,
    fit,
)
from encephalon.training.losses import class_weights
from encephalon.training.runs import RunFolder
from tests.studies.calls import context
from tests.studies.micrographs.tiny import quick_recipe, table_of, write_images

RECIPE = quick_recipe(table__covariates='{ sex = ["F", "M"], age = "number" }')
STILL = {
    "flip_columns": False,
    "flip_rows": False,
    "quarter_turns": False,
    "rotation": 0.0,
    "scale": (1.0, 1.0),
    **dict.fromkeys(("shift", "gamma", "contrast", "brightness", "noise", "blur"), 0.0),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of twelve images of four animals, with an age."""
    extra = {"age": lambda animal, _: str(10 * animal)}
    return write_images(tmp_path_factory.mktemp("images"), animals=4, extra=extra)


@pytest.fixture(scope="module")
def dataset(images: Path, tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """The same, prepared."""
    preprocessing = Preprocessing(micrograph_settings(RECIPE))
    return prepare_dataset(
        table_of(RECIPE, images), preprocessing, tmp_path_factory.mktemp("cache")
    )


def make_task(dataset: ImageDataset, rows: int = 12, **changes: Any) -> MicrographTask:
    """A task on the first rows; `changes` are those of the augmentation, which is off otherwise."""
    view = DatasetView(dataset, torch.from_numpy(dataset.encoded(np.arange(rows))))
    augmentation = replace(micrograph_settings(RECIPE).augmentation, **{**STILL, **changes})
    nothing = np.array([], np.int64)
    return MicrographTask(view, np.arange(rows), nothing, RECIPE.training, augmentation, 2)


class Brightness(nn.Module):
    """Logits from the mean of the picture's left half, and from the first covariate."""

    def forward(self, image: Tensor, covariates: Tensor) -> Tensor:
        """(B, C, S, S) and (B, W) to (B, 2)."""
        left = image[..., : image.shape[-1] // 2].mean(dim=(1, 2, 3))
        return torch.stack([left, covariates[:, 0]], dim=1)


def test_pictures_are_those_of_the_preprocessing(dataset: ImageDataset) -> None:
    """What lies in the file is what the predictor will make of the same image."""
    preprocessing = Preprocessing(micrograph_settings(RECIPE))
    for row in (0, 7):
        made = preprocessing.read(dataset.table.path(dataset.table.texts("image")[row]))
        np.testing.assert_array_equal(dataset.pictures(np.array([row]))[0], made.image)
        assert dataset.views[row] == made.view
        assert dataset.facts[row].keys() == made.facts.keys()
        assert np.isnan(dataset.facts[row]["pixel_size_nm"])
        assert dataset.facts[row]["sharpness"] == made.facts["sharpness"]


def test_images_are_prepared_once(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second time nothing is preprocessed; a changed image makes another file."""
    table, preprocessing = table_of(RECIPE, images), Preprocessing(micrograph_settings(RECIPE))
    first = prepare_dataset(table, preprocessing, tmp_path, workers=2)
    monkeypatch.setattr(Preprocessing, "read", None)
    again = prepare_dataset(table, preprocessing, tmp_path)
    assert again.path == first.path
    rows = np.arange(12)
    np.testing.assert_array_equal(again.pictures(rows), first.pictures(rows))
    other = Preprocessing(micrograph_settings(quick_recipe(study__size="48")))
    with pytest.raises(TypeError):
        prepare_dataset(table, other, tmp_path)


def test_every_bad_image_is_named_at_once(tmp_path: Path) -> None:
    """A truncated file and one that is no image, both with their rows, before any training."""
    path = write_images(tmp_path, animals=2)
    (tmp_path / "S0V1.tif").write_bytes((tmp_path / "S0V1.tif").read_bytes()[:60])
    (tmp_path / "S1V2.png").write_text("no picture")
    table, preprocessing = table_of(RECIPE_ALONE, path), Preprocessing(SETTINGS_ALONE)
    with pytest.raises(TableError, match=r"2 faults:\n.*row 3.*S0V1\.tif.*\n.*row 7.*S1V2\.png"):
        prepare_dataset(table, preprocessing, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.bin"))


def test_a_full_disk_is_no_fault_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the cache, and what was written of it is gone."""
    path = write_images(tmp_path / "images", animals=2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Preprocessing, "read", full)
    table, preprocessing = table_of(RECIPE_ALONE, path), Preprocessing(SETTINGS_ALONE)
    with pytest.raises(OutputError, match=r"pictures-.*could not be written: the disk is full"):
        prepare_dataset(table, preprocessing, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


RECIPE_ALONE = quick_recipe()
SETTINGS_ALONE = micrograph_settings(RECIPE_ALONE)


def test_every_row_comes_once_before_any_comes_again(dataset: ImageDataset) -> None:
    """Two batches of six are a permutation of twelve rows, and the next two another."""
    task = make_task(dataset)
    orders = [[*task._rows(number), *task._rows(number + 1)] for number in (0, 2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12))
    assert orders[0] != orders[1]


def test_a_batch_longer_than_the_rows_begins_anew(dataset: ImageDataset) -> None:
    """Six of four rows: all of them, and two of the next round."""
    rows = make_task(dataset, rows=4)._rows(0)
    assert len(rows) == 6
    assert sorted(rows[:4]) == [0, 1, 2, 3]


def test_a_batch_depends_on_its_number_alone(dataset: ImageDataset) -> None:
    """Asked in any order, with everything varied, it is the same to the bit."""
    varied = {"rotation": 30.0, "noise": 0.5, "mixup": 0.4}
    task, other = make_task(dataset, **varied), make_task(dataset, **varied)
    (image, covariates), target = task.batch(5)
    other.batch(0)
    (again, same), wanted = other.batch(5)
    assert torch.equal(image, again)
    assert torch.equal(covariates, same)
    assert torch.equal(target, wanted)
    assert image.shape == (6, 1, 32, 32)
    assert covariates.shape == (6, 3)


def test_without_variation_a_batch_holds_the_pictures(dataset: ImageDataset) -> None:
    """Pictures, covariates and one-hot classes of the rows that were drawn."""
    task = make_task(dataset)
    (image, covariates), target = task.batch(1)
    rows = task._rows(1)
    torch.testing.assert_close(image, torch.from_numpy(dataset.pictures(rows)), atol=1e-4, rtol=0)
    assert torch.equal(covariates, task.view.covariates[rows])
    assert target.argmax(dim=1).tolist() == dataset.truth[rows].tolist()
    assert set(target.flatten().tolist()) == {0.0, 1.0}


def test_mixup_mixes_pictures_and_classes_alike(dataset: ImageDataset) -> None:
    """Targets are shares that sum to one, with one share of mixing a batch."""
    _, target = make_task(dataset, mixup=1.0).batch(0)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(6))
    shares = {round(value, 4) for value in target.flatten().tolist()} - {0.0, 1.0}
    assert 1 <= len(shares) <= 2


def test_numbers_are_scaled_by_the_training_rows_alone(dataset: ImageDataset) -> None:
    """The mean and deviation of the first two animals, whatever the others are."""
    rows = np.arange(6)
    values = dataset.encoded(rows)[:, 2]
    assert values[rows].mean() == pytest.approx(0, abs=1e-6)
    assert values[rows].std() == pytest.approx(1, abs=1e-6)
    assert values[-1] == pytest.approx((30 - 5) / 5)


def test_class_weights_are_the_published_ones() -> None:
    """199 young and 161 aged weigh 0.9045 and 1.1180 (3BTRON)."""
    truth = np.repeat([0, 1], [199, 161])
    assert [round(weight, 4) for weight in class_weights(truth, 2)] == [0.9045, 1.1180]
    assert class_weights(truth, 3)[2] == 0


def test_two_views_are_the_mean_with_the_mirror_image(dataset: ImageDataset) -> None:
    """Mirroring swaps the halves; the mean of both does not know left from right."""
    view = make_task(dataset).view
    rows, cpu = np.arange(12), torch.device("cpu")
    one = compute_logits(Brightness(), view, rows, cpu)
    two = compute_logits(Brightness(), view, rows, cpu, repeats=2)
    whole = dataset.pictures(rows).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(two[:, 0], whole, atol=1e-5)
    assert np.abs(one[:, 0] - whole).max() > 1e-3
    np.testing.assert_allclose(two[:, 1], one[:, 1], atol=1e-5)


def test_an_epoch_is_judged_by_its_validation_rows(dataset: ImageDataset) -> None:
    """The loss is the plain log loss of these rows; without rows nothing is judged."""
    task = make_task(dataset)
    assert task.validate(Brightness(), torch.device("cpu")) == {}
    task = replace(task, validation=np.array([1, 4, 8]))
    scores = task.validate(Brightness(), torch.device("cpu"))
    logits = compute_logits(Brightness(), task.view, task.validation, torch.device("cpu"))
    truth = torch.from_numpy(dataset.truth[task.validation])
    wanted = nn.functional.cross_entropy(torch.from_numpy(logits).double(), truth)
    assert scores["loss"] == pytest.approx(float(wanted))
    assert {"accuracy", "balanced_accuracy", "f1", "roc_auc", "pr_auc"} < scores.keys()


def test_a_network_that_was_never_judged_is_no_result(
    dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When what is monitored is NaN in every epoch, nothing is called the best."""
    monkeypatch.setattr(MicrographTask, "validate", lambda *_: {"loss": float("nan")})
    rows = np.arange(12)
    fold = Fold(0, rows[:6], rows[6:], rows[:0])
    with pytest.raises(RunError, match="was not a number in any epoch"):
        fit(RECIPE, dataset, fold, RunFolder(tmp_path), context())
