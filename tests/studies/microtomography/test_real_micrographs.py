# SPDX-License-Identifier: Apache-2.0
"""Electron micrographs of myelinated axons: their benchmark, and the model that ships for them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encephalon.api import predict
from encephalon.io.text import read_records
from encephalon.models.catalogue import find_model
from encephalon.studies.microtomography.benchmark import find_benchmark, load_benchmark
from encephalon.studies.microtomography.tiles import TABLE, write_tiles


def rows_of(name: str, data: Path, folder: Path) -> list[dict[str, str]]:
    """The table of tiles of a benchmark that ships."""
    write_tiles(load_benchmark(name), folder, data / "em" / "axon-sem")
    assert find_benchmark(name).is_file()
    return list(read_records(folder / TABLE)[1])


@pytest.mark.parametrize(
    ("benchmark", "tiles"),
    [
        ("axon-sem", {"train": 4, "validation": 1, "test": 1}),
        ("axon-sem-readout", {"train": 194, "validation": 25, "test": 36}),
    ],
)
def test_rat_4_alone_tests(
    benchmark: str, tiles: dict[str, int], data: Path, tmp_path: Path
) -> None:
    """Whole pictures, or tiles of 128 pixels of them; no rat but the fourth is in the test."""
    rows = rows_of(benchmark, data, tmp_path / "tiles")
    assert Counter(row["split"] for row in rows) == tiles
    assert {row["box"] for row in rows if row["split"] == "test"} == {"rat4"}
    assert "rat4" not in {row["box"] for row in rows if row["split"] != "test"}


def test_percentages_are_those_of_the_manual_masks(data: Path, tmp_path: Path) -> None:
    """Of the whole picture of rat 4."""
    row = next(row for row in rows_of("axon-sem", data, tmp_path / "tiles") if row["box"] == "rat4")
    folder = data / "em" / "axon-sem" / "derivatives" / "labels" / "sub-rat4" / "micr"
    for name in ("axon", "myelin"):
        mask = np.asarray(Image.open(folder / f"sub-rat4_sample-data12_SEM_seg-{name}-manual.png"))
        assert float(row[f"percent_{name}"]) == pytest.approx(100 * (mask > 0).mean(), abs=1e-4)


def test_the_model_that_ships_finds_axons_and_myelin_of_rat_4(data: Path, tmp_path: Path) -> None:
    """By its name alone, from the picture alone; F1 is far above that of thresholds, 0.65 and 0.68.

    The mask has the size of the picture, and the numbers of its classes are those of the card. The
    page counts it as done, since nothing judges a mask of structures.
    """
    folder = data / "em" / "axon-sem"
    picture = folder / "sub-rat4" / "micr" / "sub-rat4_sample-data12_SEM.png"
    predict("axon-myelin", [picture], tmp_path / "out", device="cpu", threads=2)
    written = [path for path in (tmp_path / "out").rglob("*.png") if "structures" in path.name]
    found = np.asarray(Image.open(written[0]))
    assert found.shape == (771, 822)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "done</" in page
    assert "to check</" not in page
    masks = folder / "derivatives" / "labels" / "sub-rat4" / "micr"
    for number, name in ((1, "axon"), (2, "myelin")):
        mask = masks / f"sub-rat4_sample-data12_SEM_seg-{name}-manual.png"
        truth = np.asarray(Image.open(mask)) > 0
        both = ((found == number) & truth).sum()
        assert 2 * both / ((found == number).sum() + truth.sum()) > 0.78


def test_what_ships_is_small_and_says_what_it_is() -> None:
    """At most 10 MB with its graph, and a card with data, scores and failures."""
    files = find_model("axon-myelin")
    assert sum(path.stat().st_size for path in files.path.iterdir()) <= 10e6
    assert {"evaluation_data", "training_data", "caveats"} <= set(files.description.card)
    assert files.description.labels == {0: "background", 1: "axon", 2: "myelin"}
