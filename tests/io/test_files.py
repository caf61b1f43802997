# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a file on disk is said in one sentence that names it."""

from __future__ import annotations

import errno
import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encephalon.errors import InputError, MissingFileError, OutputError, UnreadableFileError
from encephalon.io.files import Inputs, read_bytes
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image


@pytest.fixture
def scan(head: Image, tmp_path: Path) -> Path:
    """A good scan on disk."""
    return write_image(head.data, tmp_path / "scan.nii.gz", head)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Absent files and folders are MissingFileError, also for the builtin FileNotFoundError."""
    for name in ("scan.nii.gz", "scan.mgz", "scan.npy", "folder"):
        with pytest.raises(MissingFileError, match=f"{name}: there is no such file"):
            read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "scan.nii")


def test_a_dangling_link_says_where_it_points(tmp_path: Path) -> None:
    """A dataset whose content was never fetched is recognised."""
    link = tmp_path / "scan.nii.gz"
    link.symlink_to("../.git/annex/objects/MD5E-s123")
    with pytest.raises(MissingFileError, match="annex/objects/MD5E-s123, which does not exist"):
        read_image(link)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (b"/annex/objects/MD5E-s1--x", "git-annex pointer"),
        (b"subject,age\n01,33\n", "text that begins with 'subject,age'"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (bytes(range(256)) * 2, "expected"),
        (b"\x1f\x8b\x08", "truncated"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mgz", ".npz", ".dcm"])
def test_what_is_not_an_image_is_called_what_it_is(
    tmp_path: Path, content: bytes, words: str, suffix: str
) -> None:
    """Pointers, pages, tables and noise are refused by name, whatever their suffix."""
    if suffix in (".npz", ".dcm") and words in ("expected", "truncated"):
        words = "could not be read"
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=f"scan{suffix}.*{words}"):
        read_image(path)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused(scan: Path, keep: float) -> None:
    """A packed stream without its end is called truncated."""
    content = scan.read_bytes()
    scan.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UnreadableFileError, match="truncated"):
        read_image(scan)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(where=st.floats(0.0, 1.0, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_never_passes_for_other_voxels(scan: Path, where: float, bit: int) -> None:
    """Any single flipped bit is refused, or lies where it changes nothing (gzip's own header)."""
    content = bytearray(scan.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    damaged = scan.with_name("damaged.nii.gz")
    damaged.write_bytes(content)
    try:
        data = read_image(damaged).data
    except InputError as error:
        data, message = None, str(error)
    if data is None:
        assert "damaged.nii.gz" in message
    else:
        assert np.array_equal(data, read_image(scan).data)


def test_members_joined_end_to_end_are_read_through(tmp_path: Path) -> None:
    """Gzip files written in blocks (bgzip, pigz) and padded with zeros are whole files."""
    first, second = b"a" * 3_000_000, bytes(range(200)) * 9
    path = tmp_path / "joined.gz"
    path.write_bytes(gzip.compress(first) + gzip.compress(second) + b"\0" * 512)
    assert read_bytes(path) == first + second


def test_unpacking_needs_little_more_than_the_content(tmp_path: Path) -> None:
    """A file that shrinks a thousandfold is unpacked into one buffer, not two."""
    size = 40_000_000
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(bytes(size), 6))
    tracemalloc.start()
    assert len(read_bytes(path)) == size
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * size


def test_a_truncated_file_costs_no_memory(tmp_path: Path) -> None:
    """Its last four bytes, which would be the size of the content, are not taken at their word."""
    path = tmp_path / "half.gz"
    noise = np.random.default_rng(0).bytes(2_000_000)
    path.write_bytes(gzip.compress(noise, 1)[:1_000_000] + b"\xff\xff\xff\xff")
    tracemalloc.start()
    with pytest.raises(UnreadableFileError, match=r"half\.gz"):
        read_bytes(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000


def test_a_file_that_may_not_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a locked file nor one in a locked folder ends in a bare system error."""
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(b"x")

    def locked(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(scan))

    for owner, name in ((os, "open"), (Path, "stat")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, locked)
            with pytest.raises(UnreadableFileError, match=r"scan.*not be read: Permission denied"):
                read_bytes(scan)


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path: Path) -> None:
    """Reading bytes from a folder is one sentence as well."""
    with pytest.raises(UnreadableFileError, match="it is a folder"):
        read_bytes(tmp_path)


def test_unpacked_and_packed_names_are_not_taken_at_their_word(scan: Path, head: Image) -> None:
    """A packed file named .nii and an unpacked one named .nii.gz are read all the same."""
    wrong = scan.with_name("packed.nii")
    wrong.write_bytes(scan.read_bytes())
    assert np.array_equal(read_image(wrong).data, head.data)
    plain = scan.with_name("plain.nii.gz")
    plain.write_bytes(gzip.decompress(scan.read_bytes()))
    assert np.array_equal(read_image(plain).data, head.data)


def test_what_would_replace_an_input_is_told_by_place_and_by_file(tmp_path: Path) -> None:
    scan = tmp_path / "in" / "scan.nii"
    scan.parent.mkdir()
    scan.touch()
    (tmp_path / "link").symlink_to(scan.parent)
    (tmp_path / "other.nii").hardlink_to(scan)
    inputs = Inputs([scan, tmp_path / "missing.nii"])
    for path in ("in/scan.nii", "link/scan.nii", "in", "other.nii", "missing.nii"):
        with pytest.raises(OutputError, match=f"{path} is an input and would be replaced: choose"):
            inputs.refuse([tmp_path / path])
    inputs.refuse([scan.with_name("mask.nii"), tmp_path / "a\0b"])
