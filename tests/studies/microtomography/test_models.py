# SPDX-License-Identifier: Apache-2.0
"""Models of tiles from end to end: what they learn, say, share and refuse."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from encephalon import api
from encephalon.errors import EncephalonError, ModelError, RecipeError, TableError, UsageError
from encephalon.io.text import read_records, write_records
from encephalon.models.folder import open_model
from encephalon.recipes.loading import load_recipe
from encephalon.studies.microtomography.benchmark import load_benchmark
from encephalon.studies.microtomography.data import window_of
from encephalon.studies.microtomography.leaderboard import leaderboard, published_scores
from encephalon.tables.reading import read_table
from encephalon.tables.samples import table_samples
from tests.studies.microtomography.tiny_tiles import CROPS, QUICK, scored, train, write_table

torch = pytest.importorskip("torch")

USER = '''
import torch
from torch import nn

from encephalon.networks.encoders import AdaptedEncoder


class Stripes(nn.Module):
    """Two feature maps of two convolutions."""

    def __init__(self, in_channels=1, width=4):
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.channels, self.strides = (width, 2 * width), (1, 2)

    def forward(self, image):
        fine = self.first(image).relu()
        return [fine, self.second(fine).relu()]


class Liar(Stripes):
    """Says that it has more channels than it has."""

    def __init__(self, **options):
        super().__init__(**options)
        self.channels = (4, 99)


class Foundation(nn.Module):
    """Tokens of patches of 8 x 8 pixels in colour, as models of Hugging Face have them."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, stride=8)

    def forward(self, pixel_values):
        tokens = self.patches(pixel_values).flatten(2).transpose(1, 2)
        first = tokens.mean(dim=1, keepdim=True)
        return {"last_hidden_state": torch.cat([first, tokens], dim=1)}


def foundation(in_channels=1):
    """A frozen encoder from elsewhere."""
    return AdaptedEncoder(Foundation(), (6,), (8,), multiple=8)
'''


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of tiles."""
    return write_table(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def region(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of regions."""
    return train("region-supervised", table, tmp_path_factory.mktemp("region") / "run")


@pytest.fixture(scope="module")
def pca(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight principal components."""
    run = tmp_path_factory.mktemp("pca") / "run"
    return train("pca", table, run, {"study.components": "8"})


def test_a_model_knows_how_its_tiles_were_normalised(region: Path, table: Path) -> None:
    intensity = open_model(region).description.recipe["study"]["intensity"]
    assert intensity["window"] == [0.0, 255.0]
    assert 0.3 < intensity["mean"] < 0.6
    predictor = api.load_model(region, device="cpu").predictor
    assert predictor.settings.intensity.mean == intensity["mean"]


def test_a_model_of_regions_has_no_maps_of_doubt(region: Path) -> None:
    with pytest.raises(UsageError, match="tells no structures, so there are no maps"):
        api.load_model(region, device="cpu", save="entropy")


def test_features_of_the_graph_are_those_of_the_network_and_change_nothing_in_it(
    region: Path, table: Path
) -> None:
    """Weights and buffers of a frozen encoder are bit-identical afterwards."""
    from encephalon.networks.torch_runtime import load_network

    model: Any = api.load_model(region, device="cpu", threads=1)
    before = (region / "weights.safetensors").read_bytes()
    network: Any = load_network(open_model(region)).eval()
    samples = table_samples(read_table(table, model.columns))[:3]
    for sample in samples:
        loaded = model.predictor.read(sample)
        features, logits = model.predictor.output(loaded)
        with torch.no_grad():
            wanted = network.features(torch.from_numpy(loaded.image))
        assert np.allclose(features, wanted[0].numpy(), atol=1e-3)
        assert np.allclose(logits, network.head(wanted)[0].detach().numpy(), atol=1e-3)
    assert (region / "weights.safetensors").read_bytes() == before


def test_an_evaluation_says_region_probes_and_read_out(
    region: Path, table: Path, tmp_path: Path
) -> None:
    summary = scored(region, table, tmp_path / "out")
    assert [one["how"] for one in summary["regions"]] == [
        "its own classes",
        "linear",
        "knn",
        "ridge",
    ]
    for one in summary["regions"]:
        value = one["metrics"]["accuracy"]
        assert value["low"] <= value["value"] <= value["high"]
        matrix = np.array(one["matrix"])
        assert matrix.sum() == summary["tiles"] - summary["without_region"]
        assert one["per_class"]["sensitivity"] == pytest.approx(np.diag(matrix) / matrix.sum(1))
    targets = [one["target"] for one in summary["readouts"]]
    assert "percent_vessel" in targets
    assert "cell_count" in targets
    assert summary["seed"] == 0
    assert len(summary["table"]["sha256"]) == 64
    with np.load(tmp_path / "out" / "features.npz") as kept:
        assert len(kept["features"]) == len(kept["id"]) == len(read_records(table)[1])
        assert set(kept["split"]) == {"train", "validation", "test"}
        assert {"box", "z", "y", "x", "region"} <= set(kept)


def test_factors_are_fitted_on_the_tiles_that_train_alone(
    pca: Path, table: Path, tmp_path: Path
) -> None:
    changed = write_table(tmp_path / "tiles")
    rows = read_records(changed)[1]
    kept = [row for row in rows if row["split"] != "test"]
    write_records(kept, changed)
    again = train("pca", changed, tmp_path / "run", {"study.components": "8"})
    one, other = ((path / "weights.safetensors").read_bytes() for path in (pca, again))
    assert one == other


@pytest.mark.parametrize("recipe", ["nmf", "frozen", "region-mixup", "byol", "myow-merged"])
def test_each_method_trains_and_is_scored(recipe: str, table: Path, tmp_path: Path) -> None:
    changes = {
        "nmf": {"study.components": "8"},
        "frozen": {"network.options.encoder_options.width": "4"},
        "region-mixup": QUICK,
    }.get(recipe, QUICK | CROPS | {"network.options.hidden": "16"})
    model = train(recipe, table, tmp_path / "run", changes)
    summary = scored(model, table, tmp_path / "out")
    assert summary["method"] == {"region-mixup": "mix-up"}.get(recipe, recipe)
    assert summary["readouts"]
    names = {name.split(".")[0] for name in open_model(model).tensors()}
    assert not names & {"target", "projector", "predictor"}


def test_what_one_task_trained_the_next_starts_from(
    region: Path, table: Path, tmp_path: Path
) -> None:
    """From regions to structures: the encoder is taken, and a changed start is noticed."""
    changes = QUICK | {
        "network.options.width": "4",
        "study.encoder_from": str(region),
        "training.epochs": "1",
        "training.steps_per_epoch": "1",
        "training.learning_rate": "1e-12",
    }
    model = train("microstructure", table, tmp_path / "run", changes)
    start, found = open_model(region).tensors(), open_model(model).tensors()
    weights = [name for name in start if name.endswith("conv1.weight")]
    assert weights
    for name in weights:
        assert np.allclose(start[name], found[name], atol=1e-3)


def test_an_answer_that_is_no_number_is_refused(
    region: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = api.load_model(region, device="cpu", threads=1)
    sample = table_samples(read_table(table, model.columns))[0]
    runtime = SimpleNamespace(run=lambda tiles: [np.full((len(tiles), 36), np.nan, np.float32)])
    with pytest.raises(ModelError, match="not finite"):
        replace(model.predictor, runtime=runtime).predict(model.predictor.read(sample))


def test_the_window_is_that_of_all_boxes() -> None:
    """Percentiles of every box that trains, however different they are."""
    boxes = np.zeros((2, 4, 8, 8), np.float32)
    boxes[1] = 100 + np.arange(256).reshape(4, 8, 8)
    low, high = window_of(*boxes)
    assert low == 0
    assert 350 < high < 356


def test_an_encoder_starts_from_one_place(region: Path, table: Path, tmp_path: Path) -> None:
    twice = {"study.encoder_from": str(region), "training.start_from": str(region)}
    with pytest.raises(RecipeError, match="leave one of them out"):
        train("region-supervised", table, tmp_path / "run", QUICK | twice)


@pytest.mark.parametrize(
    ("benchmark", "recipe"),
    [("mtneuro", "region-supervised"), ("mtneuro-regions-published", "region-published")],
)
def test_regions_of_a_benchmark_that_ships_are_those_of_its_recipe(
    benchmark: str, recipe: str
) -> None:
    regions = load_benchmark(benchmark).regions
    assert regions is not None
    assert tuple(regions.classes) == load_recipe(recipe).table.classes


def test_a_users_encoder_of_twenty_lines_serves(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stripes.py").write_text(USER)
    monkeypatch.syspath_prepend(str(tmp_path))
    for recipe, encoder, more in (
        ("region-supervised", "Stripes", QUICK),
        ("microstructure", "Stripes", QUICK | {"network.options.width": "4"}),
        ("frozen", "foundation", {}),
    ):
        changes = {"network.options.encoder": f"stripes:{encoder}", **more}
        model = train(recipe, table, tmp_path / recipe, changes)
        assert scored(model, table, tmp_path / f"{recipe}-out")["tiles"]
    with pytest.raises(RecipeError, match="99"):
        train(
            "region-supervised",
            table,
            tmp_path / "liar",
            QUICK | {"network.options.encoder": "stripes:Liar"},
        )


def test_a_model_is_scored_on_the_corners_of_its_tiles(region: Path, tmp_path: Path) -> None:
    """A table of tiles of half the side is what the published code calls corners."""
    corners = write_table(tmp_path / "corners", (1, 16, 16))
    summary = scored(region, corners, tmp_path / "out")
    whole = read_records(write_table(tmp_path / "tiles"))[1]
    assert summary["tiles"] == 4 * sum(row["split"] == "test" for row in whole)


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("first_z", "900", "has only"),
        ("size_x", "1.5", "whole number"),
        ("region", "hippocampus", "hippocampus"),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_its_number(
    column: str, cell: str, words: str, tmp_path: Path
) -> None:
    path = write_table(tmp_path / "tiles")
    names, rows = read_records(path)
    rows[3][column] = cell
    write_records(rows, path)
    with pytest.raises(TableError, match=f"row 5.*{words}"):
        train("region-supervised", path, tmp_path / "run")
    assert names


def test_a_table_that_is_not_one_of_tiles_says_how_to_make_one(tmp_path: Path) -> None:
    path = write_table(tmp_path / "tiles")
    _, rows = read_records(path)
    write_records([{k: v for k, v in row.items() if k != "size_z"} for row in rows], path)
    with pytest.raises(EncephalonError, match="encephalon table tiles"):
        train("region-supervised", path, tmp_path / "run")


def test_more_components_than_tiles_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="components to"):
        train("pca", table, tmp_path / "run", {"study.components": "4000"})


def test_a_leaderboard_has_means_over_seeds_and_published_numbers_only_beside_published(
    pca: Path, table: Path, tmp_path: Path
) -> None:
    other = train("pca", table, tmp_path / "run", {"study.components": "8", "training.seed": "1"})
    folders = []
    for place, model in enumerate((pca, other)):
        scored(model, table, tmp_path / f"out{place}")
        folders.append(tmp_path / f"out{place}")
    entries = leaderboard(folders, tmp_path / "board")
    assert {entry.seeds for entry in entries} == {2}
    assert {entry.mode for entry in entries} == {"default"}
    assert not any(entry.published for entry in entries)
    text = (tmp_path / "board" / "leaderboard.md").read_text(encoding="utf-8")
    assert "in-sample (default" in text
    assert re.search(r"\| pca \| −?\d\.\d{3} ± \d\.\d{3} \|", text)
    for ending in ("csv", "html"):
        assert (tmp_path / "board" / f"leaderboard.{ending}").is_file()
    with pytest.raises(EncephalonError, match=r"no summary\.json"):
        leaderboard([tmp_path / "nowhere"], tmp_path / "other")


def test_the_published_scores_are_those_of_the_paper() -> None:
    known = published_scores()
    assert known["region", "accuracy", "myow-merged"].startswith("ROI-C1 0.94 ± 0.020")
    assert known["readout", "percent_vessel", "pca"] == "as C1 0.75; as C3 0.75"
    assert known["structure", "f1", "unet"].startswith("3 classes 0.87")


def test_a_method_asks_for_its_network(table: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'tile-factors', not 'self-supervised'"):
        train("byol", table, tmp_path / "run", {"study.method": "pca"})


def test_structures_of_other_classes_are_neither_learnt_nor_scored(
    table: Path, tmp_path: Path
) -> None:
    changes = QUICK | {"study.structures": '["background", "axon", "myelin"]'}
    with pytest.raises(EncephalonError, match="background, vessel, cell or axon"):
        train("microstructure", table, tmp_path / "run", changes)


def test_regions_are_learnt_from_tiles_that_have_some(tmp_path: Path) -> None:
    path = write_table(tmp_path / "tiles")
    rows = [{**row, "region": ""} for row in read_records(path)[1]]
    write_records(rows, path)
    with pytest.raises(TableError, match="has a 'region'"):
        train("region-supervised", path, tmp_path / "run")


def test_one_region_alone_is_nothing_to_learn(tmp_path: Path) -> None:
    path = write_table(tmp_path / "tiles")
    rows = read_records(path)[1]
    kept = [row for row in rows if row["split"] != "train" or row["region"] == "cortex"]
    write_records(kept, path)
    with pytest.raises(TableError, match=r"all .* are of the region 'cortex', so there is nothing"):
        train("region-supervised", path, tmp_path / "run")


def test_text_where_a_feature_should_be_is_named_by_its_row(
    region: Path, table: Path, tmp_path: Path
) -> None:
    path = write_table(tmp_path / "tiles")
    rows = [dict(row) for row in read_records(path)[1]]
    rows[4]["percent_axon"] = "many"
    write_records(rows, path)
    with pytest.raises(TableError, match=r"row 6: the feature 'percent_axon' .* is 'many'"):
        scored(region, path, tmp_path / "out")


def test_factors_have_a_length_that_half_precision_holds(table: Path, tmp_path: Path) -> None:
    """Those that NMF finds may have a length of millions, of which a graph would keep nothing."""
    model = open_model(train("nmf", table, tmp_path / "run", {"study.components": "8"}))
    factors = model.tensors()["factors"].astype(np.float64)
    assert factors.shape[0] == 8
    assert np.linalg.norm(factors, axis=1) == pytest.approx(np.ones(8), abs=1e-2)
