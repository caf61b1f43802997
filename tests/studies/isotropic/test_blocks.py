# SPDX-License-Identifier: Apache-2.0
"""Blocks of heads that are reconstructed once, and the patches that are cut out of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from encephalon.studies.isotropic.blocks import Blocks, prepare_blocks
from encephalon.studies.isotropic.settings import IsotropicSettings
from encephalon.studies.isotropic.task import IsotropicTask
from encephalon.tables.reading import read_table
from tests.studies.calls import train
from tests.studies.isotropic.tiny_isotropic import quick_recipe, quick_table, write_table

BLOCKS = {"study.block": "24", "study.blocks_per_head": "2"}


def prepared(folder: Path) -> list[Blocks]:
    """The blocks of a small table: of a label map, of a pair of scans and of another map."""
    recipe = quick_recipe(**BLOCKS)
    settings = IsotropicSettings.model_validate(recipe.study.settings)
    path = folder / "table.csv"
    table = read_table(path if path.exists() else write_table(folder), recipe.table)
    return prepare_blocks(table, settings, 0, folder / "cache", workers=1)


def test_blocks_are_made_once_and_known_by_their_kind(tmp_path: Path) -> None:
    """Two of 24 voxels a row, of scans and of label maps; the same again without any work."""
    first = prepared(tmp_path)
    assert [blocks.real for blocks in first] == [False, True, False]
    assert [blocks.volumes.shape for blocks in first] == [(2, 11, 24, 24, 24)] * 3
    times = [blocks.path.stat().st_mtime_ns for blocks in first]
    assert [blocks.path.stat().st_mtime_ns for blocks in prepared(tmp_path)] == times


def test_blocks_of_one_head_differ(tmp_path: Path) -> None:
    """Each is of another place, in other slices."""
    one, two = prepared(tmp_path)[1].volumes
    assert not np.array_equal(one, two)
    assert np.isfinite(one).all()


def test_a_damaged_block_is_made_again(tmp_path: Path) -> None:
    """As it was, since what is drawn depends on seed, row and number alone."""
    blocks = prepared(tmp_path)[1]
    before = np.array(blocks.volumes)
    blocks.path.write_bytes(b"half")
    np.testing.assert_array_equal(prepared(tmp_path)[1].volumes, before)


def test_a_patch_is_what_its_block_shows(tmp_path: Path) -> None:
    """Features and truth are mirrored, turned and rescaled together."""
    blocks = prepared(tmp_path)[1]
    rng = np.random.default_rng(3)
    for _ in range(8):
        patch = blocks.sample(rng, 16)
        assert patch.features.shape == (9, 16, 16, 16)
        assert patch.target.shape == (2, 16, 16, 16)
        # In the middle of nothing there is nothing to correct, however it was scaled.
        start = patch.features[0] + patch.features[1]
        assert abs(np.corrcoef(start.ravel(), patch.target[0].ravel())[0, 1]) > 0.8


def test_batches_of_blocks_depend_on_their_number_alone(tmp_path: Path) -> None:
    """Resuming in the middle draws what would have been drawn."""
    recipe = quick_recipe(**BLOCKS)
    settings = IsotropicSettings.model_validate(recipe.study.settings)
    heads = prepared(tmp_path)
    first, second = (IsotropicTask(heads, heads[2:], settings, recipe.training) for _ in range(2))
    first.batch(0)
    for mine, other in zip(first.batch(5), second.batch(5), strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())


def test_a_block_has_room_for_a_patch() -> None:
    """Anything smaller is refused before work starts."""
    with pytest.raises(ValidationError, match="a block of 24 voxels holds no patch of 32"):
        IsotropicSettings(patch=32, block=24)


def test_a_run_of_blocks_leaves_a_model_and_its_blocks(tmp_path: Path) -> None:
    """Those of the map that two rows name are made once."""
    recipe = quick_recipe(**BLOCKS, **{"study.largest_trust": "1"})
    folder = train(recipe, quick_table(tmp_path), tmp_path / "run")
    assert (folder / "weights.safetensors").exists()
    assert len(list((tmp_path / "run" / "cache").glob("*.npy"))) == 2
