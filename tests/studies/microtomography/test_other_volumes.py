# SPDX-License-Identifier: Apache-2.0
"""A model on volumes unlike those that it learnt from: what is warned about, and what refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon import api
from encephalon.errors import TableError
from encephalon.io.text import read_records, write_records
from encephalon.io.volumes.writing import create_ome_zarr
from tests.studies.microtomography.test_whole import SHAPE, VOXELS, predict, predictor
from tests.studies.microtomography.tiny_tiles import train, write_table

pytest.importorskip("zarr")
pytest.importorskip("torch")

LEARNT = (1.17, 1.17, 1.17)


def written(path: Path, voxels: Any, spacing: tuple[float, float, float] = LEARNT) -> Path:
    """A volume of these voxels."""
    with create_ome_zarr(path, SHAPE, voxels.dtype, spacing=spacing) as new:
        new.write(voxels)
    return path


@pytest.mark.parametrize(
    ("voxels", "spacing", "words"),
    [
        (VOXELS, LEARNT, ""),
        (VOXELS, (10.0, 10.0, 10.0), "(10.0, 10.0, 10.0) µm (z, y, x), but the model learnt from"),
        (
            VOXELS.astype(np.uint16) * 257,
            LEARNT,
            "between 0 and 255, but these are of the type uint",
        ),
        (VOXELS.astype(np.float32) / 255, LEARNT, "but these are of the type float32"),
    ],
)
def test_voxels_of_another_size_or_brightness_are_warned_about_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    voxels: Any,
    spacing: tuple[float, float, float],
    words: str,
) -> None:
    scan = written(tmp_path / "in" / "scan.ome.zarr", voxels, spacing)
    model = replace(predictor("structure"), spacing=LEARNT)
    assert not predict(model, scan, tmp_path / "out").failures
    assert len(caplog.messages) == bool(words)
    assert words in caplog.text


def test_a_tile_of_another_size_is_refused_where_only_one_is_known(tmp_path: Path) -> None:
    path = tmp_path / "in" / "tile.npy"
    path.parent.mkdir()
    np.save(path, VOXELS[:1])
    model = replace(predictor("region"), sides=(32, 32))
    failures = predict(model, path, tmp_path / "out").failures
    assert "(45, 70) pixels (y, x)" in str(failures)
    assert "only (32, 32): cut tiles of that size" in str(failures)


def test_a_model_knows_the_voxels_and_the_tiles_that_it_learnt_from(tmp_path: Path) -> None:
    table = write_table(tmp_path / "tiles")
    factors = train("pca", table, tmp_path / "pca", {"study.components": "4"})
    model: Any = api.load_model(factors, device="cpu").predictor
    assert model.spacing == LEARNT
    assert model.sides == (32, 32)
    assert model.options.tile == 32


def test_a_tile_without_voxels_is_named_before_anything_is_learnt(tmp_path: Path) -> None:
    table = write_table(tmp_path / "tiles")
    rows = [row | {"size_y": "0"} for row in read_records(table)[1]]
    write_records(rows, table)
    with pytest.raises(TableError, match=r"row 2: 'size_y' must be .* 1 or more, but is '0'"):
        train("region-supervised", table, tmp_path / "run")
