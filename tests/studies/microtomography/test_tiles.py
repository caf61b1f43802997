# SPDX-License-Identifier: Apache-2.0
"""Tables of tiles: what is cut out, what is known of each tile, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import InputError, OutputExistsError
from encephalon.io.text import read_records
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.writing import create_ome_zarr
from encephalon.studies.microtomography.benchmark import Benchmark, load_benchmark
from encephalon.studies.microtomography.tiles import IGNORED, write_tiles
from tests.io.volumes.boss_server import Boss, serving, status

BOXES = {
    "a": {"z": [2, 8], "y": [0, 4], "x": [0, 8]},
    "b": {"z": [2, 8], "y": [4, 8], "x": [8, 16]},
}


def benchmark(**changes: Any) -> Benchmark:
    """A benchmark of two boxes of one volume."""
    data: dict[str, Any] = {
        "name": "small",
        "spacing": [1.17, 1.17, 1.17],
        "channels": {"image": "i.npy", "regions": "r.npy", "structures": "s.npy"},
        "boxes": BOXES,
        "splits": {"train": [{"z": [2, 5]}], "test": [{"z": [6, 8]}], "gap": 1},
        "tiles": {"size": [1, 4, 4]},
        "regions": {"classes": {"CTX": [1], "STR": [2, 8]}, "unlabelled": [0]},
        "structures": {"classes": {"background": [0], "vessel": [1], "cell": [2]}},
    }
    return Benchmark.model_validate(data | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Volumes of 10 x 8 x 16 voxels whose grey level is their place."""
    image = np.arange(10 * 8 * 16, dtype=np.uint16).reshape(10, 8, 16)
    regions = np.ones((10, 8, 16), np.uint64)
    regions[:, 4:] = 8
    regions[7] = 0
    structures = np.zeros((10, 8, 16), np.uint64)
    structures[3, 0, 0:2] = 2
    for name, array in (("i", image), ("r", regions), ("s", structures)):
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


def test_a_box_is_cut_out_with_its_labels_and_keeps_its_place(folder: Path) -> None:
    write_tiles(benchmark(), folder / "tiles", folder)
    volume = open_volume(folder / "tiles" / "b.ome.zarr")
    assert volume.origin == (2, 4, 8)
    whole = np.load(folder / "i.npy")
    assert (volume.read() == whole[2:8, 4:8, 8:16]).all()
    labels = open_volume(folder / "tiles" / "a.ome.zarr" / "labels" / "structures")
    assert labels.dtype == np.uint8
    assert labels.read().sum() == 4


def test_a_row_says_where_its_tile_lies_what_it_is_and_what_is_in_it(folder: Path) -> None:
    rows = {row["id"]: row for row in write_tiles(benchmark(), folder / "tiles", folder)}
    assert len(rows) == 2 * 2 * (3 + 2)
    row = rows["a-z0003-y0000-x0000"]
    assert (row["split"], row["region"]) == ("train", "CTX")
    assert (row["cell_count"], row["cell_size"]) == (1, 2)
    assert (row["first_z"], row["first_y"], row["size_x"]) == (1, 0, 4)
    assert rows["b-z0002-y0004-x0008"]["region"] == "STR"
    # Nobody annotated slice 7.
    assert rows["a-z0007-y0000-x0000"]["region"] is None
    written = read_records(folder / "tiles" / "tiles.csv")[1]
    assert [one["id"] for one in written] == list(rows)


def test_the_modal_id_decides_and_not_the_modal_class(folder: Path) -> None:
    regions = np.load(folder / "r.npy")
    # 6 voxels are 1; 5 each are 2 and 8, which are one class together.
    regions[2, 0:4, 0:4] = np.array([1] * 6 + [2] * 5 + [8] * 5).reshape(4, 4)
    np.save(folder / "r.npy", regions)
    rows = write_tiles(benchmark(), folder / "tiles", folder)
    assert next(row for row in rows if row["id"] == "a-z0002-y0000-x0000")["region"] == "CTX"


def test_stacked_boxes_let_a_tile_go_on_in_the_next_one(folder: Path) -> None:
    stacked = benchmark(tiles={"size": [2, 4, 8], "rest": "stack"})
    rows = {row["id"]: row for row in write_tiles(stacked, folder / "tiles", folder)}
    crossing = rows["a-z0004-y0000-x0000"]
    assert (crossing["image"], crossing["first_z"], crossing["size_z"]) == ("train.ome.zarr", 2, 2)
    volume = open_volume(folder / "tiles" / "train.ome.zarr")
    whole = np.load(folder / "i.npy")
    wanted = np.stack([whole[4, 0:4, 0:8], whole[2, 4:8, 8:16]])
    assert (volume.read(((2, 4), (0, 4), (0, 8))) == wanted).all()
    assert rows["b-z0004-y0004-x0008"]["size_z"] == 1


def test_masks_of_single_classes_make_one_channel(folder: Path) -> None:
    for name, place in (("vessel", 0), ("cell", 5)):
        mask = np.zeros((10, 8, 16), np.uint8)
        mask[:, :, place] = 255
        np.save(folder / f"{name}.npy", mask)
    channels = {"image": "i.npy", "structures": {"vessel": "vessel.npy", "cell": "cell.npy"}}
    write_tiles(benchmark(channels=channels, regions=None), folder / "tiles", folder)
    labels = open_volume(folder / "tiles" / "a.ome.zarr" / "labels" / "structures").read()
    assert labels[0, 0].tolist() == [1, 0, 0, 0, 0, 2, 0, 0]


def test_ids_that_nobody_looked_at_are_ignored_voxels(folder: Path) -> None:
    classes = {"background": [0], "vessel": [1]}
    write_tiles(
        benchmark(structures={"classes": classes, "unlabelled": [2]}), folder / "tiles", folder
    )
    labels = open_volume(folder / "tiles" / "a.ome.zarr" / "labels" / "structures").read()
    assert labels[1, 0, 0] == IGNORED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"boxes": {**BOXES, "b": {"z": [2, 8], "y": [4, 9], "x": [8, 16]}}},
            "The box 'b', channel 'image': .*z 2:8, y 4:9, x 8:16 is not inside",
        ),
        ({"structures": {"classes": {"background": [0], "cell": [1]}}}, "4 voxels of the ids|'2'"),
        (
            {"regions": {"classes": {"CTX": [1], "STR": [2]}, "unlabelled": [0]}},
            "tile 'b-z0002.*region 8",
        ),
        ({"channels": {"regions": "r.npy", "structures": "s.npy"}}, "no channel 'image'"),
        ({"channels": {"image": "x.npy"}, "regions": None, "structures": None}, "x.npy"),
        (
            {"channels": {"image": "i.npy", "structures": {"axon": "s.npy"}}, "regions": None},
            "'a' has masks of 'axon', but the classes are 'background', 'vessel', 'cell'",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_box_and_channel(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        write_tiles(benchmark(**changes), folder / "tiles", folder)
    assert not (folder / "tiles" / "tiles.csv").exists()


def zeros(path: Path, edge: float = 1.17) -> None:
    """An OME-Zarr of two chunks."""
    cubes = (edge, edge, edge)
    with create_ome_zarr(path, (10, 8, 16), np.uint8, chunks=(10, 8, 8), spacing=cubes) as made:
        made.write(np.zeros((10, 8, 16), np.uint8))


def test_labels_on_another_grid_than_the_image_are_refused(folder: Path) -> None:
    np.save(folder / "s.npy", np.zeros((10, 8, 20), np.uint8))
    with pytest.raises(InputError, match=r"channel 'structures'.*\(10, 8, 20\).*\(10, 8, 16\)"):
        write_tiles(benchmark(), folder / "tiles", folder)
    zeros(folder / "i.zarr", 1.0)
    zeros(folder / "s.zarr", 2.0)
    channels = {"image": "i.zarr", "structures": "s.zarr"}
    with pytest.raises(InputError, match=r"edges of \(2\.0.*image.*\(1\.0"):
        write_tiles(benchmark(channels=channels, regions=None), folder / "tiles", folder)


def test_a_lost_chunk_of_the_image_is_an_error_and_one_of_labels_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zeros(folder / "i.zarr")
    zeros(folder / "s.zarr")
    channels = {"image": "i.zarr", "structures": "s.zarr"}
    boxed = benchmark(channels=channels, regions=None)
    (folder / "s.zarr" / "0" / "c" / "0" / "0" / "1").unlink()
    write_tiles(boxed, folder / "tiles", folder)
    assert "b, structures: 1 pieces are missing" in caplog.text
    (folder / "i.zarr" / "0" / "c" / "0" / "0" / "1").unlink()
    with pytest.raises(InputError, match=r"box 'b', channel 'image': .*1 of the stored pieces"):
        write_tiles(boxed, folder / "other", folder)


def test_what_failed_is_done_again_by_the_same_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stops in the middle: what it gave is kept, and nothing half done is left."""
    monkeypatch.setenv("ENCEPHALON_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("encephalon.io.http.time.sleep", lambda _: None)
    channels = {"image": "bossdb://col/exp/chan"}
    far = {"a": BOXES["a"], "b": {"z": [2, 8], "y": [4, 8], "x": [256, 264]}}
    asked = benchmark(channels=channels, boxes=far, regions=None, structures=None)
    with serving(Boss(np.ones((10, 8, 264), np.uint8))) as boss:
        monkeypatch.setenv("ENCEPHALON_BOSS_SERVER", boss.url)
        boss.trouble = [lambda _: False] * 4 + [status(500)] * 5
        with pytest.raises(InputError, match=r"'b', channel 'image': .*x 256:264.*answered 500"):
            write_tiles(asked, folder / "tiles", folder)
        assert not list((folder / "tiles").iterdir())
        before = len(boss.paths())
        assert len(write_tiles(asked, folder / "tiles", folder)) == 20
        assert len(boss.paths()) == before + 1


def test_a_table_that_is_there_is_left_alone(folder: Path) -> None:
    write_tiles(benchmark(), folder / "tiles", folder)
    with pytest.raises(OutputExistsError):
        write_tiles(benchmark(), folder / "tiles", folder)
    write_tiles(benchmark(), folder / "tiles", folder, overwrite=True)


@pytest.mark.data
def test_neurons_of_electron_microscopy_are_a_benchmark_by_a_file_alone(
    data: Path, tmp_path: Path
) -> None:
    """Tiles of eight slices of 50 x 100 x 200 voxels, in which every neuron has an id."""
    rows = write_tiles(load_benchmark("gala-fibsem"), tmp_path, data / "em" / "gala-fibsem")
    splits = [row["split"] for row in rows]
    counts = {part: splits.count(part) for part in splits}
    assert counts == {"train": 6, "validation": 2, "test": 2}
    assert {tuple(row[f"size_{axis}"] for axis in "zyx") for row in rows} == {(8, 100, 100)}
    assert open_volume(tmp_path / "block.ome.zarr").shape == (50, 100, 200)
    labels = open_volume(tmp_path / "block.ome.zarr/labels/structures").read()
    assert labels.mean() == pytest.approx(0.067, abs=0.001)  # the share of membrane
    assert all(19 <= row["neuron_count"] <= 32 for row in rows)
