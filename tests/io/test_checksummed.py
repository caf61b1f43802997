# SPDX-License-Identifier: Apache-2.0
"""Sealed JSON and kept files: as they were written, or made again."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encephalon.io.cache import cached_file, read_checksummed, write_checksummed

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
