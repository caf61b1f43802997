# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile files are read or refused in one sentence, within time and memory.

A short run of what `make fuzz` does at length; a fault names the number that makes its file again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.harness import Worker, fuzz, missing, worker
from tests.fuzz.reader import damaged
from tests.fuzz.readers import READERS

DAMAGED = 25  # files of each reader


@pytest.fixture(scope="module")
def one() -> Iterator[Worker]:
    """A worker for all tests of the module."""
    with worker() as started:
        yield started


@pytest.mark.parametrize("name", sorted(READERS))
def test_damaged_files_are_read_or_refused_in_a_sentence(name: str, one: Worker) -> None:
    """Nothing else is raised, nothing hangs, nothing fills the memory."""
    reader = READERS[name]
    if (package := missing(reader)) is not None:
        pytest.skip(f"needs {package}")
    result = fuzz(reader, range(DAMAGED), 0, one)
    assert result.faults == []
    assert result.counts.total() >= DAMAGED


def test_seeds_are_read_whole(one: Worker, tmp_path: Path) -> None:
    """What is damaged was sound before."""
    for name, reader in READERS.items():
        if missing(reader) is not None:
            continue
        folder = tmp_path / name
        folder.mkdir()
        for seed in reader.seeds(folder):
            assert one.outcome(name, seed.root / seed.given) == ("read", ""), seed


def test_equal_numbers_give_equal_files(tmp_path: Path) -> None:
    """So that a fault can be made again."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "seeds").mkdir()
    seeds = READERS["NIfTI"].seeds(tmp_path / "seeds")
    for number in range(20):
        first, second = (
            damaged(seeds, number, 3, tmp_path / name).read_bytes() for name in ("first", "second")
        )
        assert first == second
