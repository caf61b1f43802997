# SPDX-License-Identifier: Apache-2.0
"""Batches of heads, how an epoch is judged, and whole runs of four steps."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encephalon.errors import ModelError, RunError
from encephalon.io.home import HOME_VARIABLE
from encephalon.models import files
from encephalon.recipes.schema import Training
from encephalon.studies.extraction.data import (
    TrainingSample,
    sample_from_labels,
    sample_from_lesion,
    sample_from_mask,
)
from encephalon.studies.extraction.settings import ExtractionSettings, Grids
from encephalon.studies.extraction.study import STUDY
from encephalon.studies.extraction.task import ExtractionTask
from encephalon.training.runs import RunFolder
from tests.studies.calls import context, fit, opened, train
from tests.studies.extraction.tiny_heads import (
    DEFAULT,
    install_brain_model,
    label_map,
    label_table,
    pair_table,
    radius,
    recipe,
    scan_of,
    write,
)

GRIDS = Grids(coarse=(16, 16, 16), fine=(24, 24, 24))
SETTINGS = ExtractionSettings(
    grids=GRIDS, coarse_steps=2, coarse_share=0.0, coarse_batch=3, validation_samples=2
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing installed but what a test installs; one thread, so that two never compete."""
    torch.set_num_threads(1)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(files, "packaged_folder", lambda: tmp_path / "packaged")
    return tmp_path / "home" / "models"


@pytest.fixture(scope="module")
def synthetic() -> TrainingSample:
    return sample_from_labels(label_map())


@pytest.fixture(scope="module")
def real() -> TrainingSample:
    return sample_from_mask(scan_of(label_map()), np.isin(label_map(), (2, 3)))


def task(heads: list[TrainingSample], seed: int = 0, **changes: Any) -> ExtractionTask:
    settings = SETTINGS.model_copy(update=changes)
    return ExtractionTask(heads, heads, settings, Training(seed=seed, batch_size=2))


def test_a_batch_depends_on_its_number_and_the_seed_alone(
    synthetic: TrainingSample, real: TrainingSample
) -> None:
    """In any order, from any task, whatever the global generators do."""
    first, second = task([synthetic, real]), task([synthetic, real])
    expected = [first.batch(n) for n in range(4)]
    torch.manual_seed(9)
    for number in (3, 1, 0, 2):
        assert all(map(torch.equal, second.batch(number), expected[number]))
    assert not torch.equal(task([synthetic, real], seed=1).batch(0)[0], expected[0][0])


def test_training_begins_on_the_coarse_grid(synthetic: TrainingSample) -> None:
    """Two coarse batches of three heads, then fine ones of two; distances in grid voxels."""
    shapes = [task([synthetic]).batch(n)[0].shape for n in range(4)]
    assert shapes == [(3, 1, 16, 16, 16)] * 2 + [(2, 1, 24, 24, 24)] * 2
    _, target = task([synthetic]).batch(2)
    assert target.shape == (2, 2, 24, 24, 24)
    steps = torch.stack(torch.gradient(target[:, 0], dim=(1, 2, 3))).norm(dim=0)
    assert steps[target[:, 0].abs() < 1].median().item() == pytest.approx(1, abs=0.15)


def test_images_are_normalised_and_hold_the_brain(
    synthetic: TrainingSample, real: TrainingSample
) -> None:
    """Within [0, 1], synthetic or real; the brain lies inside the grid."""
    for heads in ([synthetic], [real]):
        for number in range(4):
            image, target = task(heads).batch(number)
            assert image.min() >= 0
            assert image.max() <= 1
            assert ((target[:, 0] > 0).float().mean((1, 2, 3)) > 0.02).all()


def test_the_share_of_real_heads_is_the_recipes(
    synthetic: TrainingSample, real: TrainingSample
) -> None:
    """All, none, or about half of the samples."""
    rng = np.random.default_rng(0)
    for share, low, high in ((0.0, 0, 0), (1.0, 200, 200), (0.5, 70, 130)):
        mixed = task([synthetic, real], real_share=share)
        assert low <= sum(mixed.heads.draw(rng)[0] is real for _ in range(200)) <= high


class Oracle(nn.Module):
    """Says what it was told to, whatever it sees."""

    def __init__(self, answers: list[Tensor]) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, _image: Tensor) -> Tensor:
        return self.answers.pop(0)[None]


def truths(of: ExtractionTask) -> list[Tensor]:
    """The targets of the validation samples, in the order in which they are asked for."""
    seen: list[Tensor] = []
    sample = of.sample
    of.sample = lambda *a: seen.append((s := sample(*a))[1]) or s  # type: ignore[method-assign, func-returns-value]
    borders = 2 if of.settings.target == "brain" else 1
    blank = [torch.zeros(borders, *size) for size in [GRIDS.fine] * 2 + [GRIDS.coarse] * 2]
    of.validate(Oracle(blank), torch.device("cpu"))
    of.sample = sample  # type: ignore[method-assign]
    return seen


def test_a_perfect_network_scores_1_and_a_wrong_one_what_it_deserves(
    synthetic: TrainingSample,
) -> None:
    """Dice 1 and no error for the truth; an error of half a voxel for a border that is off so."""
    judge = task([synthetic])
    answers = truths(judge)
    perfect = judge.validate(Oracle(list(answers)), torch.device("cpu"))
    assert perfect["dice_fine"] == perfect["dice_coarse"] == perfect["dice"] == 1
    assert perfect["border_fine"] == perfect["loss"] == 0
    off = judge.validate(Oracle([answer + 0.5 for answer in answers]), torch.device("cpu"))
    assert off["border_fine"] == pytest.approx(0.5)
    assert 0.8 < off["dice"] < 1


def test_validation_is_the_same_every_epoch(synthetic: TrainingSample) -> None:
    """Its draws are fixed, so that epochs can be compared."""
    judge = task([synthetic])
    assert all(map(torch.equal, truths(judge), truths(judge)))


def lesion_head(size: float) -> TrainingSample:
    """A scan of the plain head with a lesion of `size` voxels, and the box of its brain."""
    labels = label_map()
    brain = np.argwhere(np.isin(labels, (2, 3)))
    box = np.stack([brain.min(0), brain.max(0)], axis=1)
    return sample_from_lesion(scan_of(labels), radius(labels.shape, (20, 26, 23)) < size, box)


def test_lesions_are_one_channel_on_the_grid_of_the_brain() -> None:
    """The lesion is small in the grid because the grid is laid around the brain."""
    lesions = task([lesion_head(5)], target="lesion", coarse_steps=0)
    _, target = lesions.batch(0)
    assert target.shape == (2, 1, 24, 24, 24)
    assert 0.001 < (target > 0).float().mean() < 0.05


def test_finding_nothing_where_there_is_nothing_is_right() -> None:
    """Both empty is a Dice of 1, and no border has no error."""
    healthy = task([lesion_head(0)], target="lesion")
    scores = healthy.validate(Oracle(truths(healthy)), torch.device("cpu"))
    assert scores["dice"] == 1
    assert scores["border_fine"] == 0


def run_fit(folder: Path, of: Any, table: Any, **options: Any) -> Any:
    run = RunFolder(folder)
    return fit(of, table, run, context(**options))


def test_label_maps_alone_train_a_model_that_predicts(tmp_path: Path) -> None:
    """Two epochs of two steps, end to end: run folder, history, graph, and a mask of a scan."""
    brain = recipe("brain-extraction", DEFAULT)
    table = label_table(tmp_path, brain)
    model = train(brain, table, tmp_path / "run")
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 3
    from encephalon.io.reading import read_image
    from encephalon.models.folder import open_model

    folder = open_model(model)
    assert folder.graph is not None
    assert folder.description.training_data["label_maps"] == 3
    predictor = STUDY.load(opened(folder))
    scan = write(scan_of(label_map()), tmp_path / "scan.nii.gz")
    made = predictor.predict(read_image(scan))
    assert made.images["mask"].data.shape == (48, 52, 46)


def test_pairs_train_as_well_as_label_maps(tmp_path: Path) -> None:
    """A table of scans with masks, nothing synthesised."""
    brain = recipe("brain-extraction", DEFAULT)
    fitted = run_fit(tmp_path / "run", brain, pair_table(tmp_path, brain))
    assert all(np.isfinite(row["train_loss"]) for row in fitted.history)


def test_meningioma_starts_from_the_brain_with_a_new_head(
    tmp_path: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Transfer end to end: brain boxes found, frozen layers as they came, one border learnt."""
    brain = recipe("brain-extraction", DEFAULT)
    (tmp_path / "brain").mkdir()
    trained = train(brain, label_table(tmp_path / "brain", brain), tmp_path / "run0")
    install_brain_model(home, threshold=0.4)
    changes = DEFAULT | {
        "network.options": "{ channels = [2, 3], borders = 1 }",
        "training.start_from": str(trained),
        "study.coarse_steps": "0",
    }
    lesion = recipe("meningioma", changes)
    with caplog.at_level(logging.INFO):
        fitted = run_fit(tmp_path / "run", lesion, pair_table(tmp_path, lesion, brain=(2,)))
    assert "new head: head.weight, head.bias" in caplog.text
    from encephalon.models.folder import open_model

    start = open_model(trained).tensors()
    assert torch.equal(
        fitted.state["stem.0.0.weight"], torch.from_numpy(start["stem.0.0.weight"]).float()
    )
    assert not np.array_equal(
        fitted.state["up.0.reduce.weight"].numpy(), start["up.0.reduce.weight"].astype(np.float32)
    )
    assert fitted.state["head.weight"].shape[0] == 8


def test_a_start_that_is_not_there_ends_before_training(tmp_path: Path) -> None:
    """A run never falls back to random weights."""
    brain = recipe("brain-extraction", DEFAULT | {"training.start_from": "brain-extractor"})
    with pytest.raises(ModelError, match="brain-extractor"):
        run_fit(tmp_path / "run", brain, label_table(tmp_path, brain))


def test_a_table_without_validation_rows_is_refused(tmp_path: Path) -> None:
    """There would be nothing to choose the best epoch by."""
    brain = recipe("brain-extraction", DEFAULT)
    table = label_table(tmp_path, brain).select([0, 1])
    with pytest.raises(RunError, match=r"no row whose split is 'validation'"):
        run_fit(tmp_path / "run", brain, table)
