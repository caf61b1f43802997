# SPDX-License-Identifier: Apache-2.0
"""What every study must do: a suite to inherit from, with a recipe and tables of one's own.

A run is begun, refused while it is in use or not its own, killed, gone on with to the same bytes,
finished once also by several processes, loaded again, predicts, is scored, and replaces nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from encephalon import api
from encephalon.errors import OutputError, OutputExistsError, RunError
from encephalon.io.atomic import locked
from encephalon.models.folder import open_model

ROOT = Path(__file__).parents[2]


def train(recipe: str, changes: Mapping[str, str], table: Path, run: Path, **asked: Any) -> Path:
    """Train on the CPU with one thread; the model folder."""
    plain: dict[str, Any] = {"device": "cpu", "workers": 1, "threads": 1}
    return api.train(recipe, table, run, overrides=changes, **plain, **asked)


def outcome(run: Path) -> dict[str, bytes]:
    """What a run is for, byte by byte: its model, and how it came to be."""
    found = [*run.glob("model/*"), *run.rglob("history.csv"), *run.glob("evaluation/*.csv")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in found}


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a module as a program of its own, with one thread."""
    plain = {k: v for k, v in os.environ.items() if k not in {"RANK", "LOCAL_RANK", "WORLD_SIZE"}}
    places = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = plain | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


class StudyContract:
    """The suite.

    recipe, changes  a built-in recipe or a file, made quick
    options          asked of the model that predicts and is scored
    steps            after which the run is killed: a checkpoint is there, and not the last
    processes        whether several may train one network; None where another mode shows it
    judged           whether models are good enough for their own quality check
    validated        whether an epoch is judged, so that the model has scores of it
    """

    recipe: ClassVar[str]
    changes: ClassVar[Mapping[str, str]] = {}
    options: ClassVar[Mapping[str, Any]] = {}
    steps: ClassVar[int] = 3
    processes: ClassVar[bool | None] = True
    judged: ClassVar[bool] = True
    validated: ClassVar[bool] = True

    @classmethod
    def learnt(cls, folder: Path) -> Path:
        """A table to learn from."""
        raise NotImplementedError

    @classmethod
    def scored(cls, folder: Path) -> Path:
        """A table of samples with their answers, all of which can be predicted."""
        raise NotImplementedError

    @classmethod
    def predicted(cls, folder: Path) -> list[Path]:
        """Files or a table to predict on."""
        return [cls.scored(folder)]

    @pytest.fixture(scope="class")
    @classmethod
    def table(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """What is learnt from."""
        return cls.learnt(tmp_path_factory.mktemp("learnt"))

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A run that was not broken off."""
        run = tmp_path_factory.mktemp("whole") / "run"
        assert train(cls.recipe, cls.changes, table, run) == run / "model"
        return run

    @pytest.fixture(scope="class")
    @classmethod
    def killed(cls, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A run whose process was killed after its first checkpoint."""
        run = tmp_path_factory.mktemp("killed") / "run"
        how = json.dumps([cls.recipe, dict(cls.changes), str(table), str(run), cls.steps])
        done = program("tests.studies.contract", how)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert list(run.rglob("last.safetensors"))
        return run

    def test_a_finished_run_is_a_model_with_its_history(self, whole: Path) -> None:
        """The folder is whole, and the model says what it was made by."""
        for name in ("run.json", "recipe.toml", "table.csv", "report.html"):
            assert (whole / name).is_file(), name
        assert list(whole.rglob("history.csv"))
        about = open_model(whole / "model").description
        assert about.recipe["study"]["name"] == about.study
        assert bool(about.scores) == self.validated
        assert about.training_data

    def test_a_killed_run_goes_on_to_the_same_bytes(
        self, table: Path, whole: Path, killed: Path, tmp_path: Path
    ) -> None:
        """Weights, graph, description and history are those of a run that was not broken off."""
        run = shutil.copytree(killed, tmp_path / "run")
        train(self.recipe, self.changes, table, run, resume=True)
        assert outcome(run) == outcome(whole)
        assert not list(run.rglob("*.part*"))

    def test_a_run_is_begun_once(self, table: Path, killed: Path) -> None:
        """Another start in its folder is refused, and says how to go on."""
        before = (killed / "run.json").read_bytes()
        with pytest.raises(OutputExistsError, match="--resume"):
            train(self.recipe, self.changes, table, killed)
        assert (killed / "run.json").read_bytes() == before

    def test_a_run_goes_on_with_its_own_recipe_alone(self, table: Path, killed: Path) -> None:
        """The difference is named."""
        changes = {**self.changes, "training.seed": "77"}
        with pytest.raises(RunError, match=r"training\.seed"):
            train(self.recipe, changes, table, killed, resume=True)

    @pytest.mark.parametrize("resume", [False, True])
    def test_a_folder_in_use_is_refused(self, table: Path, tmp_path: Path, resume: bool) -> None:
        """Two processes never write one run, not even before its first checkpoint."""
        run = tmp_path / "run"
        with locked(run / ".run", timeout=0), pytest.raises(OutputError, match="another process;"):
            train(self.recipe, self.changes, table, run, resume=resume)
        assert not (run / "recipe.toml").exists()

    def test_what_is_no_run_is_left_alone(self, table: Path, tmp_path: Path) -> None:
        """A folder that holds something else by the name of a result."""
        mine = tmp_path / "model" / "mine.txt"
        mine.parent.mkdir()
        mine.write_text("mine")
        with pytest.raises(OutputExistsError, match="model"):
            train(self.recipe, self.changes, table, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    def test_several_processes_finish_once(self, table: Path, tmp_path: Path) -> None:
        """All train; one writes the model and says so, and the others have ended by then."""
        said = [word for key, value in self.changes.items() for word in ("--set", f"{key}={value}")]
        asked = ["--device", "cpu", "--devices", 2, "--threads", 1, "--workers", 1, *said]
        if self.processes is None:
            pytest.skip("another mode of the study shows it")
        run = tmp_path / "run"
        done = program("encephalon", "train", self.recipe, "-t", table, "-o", run, *asked)
        if not self.processes:
            assert done.returncode == 2
            assert "leave out --devices" in done.stderr
            return
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"model: {run / 'model'}\nreport: {run / 'report.html'}\n"
        assert done.stderr.count("epoch 2") == 1, done.stderr
        open_model(run / "model")
        assert not list(run.rglob("*.part*"))

    def test_a_model_predicts_and_its_results_stay(self, whole: Path, tmp_path: Path) -> None:
        """A row a sample and a page; a second time nothing is done, and nothing is replaced."""
        model = api.load_model(whole, device="cpu", threads=1, **self.options)
        out = tmp_path / "out"
        inputs = self.predicted(tmp_path)
        first = model.predict_batch(inputs, out)
        assert first.rows
        assert not [one for one in first.failures if self.judged or "quality" not in one.message]
        assert first.report == out / "report.html"
        files = {path: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
        again = model.predict_batch(inputs, out)
        if not first.failures:
            assert {row["status"] for row in again.rows} == {"skipped"}
            assert all(path.stat().st_mtime_ns == time for path, time in files.items())

    def test_a_model_is_scored_and_scores_stay(self, whole: Path, tmp_path: Path) -> None:
        """Scores, summary and page; a second time they are replaced only if asked to be."""
        asked: dict[str, Any] = {"device": "cpu", "threads": 1, **self.options}
        cases, out = self.scored(tmp_path), tmp_path / "out"
        result = api.evaluate(whole, cases, out, **asked)
        assert self.judged is False or not result.failures
        before = {name: (out / name).read_bytes() for name in ("summary.json", "report.html")}
        with pytest.raises(OutputExistsError):
            api.evaluate(whole, cases, out, **asked)
        assert before == {name: (out / name).read_bytes() for name in before}
        api.evaluate(whole, cases, out, overwrite=True, **asked)


if __name__ == "__main__":
    *asked, run, last = json.loads(sys.argv[1])

    def kill(progress: Any, _losses: Mapping[str, float]) -> None:
        if progress.step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    train(asked[0], asked[1], Path(asked[2]), Path(run), report=kill)
