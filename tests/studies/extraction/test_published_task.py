# SPDX-License-Identifier: Apache-2.0
"""The published training: conformed pairs, moved volumes, standardised blocks, a mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encephalon.errors import RecipeError, TableError
from encephalon.geometry.affine import Affine
from encephalon.io.reading import read_image
from encephalon.models.folder import open_model
from encephalon.networks import build_network
from encephalon.networks.keras_unet import KerasUNetLogOdds, log_odds
from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Training
from encephalon.recipes.validation import make_settings
from encephalon.studies.extraction.published.data import Pair, prepare_pairs
from encephalon.studies.extraction.published.settings import Conformed, PublishedSettings
from encephalon.studies.extraction.published.task import PublishedTask, cut, one_hot, overlap
from encephalon.studies.extraction.study import STUDY
from encephalon.tables.schema import Columns, Table
from encephalon.training.runs import RunFolder
from encephalon.transforms.parameters import RigidRanges
from tests.studies.calls import context, fit, opened, train
from tests.studies.extraction.tiny_heads import (
    PUBLISHED,
    label_map,
    pair_table,
    recipe,
    scan_of,
    write,
    write_table,
)

GRID = Conformed(shape=(32, 32, 32), spacing_mm=2.0)
STILL = RigidRanges(probability=0.0)
BRAIN = recipe("brain-extraction-published", PUBLISHED)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    folder = tmp_path_factory.mktemp("pairs")
    return prepare_pairs(pair_table(folder, BRAIN), folder / "cache", GRID, workers=1)


def task(pairs: list[Pair], classes: int = 1, seed: int = 0, **changes: Any) -> PublishedTask:
    values = {"conform": GRID, "block": (16, 16, 16), **changes}
    settings = PublishedSettings(**values)
    return PublishedTask(pairs[:2], pairs[2:], settings, Training(seed=seed, batch_size=2), classes)


@pytest.mark.parametrize("name", ["brain-extraction-published", "meningioma-published"])
def test_the_built_in_recipes_say_what_was_published(name: str) -> None:
    """256 voxels of 1 mm, blocks of 128, 0.3, and half of the pairs moved by 180 degrees or 5 %."""
    settings = make_settings(PublishedSettings, load_recipe(name).study.settings, name)
    lesion = name.startswith("meningioma")
    assert settings == PublishedSettings(target="lesion" if lesion else "brain")
    assert settings.conform == Conformed(shape=(256, 256, 256), spacing_mm=1.0)
    assert settings.augmentation == RigidRanges(0.5, 180.0, 0.05)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"block": [100, 128, 128]}, "must fill the shape"),
        ({"block": [12, 128, 128]}, "multiples of 8"),
        ({"treshold": 0.5}, "did you mean 'threshold'"),
        ({"augmentation": {"probability": 2}}, "less than or equal to 1"),
        ({"augmentation": {"rotation": 2}}, "rotation"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], reason: str) -> None:
    """With the key, before any work."""
    with pytest.raises(RecipeError, match=reason):
        make_settings(PublishedSettings, settings, "mine")


def test_pairs_are_conformed_together(pairs: list[Pair]) -> None:
    """Bytes on the cube, the labels where the bright brain is, whatever value they had."""
    image, labels = pairs[0].read()
    assert image.shape == labels.shape == (32, 32, 32)
    assert image.dtype == labels.dtype == np.uint8
    assert image.max() == 255
    assert set(np.unique(labels)) == {0, 1}
    brain = image > 140
    assert 2 * (brain & (labels > 0)).sum() / (brain.sum() + labels.sum()) > 0.9
    expected = np.isin(label_map(), (2, 3)).sum() / 8
    assert labels.sum() == pytest.approx(expected, rel=0.05)


def test_labels_on_another_grid_than_the_scan_meet_it(tmp_path: Path) -> None:
    """Places are those of the world, not those of voxels."""
    labels = label_map()
    write(scan_of(labels), tmp_path / "scan.nii.gz")
    flipped = Affine.from_parts(np.diag([-1, 1, 1]), 1.0, (47, 0, 0))
    write(np.isin(labels, (2, 3))[::-1].astype(np.uint8), tmp_path / "mask.nii.gz", flipped)
    rows = [{"id": "a", "image": "scan.nii.gz", "labels": "mask.nii.gz"}]
    table = write_table(tmp_path, rows, Columns(target="labels", labels="nonzero"))
    image, placed = prepare_pairs(table, tmp_path / "cache", GRID, workers=1)[0].read()
    brain = image > 140
    assert 2 * (brain & (placed > 0)).sum() / (brain.sum() + placed.sum()) > 0.9


def class_table(folder: Path, rule: Any) -> Table:
    labels = label_map()
    write(scan_of(labels), folder / "scan.nii.gz")
    write(labels, folder / "labels.nii.gz")
    rows = [{"id": "a", "image": "scan.nii.gz", "labels": "labels.nii.gz"}]
    return write_table(folder, rows, Columns(target="labels", labels=rule))


def test_the_label_rule_of_the_table_decides_the_classes(tmp_path: Path) -> None:
    """Mapped labels are the classes; for one class whatever is left is the mask."""
    table = class_table(tmp_path, {"2": 1, "3": 2})
    (several,) = prepare_pairs(table, tmp_path / "cache", GRID, classes=3, workers=1)
    assert set(np.unique(several.read()[1])) == {0, 1, 2}
    (one,) = prepare_pairs(table, tmp_path / "cache", GRID, classes=1, workers=1)
    assert np.array_equal(one.read()[1], several.read()[1] > 0)


def test_a_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    """The row, the label, and where to map it."""
    table = class_table(tmp_path, "keep")
    with pytest.raises(TableError, match=r"Row 2: .*label 515.*3 classes.*map the labels"):
        prepare_pairs(table, tmp_path / "cache", GRID, classes=3, workers=1)


def test_a_row_without_a_scan_is_refused(tmp_path: Path) -> None:
    """Nothing is synthesised in published mode."""
    table = class_table(tmp_path, "nonzero").with_column("image", [None])
    with pytest.raises(TableError, match="Row 2 has no scan"):
        prepare_pairs(table, tmp_path / "cache", GRID, workers=1)


def test_a_batch_depends_on_its_number_and_the_seed_alone(pairs: list[Pair]) -> None:
    """In any order, also within a visit that another batch has begun."""
    first, second = task(pairs), task(pairs)
    expected = [first.batch(n) for n in range(10)]
    for number in (9, 3, 4, 0, 8, 1):
        assert all(map(torch.equal, second.batch(number), expected[number]))
    assert not torch.equal(task(pairs, seed=1).batch(0)[0], expected[0][0])
    image, target = expected[0]
    assert image.shape == target.shape == (2, 1, 16, 16, 16)
    assert image.dtype == target.dtype == torch.float32


def test_a_visit_gives_every_block_of_a_standardised_volume_once(pairs: list[Pair]) -> None:
    """Eight blocks have mean 0 and deviation 1 together, not each; still volumes as they are."""
    still = task(pairs, augmentation=STILL)
    blocks, targets = (
        torch.cat(parts) for parts in zip(*[still.batch(n) for n in range(4)], strict=True)
    )
    assert blocks.mean().item() == pytest.approx(0, abs=1e-4)
    assert blocks.std().item() == pytest.approx(1, abs=1e-3)
    sums = {round(float(pair.read()[1].sum())) for pair in pairs[:2]}
    assert round(targets.sum().item()) in sums
    assert len({block.numpy().tobytes() for block in blocks}) == 8


def test_every_volume_is_visited_before_any_is_visited_again(pairs: list[Pair]) -> None:
    """The order is drawn anew in each turn."""
    still = task(pairs, augmentation=STILL)

    def visited(visit: int) -> frozenset[bytes]:
        batches = [still.batch(4 * visit + n)[0] for n in range(4)]
        return frozenset(block.numpy().tobytes() for block in torch.cat(batches))

    turns = [(visited(2 * turn), visited(2 * turn + 1)) for turn in range(6)]
    assert all(set(turn) == set(turns[0]) for turn in turns)
    assert len(set(turns)) == 2


def test_targets_stay_whole_when_volumes_are_moved(pairs: list[Pair]) -> None:
    """0 or 1, in every class, and the classes fill the volume."""
    moved = task(pairs, classes=2, augmentation=RigidRanges(probability=1.0))
    _, target = moved.batch(3)
    assert target.shape == (2, 2, 16, 16, 16)
    assert set(target.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(target.sum(1), torch.ones(2, 16, 16, 16))


def test_blocks_are_cut_in_c_order() -> None:
    """The last axis runs fastest, and nothing is lost."""
    volume = np.arange(4 * 4 * 8).reshape(4, 4, 8)
    blocks = cut(volume, (2, 4, 4))
    assert blocks.shape == (4, 2, 4, 4)
    assert np.array_equal(blocks[1], volume[:2, :, 4:])
    assert np.array_equal(np.sort(blocks.ravel()), volume.ravel())


def test_one_hot_follows_the_published_rule() -> None:
    """One class is any label, with a channel; several are one channel each."""
    labels = np.array([[[0, 1, 2]]], np.uint8)
    assert one_hot(labels, 1).tolist() == [[[[0, 1, 1]]]]
    assert one_hot(labels, 3).argmax(0).tolist() == labels.tolist()


def test_overlap_by_hand() -> None:
    """The background of several classes does not count; both empty is 1."""
    assert overlap(np.array([3]), np.array([8])) == {"dice": 0.75, "jaccard": 0.6}
    assert overlap(np.array([0]), np.array([0])) == {"dice": 1.0, "jaccard": 1.0}
    several = overlap(np.array([9, 3, 0]), np.array([10, 8, 4]))
    assert several["dice"] == pytest.approx(0.375)


class Bright(nn.Module):
    """Sure that a voxel is brain where it is brighter than `level` deviations above the mean."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        return 50 * (x - self.level)


def test_an_epoch_is_judged_on_whole_still_volumes(pairs: list[Pair]) -> None:
    """A network that knows the answer scores well; the same every time."""
    judge, image = task(pairs), pairs[2].read()[0]
    bright = Bright((140 - image.mean()) / image.std())
    scores = judge.validate(bright, torch.device("cpu"))
    assert scores == judge.validate(bright, torch.device("cpu"))
    assert set(scores) == {"loss", "dice", "jaccard"}
    assert scores["dice"] > 0.85
    assert scores["jaccard"] == pytest.approx(scores["dice"] / (2 - scores["dice"]), rel=1e-6)


def test_the_threshold_of_the_recipe_makes_the_mask(pairs: list[Pair]) -> None:
    """A network that says 0.4 everywhere calls everything brain at 0.3 and nothing at 0.5."""

    class Unsure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full_like(x, float(np.log(0.4 / 0.6)))

    loose = task(pairs).validate(Unsure(), torch.device("cpu"))
    strict = task(pairs, threshold=0.5).validate(Unsure(), torch.device("cpu"))
    assert loose["dice"] > 0
    assert strict["dice"] == 0


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_the_trained_network_says_the_log_odds_of_the_published_one(classes: int) -> None:
    """Its sigmoid is the published sigmoid or softmax; the weights have the same names."""
    options = {"n_classes": classes, "filters": 2}
    published, trained = build_network("keras-unet", options), KerasUNetLogOdds(**options)
    trained.load_state_dict(published.state_dict())
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.allclose(trained(image).sigmoid(), published(image), atol=1e-6)


def test_log_odds_do_not_overflow() -> None:
    """Where a softmax is 0 or 1 to every digit, its log-odds are still what they are."""
    odds = log_odds(torch.tensor([[[500.0], [-500.0], [0.0]]]))
    assert odds.flatten().tolist() == [500.0, -1000.0, -500.0]


def test_the_published_recipe_trains_a_model_that_predicts(tmp_path: Path) -> None:
    """Two epochs of two steps: run folder, weights without a graph, probabilities of a scan."""
    table = pair_table(tmp_path, BRAIN)
    model = train(BRAIN, table, tmp_path / "run")
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,train_loss,train_jaccard,learning_rate,val_loss")
    assert len(rows) == 3
    files = open_model(model)
    assert files.description.mode == "published"
    asked: dict[str, Any] = {"conform": "never", "save": ("mask", "probability")}
    predictor = STUDY.load(opened(files, **asked))
    chance = predictor.predict(read_image(tmp_path / "scan0.nii.gz")).images["probability"].data
    assert chance.shape == (48, 52, 46)
    assert chance.min() >= 0
    assert chance.max() <= 1
    assert json.loads(json.dumps(predictor.describe()))["block"] == 16


def test_meningioma_of_several_classes_starts_from_a_mask(tmp_path: Path) -> None:
    """The last layer is new, the others come from the model that was trained before."""
    table = pair_table(tmp_path, BRAIN)
    trained = train(BRAIN, table, tmp_path / "run")
    changes = PUBLISHED | {
        "network.options": "{ n_classes = 3, filters = 2 }",
        "training.start_from": str(trained),
        "training.learning_rate": "1e-8",
        "table.labels": "{ 2 = 1, 3 = 2 }",
    }
    several = recipe("meningioma-published", changes)
    fitted = fit(several, pair_table(tmp_path, several), RunFolder(tmp_path / "more"), context())
    start = open_model(trained).tensors()
    assert fitted.state["head.weight"].shape[0] == 3
    for name in ("encoder.0.0.weight", "decoder.2.2.weight"):
        assert np.allclose(fitted.state[name].numpy(), start[name], atol=1e-5)
