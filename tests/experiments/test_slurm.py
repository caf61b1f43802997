# SPDX-License-Identifier: Apache-2.0
"""A grid on Slurm whose jobs and driver are killed: `docs/cluster.md` says how to have one."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from encephalon.inference.workers import HERE
from tests.experiments.killed import CELLS, EPOCHS, count
from tests.experiments.test_killed import ROOT, done, table_of

pytest.importorskip("dask_jobqueue")

KILLS = 5
POLL = 0.05


def said(*words: str) -> list[str]:
    """The lines that a command prints, none where it fails."""
    if shutil.which(words[0]) is None:
        return []
    found = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    return found.stdout.split() if found.returncode == 0 else []


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A driver whose workers are jobs."""
    about = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    words = [str(folder), str(folder / "killed"), "slurm"]
    command = [sys.executable, "-m", "tests.experiments.killed", *words]
    return subprocess.Popen(command, cwd=ROOT, env=about)


@pytest.mark.slurm
def test_jobs_and_drivers_that_are_killed_cost_an_epoch_each(tmp_path: Path) -> None:
    """And the table is that of a grid which nothing disturbed."""
    if not said("sinfo", "-h"):
        pytest.skip("needs a Slurm that answers")
    rng, output = random.Random(7), tmp_path / "killed"
    (tmp_path / "table.csv").write_text("id\n1\n", encoding="utf-8")
    moments = sorted(rng.sample(range(2, CELLS - 4), KILLS))
    driver, killed = start(tmp_path), 0
    while done(output) < CELLS or driver.poll() is None:
        if moments and done(output) >= moments[0]:
            moments.pop(0)
            jobs = said("squeue", "-h", "-t", "RUNNING", "-o", "%i")
            if len(moments) == KILLS // 2:
                driver.kill()
                driver.wait()
                killed += 3
            elif jobs:
                said("scancel", "--signal=KILL", "--full", rng.choice(jobs))
                killed += 1
        if driver.poll() not in (None, 0):
            driver = start(tmp_path)
        time.sleep(POLL)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "table.csv").write_bytes((tmp_path / "table.csv").read_bytes())
    count(tmp_path / "plain", tmp_path / "undisturbed", HERE)
    assert table_of(output) == table_of(tmp_path / "undisturbed")
    epochs = sum(len(path.read_bytes().splitlines()) for path in tmp_path.glob("*.epochs"))
    assert CELLS * EPOCHS <= epochs <= CELLS * EPOCHS + killed
