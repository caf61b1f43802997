# SPDX-License-Identifier: Apache-2.0
"""The boxes of a table of tiles: the size of their voxels, and what they may not replace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import InputError, OutputError
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.writing import create_ome_zarr
from encephalon.studies.microtomography.benchmark import Benchmark
from encephalon.studies.microtomography.tiles import write_tiles

VOXEL = (2.0, 1.0, 1.0)


def benchmark(spacing: tuple[float, float, float] | None = None, **changes: Any) -> Benchmark:
    """One box of a volume that bears its name."""
    return Benchmark.model_validate(
        changes
        | {
            "name": "small",
            "spacing": spacing,
            "channels": {"image": "a.ome.zarr", "structures": "s.npy"},
            "boxes": {"a": {"z": [0, 4], "y": [0, 8], "x": [0, 8]}},
            "splits": {"test": [{}]},
            "tiles": {"size": [1, 8, 8]},
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A volume of 4 x 8 x 16 voxels with edges of 2, 1 and 1 µm."""
    image = np.arange(4 * 8 * 16, dtype=np.uint16).reshape(4, 8, 16)
    with create_ome_zarr(tmp_path / "a.ome.zarr", image.shape, image.dtype, spacing=VOXEL) as file:
        file.write(image)
    return tmp_path


def test_voxels_are_as_large_as_the_volume_says_unless_the_benchmark_does(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tiles(benchmark(), folder / "one", folder)
    assert open_volume(folder / "one" / "a.ome.zarr").spacing == VOXEL
    assert not caplog.messages
    write_tiles(benchmark((0.002, 0.001, 0.001)), folder / "two", folder)
    assert open_volume(folder / "two" / "a.ome.zarr").spacing == (0.002, 0.001, 0.001)
    assert "a.ome.zarr of (2.0, 1.0, 1.0) µm" in caplog.text


def test_a_box_never_takes_the_place_of_its_volume(folder: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.ome\.zarr is an input and would be replaced"):
        write_tiles(benchmark(), folder, folder, overwrite=True)
    assert open_volume(folder / "a.ome.zarr").shape == (4, 8, 16)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full((4, 8, 16), 0.5, np.float32), r"s\.npy: 256 of 256 labels are no whole numbers"),
        (np.full((4, 8, 16), -1, np.int16), "ids '-1', which the benchmark does not know"),
    ],
)
def test_labels_are_ids_that_the_benchmark_knows(folder: Path, labels: Any, words: str) -> None:
    np.save(folder / "s.npy", labels)
    known = {"classes": {"background": [0], "cell": [1]}}
    with pytest.raises(InputError, match=words):
        write_tiles(benchmark(structures=known), folder / "tiles", folder)
    np.save(folder / "s.npy", np.zeros((4, 8, 16), np.float32))
    write_tiles(benchmark(structures=known), folder / "tiles", folder)
