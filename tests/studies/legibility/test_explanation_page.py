# SPDX-License-Identifier: Apache-2.0
"""A batch of people explained: the files, the tables and the page, and who cannot be."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon import api
from encephalon.errors import OutputExistsError, UsageError
from encephalon.io.reading import read_image
from encephalon.studies.legibility.synthetic import Size, write_cohort
from encephalon.transforms.template import mni_grid

SETTINGS = {
    "study.side": "16",
    "study.folds": "3",
    "study.inputs": '["t1", "connectivity", "constitutional", "serology"]',
    "study.targets": '["age", "diagnosis"]',
    "training.epochs": "2",
    "training.steps_per_epoch": "2",
    "training.batch_size": "8",
    "training.warmup_steps": "1",
    "network.options": "{width = 8, hidden = 8, encoder_options = {width = 2}}",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty people, of whom some lack something."""
    folder = tmp_path_factory.mktemp("people") / "cohort"
    return write_cohort(folder, Size(60, side=16, regions=8, missing=0.2), prepared=True)


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learnt from them for a moment."""
    output = tmp_path_factory.mktemp("run") / "run"
    api.train("legibility", table, output, overrides=SETTINGS, device="cpu", threads=1)
    return output


def few(table: Path, folder: Path, count: int, **changes: str) -> Path:
    """A table of the first people, some of whose cells are others."""
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))[:count]
    for name in ("t1", "flair", "dwi", "connectivity"):
        for row in rows:
            row[name] = str(table.parent / row[name]) if row[name] else ""
    rows[0] |= changes
    place = folder / "some.csv"
    with place.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return place


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_page_says_where_shares_are_of_another_answer_than_is_told(
    run: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many inputs, whose sets are not all read."""
    monkeypatch.setattr("encephalon.studies.legibility.explanation_page.MOST_UNITS", 1)
    api.explain(run, few(table, tmp_path, 1), tmp_path / "out", device="cpu", threads=1)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "own answer, which differs from what is told" in page


def test_people_are_explained_into_tables_maps_and_a_page(
    run: Path, table: Path, tmp_path: Path
) -> None:
    """Shares sum to the answer, which is what the model predicts; maps lie in MNI space."""
    some, out = few(table, tmp_path, 5), tmp_path / "out"
    result = api.explain(run, some, out, device="cpu", threads=1)
    assert not result.failures
    rows = read(out / "explanations.csv")
    assert [row["id"] for row in rows] == [row["id"] for row in read(some)]
    for row in rows:
        added = [float(value) for key, value in row.items() if key.startswith("adds_") and value]
        assert float(row["base"]) + sum(added) == pytest.approx(float(row["answer"]))
        assert float(row["answer"]) == pytest.approx(float(row["age"]), abs=1e-3)
        assert row["unit"] == "years"
    assert "adds_constitutional" not in rows[0]
    maps = sorted((out / "maps").glob("*_t1.nii.gz"))
    assert len(maps) == sum(bool(row["t1"]) for row in read(some))
    image = read_image(maps[0])
    np.testing.assert_allclose(image.affine.matrix, mni_grid(16).affine.matrix)
    edges = read(out / "edges.csv")
    matrix = np.load(out / "maps" / f"{edges[0]['id']}_connectivity.npy")
    first = matrix[int(edges[0]["region_a"]), int(edges[0]["region_b"])]
    assert float(edges[0]["adds"]) == pytest.approx(float(first), rel=1e-4)
    assert {row["block"] for row in read(out / "columns.csv")} == {"serology"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Does it depend on what was learnt?" in page
    own = sorted(each.stem for each in (out / "report").iterdir())
    assert own == sorted(row["id"] for row in read(some) if row["t1"])
    assert all(f'href="report/{name}.html"' in page for name in own)
    shown = (out / "report" / f"{own[0]}.html").read_text(encoding="utf-8")
    assert shown.count('class="viewer"') >= 1
    assert "raises the answer" in shown
    assert any(key.startswith("t1: encoder") for key in result.sanity)
    with pytest.raises(OutputExistsError):
        api.explain(run, some, out, device="cpu")


def test_a_class_is_explained_person_by_person_or_by_name(
    run: Path, table: Path, tmp_path: Path
) -> None:
    """That which is told of each, or the one that is asked for."""
    some = few(table, tmp_path, 3)
    own = api.explain(run, some, tmp_path / "own", target="diagnosis", device="cpu")
    for row in own.rows:
        assert row["unit"] == f"log-odds of {row['diagnosis']}"
        odds = np.log(row["diagnosis_p"] / (1 - row["diagnosis_p"]))
        assert row["answer"] == pytest.approx(odds, abs=1e-3)
    how: dict[str, Any] = {"target": "diagnosis", "target_class": "vascular", "device": "cpu"}
    asked = api.explain(run, some, tmp_path / "asked", **how)
    assert {row["unit"] for row in asked.rows} == {"log-odds of vascular"}


def test_who_cannot_be_explained_is_named_and_the_others_are_done(
    run: Path, table: Path, tmp_path: Path
) -> None:
    """A file that is not there, and a target that the model does not tell."""
    some = few(table, tmp_path, 3, t1="nowhere.npy")
    result = api.explain(run, some, tmp_path / "out", device="cpu")
    assert [one.id for one in result.failures] == [read(some)[0]["id"]]
    assert "nowhere.npy" in result.failures[0].message
    assert len(read(tmp_path / "out" / "explanations.csv")) == 3
    with pytest.raises(UsageError, match="tells no 'sex'"):
        api.explain(run, some, tmp_path / "none", target="sex", device="cpu")
