# SPDX-License-Identifier: Apache-2.0
"""Cubes to learn from, and training from a table to a model folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from encephalon.errors import RunError, TableError
from encephalon.geometry.affine import Affine
from encephalon.inference.runtimes import open_runtime
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.models.folder import ModelFolder, open_model
from encephalon.networks import build_network
from encephalon.studies.isotropic.data import (
    Patch,
    Subject,
    draw_operator,
    load_subjects,
    sample_patch,
)
from encephalon.studies.isotropic.reconstruction.network import CHANNELS
from encephalon.studies.isotropic.settings import LARGEST_TRUST, IsotropicSettings
from encephalon.studies.isotropic.task import IsotropicTask, measure
from encephalon.tables.reading import read_table
from encephalon.tables.schema import Table
from encephalon.training.run import training_parts
from encephalon.transforms.parameters import ScannerRanges
from encephalon.transforms.synthesis import ADULT, synthesise_pair
from tests.studies.calls import train
from tests.studies.isotropic.tiny_isotropic import (
    labels,
    pair,
    quick_recipe,
    quick_table,
    write_table,
)

SYNTHETIC = Subject(labels=labels().astype(np.int16))
REAL = Subject(scans=np.stack([image / 900 for image in pair()]).astype(np.float16))


@pytest.mark.parametrize("subject", [SYNTHETIC, REAL], ids=["synthetic", "real"])
def test_a_cube_is_what_its_slices_were_made_of(subject: Subject) -> None:
    """Features, truth and weights share a grid, and are finite; the same seed draws the same."""
    patches = [
        sample_patch(np.random.default_rng(7), subject, subject, 16, ScannerRanges())
        for _ in range(2)
    ]
    assert patches[0].features.shape == (9, 16, 16, 16)
    assert patches[0].target.shape == (2, 16, 16, 16)
    assert np.isfinite(patches[0].features).all()
    np.testing.assert_array_equal(patches[0].features, patches[1].features)


def test_what_can_be_missing_is_missing_now_and_then() -> None:
    """Some patches have no guide, most have one."""
    ranges = replace(ScannerRanges(), missing=0.5)
    seen = [
        bool(sample_patch(np.random.default_rng(seed), REAL, REAL, 16, ranges).features[5].any())
        for seed in range(24)
    ]
    assert 4 < sum(seen) < 20


def test_slices_are_as_far_apart_as_asked() -> None:
    """Ratios lie in their range, and the slices cover the patch."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        operator = draw_operator(rng, 48, ScannerRanges(ratio=(2.0, 4.0)))
        assert 1.9 < operator.ratio < 4.1
        assert operator.matrix.sum(axis=1) == pytest.approx(1)


def test_slices_at_the_ends_of_the_range_are_there() -> None:
    """One at least in the smallest patch with its margins, however far apart they lie."""
    for ratio in (1.0, 32.0):
        for seed in range(200):
            rng = np.random.default_rng(seed)
            operator = draw_operator(rng, 32, ScannerRanges(ratio=(ratio, ratio)))
            assert len(operator.matrix) >= 1
    ends = replace(
        ScannerRanges(ratio=(32.0, 32.0)), noise=2.0, guide_noise=2.0, bias=1.0, rotation=180.0
    )
    patch = sample_patch(np.random.default_rng(0), REAL, REAL, 16, replace(ends, shift=100.0))
    assert np.isfinite(patch.features).all()


def test_the_t1w_of_a_pair_can_be_what_is_cut_into_slices() -> None:
    """Then the T2w guides: what was guide is truth, up to the brightness that is drawn."""
    scans = np.stack([np.full((48,) * 3, level, np.float16) for level in (0.5, 1.0)])
    asked = replace(ScannerRanges(), missing=0.0, wrong=0.0, cut=0.0, swapped=1.0)
    patch = sample_patch(
        np.random.default_rng(0), Subject(scans=scans), Subject(scans=scans), 16, asked
    )
    assert patch.target[0].mean() > patch.features[3].mean()


def test_decimated_slices_are_planes_of_the_truth() -> None:
    """Each is the mean of two neighbouring voxels at most, whatever the distance."""
    operator = draw_operator(np.random.default_rng(0), 48, ScannerRanges(decimated=1.0))
    assert ((operator.matrix > 0).sum(axis=1) <= 2).all()


def test_painted_pairs_show_the_same_head_in_two_contrasts() -> None:
    """White matter is darker than fluid in the T2w and brighter in the T1w."""
    patch = torch.from_numpy(labels().astype(np.int64))
    scan, guide = synthesise_pair(np.random.default_rng(0), patch, patch, 0.0, ADULT)
    white, fluid = labels() == 2, labels() == 24
    assert scan[white].mean() < scan[fluid].mean()
    assert guide[white].mean() > guide[fluid].mean()


def test_a_batch_depends_on_its_number_alone() -> None:
    """Resuming in the middle draws what would have been drawn."""
    recipe = quick_recipe()
    settings = IsotropicSettings.model_validate(recipe.study.settings)
    first, second = (
        IsotropicTask([SYNTHETIC, REAL], [SYNTHETIC], settings, recipe.training) for _ in range(2)
    )
    first.batch(0)
    for mine, other in zip(first.batch(5), second.batch(5), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


@dataclass
class Judged:
    """One patch whose estimate lacks `lacking` in the foreground, and anything outside of it."""

    lacking: np.ndarray

    def validation_patches(self) -> Iterator[Patch]:
        inside = np.arange(self.lacking.size).reshape(self.lacking.shape) % 3 > 0
        features = np.ones((9, *self.lacking.shape), np.float32)
        truth = features[0] + features[1] + np.where(inside, self.lacking, 100).astype(np.float32)
        yield Patch(features, np.stack([truth, inside]).astype(np.float32))


class Correcting(torch.nn.Module):
    """Adds `correction` to the estimate and tells an error of `told` in each voxel."""

    def __init__(self, correction: np.ndarray, told: float) -> None:
        super().__init__()
        self.correction, self.told = torch.from_numpy(correction).float(), told

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(1, 9, I, J, K) to image and log error (1, 2, I, J, K)."""
        image = features[0, 0] + features[0, 1] + self.correction
        return torch.stack([image, torch.full_like(image, np.log(self.told))])[None]


@pytest.mark.parametrize(("factor", "trust"), [(4.0, 0.25), (1.0, LARGEST_TRUST), (-2.0, 0.0)])
def test_a_correction_is_used_as_far_as_it_serves(factor: float, trust: float) -> None:
    """A correction four times too large by a quarter, a wrong one not at all; the rest is error."""
    lacking = np.random.default_rng(0).laplace(size=(6, 6, 6))
    task = Judged(lacking)
    told = 0.3
    found = measure(Correcting(factor * lacking, told), cast(IsotropicTask, task))
    assert found[0] == pytest.approx(trust, abs=1e-6)
    inside = next(task.validation_patches()).target[1] == 1
    left = np.sqrt(np.mean(((1 - trust * factor) * lacking[inside]) ** 2))
    left /= np.sqrt(np.sqrt(2) * told)  # and the guided method's, 1 in every voxel
    assert found[1] == pytest.approx(left, rel=1e-4, abs=1e-4)
    assert found[2] == found[1], "of no patch without a T1w"


def test_a_recipe_may_trust_a_network_wholly() -> None:
    """The share that serves best is used where the recipe allows it."""
    lacking = np.random.default_rng(0).laplace(size=(6, 6, 6))
    task = cast(IsotropicTask, Judged(lacking))
    assert measure(Correcting(1.25 * lacking, 0.3), task, 1.0)[0] == pytest.approx(0.8)


def test_errors_with_a_t1w_and_without_are_told_apart() -> None:
    """Without one they are three times as large here, and so is the scale of the deviation."""
    lacking = np.random.default_rng(0).laplace(size=(6, 6, 6))

    class Both:
        def validation_patches(self) -> Iterator[Patch]:
            yield from Judged(lacking).validation_patches()
            for patch in Judged(3 * lacking).validation_patches():
                patch.features[CHANNELS.index("1 where there is a T1w")] = 0
                yield patch

    network = Correcting(np.zeros_like(lacking), 0.3)
    trust, guided, alone = measure(network, cast(IsotropicTask, Both()))
    assert trust == 0
    assert alone == pytest.approx(3 * guided, rel=1e-4)


def built(model: ModelFolder) -> torch.nn.Module:
    """The network of `model` with its weights."""
    recipe = quick_recipe().network
    network = build_network(recipe.name, {**recipe.options, "inputs": len(CHANNELS)})
    network.load_state_dict({k: torch.from_numpy(v) for k, v in model.tensors().items()})
    return network.eval()


def judged(table: Table) -> IsotropicTask:
    """The task of the quick recipe, which knows the patches that it is judged by."""
    recipe = quick_recipe()
    settings = IsotropicSettings.model_validate(recipe.study.settings)
    parts = (load_subjects(part) for part in training_parts(table))
    return IsotropicTask(*parts, settings, recipe.training)


def test_training_leaves_a_model_that_predicts_without_torch(tmp_path: Path) -> None:
    """From a table to weights, a graph that answers like them, and what was measured of them."""
    table = quick_table(tmp_path)
    folder = train(quick_recipe(), table, tmp_path / "run")
    model = open_model(folder)
    network = built(model)
    assert model.graph is not None
    patch = np.random.default_rng(2).random((1, 9, 16, 16, 16), np.float32)
    (answer,) = open_runtime(model.graph, "cpu", 1).run(patch)
    with torch.no_grad():
        np.testing.assert_allclose(answer, network(torch.from_numpy(patch)), atol=1e-4)
    assert model.description.training_data["pairs"] == 1
    trust, *scales = measure(network, judged(table))
    # Measured before the weights were rounded to half precision.
    assert model.description.recipe["study"]["trust"] == pytest.approx(trust, abs=1e-2)
    for name, scale in zip(("deviation_scale", "deviation_scale_alone"), scales, strict=True):
        assert model.description.recipe["study"][name] == pytest.approx(scale, rel=1e-2)
    assert len((tmp_path / "run" / "history.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_table_without_validation_says_to_split_it(tmp_path: Path) -> None:
    """Nothing is trained that nothing judges."""
    path = write_table(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("validation", "train"), "utf-8")
    with pytest.raises(RunError, match="no row whose split is 'validation'"):
        train(quick_recipe(), read_table(path, quick_recipe().table), tmp_path / "run")


def test_a_row_with_nothing_to_learn_from_is_named(tmp_path: Path) -> None:
    """A T2w alone teaches nothing of a guide."""
    path = write_table(tmp_path)
    path.write_text(
        "id,t2w,t1w,labels,group,split\nlonely,t2w.nii.gz,,,x,train\n", encoding="utf-8"
    )
    with pytest.raises(TableError, match="row 2: expected a label map, or an isotropic T2w"):
        load_subjects(read_table(path, quick_recipe().table))


def test_a_thick_truth_is_refused(tmp_path: Path) -> None:
    """A network cannot learn an isotropic scan from one that is not."""
    path = write_table(tmp_path)
    data = pair()[0][..., ::4]
    write_image(
        data, tmp_path / "t2w.nii.gz", Image(data, Affine.from_spacing((1, 1, 4))), overwrite=True
    )
    table = read_table(path, quick_recipe().table)
    with pytest.raises(TableError, match=r"must be cubes, but they are 1 x 1 x 4 mm"):
        load_subjects(table)
