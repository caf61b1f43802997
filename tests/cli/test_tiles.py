# SPDX-License-Identifier: Apache-2.0
"""`encephalon table tiles`: what it says before it does anything, and of what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run


def test_a_dry_run_counts_the_tiles_and_fetches_nothing(run: Run, tmp_path: Path) -> None:
    """Of a benchmark on a server, which is not asked."""
    words = ("table", "tiles", "mtneuro-regions-published", "-o", tmp_path / "tiles", "--dry-run")
    said = run(*words)
    assert (said.code, said.err) == (0, "")
    assert "tiles of 4 boxes" in said.out
    counts = json.loads(run(*words, "--json").out)
    assert counts == {"train": 1076, "validation": 116, "test": 200}
    assert not (tmp_path / "tiles").exists()


def test_a_failure_is_one_sentence_with_box_and_channel(run: Run, tmp_path: Path) -> None:
    """And the same command is right once what it names is there."""
    words = ("table", "tiles", tmp_path / "volume" / "benchmark.toml", "-o", tmp_path / "tiles")
    small = ("--depth", 24, "--side", 32, "--tile", 32)
    assert run("simulate", "microtomography", "-o", tmp_path / "volume", *small).code == 0
    image = tmp_path / "volume" / "volume.ome.zarr"
    image.rename(tmp_path / "elsewhere")
    said = run(*words)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "The box 'cortex', channel 'image': " in said.err
    (tmp_path / "elsewhere").rename(image)
    assert run(*words).code == 0


def test_tiles_larger_than_the_regions_of_a_volume_are_refused(run: Run, tmp_path: Path) -> None:
    """Before anything is made that no tile would fit into."""
    said = run("simulate", "microtomography", "-o", tmp_path / "volume", "--side", 32)
    assert said.code == 2
    assert "--tile 64 above --side 32" in said.err
    assert not (tmp_path / "volume").exists()
