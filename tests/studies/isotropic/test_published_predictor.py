# SPDX-License-Identifier: Apache-2.0
"""The published reconstruction: the whole of it on files, and what it refuses."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from encephalon.errors import ContentError, InputError, ModelError, UsageError
from encephalon.geometry.affine import Affine
from encephalon.inference.outputs import OutputLayout
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.models.catalogue import find_model
from encephalon.models.description import ModelDescription
from encephalon.models.folder import save_model
from encephalon.networks.published_reconstruction import PublishedReconstruction
from encephalon.networks.torch_runtime import TorchRuntime, load_network
from encephalon.recipes.loading import recipe_data
from encephalon.studies.isotropic.published import preprocessing as steps
from encephalon.studies.isotropic.published.predictor import (
    NOTICE,
    PublishedPredictor,
    make_published_predictor,
)
from encephalon.studies.isotropic.published.settings import PublishedOptions, PublishedSettings
from encephalon.tables.samples import Sample
from tests.inference.conftest import predict_all
from tests.studies.calls import FakeRuntime, opened
from tests.studies.isotropic.tiny_published import (
    NETWORK,
    SETTINGS,
    head_pair,
    published_recipe,
    write_pair,
)

MODEL = {"name": "fake", "version": "0", "sha256": "00" * 32, "mode": "published"}
CPU = {"device": "cpu", "threads": 1}


def t2w_of(batch: NDArray[Any]) -> NDArray[Any]:
    """A network that gives the interpolated T2w back."""
    return batch[:, 1:]


def predictor(network: Any = t2w_of, settings: PublishedSettings = SETTINGS) -> PublishedPredictor:
    asked = PublishedOptions(batch_size=5)
    return PublishedPredictor(MODEL, FakeRuntime(network), asked, settings)


def sample(paths: dict[str, Path]) -> Sample:
    return Sample("a", dict(paths))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of the published layout, of a small network for patches of 32 voxels."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    path = tmp_path / "own.pth"
    torch.save(PublishedReconstruction(**NETWORK).state_dict(), path)  # type: ignore[arg-type]
    return path


def test_the_result_is_padded_normalised_and_in_double_precision(tmp_path: Path) -> None:
    """On disk: float64, the T2w between zeros, its affine moved by the padding, no more header."""
    paths = write_pair(tmp_path, "a")
    batch = predict_all(predictor(), [sample(paths)], OutputLayout(tmp_path / "out"))
    assert not batch.failures
    assert batch.rows[0]["patches"] == 36
    written: Any = nibabel.load(tmp_path / "out" / "a_t2w.nii.gz")
    assert written.shape == (16, 20, 16)
    assert written.get_data_dtype() == np.float64
    assert np.array_equal(written.affine[:3, 3], [91, -127, -73])
    expected = steps.pad(steps.normalise(head_pair()[1], "x"), (16, 20, 16))
    np.testing.assert_allclose(written.get_fdata(), expected, rtol=0, atol=1e-6)
    about = json.loads((tmp_path / "out" / "a_t2w.json").read_text(encoding="utf-8"))
    assert NOTICE in json.dumps(about)


def test_the_t1w_is_the_first_channel(tmp_path: Path) -> None:
    """Each normalised by itself."""
    reader = predictor(lambda batch: batch[:, :1])
    made = reader.predict(reader.read(sample(write_pair(tmp_path, "a"))))
    expected = steps.pad(steps.normalise(head_pair()[0], "x"), (16, 20, 16))
    np.testing.assert_allclose(made.images["t2w"].data, expected, rtol=0, atol=1e-6)
    assert made.quality is None


@pytest.mark.parametrize("suffix", [".mgz", ".npy"])
def test_other_formats_hold_single_precision(tmp_path: Path, suffix: str) -> None:
    """As every other image that is written in them."""
    path = tmp_path / f"result{suffix}"
    layout = OutputLayout(tmp_path, {"t2w": path})
    assert not predict_all(predictor(), [sample(write_pair(tmp_path, "a"))], layout).failures
    assert path.stat().st_size >= 16 * 20 * 16 * 4 or suffix == ".mgz"


def test_a_scan_elsewhere_is_taken_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The published program does not look at affines; here the result is marked "check"."""
    here, there = write_pair(tmp_path, "a"), write_pair(tmp_path, "b", affine=Affine(np.eye(4)))
    judge = predictor()

    def reasons(t1w: Path, t2w: Path) -> tuple[str, ...]:
        quality = judge.predict(judge.read(sample({"t1w": t1w, "t2w": t2w}))).quality
        assert quality is not None
        assert quality.status == "check"
        return quality.reasons

    assert reasons(there["t1w"], here["t2w"]) == (
        "the headers put T1w and T2w at different places",
    )
    assert len(reasons(here["t1w"], there["t2w"])) == 2
    assert "published atlas" in caplog.text


def test_both_scans_are_needed(tmp_path: Path) -> None:
    """There are no published weights for a T2w alone."""
    paths = write_pair(tmp_path, "a")
    with pytest.raises(InputError, match=r"a: .*needs a T1w and a T2w.*got t2w: .*'isotropic'"):
        predictor().read(sample({"t2w": paths["t2w"]}))


def test_a_thick_scan_is_refused_by_its_name(tmp_path: Path) -> None:
    """Only the interpolated T2w on the atlas grid is published."""
    paths = write_pair(tmp_path, "a")
    thick = head_pair(shape=(14, 18, 5))[1]
    like = Image(thick, Affine.from_spacing((1.0, 1.0, 3.0)))
    paths["t2w"] = write_image(thick, tmp_path / "thick.nii.gz", like)
    with pytest.raises(ContentError, match=r"thick\.nii\.gz: .*14 x 18 x 5 voxels of 1 x 1 x 3"):
        predictor().read(sample(paths))
    with pytest.raises(ContentError, match="182 x 218 x 182 voxels of 1 mm"):
        predictor(settings=PublishedSettings()).read(sample(write_pair(tmp_path, "a")))


def test_a_scan_without_positive_values_is_one_failure_of_a_batch(tmp_path: Path) -> None:
    """With the name of its file; the next scan is done."""
    paths, other = write_pair(tmp_path, "a"), write_pair(tmp_path, "b")
    negative = -1 - head_pair()[1]
    write_image(negative, paths["t2w"], Image(negative, steps.ATLAS), overwrite=True)
    samples = [sample(paths), Sample("b", dict(other))]
    batch = predict_all(predictor(), samples, OutputLayout(tmp_path / "out"))
    assert len(batch.failures) == 1
    assert "a_t2w.nii.gz: expected a scan with values above 0" in batch.failures[0].message
    assert (tmp_path / "out" / "b_t2w.nii.gz").exists()


def test_progress_is_told_by_tenths(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the log, as a volume takes minutes without a GPU."""
    reader = predictor()
    with caplog.at_level(logging.INFO):
        reader.predict(reader.read(sample(write_pair(tmp_path, "a"))))
    assert "5 of 36 patches" in caplog.text
    assert "36 of 36 patches" in caplog.text
    assert caplog.text.count(" patches") <= 10


def test_a_published_file_is_loaded_with_the_published_settings(weights: Path) -> None:
    """Grid, patches and columns of the built-in recipe; sidecars know the file's sha256."""
    model = find_model(weights)
    open_model = opened(model, batch_size="3")
    made = make_published_predictor(open_model)
    assert made.settings == PublishedSettings()
    assert made.options == PublishedOptions(batch_size=3)
    assert open_model.columns.inputs == {"t2w": "t2w", "t1w": "t1w"}
    about = made.describe()
    assert (about["model"]["name"], about["model"]["mode"]) == ("own", "published")
    assert about["model"]["sha256"] == model.sha256
    assert (about["device"], about["batch_size"], about["half"]) == ("cpu", 3, False)
    assert json.dumps(about)
    with pytest.raises(UsageError, match=r"'own': unknown.*spacing"):
        make_published_predictor(opened(model, spacing=1.0))


def test_batches_and_half_precision_give_the_same_within_a_thousandth(weights: Path) -> None:
    """One patch at once or three, single precision or half."""
    model = find_model(weights)
    patches = np.random.default_rng(0).random((3, 2, 32, 32, 32), dtype=np.float32)

    def answer(given: NDArray[Any], half: bool = False) -> NDArray[Any]:
        return TorchRuntime(load_network(model), "cpu", 1, half).run(given)[0]

    whole, narrow = answer(patches), answer(patches, half=True)
    single = np.concatenate([answer(patches[n : n + 1]) for n in range(3)])
    assert whole.dtype == narrow.dtype == np.float32
    np.testing.assert_allclose(single, whole, rtol=0, atol=1e-6)
    np.testing.assert_allclose(narrow, whole, rtol=0, atol=1e-3)
    assert not np.array_equal(narrow, whole)


def test_a_network_of_too_many_levels_is_refused(tmp_path: Path) -> None:
    """A patch can be halved only so often."""
    deep = PublishedReconstruction(channels=(2, 2, 2, 2, 2, 2, 3), units=1)
    torch.save(deep.state_dict(), tmp_path / "own.pth")
    with pytest.raises(ModelError, match=r"own\.pth: .*multiples of 64 voxels.*have 32"):
        make_published_predictor(opened(find_model(tmp_path / "own.pth")))


def test_a_model_folder_of_a_published_recipe_is_used_like_the_published_file(
    tmp_path: Path,
) -> None:
    """Its own grid and network, weights in half precision, no graph."""
    recipe = published_recipe()
    torch.manual_seed(0)
    network = PublishedReconstruction(**NETWORK)  # type: ignore[arg-type]
    state = {name: value.half().numpy() for name, value in network.state_dict().items()}
    description = ModelDescription("own", "1", "isotropic", "reconstruction", "published")
    description = replace(description, recipe=recipe_data(recipe))
    made = make_published_predictor(opened(save_model(tmp_path / "model", description, state)))
    assert made.settings == SETTINGS
    result = made.predict(made.read(sample(write_pair(tmp_path, "a")))).images["t2w"].data
    volume = np.stack([steps.pad(steps.normalise(v, ""), (16, 20, 16)) for v in head_pair()])
    starts = steps.patch_starts((16, 20, 16), 8, 4)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            answer: NDArray[Any] = network(torch.from_numpy(batch)).numpy()
        return answer

    expected = steps.predict_patches(volume, run, starts, patch=8)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
    assert result.shape == (16, 20, 16)
