# SPDX-License-Identifier: Apache-2.0
"""What evaluations and leaderboards show: the worst first, named colours, curves, embeddings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon import api
from encephalon.errors import EncephalonError, InputError
from encephalon.evaluation.run import read_summary as summary
from encephalon.io.text import read_records
from encephalon.studies.microtomography.embedding import read_embedding
from encephalon.studies.microtomography.leaderboard import leaderboard
from tests.studies.microtomography.tiny_tiles import QUICK, write_table

pytest.importorskip("torch")

STRUCTURES = QUICK | {"network.options.width": "4"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of tiles."""
    return write_table(tmp_path_factory.mktemp("tiles"))


def evaluated(recipe: str, table: Path, folder: Path, changes: Mapping[str, str]) -> Path:
    """A quick model on the CPU, and the folder of its evaluation."""
    model = api.train(
        recipe, table, folder / "run", overrides=dict(changes), device="cpu", workers=1, threads=1
    )
    api.evaluate(model, table, folder / "out", device="cpu")
    return folder / "out"


@pytest.fixture(scope="module")
def structures(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation of a model of structures."""
    return evaluated("microstructure", table, tmp_path_factory.mktemp("structure"), STRUCTURES)


@pytest.fixture(scope="module")
def pca(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation of eight principal components."""
    return evaluated("pca", table, tmp_path_factory.mktemp("pca"), {"study.components": "8"})


def test_the_worst_tile_comes_first_with_its_f1(structures: Path) -> None:
    page = (structures / "report.html").read_text(encoding="utf-8")
    scores = {row["id"]: float(row["f1"]) for row in read_records(structures / "scores.csv")[1]}
    shown = re.findall(r'<h3>(\S+) <span class="soft">F1 ([\d.]+)', page)
    assert len(shown) >= 6
    found = [scores[name] for name, _ in shown]
    assert found == sorted(found)
    assert found[0] == min(scores.values())
    assert float(shown[0][1]) == pytest.approx(found[0], abs=1e-3)


def test_each_tile_has_image_truth_and_prediction_and_the_legend_names_the_structures(
    structures: Path,
) -> None:
    page = (structures / "report.html").read_text(encoding="utf-8")
    for caption in ("Image", "Truth", "Prediction"):
        assert page.count(f"<figcaption>{caption}</figcaption>") >= 6
    for number, name in enumerate(("vessel", "cell", "axon"), start=1):
        assert f'id="show-class-{number}"' in page
        assert f"</span>{name}</label>" in page
    assert len(page) < 6_000_000


def test_the_confusion_counts_every_voxel_that_is_known(structures: Path) -> None:
    found = np.array(summary(structures)["confusion"])
    _, rows = read_records(structures / "scores.csv")
    for number, name in enumerate(summary(structures)["classes"]):
        assert found[number].sum() == sum(int(r[f"tp_{name}"]) + int(r[f"fn_{name}"]) for r in rows)


def test_an_evaluation_tells_how_its_model_learnt(structures: Path, pca: Path) -> None:
    _, rows = read_records(structures.parent / "run" / "history.csv")
    known = summary(structures)["history"]
    assert [row["val_f1"] for row in known] == [float(row["val_f1"]) for row in rows]
    assert summary(pca)["history"] == []


def test_features_are_written_with_the_rows_of_their_tiles(pca: Path, table: Path) -> None:
    tiles = {row["id"]: row for row in read_records(table)[1]}
    with np.load(pca / "features.npz") as kept:
        assert set(kept["id"].tolist()) == set(tiles)
        for name in ("region", "box", "split", "z"):
            assert kept[name].tolist() == [tiles[one][name] for one in kept["id"].tolist()]


def test_an_embedding_has_a_place_and_all_that_is_known_of_each_tile(
    pca: Path, table: Path
) -> None:
    rows = read_embedding(pca)
    tiles = {row["id"]: row for row in read_records(table)[1]}
    assert {row["id"] for row in rows} == set(tiles)
    for row in rows[:5]:
        assert row["region"] == tiles[row["id"]]["region"]
        assert np.isfinite([row[f"{plane}_{n}"] for plane in ("pca", "tsne") for n in (1, 2)]).all()
        assert row["percent_vessel"] == pytest.approx(float(tiles[row["id"]]["percent_vessel"]))
    page = (pca / "report.html").read_text(encoding="utf-8")
    choices = re.findall(r'<input type="radio"[^>]*>([^<]+)', page)
    assert choices[:4] == ["Region", "Box", "Part", "Vessel, %"]
    assert "<title>cortex-" in page


def test_a_leaderboard_shows_curves_confusion_predictions_and_embeddings(
    structures: Path, pca: Path, tmp_path: Path
) -> None:
    leaderboard([structures, pca], tmp_path / "board")
    page = (tmp_path / "board" / "leaderboard.html").read_text(encoding="utf-8")
    names = {path.name.removesuffix("_truth.png") for path in structures.rglob("*_truth.png")}
    assert len(names) == 4
    for name in names:
        assert f"<h3>{name}" in page
    assert "<figcaption>pca, linear probe</figcaption>" in page
    assert "<figcaption>pca, t-SNE</figcaption>" in page
    assert "Validation F1" in page
    assert "Without a curve: pca." in page
    assert "http" not in page.replace("http-equiv", "")


def copied(folder: Path, place: Path, **changes: Any) -> Path:
    """The summary of an evaluation with other entries."""
    place.mkdir(parents=True)
    (place / "summary.json").write_text(json.dumps(summary(folder) | changes), encoding="utf-8")
    return place


def test_seeds_are_averaged_and_models_that_differ_in_more_are_not(
    structures: Path, tmp_path: Path
) -> None:
    better = dict.fromkeys(summary(structures)["pooled"], 1.0)
    other = copied(structures, tmp_path / "seed-1", seed=1, pooled=better)
    again = copied(structures, tmp_path / "wider", pooled=better)
    f1 = summary(structures)["pooled"]["f1"]
    found = {e.measure: e for e in leaderboard([structures, other], tmp_path / "seeds")}["f1"]
    assert (found.method, found.seeds) == ("unet", 2)
    assert found.value == pytest.approx((f1 + 1) / 2)
    assert found.sd == pytest.approx((1 - f1) / 2**0.5)
    apart = leaderboard([structures, again], tmp_path / "apart")
    assert {entry.method for entry in apart} == {"unet (out)", "unet (wider)"}
    words = ["width 4", "width 8", "width 8"]
    named = leaderboard([structures, again, other], tmp_path / "named", words=words)
    seeds = {entry.method: entry.seeds for entry in named}
    assert seeds == {"unet, width 4": 1, "unet, width 8": 2}


def test_published_numbers_stand_beside_what_was_scored_as_published(
    structures: Path, pca: Path, tmp_path: Path
) -> None:
    """A network goes by the paper's name, regions by a linear probe, and R2 in-sample."""
    network = copied(structures, tmp_path / "a", mode="published", network="published-unet")
    factors = copied(pca, tmp_path / "b", mode="published")
    entries = leaderboard([network, factors, pca], tmp_path / "board")
    said = {(e.mode, e.task, e.method, e.measure): e.published for e in entries if e.published}
    assert said["published", "structure", "published-unet", "f1"].startswith("3 classes 0.87")
    assert ("published", "region", "pca, linear probe", "accuracy") in said
    assert ("published", "in-sample", "pca", "percent_vessel") in said
    assert {mode for mode, *_ in said} == {"published"}
    assert not {task for _, task, *_ in said} & {"readout"}
    assert not any("knn" in method for _, _, method, _ in said)


def test_a_score_that_is_not_known_is_left_out(structures: Path, tmp_path: Path) -> None:
    pooled = summary(structures)["pooled"] | {"balanced_accuracy": None}
    folder = copied(structures, tmp_path / "a", pooled=pooled)
    measures = {entry.measure for entry in leaderboard([folder], tmp_path / "board")}
    assert "f1" in measures
    assert "balanced_accuracy" not in measures


def test_files_that_were_spoilt_are_named(pca: Path, structures: Path, tmp_path: Path) -> None:
    folder = copied(pca, tmp_path / "a")
    (folder / "embedding.csv").write_text("id,tsne_1\na,word\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"embedding\.csv: this is no embedding"):
        leaderboard([folder], tmp_path / "board")
    folder = copied(structures, tmp_path / "b")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "tile_image.png").write_bytes(b"x" * 40)
    with pytest.raises(EncephalonError, match=r"tile_image\.png: expected a PNG"):
        leaderboard([folder], tmp_path / "board")
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize(
    "changes", [{"table": "x"}, {"seed": "none"}, {"pooled": {}}, {"regions": 1}]
)
def test_a_summary_that_was_changed_is_named(
    structures: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = copied(structures, tmp_path / "a", **changes)
    with pytest.raises(InputError, match=r"summary\.json: this is no evaluation.*it was changed"):
        leaderboard([folder], tmp_path / "board")


def test_an_evaluation_that_is_given_twice_is_no_second_seed(pca: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="given twice"):
        leaderboard([pca, pca / ".." / pca.name], tmp_path / "board")
