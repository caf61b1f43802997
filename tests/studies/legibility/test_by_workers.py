# SPDX-License-Identifier: Apache-2.0
"""Real trainings by several processes, one of which is killed: every digit is as without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.studies.legibility.tiny_people import QUICK, write_people

pytest.importorskip("torch")
pytest.importorskip("distributed")

from encephalon.api import train
from encephalon.api.grid import run_grid
from encephalon.errors import UsageError
from encephalon.inference.workers import Workers

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {**QUICK, "training.epochs": "3"}
GRID = 'name = "two"\ntitle = "Two"\n[axes]\nrecipe = ["legibility"]\ntraining.seed = [0, 1]\n'
POLL = 0.02
FOLDS = ("folds/0", "folds/1", "folds/2")


def test_folds_trained_by_several_processes_say_the_same(tmp_path: Path) -> None:
    """To the last digit, with as many threads; and every epoch of each is told."""
    table, told = write_people(tmp_path), dict[str, dict[str, int]]()
    how = {"overrides": SETTINGS, "device": "cpu", "threads": 1, "workers": 1}
    for name, jobs in (("alone", Workers()), ("shared", Workers(jobs=2))):
        here = told[name] = {}

        def report(progress: Any, losses: object, here: dict[str, int] = here) -> None:
            here[progress.place] = len(progress.history)

        train("legibility", table, tmp_path / name, jobs=jobs, report=report, **how)  # type: ignore[arg-type]
    assert told["shared"] == {**told["alone"], **dict.fromkeys(FOLDS, 3)}
    assert {*FOLDS} < told["alone"].keys()
    for fold in (*FOLDS, "final"):
        for file in ("scores.csv", "history.csv"):
            alone, shared = (tmp_path / name / fold / file for name in ("alone", "shared"))
            assert alone.read_bytes() == shared.read_bytes()


def test_one_network_is_not_shared_out(tmp_path: Path) -> None:
    """Nothing of it would be done by the workers that were asked for."""
    from tests.studies.legibility.tiny_people import split_people

    table = split_people(write_people(tmp_path))
    with pytest.raises(UsageError, match=r"trains one network.*leave out --jobs"):
        train(
            "legibility",
            table,
            tmp_path / "run",
            overrides={**SETTINGS, "study.folds": "0"},
            jobs=Workers(jobs=2),
        )


def test_a_grid_whose_driver_was_killed_ends_with_the_same_table(tmp_path: Path) -> None:
    """Its trainings go on from their last epoch, in another place."""
    table, grid = write_people(tmp_path), tmp_path / "two.toml"
    grid.write_text(GRID, encoding="utf-8")
    settings = {key: value for key, value in SETTINGS.items() if key != "training.seed"}

    def run(name: str, jobs: int) -> Path:
        run_grid(
            *(grid, table, tmp_path / name),
            overrides=settings,
            device="cpu",
            threads=1,
            jobs=Workers(jobs=jobs),
        )
        return tmp_path / name

    words = [f"--set={key}={value}" for key, value in settings.items()]
    about = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    driver = subprocess.Popen(
        [
            *[sys.executable, "-m", "encephalon", "grid", "run", str(grid), "-t", str(table)],
            *["-o", str(tmp_path / "killed"), "-j", "2", "--threads", "1", "--device", "cpu"],
            *words,
        ],
        env=about,
    )
    while driver.poll() is None and not list((tmp_path / "killed").rglob("last.safetensors")):
        time.sleep(POLL)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    assert list((tmp_path / "killed" / "cells").glob("*/attempt-*"))
    killed, plain = run("killed", 2), run("plain", 1)
    # The other tables say how long a training took.
    same = ["report/comparison.csv", "report/best.csv"]
    for folder in ("evaluation", "run/folds/*"):
        found = plain.glob(f"cells/*/{folder}/*.csv")
        same += [str(path.relative_to(plain)) for path in found]
    assert len(same) == 2 + 2 * (3 + 3 * 3)
    for name in same:
        assert (killed / name).read_bytes() == (plain / name).read_bytes()
