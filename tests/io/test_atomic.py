# SPDX-License-Identifier: Apache-2.0
"""Writes are whole or absent, say why they failed, and replace nothing unasked."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import OutputError, OutputExistsError, UnreadableFileError
from encephalon.io.atomic import (
    atomic_folder,
    atomic_path,
    locked,
    refuse_existing,
    sha256,
    write_bytes,
    write_json,
    write_text,
)


def left_over(folder: Path) -> list[str]:
    """Every name in the folder, hidden ones included."""
    return sorted(entry.name for entry in folder.iterdir())


def interrupted(path: Path, error: type[BaseException]) -> None:
    """Write half of something to `path`, then fail."""
    path.write_text("half of the n")
    raise error


def test_the_temporary_file_has_the_final_suffixes_and_folder(tmp_path: Path) -> None:
    """Writers that look at the name see .nii.gz, and the rename stays on one file system."""
    with atomic_path(tmp_path / "new" / "scan.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        assert temporary.name.startswith(".")
        assert temporary.parent == tmp_path / "new"
        temporary.write_bytes(b"whole")
    assert left_over(tmp_path / "new") == ["scan.nii.gz"]


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut must not leave an empty file under a final name; then the name is made safe."""
    final, sync, synced = tmp_path / "scan.nii", os.fsync, []

    def record(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, final.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    write_bytes(final, b"voxels")
    assert synced == [(final.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_every_file_of_a_folder_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those in folders below."""
    final, synced = tmp_path / "model", set()

    def record(descriptor: int) -> None:
        synced.add((os.fstat(descriptor).st_ino, final.exists()))

    monkeypatch.setattr(os, "fsync", record)
    with atomic_folder(final) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "a").write_bytes(b"a")
        (temporary / "b").write_bytes(b"b")
    files = {((final / name).stat().st_ino, False) for name in ("deep/a", "b")}
    assert files | {(tmp_path.stat().st_ino, True)} <= synced


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, error: type[BaseException]
) -> None:
    """Neither an error nor Ctrl-C leaves a partial or temporary file."""
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(error), atomic_path(path) as temporary:
        interrupted(temporary, error)
    assert path.read_text() == "old"
    assert left_over(tmp_path) == ["a.txt"]


def test_a_killed_process_leaves_no_partial_result(tmp_path: Path) -> None:
    """kill -9 in the middle of a write leaves the final name absent."""
    code = (
        "import os, signal; from encephalon.io.atomic import atomic_path\n"
        f"with atomic_path({str(tmp_path / 'x.npy')!r}) as t:\n"
        "    t.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "permission is denied"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_failed_write_says_why(tmp_path: Path, code: int, words: str) -> None:
    """The sentence names the file, the reason and what to do; nothing is left behind."""
    sentence = f"mask.nii could not be written: .*{words}"
    with pytest.raises(OutputError, match=sentence), atomic_path(tmp_path / "mask.nii"):
        raise OSError(code, os.strerror(code))
    assert left_over(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    """The error of a real full device becomes the sentence about disk space."""
    sentence = pytest.raises(OutputError, match="the disk is full; free some space")
    with sentence, atomic_path(tmp_path / "mask.nii"):
        Path("/dev/full").write_bytes(b"voxels")


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    """An output below a file is refused with a sentence, not a traceback."""
    file = write_text(tmp_path / "out", "a file")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        write_text(file / "mask.txt", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    """Without permission the sentence says so."""
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission is denied"):
        write_text(tmp_path / "a.txt", "x")
    tmp_path.chmod(0o700)


def test_errors_about_other_files_pass_through(tmp_path: Path) -> None:
    """A missing input inside the block is not mistaken for a failed output."""
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out" / "a.txt"):
        (tmp_path / "input" / "scan.nii").read_bytes()
    with pytest.raises(UnreadableFileError), atomic_path(tmp_path / "a.txt"):
        raise UnreadableFileError


def test_existing_files_are_refused_unless_allowed(tmp_path: Path) -> None:
    """Also a dangling link counts as existing."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExistsError, match="exists already; allow overwriting"):
        refuse_existing(link)
    refuse_existing(link, overwrite=True)
    refuse_existing(tmp_path / "absent")


def test_a_folder_appears_whole_and_replaces_whole(tmp_path: Path) -> None:
    """An existing folder is refused, or with overwrite exchanged for the new one."""
    final = tmp_path / "model"
    for content in ("one", "two"):
        with atomic_folder(final, overwrite=content == "two") as folder:
            (folder / content).write_text(content)
            (folder / "sub").mkdir()
            (folder / "sub" / "x").write_text("x")
    assert left_over(final) == ["sub", "two"]
    assert left_over(tmp_path) == ["model"]
    with pytest.raises(OutputExistsError), atomic_folder(final):
        pass


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    """An error while filling keeps the old folder and removes the new."""
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "weights").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model", overwrite=True) as folder:
        interrupted(folder / "weights", RuntimeError)
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert left_over(tmp_path) == ["model"]


def test_json_is_plain_and_finite(tmp_path: Path) -> None:
    """NumPy values, paths and NaN become numbers, lists, text and null."""
    content = {"a": np.float32(0.5), "b": np.arange(2), "c": Path("x"), "d": float("nan"), 1: (2,)}
    path = write_json(tmp_path / "a.json", content)
    expected = {"a": 0.5, "b": [0, 1], "c": "x", "d": None, "1": [2]}
    assert json.loads(path.read_text()) == expected


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    """The digest of 'abc' is the one of FIPS 180-2, appendix B.1."""
    path = write_bytes(tmp_path / "abc", b"abc")
    assert sha256(path).startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


def test_a_lock_keeps_others_out_until_it_is_let_go(tmp_path: Path) -> None:
    """A second holder waits, gives up with a sentence, and gets in afterwards."""
    order = []

    def second() -> None:
        with locked(tmp_path / "model"):
            order.append("second")

    with locked(tmp_path / "model"):
        with pytest.raises(OutputError, match="held by another process"):
            locked(tmp_path / "model", timeout=0.0).__enter__()
        thread = threading.Thread(target=second)
        thread.start()
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_exchanged_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the last rename fails, the old folder is where it was."""
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target.name == "model" and "new" in {entry.name for entry in self.iterdir()}:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    with atomic_folder(tmp_path / "model") as folder:
        (folder / "old").touch()
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError), atomic_folder(tmp_path / "model", overwrite=True) as folder:
        (folder / "new").touch()
    assert left_over(tmp_path) == ["model"]
    assert left_over(tmp_path / "model") == ["old"]


def test_a_name_that_is_no_text_is_written_as_json_spells_it(tmp_path: Path) -> None:
    """One odd file name must not cost a batch its table; JSON even gives the name back."""
    name = "scan-\udcff.nii"
    assert write_text(tmp_path / "a.csv", name).read_text() == r"scan-\udcff.nii"
    assert json.loads(write_json(tmp_path / "a.json", {"name": name}).read_text())["name"] == name


@pytest.mark.parametrize("links", [True, False])
def test_the_quicker_of_two_processes_wins(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that appeared while ours was written stays, also where nothing can be linked."""
    final = tmp_path / "a.txt"
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: os.link("", ""))
    with atomic_path(final, overwrite=False) as temporary:
        temporary.write_text("first")
    with pytest.raises(OutputExistsError), atomic_path(final, overwrite=False) as temporary:
        temporary.write_text("second")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert final.read_text() == "first"
