# SPDX-License-Identifier: Apache-2.0
"""Tiled inference: every voxel once, seams only where asked for, memory of a few tiles."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from encephalon.errors import ModelError, UsageError
from encephalon.inference.tiles import plan_tiles, run_tiled

Data = NDArray[Any]


def pooled(batch: Data) -> Data:
    """A network in small: a stride of 8 and a reach of 15, so a halo of 16 is enough for it."""
    out = np.empty_like(batch)
    for number, volume in enumerate(batch[:, 0]):
        i, j, k = (side // 8 for side in volume.shape)
        means = volume.reshape(i, 8, j, 8, k, 8).mean(axis=(1, 3, 5), dtype=np.float64)
        mixed = ndimage.correlate(means, np.arange(27.0).reshape(3, 3, 3), mode="constant")
        out[number, 0] = mixed.repeat(8, 0).repeat(8, 1).repeat(8, 2) + volume
    return out


def noise(*shape: int) -> Data:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=2)


@given(sizes, st.integers(1, 5), st.integers(0, 20), st.sampled_from([1, 2, 8]))
@settings(deadline=None, max_examples=100)
def test_each_voxel_is_written_once_and_has_its_halo(
    shape: list[int], tiles: int, halo: int, multiple: int
) -> None:
    """For any size, the kept boxes part the volume, each with its halo or the volume's border."""
    tile = tiles * multiple + 2 * (-(-halo // multiple) * multiple)
    counts = np.zeros(shape, int)
    padded = [-(-size // multiple) * multiple for size in shape]
    for one in plan_tiles(shape, tile, halo, multiple):
        counts[one.write] += 1
        for read, write, size, whole in zip(one.read, one.write, shape, padded, strict=True):
            assert read.start % multiple == 0
            assert read.stop - read.start == min(tile, whole)
            assert read.stop <= whole
            assert 0 <= read.start <= write.start < write.stop <= min(read.stop, size)
            assert write.start - read.start >= halo or read.start == 0
            assert read.stop - write.stop >= halo or write.stop == size
    assert (counts == 1).all()


def test_the_published_plan_has_eight_blocks_in_c_order() -> None:
    """256 voxels in blocks of 128 without a halo: the very cut of the published apps."""
    plan = plan_tiles((256, 256, 256), 128)
    starts = [tuple(box.start for box in tile.read) for tile in plan]
    assert starts == [(i, j, k) for i in (0, 128) for j in (0, 128) for k in (0, 128)]
    assert all(tile.read == tile.write for tile in plan)


def test_the_last_tile_is_moved_back_to_end_with_the_volume() -> None:
    """It sees what lies before it instead of padding beyond the volume."""
    first, last = plan_tiles((20,), 16, 2, 4)
    assert (first.read, first.write) == ((slice(0, 16),), (slice(0, 14),))
    assert (last.read, last.write) == ((slice(4, 20),), (slice(14, 20),))


@pytest.mark.parametrize("shape", [(64, 48, 40), (50, 33, 71)])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_sufficient_halo_gives_the_whole_volume_bit_for_bit(
    shape: tuple[int, ...], batch_size: int
) -> None:
    """Tiles on the network's own grid with enough context leave no trace of themselves."""
    volume = noise(1, *shape)
    whole = run_tiled(pooled, volume, 80)
    tiled = run_tiled(pooled, volume, 40, 16, batch_size=batch_size)
    assert np.array_equal(whole, tiled)


def test_a_halo_too_small_leaves_a_bounded_seam() -> None:
    """Without a halo the tiles differ from the whole near the cuts, and nowhere else."""
    volume = noise(1, 64, 32, 32)
    difference = np.abs(run_tiled(pooled, volume, 32) - run_tiled(pooled, volume, 64))[0]
    changed = np.flatnonzero(difference.max(axis=(1, 2)))
    assert changed.size > 0
    assert changed.min() >= 32 - 8
    assert changed.max() < 32 + 8


def test_the_end_of_the_volume_is_padded() -> None:
    """Beyond the volume lies 0; the result is cut to the volume."""
    volume = np.full((1, 5, 5), 7.0, np.float32)
    seen: list[Data] = []

    def look(batch: Data) -> Data:
        seen.append(batch.copy())
        return batch

    assert run_tiled(look, volume, 8).shape == (1, 5, 5)
    assert seen[0].shape == (1, 1, 8, 8)
    assert seen[0].sum() == 7 * 25


def test_memory_is_one_output_and_a_few_tiles() -> None:
    """Peak allocation beyond the input does not grow with the volume other than by the output."""
    volume = np.zeros((1, 128, 128, 192), np.int16)
    tile_bytes = 32**3 * 4
    tracemalloc.start()
    out = run_tiled(lambda batch: batch * 2, volume, 32, 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < out.nbytes + 8 * tile_bytes


def test_an_error_says_which_tile_it_came_from() -> None:
    """The note names the voxels; the kind of error stays."""

    def broken(batch: Data) -> Data:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError) as caught:
        run_tiled(broken, noise(1, 16, 16), 8)
    assert caught.value.__notes__ == ["while predicting the tile at voxels [0:8, 0:8]"]


def test_settings_that_do_not_fit_are_refused() -> None:
    """Each with one sentence, before anything is predicted."""
    volume = noise(1, 32, 32)

    def run(*args: Any, **options: Any) -> Data:
        return run_tiled(lambda batch: batch, volume, *args, **options)

    with pytest.raises(UsageError, match="multiple of 8"):
        run(12)
    with pytest.raises(UsageError, match="halo of a tile of 16"):
        run(16, 5)
    with pytest.raises(UsageError, match="one number or 2"):
        run((8, 8, 8))
    with pytest.raises(UsageError, match="at least one voxel"):
        plan_tiles((0, 4), 8)
    with pytest.raises(ModelError, match="same sides"):
        run_tiled(lambda batch: batch[..., ::2], volume, 8)
