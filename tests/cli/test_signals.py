# SPDX-License-Identifier: Apache-2.0
"""What stops a command: signals, closed streams, and a machine without a home."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from encephalon.io.image import Image
from encephalon.io.reading import write_image

# The command line, with a model that stops in the middle of its second sample and says so.
PROGRAM = """
import sys, time
from encephalon import api
from encephalon.cli.main import main
from tests.cli.conftest import Threshold
from encephalon.tables.schema import Columns
from tests.studies.calls import plain_study

class Slow(Threshold):
    def predict(self, loaded):
        if loaded[0] == "b" and "again" not in sys.argv[1]:
            print("working", file=sys.stderr, flush=True)
            time.sleep(60)
        return super().predict(loaded)

model = api.Model(Slow(), plain_study(), Columns())
api.load_model = lambda *_, **__: model
sys.exit(main(["predict", "any", *sys.argv[2:]]))
"""


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, **more}


def ignoring_ctrl_c() -> None:
    """As a shell starts a job in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def as_usual() -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".predictions.csv.lock")


@pytest.mark.parametrize(
    ("number", "parent"),
    [
        (signal.SIGTERM, as_usual),
        (signal.SIGTERM, ignoring_ctrl_c),
        (signal.SIGHUP, as_usual),
        (signal.SIGINT, as_usual),
    ],
)
def test_a_signal_ends_a_batch_as_ctrl_c_does(
    number: int, parent: Callable[[], None], tmp_path: Path, head: Image
) -> None:
    """One sentence, exit code 130, finished results stay, and the same command does the rest."""
    scans = [write_image(head.data, tmp_path / f"{name}.nii.gz", head) for name in "abc"]
    out = tmp_path / "out"
    command = [sys.executable, "-c", PROGRAM, "once", *map(str, scans), "-o", str(out)]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=parent,  # noqa: PLW1509
    ) as program:
        assert program.stderr is not None
        assert program.stderr.readline() == "working\n"
        program.send_signal(number)
        said = program.stderr.read()
    assert program.returncode == 130
    assert said == "error: Interrupted: finished results are kept, nothing half-written is left.\n"
    assert visible(out) == ["a_mask.json", "a_mask.nii.gz", "predictions.csv"]
    command[3] = "again"
    again = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert again.stdout.splitlines()[3] == "3 samples: 2 ok, 1 skipped"
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == ["a", "b", "c"]


def test_what_python_clears_away_after_a_kill_is_nothing_to_warn_of() -> None:
    """As the locks of processes that worked for the one that was killed."""
    program = (
        "import multiprocessing, os, signal\n"
        "from encephalon.cli.main import main\n"
        "main(['--version'])\n"
        "lock = multiprocessing.get_context('spawn').Lock()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command, about = [sys.executable, "-c", program], environment()
    about.pop("PYTHONWARNINGS", None)
    killed = subprocess.run(command, capture_output=True, text=True, env=about, check=False)
    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_no_results(closed: str, tmp_path: Path, head: Image) -> None:
    """Nobody listens, and the work is done: no file gets the number of a closed stream."""
    scan = write_image(head.data, tmp_path / "a.nii.gz", head)
    words = ["-c", PROGRAM, "once", str(scan), "-o", str(tmp_path / "out")]
    shell = ["sh", "-c", f'"$0" "$@" {closed}', sys.executable, *words]
    assert subprocess.run(shell, env=environment(), check=False).returncode == 0
    assert visible(tmp_path / "out") == ["a_mask.json", "a_mask.nii.gz", "predictions.csv"]


def test_a_user_without_a_home_can_use_what_ships(tmp_path: Path, head: Image) -> None:
    """In a container: no HOME, and no entry in the list of users."""
    (tmp_path / "sitecustomize.py").write_text(
        "import pwd\ndef none(*_):\n    raise KeyError('no such user')\npwd.getpwuid = none\n"
    )
    paths = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    homeless = environment(PYTHONPATH=paths)
    for name in ("HOME", "XDG_CACHE_HOME", "ENCEPHALON_HOME"):
        homeless.pop(name, None)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "encephalon", *words]
        return subprocess.run(command, capture_output=True, text=True, env=homeless, check=False)

    listed = run("models", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "brain-extraction" in listed.stdout
    assert run("models", "info", "brain-extraction").returncode == 0
    scan = write_image(head.data, tmp_path / "scan.nii.gz", head)
    done = run("predict", "brain-extraction", str(scan), "-o", str(tmp_path / "mask.nii.gz"))
    assert "home folder" not in done.stderr
    assert "Unexpected" not in done.stderr
    absent = run("models", "get", "brainy", "--offline")
    assert absent.returncode == 1
    assert "set ENCEPHALON_HOME" in absent.stderr
