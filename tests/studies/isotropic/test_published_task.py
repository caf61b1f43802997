# SPDX-License-Identifier: Apache-2.0
"""The published training: its split, its order of patches, its loss, and a run that resumes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encephalon.errors import ContentError, RecipeError, RunError, TableError
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Training
from encephalon.recipes.validation import make_settings
from encephalon.studies.isotropic.published import preprocessing as steps
from encephalon.studies.isotropic.published.data import (
    Head,
    decimated,
    load_heads,
    published_parts,
    split_as_published,
)
from encephalon.studies.isotropic.published.preprocessing import decimate
from encephalon.studies.isotropic.published.settings import (
    PublishedSettings,
    check_published_recipe,
)
from encephalon.studies.isotropic.published.task import PublishedTask
from encephalon.training.runs import RunFolder
from tests.studies.calls import context, fit
from tests.studies.isotropic.tiny_published import (
    SETTINGS,
    head_pair,
    head_table,
    published_recipe,
    write_pair,
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def heads(tmp_path: Path) -> list[Head]:
    table = head_table(tmp_path, published_recipe(), ("train", "train", "validation"))
    return load_heads(table, SETTINGS, workers=1)


def task(heads: list[Head], **changes: Any) -> PublishedTask:
    training = Training(**{**dict(published_recipe().training), "steps_per_epoch": 5, **changes})
    return PublishedTask(heads[:2], heads[2:], SETTINGS, training)


def test_the_built_in_recipe_says_what_was_published() -> None:
    """Adam at 1e-4 on the MSE, batches of 32, 100 epochs of 28904 steps; settings as published."""
    recipe = load_recipe("isotropic-published")
    check_published_recipe(recipe)
    assert make_settings(PublishedSettings, recipe.study.settings, "") == PublishedSettings()
    training = recipe.training
    assert [loss.name for loss in training.losses] == ["mse"]
    assert (training.optimiser, training.learning_rate, training.batch_size) == ("adam", 1e-4, 32)
    assert (training.epochs, training.steps_per_epoch, training.schedule) == (
        100,
        28904,
        "constant",
    )
    assert (training.gradient_clip, training.weight_decay, training.ema) == (None, 0, 0)
    heads = [Head(Path("a"), Path("b"))] * 49
    published = PublishedTask(heads, [], PublishedSettings(), training)
    assert (published.steps, published.patches) == (28904, 924_924)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network.name": "slice-unet"}, "trains the network 'published-reconstruction'"),
        ({"table.inputs": "{ t2w = 't2w' }"}, "columns of t1w and t2w"),
        ({"study.patch": "12", "study.padded": "[20, 20, 20]", "network.options": "{}"}, "of 32"),
        ({"study.strides": "4"}, "did you mean 'stride'"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(changes: dict[str, str], words: str) -> None:
    """Before any file is read."""
    with pytest.raises(RecipeError, match=words):
        check_published_recipe(published_recipe(changes))


def test_71_files_are_split_into_49_11_and_11() -> None:
    """int(0.7 n) and int(0.85 n) of the sorted files, as BABY-AI splits."""
    parts = published_parts(71)
    assert [parts.count(name) for name in ("train", "validation", "test")] == [49, 11, 11]
    assert parts == sorted(parts, key=["train", "validation", "test"].index)
    assert published_parts(1) == ["test"]


def test_the_published_split_goes_by_the_sorted_files(tmp_path: Path) -> None:
    """Not by the rows; a split that is there is kept."""
    table = head_table(tmp_path, published_recipe(), ("",) * 4)
    turned = table.select([3, 1, 0, 2])
    assert split_as_published(turned).texts("split") == ["test", "train", "train", "validation"]
    kept = turned.with_column("split", ["test", "train", "train", "train"])
    assert split_as_published(kept).texts("split") == kept.texts("split")


def test_a_decimated_head_is_the_published_one(heads: list[Head]) -> None:
    """T1w and T2w without slices, and the whole T2w, each normalised and padded by itself."""
    volumes = decimated(heads, SETTINGS)
    assert len(volumes) == 12
    assert [(v.axis, v.factor) for v in volumes[:4]] == [(2, 2), (2, 3), (1, 2), (1, 3)]
    pair, truth = volumes[3].read(SETTINGS.padded)
    t1w, t2w = head_pair(0)
    expected = [t1w, decimate(t2w, 3, 1), t2w]
    for found, volume in zip([*pair, truth[0]], expected, strict=True):
        np.testing.assert_allclose(found[1:-1, 1:-1, 1:-1], steps.normalise(volume, ""), atol=1e-6)
        assert not found[0].any()


def test_an_epoch_gives_every_patch_once_and_the_next_one_the_same(heads: list[Head]) -> None:
    """In raster order of shuffled volumes; the last batch is what is left."""
    learns = task(heads)
    assert learns.steps == 5
    batches = [learns.batch(n) for n in range(10)]
    assert [len(given) for given, _ in batches[:5]] == [60, 60, 60, 60, 48]
    given, wanted = (torch.cat(parts) for parts in zip(*batches[:5], strict=True))
    assert given.shape == (288, 2, 8, 8, 8)
    assert wanted.shape == (288, 1, 8, 8, 8)
    expected = [volume.read(SETTINGS.padded) for volume in learns.volumes]
    starts = steps.patch_starts(SETTINGS.padded, 8, 4)
    for found, index in ((given, 0), (wanted, 1)):
        cut = [steps.cut_patches(volume[index], starts, 8) for volume in expected]
        assert np.array_equal(found.numpy(), np.concatenate(cut))
    assert all(torch.equal(batches[n][0], batches[n + 5][0]) for n in range(5))


def test_a_batch_depends_on_its_number_and_the_seed_alone(heads: list[Head]) -> None:
    """In whatever order batches are asked for."""
    expected = [task(heads).batch(n)[0] for n in range(5)]
    other = task(heads)
    assert all(torch.equal(other.batch(n)[0], expected[n]) for n in (4, 1, 2, 0, 3))
    turned = task(heads, seed=1)
    assert turned.volumes != other.volumes
    assert set(turned.volumes) == set(other.volumes)


def test_an_epoch_of_another_length_is_told(
    heads: list[Head], caplog: pytest.LogCaptureFixture
) -> None:
    """With the number of steps that sees every patch once."""
    with caplog.at_level(logging.WARNING):
        task(heads)
        assert not caplog.text
        task(heads, steps_per_epoch=3)
    assert "An epoch has 3 steps, but 5 of them" in caplog.text


def test_an_epoch_is_judged_by_the_error_of_all_patches(heads: list[Head]) -> None:
    """The mean square, whatever the size of the batches, of which the last is smaller."""

    class T2w(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, 1:]

    values = [task(heads, batch_size=n).validate(T2w(), torch.device("cpu")) for n in (60, 7)]
    starts = steps.patch_starts(SETTINGS.padded, 8, 4)
    squares = []
    for volume in decimated(heads[2:], SETTINGS):
        pair, truth = volume.read(SETTINGS.padded)
        squares.append(steps.cut_patches((pair[1:] - truth) ** 2, starts, 8).mean())
    for value in values:
        assert value == {"loss": pytest.approx(float(np.mean(squares)), rel=1e-5)}


@pytest.mark.parametrize(("role", "words"), [("t1w", "'t1w'"), ("t2w", "'t2w'")])
def test_a_row_without_a_scan_is_refused(tmp_path: Path, role: str, words: str) -> None:
    """With its number, before training."""
    table = head_table(tmp_path, published_recipe(), ("train",) * 2)
    with pytest.raises(TableError, match=rf"heads\.csv, row 3: .*no file for {words}"):
        load_heads(table.with_column(role, [table.texts(role)[0], ""]), SETTINGS)


def test_scans_on_another_grid_are_refused_and_elsewhere_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is named; different affines are a warning, as the published program has none."""
    table = head_table(tmp_path, published_recipe(), ("train",))
    write_pair(tmp_path, "h0", affine=Affine(np.eye(4)))
    other = head_pair()[0]
    write_image(other, tmp_path / "h0_t1w.nii.gz", Image(other, steps.ATLAS), overwrite=True)
    assert len(load_heads(table, SETTINGS)) == 1
    assert "lie at different places" in caplog.text
    with pytest.raises(ContentError, match=r"h0_t1w\.nii\.gz: .*182 x 218 x 182"):
        load_heads(table, PublishedSettings())


def test_the_published_training_lowers_the_loss(tmp_path: Path) -> None:
    """Two epochs; the loss is the mean squared error alone."""
    recipe = published_recipe()
    table = head_table(tmp_path, recipe, ("train", "train", "validation"))
    history = fit(recipe, table, RunFolder(tmp_path / "run"), context()).history
    losses = [row["val_loss"] for row in history]
    assert [row["train_loss"] for row in history] == [row["train_mse"] for row in history]
    assert losses[1] < losses[0] < 0.3


def test_a_table_whose_split_lacks_a_part_is_refused(tmp_path: Path) -> None:
    """A published split of two heads has nobody to validate by."""
    recipe = published_recipe()
    table = head_table(tmp_path, recipe, ("train", "train"))
    with pytest.raises(RunError, match=r"heads\.csv has no row whose split is 'validation'"):
        fit(recipe, table, RunFolder(tmp_path / "run"), context())
