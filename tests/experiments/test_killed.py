# SPDX-License-Identifier: Apache-2.0
"""Workers, scheduler and driver are processes of their own, and are killed at random moments."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from encephalon import __version__
from encephalon.errors import RunError, UsageError
from encephalon.experiments.grid_folder import GridFolder
from encephalon.experiments.grid_report import compare_summaries
from encephalon.inference.cluster import _gpus, _task
from encephalon.inference.workers import HERE, Workers, in_workers
from tests.experiments.killed import CELLS, EPOCHS, count

pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parents[2]
KILLS = 5
POLL = 0.02


class Processes:
    """A scheduler, two workers and a driver, each started again when it is not there."""

    def __init__(self, folder: Path, output: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        address = f"tcp://127.0.0.1:{port}"
        dask = [sys.executable, "-m", "distributed.cli"]
        local = ["--local-directory", str(folder / "dask")]
        worker = [f"{dask[2]}.dask_worker", address, "--nthreads", "1", "--no-nanny", *local]
        quiet = ["--no-dashboard"]
        self.commands = {
            "scheduler": [
                *[*dask[:2], f"{dask[2]}.dask_scheduler", "--host", "127.0.0.1"],
                *["--port", str(port), *quiet],
            ],
            "one": [*dask[:2], *worker, *quiet],
            "other": [*dask[:2], *worker, *quiet],
            "driver": [
                *[sys.executable, "-m", "tests.experiments.killed"],
                *[str(folder), str(output), address],
            ],
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.log = (folder / "processes.log").open("ab")

    def start_missing(self) -> None:
        """Start what is not running; a driver only where there is a scheduler to be found."""
        paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        about = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "20",
            "DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "False",
        }
        for name, command in self.commands.items():
            known = self.running.get(name)
            if known is None or known.poll() is not None:
                self.running[name] = subprocess.Popen(
                    command, cwd=ROOT, env=about, stdout=self.log, stderr=self.log
                )

    def kill(self, name: str) -> None:
        """What `kill -9` does."""
        self.running[name].kill()
        self.running[name].wait()

    def close(self) -> None:
        """End all of them."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
        self.log.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the table and of the logs of cells."""
    (tmp_path / "table.csv").write_text("id\n1\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def processes(folder: Path) -> Iterator[Processes]:
    """All that a grid needs, none of it running."""
    made = Processes(folder, folder / "killed")
    yield made
    made.close()


def done(output: Path) -> int:
    """Cells that are done."""
    return len(list(output.glob("cells/*/evaluation/cell.json")))


def table_of(output: Path) -> bytes:
    """The table of results of a grid all of whose cells are done."""
    cells = GridFolder(output).status().cells
    assert {cell.state for cell in cells} == {"done"}
    compare_summaries(cells, output / "report")
    return (output / "report" / "comparison.csv").read_bytes()


def test_whatever_is_killed_the_table_is_the_same_and_no_more_than_an_epoch_is_lost(
    folder: Path, processes: Processes
) -> None:
    """The same command again does what is left."""
    output, rng = folder / "killed", random.Random(20)
    moments = sorted(rng.sample(range(2, CELLS - 4), KILLS))
    victims = ["driver", "scheduler", *rng.choices(["one", "other"], k=KILLS - 2)]
    rng.shuffle(victims)
    processes.start_missing()
    while done(output) < CELLS:
        if moments and done(output) >= moments[0]:
            time.sleep(rng.uniform(0, 0.1))
            moments.pop(0)
            processes.kill(victims.pop())
        # Those that a scheduler leaves behind end by themselves.
        processes.start_missing()
        time.sleep(POLL)
    assert processes.running["driver"].wait() == 0
    (folder / "plain").mkdir()
    (folder / "plain" / "table.csv").write_bytes((folder / "table.csv").read_bytes())
    count(folder / "plain", folder / "undisturbed", HERE)
    assert table_of(output) == table_of(folder / "undisturbed")
    epochs = sum(len(path.read_bytes().splitlines()) for path in folder.glob("*.epochs"))
    assert CELLS * EPOCHS <= epochs <= CELLS * EPOCHS + 2 * KILLS
    assert not list(output.glob("cells/*/attempt-*"))


def test_a_scheduler_that_does_not_answer_is_told_in_a_sentence() -> None:
    """Nothing listens on the port of `discard`."""
    with pytest.raises(RunError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers there"):
        list(in_workers(abs, [1], Workers(scheduler="tcp://127.0.0.1:9")))


def test_a_worker_of_another_version_is_told_in_a_sentence() -> None:
    """One that was there before is looked at, one that joins later looks itself."""
    with pytest.raises(UsageError, match=r"a worker has version .*, and this is 0\.0\.1"):
        _task("0.0.1", Path.cwd(), abs, 1)


def test_paths_mean_on_a_worker_what_they_mean_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was started; one that does not see the folder is told in a sentence."""
    monkeypatch.chdir(tmp_path.parent)
    assert _task(__version__, tmp_path, os.path.realpath, ".") == os.path.realpath(tmp_path)
    with pytest.raises(RunError, match="must see the same files"):
        _task(__version__, tmp_path / "elsewhere", os.path.realpath, ".")


def fatal(number: int) -> int:
    """Kills the process that does it, where the number is 1."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_work_that_kills_its_worker_is_given_up_and_the_others_are_done() -> None:
    """With the reason, after as many tries as are allowed."""
    found = list(
        in_workers(fatal, range(4), Workers(jobs=2, retries=1), "dask", lambda _, why: _lost(why))
    )
    assert sorted(found) == [-1, 0, 2, 3]


def _lost(why: str) -> int:
    assert "its worker died 2 times" in why
    return -1


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({"slurm": True, "scheduler": "tcp://h:1"}, "takes one of a scheduler, slurm"),
        ({"queue_option": {"memory": "1GB"}}, "options of a queue, and no queue"),
        ({"scheduler": "threads", "gpu_share": 0.5}, "between workers of Dask alone"),
        ({"scheduler": "everywhere"}, "must be threads, processes, dask, or the address"),
    ],
)
def test_workers_that_contradict_themselves_are_refused(
    asked: dict[str, object], fault: str
) -> None:
    """Before anything begins."""
    with pytest.raises(ValueError, match=fault):
        Workers.model_validate(asked)


def test_workers_of_this_machine_share_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many on each as its share allows, and no more."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert _gpus(Workers(jobs=4, gpu_share=0.5)) == ["2", "5", "2", "5"]
    assert _gpus(Workers(jobs=3)) == ["", "", ""]
    with pytest.raises(UsageError, match=r"3 jobs with 1 of a GPU each do not fit into 2 GPUs"):
        _gpus(Workers(jobs=3, gpu_share=1))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert Workers(gpu_share=0.5).elsewhere
    with pytest.raises(UsageError, match="has no GPU"):
        list(in_workers(abs, [1], Workers(gpu_share=0.5)))


def gpu(_: int) -> str:
    """What a worker sees."""
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_a_worker_sees_the_gpu_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no other."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    found = set(in_workers(gpu, range(8), Workers(jobs=2, gpu_share=1), "dask"))
    assert found <= {"2", "5"}
