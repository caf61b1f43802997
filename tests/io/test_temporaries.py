# SPDX-License-Identifier: Apache-2.0
"""What dead writers left is swept; what a living one writes is never touched."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from encephalon.errors import OutputError
from encephalon.io.atomic import (
    atomic_folder,
    atomic_path,
    locked,
    prove_writable,
    sweep,
    temporary_beside,
    write_text,
)

# Writes half a file and half a folder, then dies as if by kill -9.
DYING = """
import os, sys
from encephalon.io.atomic import atomic_folder, atomic_path
with atomic_path(sys.argv[1] + "/scan.nii.gz") as file, atomic_folder(sys.argv[1] + "/m") as folder:
    file.write_bytes(b"half")
    (folder / "weights").write_bytes(b"half")
    os._exit(9)
"""
# Writes a file until its standard input is closed.
LIVING = """
import sys
from encephalon.io.atomic import atomic_path
with atomic_path(sys.argv[1] + "/scan.nii.gz") as file:
    print(file.name, flush=True)
    sys.stdin.read()
    file.write_bytes(b"whole")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def aged(path: Path, seconds: float) -> Path:
    """The path, as if nobody had touched it for so long."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    """Half a file and half a folder are gone before the next work begins there."""
    done = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False)
    assert done.returncode == 9
    assert [".part" in name for name in names(tmp_path)] == [True, True]
    prove_writable(tmp_path)
    assert names(tmp_path) == []


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    """However long it takes: its lock says that it lives."""
    command = [sys.executable, "-c", LIVING, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        part = aged(tmp_path / writer.stdout.readline().strip(), 9e6)
        sweep(tmp_path)
        assert part.exists()
        writer.stdin.close()
    assert names(tmp_path) == ["scan.nii.gz"]


@pytest.mark.parametrize("name", [".0badbeef-0123456789ab.part.gz", ".a_mask-0123456789ab.part"])
def test_what_another_machine_left_is_swept_after_a_day(name: str, tmp_path: Path) -> None:
    """Its locks may not be seen from here, so only what is old counts as dead."""
    part = tmp_path / name
    part.touch()
    sweep(tmp_path)
    assert part.exists()
    aged(part, 25 * 3600)
    sweep(tmp_path)
    assert not part.exists()


def test_the_files_of_a_user_are_never_swept(tmp_path: Path) -> None:
    """Other hidden files, other halves of downloads, and a link to either stay."""
    kept = [".scan.part", "scan-0123456789ab.part", ".x-0123456789ab.partial", ".encephalon-home"]
    for name in kept:
        aged(write_text(tmp_path / name, "mine"), 9e6)
    (tmp_path / ".x-0123456789ab.part").symlink_to(tmp_path / ".scan.part")
    sweep(tmp_path)
    sweep(tmp_path / "absent")
    assert names(tmp_path) == sorted([*kept, ".x-0123456789ab.part"])


def test_the_empty_probe_of_an_earlier_version_is_swept(tmp_path: Path) -> None:
    """It proved that the folder can be written to, and is of no more use."""
    (tmp_path / ".encephalon-4711").touch()
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_temporary_name_is_short_and_ends_as_the_final_one(tmp_path: Path) -> None:
    """A name that just fits stays writable, however many dots it has."""
    for final in ("x.nii.gz", "sub.01.T1w.nii.gz", "a" * 240 + ".ome.tif", "b." + "c" * 240):
        with temporary_beside(tmp_path / final) as temporary:
            assert len(temporary.name) < 64
            assert temporary.name.endswith("".join(Path(final).suffixes[-2:])[-4:])
        write_text(tmp_path / final, "whole")


def test_a_replaced_folder_is_never_swept_while_it_is_the_only_one(tmp_path: Path) -> None:
    """Killed between the two renames, the old folder keeps a name that no sweeping knows."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom encephalon.io.atomic import atomic_folder\n"
        "rename = Path.rename\n"
        "def once(self, target):\n    rename(self, target)\n    os._exit(9)\n"
        "with atomic_folder(sys.argv[1], overwrite=True) as new:\n"
        "    (new / 'new').touch()\n    Path.rename = once\n"
    )
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "old").touch()
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    assert subprocess.run(command, check=False).returncode == 9
    sweep(tmp_path)
    (left,) = names(tmp_path)
    assert left.startswith(".model-")
    assert names(tmp_path / left) == ["old"]


def test_without_locks_writing_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have none: files are written, and only old halves are swept."""

    def none(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path / "x"):
        write_text(tmp_path / "a", "whole")
    with atomic_path(tmp_path / "b") as part:
        sweep(tmp_path)
        part.write_text("whole")
    assert {"a", "b"} <= set(names(tmp_path))


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    """The sentence names the folder, not the hidden file that was tried."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"out could not be written: a part of its path is a f"):
        prove_writable(tmp_path / "file" / "out")
