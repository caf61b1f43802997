# SPDX-License-Identifier: Apache-2.0
"""Volumes block by block: the labels are those of the whole, however it is cut and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from encephalon.errors import ContentError, OutputExistsError, UsageError
from encephalon.inference.blocks import TileGrid, label_blocks, read_box
from encephalon.inference.workers import Workers
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import Box, Size
from encephalon.io.volumes.writing import create_ome_zarr, fill_ome_zarr

SHAPE = (13, 37, 51)
CHUNKS = (8, 8, 8)
REACH = 3
VOXELS = np.random.default_rng(3).integers(0, 255, SHAPE, np.uint8)


def network(tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Three classes of a voxel, by what lies within three voxels of it; 0 outside."""
    near = ndimage.uniform_filter(tile, 2 * REACH + 1, mode="constant")
    return np.stack([near, -near, 0.02 - np.abs(near)])


def prepare(voxels: NDArray[Any]) -> NDArray[np.float32]:
    return voxels.astype(np.float32) / 255 - 0.5


WHOLE = network(prepare(VOXELS)).argmax(axis=0)


def grid(halo: int = 4, *, blend: bool = False, shape: Size = SHAPE) -> TileGrid:
    return TileGrid(shape, (8, 8, 8), (halo,) * 3, (1, 1, 1), blend)


def labeller(path: str, halo: int = 4, *, blend: bool = False, log: str = "") -> Any:
    volume = open_volume(path)

    def reader(box: Box) -> tuple[str, Any]:
        read = partial(volume.read, complete=True)
        content, label = read_box(read, prepare, network, grid(halo, blend=blend), box)

        def logged() -> NDArray[np.uint8]:
            if log:
                with Path(log).open("a") as stream:
                    stream.write(f"{box[0][0]},{box[1][0]},{box[2][0]}\n")
            return label()

        return content, logged

    return reader


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume.ome.zarr"
    with create_ome_zarr(path, SHAPE, np.uint8, chunks=CHUNKS) as new:
        new.write(VOXELS)
    return path


def run(volume: Path, folder: Path, key: str = "one", block: Size = (8, 16, 24), **how: Any) -> Any:
    start = partial(
        labeller, str(volume), **{k: how.pop(k) for k in ("halo", "blend", "log") if k in how}
    )
    place = folder / "labels.ome.zarr"
    writer = fill_ome_zarr(place, SHAPE, np.uint8, chunks=CHUNKS, kind="labels")
    counts = label_blocks(start, writer, folder, key, shape=SHAPE, block=block, classes=3, **how)
    writer.finish()
    return open_volume(place).read(complete=True), counts


@pytest.mark.parametrize("block", [(8, 8, 8), (16, 8, 24), (64, 64, 64)])
def test_the_labels_of_blocks_are_those_of_the_whole_volume(
    volume: Path, tmp_path: Path, block: Size
) -> None:
    labels, counts = run(volume, tmp_path / "run", block=block)
    assert np.array_equal(labels, WHOLE)
    assert counts == np.bincount(WHOLE.ravel(), minlength=3).tolist()


@pytest.mark.parametrize(
    "how", [Workers(jobs=2), Workers(jobs=2, scheduler="processes")], ids=["threads", "processes"]
)
def test_the_labels_do_not_depend_on_the_workers(
    volume: Path, tmp_path: Path, how: Workers
) -> None:
    labels, _ = run(volume, tmp_path / "run", workers=how)
    assert np.array_equal(labels, WHOLE)


def test_a_dask_scheduler_elsewhere_labels_the_same(volume: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    cluster = {
        "n_workers": 1,
        "threads_per_worker": 2,
        "processes": False,
        "dashboard_address": None,
    }
    with distributed.LocalCluster(protocol="tcp", **cluster) as local:
        labels, _ = run(
            volume, tmp_path / "run", workers=Workers(scheduler=local.scheduler_address)
        )
    assert np.array_equal(labels, WHOLE)


def test_tiles_that_are_blended_do_not_depend_on_blocks(volume: Path, tmp_path: Path) -> None:
    """Also where the halo is too small for the network, and tiles differ at their edges."""
    found = [
        run(volume, tmp_path / str(n), block=(n, n, n), halo=2, blend=True)[0] for n in (8, 16, 64)
    ]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    cropped, _ = run(volume, tmp_path / "cropped", halo=2)
    assert (found[0] == WHOLE).mean() > 0.9
    assert not np.array_equal(found[0], cropped)


def test_the_weights_of_blended_tiles_sum_to_1() -> None:
    box = ((0, 13), (0, 37), (0, 51))
    sums = np.zeros(SHAPE)
    for tile, weight in grid(4, blend=True).tiles(box):
        sums[tile.write] += weight
    assert sums == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 5, 9), (8, 16, 24), (9, 17, 23)])
def test_every_voxel_is_of_one_tile_and_all_tiles_have_one_size(shape: Size) -> None:
    z, y, x = ((0, n) for n in shape)
    tiles = [tile for tile, _ in grid(2, shape=shape).tiles((z, y, x))]
    votes = np.zeros(shape, int)
    for tile in tiles:
        votes[tile.write] += 1
        pairs = zip(tile.read, tile.write, strict=True)
        assert all(r.start <= w.start < w.stop <= r.stop for r, w in pairs)
    assert (votes == 1).all()
    assert len({tuple(s.stop - s.start for s in tile.read) for tile in tiles}) == 1


def test_tiles_that_do_not_suit_the_network_are_refused() -> None:
    with pytest.raises(UsageError, match="multiples of 8"):
        TileGrid(SHAPE, (8, 12, 8), (0, 0, 0), (8, 8, 8))
    with pytest.raises(UsageError, match="at most half"):
        TileGrid(SHAPE, (8, 8, 8), (5, 5, 5), (1, 1, 1), blend=True)


def test_a_run_that_was_killed_continues_with_the_other_blocks(
    volume: Path, tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nimport test_blocks as t\n"
        "def count(done, total):\n    if done == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.run(Path(sys.argv[1]), Path(sys.argv[2]), log=sys.argv[3], progress=count)\n"
    )
    here = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    killed = subprocess.run(
        [sys.executable, "-c", program, str(volume), str(folder), str(log)],
        env={**os.environ, "PYTHONPATH": here},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    before = log.read_text().splitlines()
    assert len(before) == 3
    labels, _ = run(volume, folder, log=str(log))
    after = log.read_text().splitlines()
    assert len(after) == len(set(after)) == 2 * 3 * 3
    assert np.array_equal(labels, WHOLE)


def test_what_another_model_began_is_not_continued(volume: Path, tmp_path: Path) -> None:
    run(volume, tmp_path / "run")
    with pytest.raises(OutputExistsError, match="begun with another model"):
        run(volume, tmp_path / "run", key="another")


def test_a_corrupt_or_missing_chunk_costs_the_blocks_that_see_it_alone(
    volume: Path, tmp_path: Path
) -> None:
    chunk, whole = volume / "0/c/1/2/6", (volume / "0/c/1/2/6").read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        ContentError, match=r"12 of 18 blocks .*volume.ome.zarr, z 0:13, y 0:20, x 20:51"
    ):
        run(volume, tmp_path / "run")
    chunk.unlink()
    with pytest.raises(ContentError, match=r"12 of 18 blocks .* 1 of the stored pieces"):
        run(volume, tmp_path / "run")
    chunk.write_bytes(whole)
    log = tmp_path / "log"
    labels, _ = run(volume, tmp_path / "run", log=str(log))
    assert len(log.read_text().splitlines()) == 12
    assert np.array_equal(labels, WHOLE)


def test_a_block_whose_voxels_changed_is_done_again(volume: Path, tmp_path: Path) -> None:
    run(volume, tmp_path / "run")
    changed = VOXELS.copy()
    changed[0, 0, 0] ^= 255
    with create_ome_zarr(volume, SHAPE, np.uint8, chunks=CHUNKS, overwrite=True) as new:
        new.write(changed)
    log = tmp_path / "log"
    labels, _ = run(volume, tmp_path / "run", log=str(log))
    assert log.read_text() == "0,0,0\n8,0,0\n"  # and the block that sees it in its margin
    assert np.array_equal(labels, network(prepare(changed)).argmax(axis=0))


def test_a_voxel_that_is_no_number_is_said_with_its_box(tmp_path: Path) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[12, 20, 50] = np.nan
    np.save(tmp_path / "v.npy", voxels)
    with pytest.raises(ContentError, match=r"of 18 blocks .*v.npy, z 0:13.* NaN or infinite"):
        run(tmp_path / "v.npy", tmp_path / "run")
