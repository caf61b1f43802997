# SPDX-License-Identifier: Apache-2.0
"""Models of tiles of several slices, and of tiles of which not every voxel is labelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from encephalon import api
from encephalon.errors import TableError
from encephalon.io.text import read_records
from encephalon.studies.microtomography.benchmark import LabelMap
from tests.studies.microtomography.tiny_tiles import QUICK, scored, train, write_table

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of tiles of eight slices."""
    return write_table(tmp_path_factory.mktemp("deep"), (8, 16, 16))


DEEP = {"network.options.spatial_dims": "3"}
SLOW = {k: v for k, v in QUICK.items() if "encoder" not in k} | {"training.batch_size": "1"}
UNET = {"network.options.width": "4", "network.options.blocks": "2"}


@pytest.mark.parametrize(
    ("recipe", "changes", "network"),
    [
        ("region-supervised", QUICK | DEEP, "tile-classifier"),
        ("pca", {"study.components": "8"} | DEEP, "tile-factors"),
        ("microstructure-3d", SLOW | UNET, "published-unet"),
        ("microstructure-3d", SLOW | {"network": '{ name = "vnet-light" }'}, "vnet-light"),
    ],
)
def test_tiles_of_several_slices_train_networks_of_volumes(
    recipe: str, changes: dict[str, str], network: str, deep: Path, tmp_path: Path
) -> None:
    model = train(recipe, deep, tmp_path / "run", changes)
    summary = scored(model, deep, tmp_path / "out")
    assert summary["network"] == network
    told = summary["structures"] or [one["how"] for one in summary["regions"]]
    assert set(told) >= ({"axon", "cell"} if "micro" in recipe else {"linear", "knn", "ridge"})
    rows = api.load_model(model, device="cpu").predict_batch([deep], tmp_path / "predicted").rows
    assert {row["status"] for row in rows} == {"done"}
    wanted = {"pca": "features", "region-supervised": "predicted"}.get(recipe, "percent_axon")
    assert all(wanted in row and "structures" not in row for row in rows)


def test_a_network_of_slices_is_not_shown_several(deep: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"8 slices.*spatial_dims to 3"):
        train("region-supervised", deep, tmp_path / "run")


def test_voxels_that_nobody_looked_at_are_neither_learnt_nor_scored(tmp_path: Path) -> None:
    """By losses of a recipe, focal and Dice, and in the counts of an evaluation."""
    classes = ("background", "vessel", "cell")
    maps = LabelMap(classes=dict(zip(classes, ((0,), (1,), (2,)), strict=True)), unlabelled=(3,))
    table = write_table(tmp_path / "tiles", structures=maps)
    changes = QUICK | {
        "network.options.width": "4",
        "study.structures": str(list(classes)),
        "training.losses": '[{ name = "class-focal" }, { name = "class-dice", weight = 0.5 }]',
    }
    model = train("microstructure", table, tmp_path / "run", changes)
    assert set(scored(model, table, tmp_path / "out")["structures"]) == set(classes)
    rows = {row["id"]: row for row in read_records(tmp_path / "out" / "scores.csv")[1]}
    counted = [
        sum(int(row[f"{k}_cell"]) for k in ("tp", "fp", "fn", "tn")) for row in rows.values()
    ]
    # More than half of the thalamus are axons.
    assert min(counted) < 0.6 * 32 * 32
    assert max(counted) == 32 * 32
