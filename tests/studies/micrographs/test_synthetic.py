# SPDX-License-Identifier: Apache-2.0
"""Synthetic micrographs: what is planted is where the sheet says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import OutputExistsError
from encephalon.studies.micrographs.synthetic import phantom_micrograph, write_phantoms


def test_an_aged_vessel_differs_from_a_young_one_in_its_box_alone() -> None:
    """Of one seed, the two are the same vessel but for noise and the deposit."""
    for seed in range(5):
        aged = phantom_micrograph(np.random.default_rng(seed), aged=True, size=192)
        young = phantom_micrograph(np.random.default_rng(seed), aged=False, size=192)
        assert young.box is None
        assert aged.box is not None
        x, y, width, height = aged.box
        darker = young.data.astype(int) - aged.data > 70
        rows, columns = (np.nonzero(darker)[axis] / 192 for axis in (0, 1))
        inside = (np.abs(columns - x) < width / 2 + 0.02) & (np.abs(rows - y) < height / 2 + 0.02)
        assert darker.sum() > 100
        assert inside.mean() > 0.98


def test_the_range_of_grey_levels_does_not_give_the_answer_away() -> None:
    """The darkest levels of young and aged micrographs differ by less than their noise."""
    for seed in range(5):
        low = [
            np.percentile(phantom_micrograph(np.random.default_rng(seed), aged=aged).data, 0.5)
            for aged in (False, True)
        ]
        assert abs(low[0] - low[1]) < 10


def test_the_same_seed_draws_the_same_images(tmp_path: Path) -> None:
    """Two folders of one seed hold the same bytes."""
    for name in ("a", "b"):
        write_phantoms(tmp_path / name, animals=2, images=2, size=64, seed=3)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 5
    assert all(
        (tmp_path / "a" / one).read_bytes() == (tmp_path / "b" / one).read_bytes() for one in files
    )


def test_a_sheet_that_exists_is_not_replaced(tmp_path: Path) -> None:
    """A second call into the folder is refused and changes nothing."""
    sheet = write_phantoms(tmp_path, animals=2, images=1, size=64)
    before = sheet.read_bytes()
    with pytest.raises(OutputExistsError, match=r"sheet\.csv exists"):
        write_phantoms(tmp_path, animals=4, images=1, size=64)
    assert sheet.read_bytes() == before


@pytest.mark.parametrize("name", ["sheet.csv", "S2V1_phantom.tif", "S1V2_phantom.tif"])
def test_no_image_of_somebody_else_is_replaced(tmp_path: Path, name: str) -> None:
    """One that lies there under any of the names ends it before the first is drawn."""
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExistsError, match=name):
        write_phantoms(tmp_path, animals=2, images=2, size=64)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"
    write_phantoms(tmp_path, animals=2, images=2, size=64, overwrite=True)
    assert (tmp_path / name).read_bytes() != b"mine"
