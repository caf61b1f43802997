# SPDX-License-Identifier: Apache-2.0
"""Processes that do a part of the work each, some of which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest

from encephalon.errors import RunError
from encephalon.inference.workers import Workers, in_workers

TWO = Workers(jobs=2, scheduler="processes", retries=1)
DRIVER = """
import os, sys
from tests.inference.test_processes import TWO, note
from encephalon.inference.workers import in_workers

if __name__ == "__main__":
    list(in_workers(note, [sys.argv[1]] * 2, TWO))
"""
POLL = 0.05


def fatal(number: int) -> int:
    """Kills the process that does it, where the number is 1."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fatal_once(place: Path) -> str:
    """The same, but the second time it is done."""
    if place.suffix == ".kill" and not place.exists():
        place.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return place.name


def note(folder: str) -> None:
    """Leaves the number of the process that does it, and goes on for an hour."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(3600)


def asked(folder: str) -> None:
    """The same of a worker of Dask that is asked to end, which it says; "" is no folder."""
    from distributed import Status, get_worker

    if folder:
        Path(folder, str(os.getpid())).touch()
        while get_worker().status == Status.running:
            time.sleep(POLL)
        Path(folder, "was asked").touch()


def noted(folder: Path) -> list[int]:
    """The processes that do it."""
    return [int(path.name) for path in folder.iterdir()]


def is_there(process: int) -> bool:
    """Whether it has not ended."""
    try:
        words = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:
        return False
    return words.split()[0] != "Z"


def wait_until_gone(processes: list[int]) -> None:
    """Returns when all of them have ended."""
    while any(map(is_there, processes)):
        time.sleep(POLL)


def test_a_process_that_dies_costs_its_own_work_alone_which_is_done_again(tmp_path: Path) -> None:
    """Whoever is beside it goes on."""
    places = [tmp_path / name for name in ("a", "b.kill", "c")]
    assert sorted(in_workers(fatal_once, places, TWO)) == ["a", "b.kill", "c"]


def test_work_that_kills_every_process_is_given_up_and_the_others_are_done() -> None:
    """With the reason, after as many tries as are allowed; where nobody hears it, that is all."""

    def lost(_: int, why: str) -> int:
        assert why.startswith("its worker died 2 times: give it more memory")
        return -1

    assert sorted(in_workers(fatal, range(4), TWO, lost=lost)) == [-1, 0, 2, 3]
    with pytest.raises(RunError, match="cannot be done: its worker died 2 times"):
        list(in_workers(fatal, [1], TWO))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_of_dask_that_are_not_waited_for_end_in_the_middle_of_their_work(
    tmp_path: Path,
) -> None:
    """Nobody waits for a scan that is given up."""
    pytest.importorskip("distributed")
    results = in_workers(asked, ["", str(tmp_path)], Workers(jobs=2, scheduler="dask"))
    next(results)
    while not noted(tmp_path):
        time.sleep(POLL)
    cast("Generator[None]", results).close()
    wait_until_gone(noted(tmp_path))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, -2)])
def test_processes_end_with_the_one_that_began_them(number: int, code: int, tmp_path: Path) -> None:
    """In the middle of their work, however it ends."""
    root = Path(__file__).resolve().parents[2]
    about = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    with subprocess.Popen(command, env=about, stderr=subprocess.PIPE) as driver:
        while len(noted(tmp_path)) < 2:
            assert driver.poll() is None
            time.sleep(POLL)
        driver.send_signal(number)
        driver.communicate()
    assert driver.returncode == code
    wait_until_gone(noted(tmp_path))
