# SPDX-License-Identifier: Apache-2.0
"""Whole volumes: what a model says of them lies on their grid, and a killed run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from encephalon.errors import ContentError
from encephalon.inference.batch import run_batch
from encephalon.inference.outputs import Work, choose_layout
from encephalon.inference.workers import Workers
from encephalon.io.volumes.ome_zarr import labels_of
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.writing import create_ome_zarr
from encephalon.studies.microtomography import whole
from encephalon.studies.microtomography.predictor import TilePredictor
from encephalon.studies.microtomography.settings import (
    Intensity,
    MicrotomographySettings,
    PredictOptions,
)
from encephalon.studies.microtomography.uncertainty import disagreement
from encephalon.tables.samples import collect_samples

pytest.importorskip("zarr")
torch = pytest.importorskip("torch")

SHAPE = (5, 45, 70)
VOXELS = np.random.default_rng(5).integers(0, 255, SHAPE, np.uint8)
WINDOW = Intensity(window=(0.0, 255.0), mean=0.0, std=1.0)


class Runtime:
    """Says of a voxel that it is of the class that its level falls into, of a tile the mean's."""

    name, device = "tiny", "cpu"
    shown = 0

    def __init__(self, target: str) -> None:
        self.target = target

    def run(self, given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        Runtime.shown += 1
        levels = given[:, 0]
        if self.target == "region":
            levels = levels.mean(axis=tuple(range(1, levels.ndim)))
        return [np.stack([1 - levels, levels], axis=1)]


def predictor(target: Any, *, name: str = "tiny", jobs: int = 1, **asked: Any) -> TilePredictor:
    classes = ("dark", "bright")
    structures = classes if target == "structure" else ()
    settings = MicrotomographySettings(target=target, structures=structures, intensity=WINDOW)
    again = partial(predictor, target, name=name, **asked)
    options = PredictOptions(**asked)
    model = {"name": name, "sha256": name}
    one = TilePredictor(model, Runtime(target), options, settings, classes, 0, {}, again, again)
    return replace(one, workers=Workers(jobs=jobs))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "TILES", {True: (16, 4, 2), False: (16, 8, 8)})
    monkeypatch.setattr(whole, "BLOCKS", {True: (2, 32, 32), False: (8, 16, 16)})
    monkeypatch.setattr(whole, "CHUNKS", (2, 16, 16))
    monkeypatch.setattr(whole, "REGION_BLOCKS", {True: (2, 2, 2), False: (1, 2, 2)})


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "in/scan.ome.zarr"
    options: Mapping[str, Any] = {"spacing": (2.0, 1.0, 0.5), "origin": (3, 16, 32)}
    with create_ome_zarr(path, SHAPE, np.uint8, chunks=(2, 16, 16), **options) as new:
        new.write(VOXELS)
    return path


def predict(model: TilePredictor, source: Path, output: Path) -> Any:
    samples = collect_samples([source], kind="microscopy")
    layout = choose_layout(output, samples, model.outputs)
    return run_batch(model, Work(layout, layout.plan(samples, model.outputs)))


@pytest.mark.parametrize("asked", [{}, {"jobs": 2}, {"blend": True}], ids=str)
def test_structures_lie_on_the_grid_of_their_volume(
    volume: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    if "jobs" in asked:
        pytest.importorskip("dask")
    result = predict(predictor("structure", **asked), volume, tmp_path / "out")
    assert not result.failures
    folder = tmp_path / "out/scan_structures.ome.zarr"
    found = open_volume(folder)
    bright = VOXELS > 127
    assert np.array_equal(found.read(complete=True), bright)
    assert (found.spacing, found.origin) == ((2.0, 1.0, 0.5), (3, 16, 32))
    assert found.levels > 1
    assert [label.name for label in labels_of(folder).values()] == ["dark", "bright"]
    assert result.rows[0]["percent_bright"] == pytest.approx(100 * bright.mean(), abs=1e-3)
    assert {one.name for one in (tmp_path / "out").iterdir()} == {
        "scan_structures.ome.zarr",
        "scan_structures.json",
        "predictions.csv",
        ".predictions.csv.lock",
    }
    again = predict(predictor("structure", **asked), volume, tmp_path / "out")
    assert [row["status"] for row in again.rows] == ["skipped"]


@pytest.mark.parametrize("asked", [{}, {"blend": True}], ids=str)
def test_maps_of_doubt_lie_beside_the_labels_of_a_volume(
    volume: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    """Of a network that looks at single voxels the entropy of each, and no variance."""
    model = predictor("structure", save="variance,entropy", **asked)
    result = predict(model, volume, tmp_path / "out")
    assert not result.failures
    maps = {
        name: open_volume(tmp_path / f"out/scan_{name}.ome.zarr")
        for name in ("structures", "variance", "entropy")
    }
    found = maps["entropy"].read(complete=True)
    assert found.dtype == np.uint8
    assert np.abs(found - 255 * bits(VOXELS)).max() <= 0.51
    assert not maps["variance"].read(complete=True).any()
    assert np.array_equal(maps["structures"].read(complete=True), VOXELS > 127)
    assert {(one.spacing, one.origin) for one in maps.values()} == {((2.0, 1.0, 0.5), (3, 16, 32))}
    assert [row["status"] for row in predict(model, volume, tmp_path / "out").rows] == ["skipped"]


def bits(levels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The entropy of what the network says of voxels of these levels."""
    shares = 1 / (1 + np.exp(1 - levels / 127.5))
    return np.asarray(-(shares * np.log2(shares) + (1 - shares) * np.log2(1 - shares)))


def test_a_picture_has_maps_of_doubt_as_well(tmp_path: Path) -> None:
    """As grey pictures beside that of the labels."""
    Image.fromarray(VOXELS[0]).save(tmp_path / "scan.png")
    model = predictor("structure", save=["entropy"])
    result = predict(model, tmp_path / "scan.png", tmp_path / "out")
    assert not result.failures
    with Image.open(tmp_path / "out/scan_entropy.png") as picture:
        found = np.asarray(picture).astype(float)
    assert np.abs(found - 255 * bits(VOXELS[0])).max() <= 0.51
    assert not (tmp_path / "out/scan_variance.png").exists()


def test_doubt_is_what_flipped_views_disagree_in() -> None:
    """Mean and variance of the probabilities of four views, each turned back."""
    tile = VOXELS[:2, :6, :8] / np.float32(255)
    ramp = np.linspace(-2, 2, 8, dtype=np.float32) + np.linspace(0, 1, 6, dtype=np.float32)[:, None]

    def logits(shown: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([shown * ramp, -shown, np.zeros_like(shown)])

    shares = []
    for axes in ((), (1,), (2,), (1, 2)):
        powers = np.exp(np.flip(logits(np.flip(tile, axes)), tuple(axis + 1 for axis in axes)))
        shares.append(powers / powers.sum(axis=0))
    mean = np.mean(shares, axis=0)
    variance, entropy = (disagreement(logits, name, tile)[0] for name in ("variance", "entropy"))
    np.testing.assert_allclose(variance, 4 * np.var(shares, axis=0).mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(entropy, -(mean * np.log(mean)).sum(0) / np.log(3), atol=1e-5)
    assert variance.max() > 0.05


def test_regions_are_a_voxel_for_each_tile(volume: Path, tmp_path: Path) -> None:
    result = predict(predictor("region", tile=16), volume, tmp_path / "out")
    assert not result.failures
    folder = tmp_path / "out/scan_regions.ome.zarr"
    found = open_volume(folder)
    tiles = VOXELS[:, :32, :64].reshape(5, 2, 16, 4, 16).mean(axis=(2, 4))
    assert np.array_equal(found.read(complete=True), 1 + (tiles / 255 > 0.5))
    assert (found.spacing, found.origin) == ((2.0, 16.0, 8.0), (3, 1, 2))
    assert labels_of(folder)[2].name == "bright"


def test_what_a_volume_lies_in_does_not_matter(volume: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "in/array.npy", VOXELS)
    result = predict(predictor("structure"), tmp_path / "in", tmp_path / "out")
    assert [row["structures"] for row in result.rows] == [
        "array_structures.ome.zarr",
        "scan_structures.ome.zarr",
    ]
    first, second = (open_volume(tmp_path / "out" / row["structures"]) for row in result.rows)
    assert np.array_equal(first.read(), second.read())


def test_the_blocks_that_are_done_stay_when_a_mended_volume_is_given(
    volume: Path, tmp_path: Path
) -> None:
    chunk = volume / "0/c/0/0/0"
    whole_chunk = chunk.read_bytes()
    chunk.write_bytes(whole_chunk[:-9])
    result = predict(predictor("structure"), volume, tmp_path / "out")
    assert isinstance(result.failures[0].error, ContentError)
    assert "z 3:5, y 16:52, x 32:68" in result.failures[0].message
    chunk.write_bytes(whole_chunk)
    Runtime.shown = 0
    predict(predictor("structure", name="other"), volume, tmp_path / "elsewhere")
    everything, Runtime.shown = Runtime.shown, 0
    assert not predict(predictor("structure"), volume, tmp_path / "out").failures
    assert Runtime.shown == 2 * 2 * 2  # the slices and tiles of one block
    assert everything > Runtime.shown
    labels = open_volume(tmp_path / "out/scan_structures.ome.zarr").read()
    assert np.array_equal(labels, VOXELS > 127)


def test_another_model_does_not_continue_and_what_was_begun_goes_when_it_is_done(
    volume: Path, tmp_path: Path
) -> None:
    chunk = volume / "0/c/0/0/0"
    content = chunk.read_bytes()
    chunk.unlink()
    predict(predictor("structure"), volume, tmp_path / "out")
    chunk.write_bytes(content)
    Runtime.shown = 0
    assert len(list((tmp_path / "out").glob(".*.unfinished"))) == 1
    predict(predictor("structure", name="other"), volume, tmp_path / "out")
    assert Runtime.shown == 5 * 3 * 5
    assert not list((tmp_path / "out").glob(".*.unfinished"))


def test_a_name_of_one_volume_may_be_given(volume: Path, tmp_path: Path) -> None:
    place = tmp_path / "labels.ome.zarr"
    assert not predict(predictor("structure"), volume, place).failures
    assert np.array_equal(open_volume(place).read(), VOXELS > 127)


def test_how_large_a_block_is_changes_nothing(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = predict(predictor("structure"), volume, tmp_path / "a")
    monkeypatch.setattr(whole, "BLOCKS", {True: (4, 16, 48)})
    second = predict(predictor("structure"), volume, tmp_path / "b")
    one, other = (
        open_volume(tmp_path / place / "scan_structures.ome.zarr").read() for place in "ab"
    )
    assert np.array_equal(one, other)
    assert replace(first, rows=[]).failures == second.failures == []


class Network:
    """A real network as a runtime, which notes what it is shown and may be stopped."""

    name, device = "torch", "cpu"

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        from encephalon.networks.registry import build_network
        from encephalon.networks.torch_runtime import TorchRuntime

        torch.manual_seed(0)
        self.network = build_network(name, {"classes": 2, **options})
        self.runtime = TorchRuntime(self.network, "cpu", 1)
        tile = np.random.default_rng(0).random((1, 1, 8, 16, 16), np.float32)
        logits = self.runtime.run(tile)[0]
        # Without training one class may be the answer everywhere.
        self.middle = logits.mean(axis=(0, *range(2, logits.ndim)), keepdims=True)
        self.shown: list[tuple[int, ...]] = []
        self.most = 10**6

    def run(self, given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        if len(self.shown) == self.most:
            raise KeyboardInterrupt
        self.shown.append(given.shape[2:])
        return [self.runtime.run(given)[0] - self.middle]


def predictor_of(network: Network, target: Any = "structure", **asked: Any) -> TilePredictor:
    """A model that learnt from eight slices at once."""
    one = replace(predictor(target, **asked), runtime=network, depth=8)
    return replace(one, again=lambda: one)


def depth_of(folder: Path, depth: int) -> Path:
    """A volume of so many slices."""
    voxels = np.random.default_rng(depth).integers(0, 255, (depth, 20, 28), np.uint8)
    folder.mkdir()
    np.save(folder / "scan.npy", voxels)
    return folder / "scan.npy"


NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "published-unet": {"spatial_dims": 3, "width": 2},
    "vnet-light": {},
    "highresnet": {"widths": (2, 2, 2, 2, 2)},
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("depth", [5, 13])
def test_a_network_of_volumes_labels_any_depth_whatever_the_blocks_and_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, depth: int
) -> None:
    """It sees eight slices at once, as in training, and is stopped in between and goes on."""
    pytest.importorskip("dask")
    scan, network = depth_of(tmp_path / "in", depth), Network(name, NETWORKS[name])
    found = []
    for number, (block, asked) in enumerate(
        [((64, 64, 64), {}), ((4, 16, 16), {"jobs": 2}), ((8, 16, 16), {})]
    ):
        monkeypatch.setattr(whole, "BLOCKS", {False: block})
        model, out = predictor_of(network, **asked), tmp_path / str(number)
        if number == 2:
            network.most = len(network.shown) + 3
            with pytest.raises(KeyboardInterrupt):
                predict(model, scan, out)
            network.most = 10**6
        assert not predict(model, scan, out).failures
        found.append(open_volume(out / "scan_structures.ome.zarr").read(complete=True))
    assert {shape[0] for shape in network.shown} == {8}
    assert len(np.unique(found[0])) == 2
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_a_region_model_of_volumes_is_asked_of_tiles_as_deep_as_those_it_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = depth_of(tmp_path / "in", 19)
    network = Network("tile-classifier", {"spatial_dims": 3, "encoder_options": {"width": 2}})
    model = predictor_of(network, "region", tile=10)
    assert not predict(model, scan, tmp_path / "out").failures
    assert set(network.shown) == {(8, 10, 10)}
    voxels = (np.load(scan) / np.float32(255)).astype(np.float32)
    tiles = voxels[:16, :, :20].reshape(2, 8, 2, 10, 2, 10).transpose(0, 2, 4, 1, 3, 5)
    logits = network.run(tiles.reshape(8, 1, 8, 10, 10))[0]
    labels = open_volume(tmp_path / "out/scan_regions.ome.zarr")
    assert np.array_equal(labels.read(), 1 + logits.argmax(axis=1).reshape(2, 2, 2))
    monkeypatch.setattr(whole, "REGION_BLOCKS", {False: (2, 2, 1)})
    assert not predict(model, scan, tmp_path / "other").failures
    other = open_volume(tmp_path / "other/scan_regions.ome.zarr").read()
    assert np.array_equal(labels.read(), other)
