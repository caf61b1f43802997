# SPDX-License-Identifier: Apache-2.0
"""The published path: each step against a computation of its own, and the whole on a scan."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from encephalon.errors import ModelError, UsageError
from encephalon.geometry.affine import Affine
from encephalon.inference.outputs import OutputLayout
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.models.description import ModelDescription
from encephalon.models.folder import open_model, save_model
from encephalon.models.published import PublishedFile, open_published
from encephalon.models.registry import registry_entries
from encephalon.networks.torch_runtime import load_network
from encephalon.studies.extraction.published import preprocessing as steps
from encephalon.studies.extraction.published.predictor import (
    NOTICE,
    PublishedPredictor,
    make_published_predictor,
)
from encephalon.studies.extraction.published.settings import PublishedOptions
from encephalon.tables.samples import Sample
from tests.inference.conftest import predict_all
from tests.studies.calls import FakeRuntime, opened

Data = NDArray[Any]
MODEL = {"name": "fake", "version": "0", "sha256": "00" * 32, "mode": "published"}


def squash(batch: Data) -> Data:
    """A network without context: 0.5 where the standardised scan has its mean."""
    return (1 / (1 + np.exp(-2 * batch))).astype(np.float32)


def brightest(batch: Data) -> Data:
    """A network that calls what is near a block's brightest voxel brain."""
    return (batch > 0.55 * batch.max()).astype(np.float32)


def predictor(
    network: Callable[[Data], Data] = squash, label: str = "brain", **options: Any
) -> PublishedPredictor:
    return PublishedPredictor(MODEL, FakeRuntime(network), PublishedOptions(**options), label)


def dice(one: Data, other: Data) -> float:
    return float(2 * np.sum(one & other) / (one.sum() + other.sum()))


def noise(*shape: int) -> Data:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def test_the_threshold_is_strict_and_the_volume_is_in_millilitres() -> None:
    """A voxel at 0.3 exactly is outside; the volume counts voxels of the scan's own size."""
    chance = np.full((8, 8, 8), 0.3, np.float32)
    chance[:4] = np.nextafter(np.float32(0.3), np.float32(1))
    scan = Image(noise(8, 8, 8), Affine.from_spacing((1.0, 2.0, 3.0)))
    made = predictor(lambda _: chance[None, None], conform="never", threshold=0.3).predict(scan)
    mask = made.images["mask"].data
    assert mask[:4].all()
    assert not mask[4:].any()
    assert made.values == {"volume_ml": pytest.approx(256 * 6 / 1000)}


def test_any_shape_is_predicted_and_keeps_its_shape() -> None:
    """Sides that are no multiple of 8, smaller or larger than a block."""
    scan = Image(noise(13, 30, 9), Affine.from_spacing(1.0))
    made = predictor(conform="never", block=16).predict(scan)
    expected = squash(steps.z_score(scan.data, "x")) > 0.3
    assert np.array_equal(made.images["mask"].data, expected)


def test_a_block_may_have_three_edges_and_a_scan_be_resized() -> None:
    """As `nobrainer predict`: linear to the shape whatever the voxels, nearest back."""
    resize = pytest.importorskip("skimage.transform").resize
    scan = Image(noise(20, 12, 9), Affine.from_spacing((1, 2, 4)))
    how = {"preserve_range": True, "anti_aliasing": False, "mode": "constant"}
    inner = resize(scan.data, (16, 24, 16), order=1, **how)
    expected = resize(squash(steps.z_score(inner, "x")) > 0.3, scan.shape, order=0, **how)
    made = predictor(resize="16,24,16", block=(16, 8, 16)).predict(scan)
    assert np.mean(made.images["mask"].data == expected) > 0.999
    assert made.images["mask"].data.shape == scan.shape


def blurred(batch: Data) -> Data:
    """A network with a reach of 12 voxels, 0 beyond the block."""
    mean = ndimage.uniform_filter(batch, (1, 1, 25, 25, 25), mode="constant")
    return (1 / (1 + np.exp(-60 * mean))).astype(np.float32)


@pytest.mark.parametrize("block", [(32, 32, 32), (32, 64, 40)])
def test_what_a_small_halo_changes_is_measured_and_told(
    block: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Where blocks meet, against the network's answer without blocks; nothing for a wide halo."""
    scan = Image(noise(144, 70, 64), Affine.from_spacing(1.0))
    scored = steps.z_score(scan.data, "x")
    asked = {"conform": "never", "block": block, "threshold": 0.5}
    near, wide = (predictor(blurred, halo=halo, **asked).predict(scan) for halo in (4, 16))
    box, exact = steps.crossing(blurred, scored, block, 4)
    truth = steps.blocks(blurred, scored, (256, 256, 256))[0]
    np.testing.assert_allclose(exact[0], truth[box], atol=1e-6)
    error = np.abs(steps.blocks(blurred, scored, block, 4)[0] - truth)[box].max()
    assert near.values["halo_difference"] == pytest.approx(float(error), abs=1e-5)
    assert float(near.values["halo_difference_ml"] or 0) > 0
    assert wide.values["halo_difference"] == pytest.approx(0, abs=1e-5)
    assert "With a halo of 4 voxels the probability differs by up to" in caplog.text


def test_variance_and_entropy_change_no_mask() -> None:
    """Both on the scan's grid: a network that minds how a scan lies has some variance."""

    def tilted(batch: Data) -> Data:
        ramp = np.linspace(-1, 1, batch.shape[-1], dtype=np.float32)
        return squash(batch + ramp)

    scan = Image(noise(16, 16, 16), Affine.from_spacing(1.0))
    plain = predictor(tilted, conform="never").predict(scan)
    made = predictor(tilted, conform="never", save="mask,variance,entropy").predict(scan)
    assert np.array_equal(made.images["mask"].data, plain.images["mask"].data)
    views = np.stack([tilted(steps.z_score(scan.data, "x")), np.zeros(scan.shape)])
    views[1] = tilted(steps.z_score(scan.data, "x")[..., ::-1])[..., ::-1]
    np.testing.assert_allclose(made.images["variance"].data, views.var(0), atol=1e-5)
    assert 0 < made.images["entropy"].data.max() <= np.log(2) + 1e-6


def test_rotate_and_average_is_the_mean_of_both_passes() -> None:
    """The option halves the sum of the plain and the rotated probabilities."""
    scan = Image(noise(16, 16, 16), Affine.from_spacing(1.0))
    made = predictor(conform="never", rotate=True, save=["probability"]).predict(scan)
    assert not made.images["mask"].written
    scored = steps.z_score(scan.data, "x")
    mean = (steps.blocks(squash, scored)[0] + steps.rotated_blocks(squash, scored, "x")) / 2
    np.testing.assert_allclose(made.images["probability"].data, mean, atol=1e-6)


def test_largest_piece_and_filling_are_options() -> None:
    """Off as published; 26 neighbours count as connected."""
    data = np.zeros((16, 16, 16), np.float32)
    data[2:9, 2:9, 2:9] = 1
    data[5, 5, 5] = 0
    data[9, 9, 9] = 1  # touches by a corner
    data[14, 14, 14] = 1
    scan = Image(data, Affine.from_spacing(1.0))

    def mask(**options: Any) -> Data:
        return (
            predictor(conform="never", threshold=0.9, **options).predict(scan).images["mask"].data
        )

    assert np.array_equal(mask(), data > 0)
    largest = mask(largest=True)
    assert largest[9, 9, 9]
    assert not largest[14, 14, 14]
    assert mask(fill=True)[5, 5, 5]


def test_the_mask_of_a_conformed_scan_comes_back_on_the_scans_own_grid(
    head: Image, brain: Data, tmp_path: Path
) -> None:
    """Shape and affine are the scan's, and the round trip through 1 mm keeps the brain."""
    path = write_image(head.data, tmp_path / "head.nii.gz", head)
    model = predictor(brightest, save=("mask", "brain", "probability"))
    layout = OutputLayout(tmp_path / "out")
    result = predict_all(model, [Sample("head", {"image": path})], layout)
    assert result.exit_code == 0, result.failures
    mask = read_image(tmp_path / "out" / "head_mask.nii.gz")
    assert mask.shape == head.shape
    assert mask.affine.is_close(head.affine)
    assert mask.data.dtype == np.uint8
    assert dice(mask.data > 0, brain) >= 0.98
    assert result.rows[0]["volume_ml"] == pytest.approx(mask.data.sum() * 7.5 / 1000)
    cut = read_image(tmp_path / "out" / "head_brain.nii.gz").data
    np.testing.assert_allclose(cut, head.data * mask.data)
    chance = read_image(tmp_path / "out" / "head_probability.nii.gz").data
    assert chance.shape == head.shape
    assert chance.max() <= 1


def test_an_empty_mask_is_a_failure_with_its_reason(head: Image, tmp_path: Path) -> None:
    """The complaint of every user of the published tools: now there is a sentence, and no file."""
    path = write_image(head.data, tmp_path / "head.nii.gz", head)
    model = predictor(np.zeros_like, conform="never")
    result = predict_all(model, [Sample("head", {"image": path})], OutputLayout(tmp_path / "out"))
    assert "head.nii.gz: nothing was found" in result.failures[0].message
    assert "no voxel exceeds the threshold 0.3" in result.failures[0].message
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": 0}, "threshold"),
        ({"block": 100}, "block"),
        ({"block": "128,128"}, "one edge or three"),
        ({"resize": "128,128"}, "resize"),
        ({"treshold": 0.5}, "did you mean 'threshold'"),
        ({"save": ["distance"]}, "save"),
    ],
)
def test_options_that_were_never_published_are_usage_errors(
    options: dict[str, Any], word: str, tmp_path: Path
) -> None:
    """Before any weights are loaded, with the option's name."""
    model = PublishedFile(tmp_path / "x.h5", "00" * 32)
    with pytest.raises(UsageError, match=word):
        make_published_predictor(opened(model, **options))


Layers = list[tuple[str, dict[str, Data]]]


def random_layers(n_classes: int = 1) -> Layers:
    """Weights of the published layout that keep activations of a useful size."""
    from encephalon.networks.keras_unet import keras_unet_shapes

    draw = np.random.default_rng(1)
    layers = []
    for number, shapes in enumerate(keras_unet_shapes(n_classes)):
        fan = np.prod(shapes["kernel"][:4])
        kernel = draw.normal(0, np.sqrt(2 / fan), shapes["kernel"]).astype(np.float32)
        bias = draw.normal(0, 0.1, shapes["bias"]).astype(np.float32)
        layers.append((f"layer_{number}", {"kernel": kernel, "bias": bias}))
    return layers


def write_layers(layers: Layers, path: Path) -> Path:
    """A Keras file of the published layout."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for name, arrays in layers:
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{kind}:0".encode() for kind in arrays]
            for kind, array in arrays.items():
                group[f"{name}/{kind}:0"] = array
    return path


@pytest.fixture(scope="module")
def keras_layers() -> Layers:
    """Of one class."""
    return random_layers()


@pytest.fixture(scope="module")
def weights(keras_layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one class."""
    return write_layers(keras_layers, tmp_path_factory.mktemp("weights") / "mine.h5")


def test_a_published_file_predicts_end_to_end(weights: Path, keras_layers: Layers) -> None:
    """File to mask: the probabilities of the network filled by hand, and a full description."""
    torch = pytest.importorskip("torch")
    from encephalon.networks.keras_unet import KerasUNet, state_of_layers
    from encephalon.networks.registry import fill_network

    model = make_published_predictor(
        opened(open_published(weights), conform="never", save=["mask", "probability"])
    )
    scan = Image(noise(16, 24, 16), Affine.from_spacing(1.0))
    made = model.predict(scan)
    by_hand = fill_network(KerasUNet(), state_of_layers(keras_layers), "x").eval()
    scored = torch.from_numpy(steps.z_score(scan.data, "x"))[None, None]
    with torch.no_grad():
        expected = by_hand(scored)[0, 0].numpy()
    np.testing.assert_allclose(made.images["probability"].data, expected, atol=1e-6)
    about = model.describe()
    assert about["model"]["mode"] == "published"
    assert about["model"]["name"] == "mine"
    assert about["runtime"].startswith("torch")
    assert (about["threshold"], about["block"]) == (0.3, 128)
    assert "notice" not in about
    assert made.pictures()


def test_a_file_of_several_classes_gives_a_label_map(tmp_path: Path) -> None:
    """The likeliest class of each voxel; the file does not name them, so they are numbered."""
    pytest.importorskip("torch")
    path = write_layers(random_layers(4), tmp_path / "four.h5")
    save = ["mask", "probability", "entropy"]
    model = make_published_predictor(opened(open_published(path), conform="never", save=save))
    scan = Image(noise(16, 24, 16), Affine.from_spacing(1.0))
    made = model.predict(scan)
    scored = steps.z_score(scan.data, "x")[None, None]
    (expected,) = model.runtime.run(scored)
    labels = made.images["labels"].data
    np.testing.assert_array_equal(labels, expected[0].argmax(axis=0))
    assert len(np.unique(labels)) > 1
    np.testing.assert_allclose(made.images["probability"].data, expected[0].max(axis=0), atol=1e-6)
    assert model.describe()["classes"] == ["background", "class 1", "class 2", "class 3"]
    volumes = [made.values[f"volume_ml_class_{n}"] for n in (1, 2, 3)]
    assert sum(volumes) == pytest.approx(np.count_nonzero(labels) / 1000, abs=0.002)
    with pytest.raises(UsageError, match="tells 4 classes, and largest is for a mask"):
        make_published_predictor(opened(open_published(path), largest=True))


def test_the_meningioma_model_is_for_research_only_and_says_so(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same path, its own name in the outputs, the notice aloud and in every sidecar."""
    pytest.importorskip("torch")
    caplog.set_level(logging.WARNING)
    ams = replace(open_published(weights), entry=registry_entries()["ams"])
    model = make_published_predictor(opened(ams))
    assert NOTICE in caplog.text
    assert model.outputs["mask"].desc == "meningioma"
    assert model.describe()["notice"] == NOTICE
    assert model.describe()["model"]["name"] == "ams"


def folder_of(path: Path, filters: int, network: Any, **recipe: Any) -> Path:
    description = ModelDescription(
        name="mine",
        version="1",
        study="extraction",
        task="segmentation",
        mode="published",
        labels={1: "meningioma"},
        recipe={"network": {"name": "keras-unet", "options": {"filters": filters}}, **recipe},
    )
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    return save_model(path, description, state).path


def test_a_model_of_ones_own_training_keeps_the_settings_of_its_recipe(tmp_path: Path) -> None:
    """Threshold and block come from the recipe unless they are given; weights must fit exactly."""
    pytest.importorskip("torch")
    from encephalon.networks.keras_unet import KerasUNet

    study = {"name": "extraction", "threshold": 0.4, "block": [64, 64, 64]}
    folder = folder_of(tmp_path / "m", 2, KerasUNet(filters=2), study=study)
    model = make_published_predictor(opened(open_model(folder), block=32))
    assert (model.options.threshold, model.options.block) == (0.4, (32, 32, 32))
    assert model.label == "meningioma"
    other = folder_of(tmp_path / "n", 3, KerasUNet(filters=2))
    with pytest.raises(ModelError, match="do not fit the network"):
        make_published_predictor(opened(open_model(other)))


def test_more_than_one_class_is_refused() -> None:
    """The published path thresholds one probability; a network of several is an error."""
    several = predictor(lambda batch: np.repeat(batch, 2, axis=1), conform="never")
    with pytest.raises(ModelError, match="tells 2 classes, but its model names one"):
        several.predict(Image(noise(8, 8, 8), Affine.from_spacing(1.0)))


def test_truncated_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    """A file cut short is a model error that names it."""
    cut = tmp_path / "cut.h5"
    cut.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(ModelError, match=r"cut\.h5"):
        load_network(PublishedFile(cut, "00" * 32))
