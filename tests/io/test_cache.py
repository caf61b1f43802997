# SPDX-License-Identifier: Apache-2.0
"""Arrays that are slow to make are made once, and a cache never gives what it was not given.

Sealed JSON and kept files: as they were written, or made again.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import ContentError
from encephalon.io.cache import (
    ArrayCache,
    Arrays,
    cached_file,
    kept_notes,
    read_checksummed,
    write_checksummed,
)

PLENTY = 1 << 30


def refuse() -> Arrays:
    """Stand in for what must not be made again."""
    raise AssertionError("this was kept already")


def numbered(number: int) -> Arrays:
    return {"values": np.full((64, 64), number, np.float32), "n": np.asarray(number)}


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_made_once_is_kept_as_it_was(tmp_path: Path) -> None:
    """Names, types, shapes and values come back, also to another cache on the same folder."""
    made = {
        "image": np.random.default_rng(0).random((1, 5, 7), dtype=np.float32),
        "none": np.zeros((0, 3), np.uint16),
        "scalar": np.asarray(2.5),
    }
    ArrayCache(tmp_path, PLENTY).get("key", lambda: made)
    kept = pickle.loads(pickle.dumps(ArrayCache(tmp_path, PLENTY))).get("key", refuse)
    assert kept.keys() == made.keys()
    for name, array in made.items():
        assert kept[name].dtype == array.dtype
        assert np.array_equal(kept[name], array)


def test_another_key_is_another_entry(tmp_path: Path) -> None:
    """Keys are compared whole, whatever is written in them."""
    cache = ArrayCache(tmp_path, PLENTY)
    keys = ["a", "a ", "A", "../a", "ä\n", "\udcff", "x" * 5000]
    for number, key in enumerate(keys):
        cache.get(key, partial(numbered, number))
    assert [int(cache.get(key, refuse)["n"]) for key in keys] == list(range(len(keys)))
    assert all(tmp_path in path.parents for path in entries(tmp_path))


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: str) -> None:
    """Cut, overwritten and flipped bits are noticed, and the entry is whole afterwards."""
    cache = ArrayCache(tmp_path, PLENTY)
    cache.get("key", partial(numbered, 1))
    (entry,) = entries(tmp_path)
    content = bytearray(entry.read_bytes())
    content[5000] ^= 16
    damaged = {"empty": b"", "cut": content[:7000], "flipped": content, "text": b"version https"}
    entry.write_bytes(damaged[damage])
    assert int(cache.get("key", partial(numbered, 2))["values"][0, 0]) == 2
    assert int(cache.get("key", refuse)["n"]) == 2
    assert len(entries(tmp_path)) == 1


def test_a_failure_is_passed_on_and_not_kept(tmp_path: Path) -> None:
    """What could not be made is tried again the next time."""
    cache = ArrayCache(tmp_path, PLENTY)

    def fail() -> Arrays:
        raise ContentError("a.tif: every pixel is 0")

    with pytest.raises(ContentError, match="every pixel"):
        cache.get("key", fail)
    assert entries(tmp_path) == []
    assert int(cache.get("key", partial(numbered, 3))["n"]) == 3


def test_the_entries_unused_longest_go_first(tmp_path: Path) -> None:
    """Beyond its limit the folder loses what nobody asked for, and stays below it."""
    size = 18_000
    cache = ArrayCache(tmp_path, 10 * size)
    for number in range(10):
        cache.get(f"key {number}", partial(numbered, number))
    for age, path in enumerate(entries(tmp_path)):
        os.utime(path, (1_000_000 + age, 1_000_000 + age))
    cache.get("key 4", refuse)  # used now
    for number in range(10, 16):
        cache.get(f"key {number}", partial(numbered, number))
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 10 * size
    assert int(cache.get("key 4", refuse)["n"]) == 4
    assert int(cache.get("key 15", refuse)["n"]) == 15
    assert len(entries(tmp_path)) < 11


def test_what_a_killed_process_left_is_swept_up(tmp_path: Path) -> None:
    """Half an entry counts as the oldest one, because nobody asks for it."""
    part = tmp_path / "ab" / ".half.part"
    part.parent.mkdir()
    part.write_bytes(bytes(50_000))
    os.utime(part, (1, 1))
    ArrayCache(tmp_path, 40_000).get("key", partial(numbered, 1))
    assert not part.exists()
    assert len(entries(tmp_path)) == 1


def test_a_folder_that_cannot_be_made_only_means_that_nothing_is_kept(tmp_path: Path) -> None:
    """A file in the place of the folder is no reason to fail."""
    (tmp_path / "cache").write_text("in the way", encoding="utf-8")
    cache = ArrayCache(tmp_path / "cache", PLENTY)
    assert int(cache.get("key", partial(numbered, 1))["n"]) == 1
    assert int(cache.get("key", partial(numbered, 2))["n"]) == 2


def use(folder: Path, limit: int) -> int:
    """Ask for twenty entries, each of which must hold its own number; return how many did."""
    cache = ArrayCache(folder, limit)
    numbers = np.random.default_rng(os.getpid()).permutation(20).tolist()
    return sum(int(cache.get(f"{n}", partial(numbered, n))["values"][3, 3]) == n for n in numbers)


def test_threads_and_processes_may_share_a_folder_that_is_too_small(tmp_path: Path) -> None:
    """Whoever comes second, or finds an entry gone, still gets the right arrays."""
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(use, [tmp_path] * 8, [90_000] * 8)) == [20] * 8
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert list(processes.map(use, [tmp_path] * 2, [90_000] * 2)) == [20] * 2
    assert not list(tmp_path.rglob("*.part"))


NOTES = [{"shape": (2, 3), "size": 0.1, "unknown": math.nan}, "ä"]


READ_BACK = [{"shape": [2, 3], "size": 0.1, "unknown": None}, "ä"]


def test_what_was_sealed_comes_back(tmp_path: Path) -> None:
    """As JSON has it: lists for tuples, null for what is no number."""
    write_checksummed(tmp_path / "a.json", NOTES)
    assert read_checksummed(tmp_path / "a.json") == READ_BACK


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("0.1", "0.2"),
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: "[]",
        lambda _: '{"content": 1}',
        lambda _: '{"content": 1, "sha256": []}',
        lambda _: "[" * 100_000,
        lambda _: '{"content": ' + "9" * 5000 + ', "sha256": ""}',
    ],
)
def test_what_was_damaged_or_edited_is_not_read(
    tmp_path: Path, damage: Callable[[str], str]
) -> None:
    """Whatever came of it, there is no exception."""
    path = write_checksummed(tmp_path / "a.json", NOTES)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert read_checksummed(path) is None


def test_what_is_not_there_is_not_read(tmp_path: Path) -> None:
    """No file, a folder, a JSON of somebody else."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.json").write_text(
        json.dumps({"sha256": "0" * 64, "content": {}}), encoding="utf-8"
    )
    for name in ("absent", "folder", "other.json"):
        assert read_checksummed(tmp_path / name) is None


class Maker:
    """Writes a file of eight bytes and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, path: Path) -> Any:
        self.made += 1
        path.write_bytes(bytes(range(8)))
        return NOTES


def test_a_kept_file_is_made_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The second time its notes come from the disk, and are the same."""
    make = Maker()
    with caplog.at_level(logging.WARNING, "encephalon"):
        assert cached_file(tmp_path / "a.bin", make) == READ_BACK
        assert cached_file(tmp_path / "a.bin", make) == READ_BACK
    assert make.made == 1
    assert not caplog.messages


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, cut, empty])
@pytest.mark.parametrize("name", ["a.bin", "a.json"])
def test_a_damaged_kept_file_is_made_again_and_that_is_said(
    tmp_path: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A flipped bit, a byte too few, nothing at all: in the file or in its notes."""
    make = Maker()
    cached_file(tmp_path / "a.bin", make)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    damage(tmp_path / name)
    with caplog.at_level(logging.WARNING, "encephalon"):
        assert cached_file(tmp_path / "a.bin", make) == READ_BACK
    assert make.made == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
    assert len(caplog.messages) == 1
    assert "a.bin is not as it was written" in caplog.messages[0]


@pytest.mark.parametrize("name", ["a.bin", "a.json"])
def test_half_of_a_kept_file_is_made_again_silently(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As a process leaves it that is killed between the two, or who deletes one of them."""
    make = Maker()
    cached_file(tmp_path / "a.bin", make)
    (tmp_path / name).unlink()
    with caplog.at_level(logging.WARNING, "encephalon"):
        cached_file(tmp_path / "a.bin", make)
    assert make.made == 2
    assert not caplog.messages


def test_a_note_is_made_again_when_a_file_changes(tmp_path: Path) -> None:
    """Not before; one that nobody asks for is dropped, and one of a file that is gone not kept."""
    files, made = [tmp_path / "a", tmp_path / "b"], list[str]()
    for file in files:
        file.write_text("x", encoding="utf-8")

    def lengths(*asked: Path) -> list[int]:
        def length(file: Path) -> int:
            made.append(file.name)
            return len(file.read_text(encoding="utf-8"))

        with kept_notes(tmp_path / "notes.json") as note:
            return [note(file.name, [file], partial(length, file)) for file in asked]

    assert lengths(*files) == lengths(*files) == [1, 1]
    assert made == ["a", "b"]
    files[1].write_text("xy", encoding="utf-8")
    assert lengths(*files) == [1, 2]
    assert made == ["a", "b", "b"]
    os.utime(files[1], (0, 0))
    assert lengths(files[1]) == [2]
    assert set(read_checksummed(tmp_path / "notes.json")) == {"b"}
    files[1].unlink()
    with pytest.raises(FileNotFoundError):
        lengths(files[1])
    (tmp_path / "notes.json").write_text("{}", encoding="utf-8")
    assert lengths(files[0]) == [1]


def test_where_notes_cannot_be_written_they_are_made_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        with kept_notes(tmp_path / "file" / "notes.json") as note:
            assert note("it", [tmp_path / "file"], lambda: 1) == 1
