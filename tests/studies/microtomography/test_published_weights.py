# SPDX-License-Identifier: Apache-2.0
"""Files of weights of MTNeuro are models: they predict, are scored, and others start from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from encephalon import api
from encephalon.errors import ModelError
from encephalon.io.text import read_records, write_records
from encephalon.studies.microtomography.leaderboard import published_scores
from encephalon.studies.microtomography.whole import map_tile
from tests.studies.microtomography.tiny_tiles import QUICK, scored, train, write_table

torch = pytest.importorskip("torch")

from encephalon.models.folder import open_model  # noqa: E402
from encephalon.models.published import open_published  # noqa: E402
from encephalon.networks.registry import build_network  # noqa: E402
from encephalon.networks.torch_runtime import load_network  # noqa: E402
from tests.networks.reference import lively  # noqa: E402
from tests.studies.microtomography import mtneuro_files as files  # noqa: E402


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Tiles whose regions have their published names; a few of each part."""
    path = write_table(tmp_path / "tiles")
    names = dict(zip(("cortex", "striatum", "thalamus"), ("CTX", "STR", "VP"), strict=True))
    rows = read_records(path)[1]
    for row in rows:
        row["region"] = row["region"] and names.get(row["region"], "ZI")
    write_records(rows[::3], path)
    return path


@pytest.mark.parametrize(
    ("shapes", "study", "network", "weights"),
    [
        (files.classifier(), "classification", "TileClassifier", 11_169_732),
        (files.self_supervised(), "representation", "TileEncoder", 11_167_680),
        (files.u_net(), "segmentation", "PublishedUNet", 1_971_620),
        (files.u_net(3, 3), "segmentation", "PublishedUNet", 5_646_275),
    ],
)
def test_a_file_of_the_published_size_is_known_by_its_names(
    shapes: Any, study: str, network: str, weights: int, tmp_path: Path
) -> None:
    found = open_published(files.save(shapes, tmp_path / "own.pt", epoch=5))
    assert (found.study, found.describe()["task"]) == ("microtomography", study)
    built = load_network(found)
    assert type(built).__name__ == network
    assert sum(value.numel() for value in built.parameters()) == weights


def test_a_classifier_tells_regions_and_is_scored(table: Path, tmp_path: Path) -> None:
    model = files.save(files.classifier(4), tmp_path / "supervised.pt")
    summary = scored(model, table, tmp_path / "out")
    assert summary["regions"][0]["how"] == "its own classes"
    assert (summary["mode"], summary["method"]) == ("published", "supervised")
    rows = api.predict(model, table, tmp_path / "predicted", device="cpu").rows
    assert {row["predicted"] for row in rows} <= {"CTX", "STR", "VP", "ZI"}


def test_an_encoder_of_a_checkpoint_is_probed(table: Path, tmp_path: Path) -> None:
    model = files.save(files.self_supervised(4), tmp_path / "myow.pt", optimizer={"state": {}})
    summary = scored(model, table, tmp_path / "out")
    assert [one["how"] for one in summary["regions"]] == ["linear", "knn", "ridge"]
    assert summary["method"] == "myow"


@pytest.mark.parametrize(("dims", "size"), [(2, (1, 32, 32)), (3, (8, 16, 16))])
def test_a_u_net_tells_structures(dims: int, size: tuple[int, int, int], tmp_path: Path) -> None:
    tiles = write_table(tmp_path / "tiles", size)
    model = files.save(files.u_net(dims, 4, width=2), tmp_path / "four.pt")
    assert set(scored(model, tiles, tmp_path / "out")["structures"]) == {
        "background",
        "vessel",
        "cell",
        "axon",
    }
    model = files.save(files.u_net(dims, 3, width=2), tmp_path / "three.pth")
    rows = api.predict(model, tiles, tmp_path / "predicted", device="cpu").rows
    assert {"percent_background", "percent_vessel", "percent_cell"} <= set(rows[0])
    assert "percent_axon" not in rows[0]


@pytest.mark.parametrize(
    ("network", "options", "size", "known_as"),
    [
        ("published-segmenter", {"decoder": "manet", "width": 8}, (1, 32, 32), "manet"),
        ("published-vnet-light", {"width": 2}, (8, 16, 16), "vnet-light"),
        ("published-highresnet", {"width": 2}, (8, 16, 16), "highresnet"),
    ],
)
def test_the_networks_of_two_libraries_tell_structures_by_the_name_of_the_paper(
    network: str, options: dict[str, Any], size: tuple[int, int, int], known_as: str, tmp_path: Path
) -> None:
    """Which the published scores have too."""
    tiles = write_table(tmp_path / "tiles", size)
    weights = build_network(network, options).state_dict()
    shapes = ((name, tuple(value.shape)) for name, value in weights.items())
    summary = scored(files.save(shapes, tmp_path / "four.pt"), tiles, tmp_path / "out")
    assert (summary["mode"], summary["network"]) == ("published", known_as)
    assert list(summary["structures"]) == ["background", "vessel", "cell", "axon"]
    assert ("structure", "f1", known_as) in published_scores()


def test_a_published_tile_of_a_volume_is_seen_whole(tmp_path: Path) -> None:
    """As published, and not in parts of 128 voxels, beyond which such a network looks."""
    network: Any = build_network("published-highresnet", {"width": 2})
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    state = {name: torch.from_numpy(value) for name, value in lively(shapes).items()}
    torch.save(state, tmp_path / "own.pt")
    model: Any = api.load_model(tmp_path / "own.pt", device="cpu", threads=1).predictor
    inner, shown = model.runtime, []

    def run(tiles: Any) -> Any:
        shown.append(tiles.shape)
        return inner.run(tiles)

    tile = np.random.default_rng(0).normal(size=(8, 32, 256)).astype(np.float32)
    labels = map_tile(replace(model, runtime=SimpleNamespace(run=run)), tile)
    assert shown == [(1, 1, 8, 32, 256)]
    with torch.inference_mode():
        logits = model.torch_network()(torch.from_numpy(tile[None, None]))
    np.testing.assert_array_equal(labels, logits[0].argmax(dim=0).numpy())


def test_weights_of_other_classes_are_refused(tmp_path: Path) -> None:
    for shapes in (files.classifier(2, classes=3), files.u_net(classes=7, width=2)):
        model = files.save(shapes, tmp_path / "own.pt")
        with pytest.raises(ModelError, match=r"own\.pt: its weights tell [37] classes"):
            api.load_model(model, device="cpu")


def test_models_start_from_published_weights(table: Path, tmp_path: Path) -> None:
    """Structures from a supervised encoder, regions from one that learnt without labels."""
    slow = QUICK | {"training.epochs": "1", "training.steps_per_epoch": "1"}
    slow |= {"training.learning_rate": "1e-12"}
    for recipe, shapes, key, more in (
        ("microstructure", files.classifier(4), "study.encoder_from", "network.options.width"),
        ("region-published", files.self_supervised(4), "training.start_from", "training.seed"),
    ):
        start = files.save(shapes, tmp_path / f"{recipe}.pt")
        changes = slow | {key: str(start), more: "4", "training.warmup_steps": "0"}
        model = train(recipe, table, tmp_path / recipe, changes)
        theirs: Any = torch.load(start, weights_only=True)
        first = next(value for name, value in theirs.items() if name.endswith("f.0.weight"))
        mine = open_model(model).tensors()["encoder.conv1.weight"]
        torch.testing.assert_close(torch.from_numpy(mine).float(), first, atol=1e-3, rtol=0)
