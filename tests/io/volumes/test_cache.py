# SPDX-License-Identifier: Apache-2.0
"""What is kept of a volume elsewhere: once, small, whole, and never what was not fetched."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encephalon.errors import MissingFileError, OutputError, UnreadableFileError
from encephalon.io.volumes import cache
from encephalon.io.volumes.cache import CachedSource, Facts, Fetched, cached_facts
from encephalon.io.volumes.volume import Box

SHAPE, ORIGIN = (20, 30, 50), (-7, 90, 4000)
VOXELS = np.random.default_rng(2).integers(0, 200, SHAPE).astype(np.uint64)
FACTS = Facts(SHAPE, "uint64", (1.0, 1.0, 1.0), ORIGIN, 1)
WHOLE = tuple((0, n) for n in SHAPE)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few voxels, so that boxes touch several."""
    monkeypatch.setattr(cache, "BLOCK", (8, 16, 32))


class Archive:
    """Gives boxes of the volume, and writes down which."""

    def __init__(self, log: Path | None = None, missing: bool = False) -> None:
        self.asked: list[Box] = []
        self.log, self.missing = log, missing

    def __call__(self, box: Box) -> Fetched:
        self.asked.append(box)
        if self.log is not None:
            with self.log.open("a") as stream:
                stream.write(f"{box}\n")
        place = tuple(slice(a - n, b - n) for (a, b), n in zip(box, ORIGIN, strict=True))
        return VOXELS[place], self.missing


def source(folder: Path, fetch: Callable[[Box], Fetched], **options: Any) -> CachedSource:
    return CachedSource("name of it", folder, FACTS, fetch, **options)


spans = st.tuples(
    *[
        st.tuples(st.integers(0, n - 1), st.integers(1, n)).map(
            lambda span: (min(span), max(*span, min(span) + 1))
        )
        for n in SHAPE
    ]
)


@settings(max_examples=30)
@given(first=spans, second=spans)
def test_any_box_is_the_slice_of_the_volume(
    tmp_path_factory: pytest.TempPathFactory, first: Any, second: Any
) -> None:
    """Fetched, kept, or partly kept; each block is fetched once, and lies on the grid."""
    archive = Archive()
    kept = source(tmp_path_factory.mktemp("kept"), archive)
    for box in (first, second, first):
        found = kept.read(box)
        np.testing.assert_array_equal(found, VOXELS[tuple(slice(*span) for span in box)])
        assert found.dtype == np.uint64
    assert len(archive.asked) == len(set(archive.asked))
    for box in archive.asked:
        for (start, stop), size, low, count in zip(box, (8, 16, 32), ORIGIN, SHAPE, strict=True):
            assert start == low or start % size == 0
            assert stop == low + count or stop % size == 0
            assert stop - start <= size


def test_labels_are_kept_in_the_smallest_type(tmp_path: Path) -> None:
    """Of 64 bits one byte, where that holds them; the type that is read stays."""
    source(tmp_path, Archive()).read(WHOLE)
    notes = [json.loads(path.read_text())["content"]["notes"] for path in tmp_path.rglob("*.json")]
    assert {one["dtype"] for one in notes} == {"|u1"}
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.zst")) < VOXELS.nbytes / 6


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], "|u1"),
        ([0, 256], "<u2"),
        ([-1, 5], "|i1"),
        ([-1, 40_000], "<i4"),
        ([0, 2**63], "<u8"),
        ([0.5, 1.0], "<f4"),
    ],
)
def test_the_smallest_type_holds_every_value(tmp_path: Path, values: Any, kind: str) -> None:
    """Whole numbers are what they were, and fractions keep their type."""
    wide = np.float32 if kind == "<f4" else (np.uint64 if max(values) > 2**62 else np.int64)
    data = np.array(values, wide).reshape(1, 1, 2)
    facts = Facts((1, 1, 2), str(data.dtype), None, (0, 0, 0), 1)
    kept = CachedSource("n", tmp_path, facts, lambda _: (data, False))
    for _ in range(2):
        np.testing.assert_array_equal(kept.read(((0, 1), (0, 1), (0, 2))), data)
    (notes,) = tmp_path.rglob("*.json")
    assert json.loads(notes.read_text())["content"]["notes"]["dtype"] == kind


@pytest.mark.parametrize("part", [".zst", ".json"])
@pytest.mark.parametrize("damage", [b"", b"other", None])
def test_what_is_damaged_is_fetched_again(
    tmp_path: Path, part: str, damage: bytes | None, caplog: Any
) -> None:
    """A byte that changed, a file that is cut or gone; offline it is said to be damaged."""
    box = ((0, 5), (0, 5), (0, 30))
    source(tmp_path, Archive()).read(box)
    (path,) = (one for one in tmp_path.rglob(f"*{part}"))
    if damage is None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        damage = bytes(content)
    path.write_bytes(damage)
    with pytest.raises((UnreadableFileError, MissingFileError), match="name of it, z"):
        source(tmp_path, Archive(), offline=True).read(box)
    archive = Archive()
    caplog.set_level(logging.WARNING)
    np.testing.assert_array_equal(source(tmp_path, archive).read(box), VOXELS[:5, :5, :30])
    assert len(archive.asked) == 1
    np.testing.assert_array_equal(
        source(tmp_path, archive, offline=True).read(box), VOXELS[:5, :5, :30]
    )


def test_blocks_with_missing_pieces_are_counted(tmp_path: Path) -> None:
    """Also when they come from what is kept."""
    for _ in range(2):
        assert source(tmp_path, Archive(missing=True)).missing(WHOLE) == 3 * 3 * 2
    assert source(tmp_path / "b", Archive()).missing(WHOLE) == 0


def test_another_type_shape_or_place_is_another_volume(tmp_path: Path) -> None:
    """What was kept of one is never read as the other."""
    source(tmp_path, Archive()).read(WHOLE)
    for facts in (
        Facts(SHAPE, "uint32", FACTS.spacing, ORIGIN, 1),
        Facts((20, 30, 49), "uint64", FACTS.spacing, ORIGIN, 1),
        Facts(SHAPE, "uint64", FACTS.spacing, (0, 90, 4000), 1),
    ):
        other = CachedSource("n", tmp_path, facts, Archive(), offline=True)
        with pytest.raises(MissingFileError):
            other.read(((0, 1), (0, 1), (0, 1)))


def test_what_fails_keeps_nothing(tmp_path: Path) -> None:
    """What the archive raises passes through, and the next time it is asked again."""

    def broken(box: Box) -> Fetched:
        raise UnreadableFileError("the archive is closed.")

    with pytest.raises(UnreadableFileError, match="closed"):
        source(tmp_path, broken).read(WHOLE)
    with pytest.raises(UnreadableFileError, match=r"expected voxels of shape \(7, 6, 32\)"):
        source(tmp_path, lambda _: (np.zeros((2, 2, 2)), False)).read(WHOLE)
    assert [path for path in tmp_path.rglob("*") if path.suffix in {".zst", ".json"}] == []


def test_a_full_disk_is_said_and_a_rerun_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept before stays, only the rest is fetched, and volume and box are named."""
    room = [3]
    write = Path.write_bytes

    def bounded(path: Path, content: bytes) -> int:
        room[0] -= path.name.endswith(".zst")
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", bounded)
    with pytest.raises(OutputError, match=r"name of it, z -?\d+:\d+, y .*: .*: the disk is full"):
        source(tmp_path, Archive()).read(WHOLE)
    room[0] = 1000
    archive = Archive()
    np.testing.assert_array_equal(source(tmp_path, archive).read(WHOLE), VOXELS)
    assert len(archive.asked) == 18 - 3


def test_threads_fetch_each_block_once(tmp_path: Path) -> None:
    """They wait for each other."""
    archive = Archive()
    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(lambda _: source(tmp_path, archive).read(WHOLE), range(6)):
            np.testing.assert_array_equal(found, VOXELS)
    assert len(archive.asked) == 18


def in_process(folder: str) -> None:
    cache.BLOCK = (8, 16, 32)
    archive = Archive(Path(folder) / "asked.txt")
    np.testing.assert_array_equal(source(Path(folder), archive).read(WHOLE), VOXELS)


def test_processes_fetch_each_block_once(tmp_path: Path) -> None:
    """By locks that end with a process."""
    with get_context("fork").Pool(3) as pool:
        pool.map(in_process, [str(tmp_path)] * 3)
    asked = (tmp_path / "asked.txt").read_text().splitlines()
    assert len(asked) == len(set(asked)) == 18


def test_a_folder_that_cannot_be_written_to_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that others made is of use without a lock."""
    source(tmp_path, Archive()).read(WHOLE)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing needs to be written")

    monkeypatch.setattr(cache, "locked", refuse)
    monkeypatch.setattr(cache, "cached_file", refuse)
    np.testing.assert_array_equal(source(tmp_path, Archive()).read(WHOLE), VOXELS)


def test_facts_are_asked_for_once(tmp_path: Path) -> None:
    """Until what is kept of them is damaged."""
    asked = []

    def ask() -> Facts:
        asked.append(1)
        return FACTS

    for _ in range(3):
        assert cached_facts(tmp_path, ask) == FACTS
    assert len(asked) == 1
    for text in ("", "{}", '{"sha256": "", "content": {}}'):
        (tmp_path / "volume.json").write_text(text)
        assert cached_facts(tmp_path, ask) == FACTS
    assert len(asked) == 4
