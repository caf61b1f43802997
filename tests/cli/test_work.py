# SPDX-License-Identifier: Apache-2.0
"""`train`, `evaluate`, `demo` and `bench`, with stand-ins for what takes long."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from encephalon.cli import demo as demo_module
from encephalon.inference.workers import Workers
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.recipes.schema import Recipe
from encephalon.studies.base import Trainable
from encephalon.tables.schema import Table
from encephalon.training.runs import TrainingContext
from tests.cli.conftest import Asked, Run
from tests.evaluation.toy import WordLengths
from tests.studies.calls import plain_study


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three heads of three people, split by hand."""
    lines = ["id,image,labels,group,split"]
    for name, part in (("a", "train"), ("b", "train"), ("c", "validation")):
        (tmp_path / f"{name}.nii").touch()
        lines.append(f"{name},,{name}.nii,{name},{part}")
    path = tmp_path / "heads.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_train_dry_run_tells_the_plan(run: Run, table: Path, tmp_path: Path) -> None:
    """Recipe and table are checked, and nothing is trained."""
    words = ("-t", table, "-o", tmp_path / "run", "--set", "training.epochs=2", "--dry-run")
    result = run("train", "brain-extraction", *words, "--json")
    assert result.code == 0, result.err
    plan = json.loads(result.out)
    assert plan["rows"] == 3
    assert plan["parts"] == {"train": 2, "validation": 1}
    assert plan["epochs"] == 2
    assert not (tmp_path / "run").exists()


def train_as(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Path]) -> None:
    """Every study trains by `function`."""

    class Training(Trainable):
        def check_network(self, recipe: Recipe) -> None:
            """Any network suits."""

        def train(
            self, recipe: Recipe, table: Table, output: Path, context: TrainingContext
        ) -> Path:
            return function(recipe, table, output, context)

    study = plain_study(trainable=Training())
    monkeypatch.setattr("encephalon.studies.registry.load_study", lambda _name: study)


def test_flags_of_transfer_are_those_of_the_recipe(
    run: Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part may have dots in its name; a factor is a number, and what is fresh needs a start."""
    pytest.importorskip("lightning")
    seen: list[Any] = []

    def train(recipe: Recipe, _rows: Any, output: Path, _context: Any) -> Path:
        seen.append(recipe.training)
        return output / "model"

    train_as(monkeypatch, train)
    words = ("train", "brain-extraction", "-t", table, "-o", tmp_path / "run", "--device", "cpu")
    asked = ("--from", 'runs/"one"', "--fresh", "head, up.1", "--freeze", "stem,down.0")
    result = run(*words, *asked, "--rate", "down.1=0.1", "--rate", "head=10")
    assert result.code == 0, result.err
    (training,) = seen
    assert training.start_from == 'runs/"one"'
    assert (training.fresh, training.freeze) == (("head", "up.1"), ("stem", "down.0"))
    assert training.learning_rate_factors == {"down.1": 0.1, "head": 10.0}
    for wrong, sentence in (
        (("--rate", "head=fast"), "the factor of 'head' is 'fast'"),
        (("--rate", "head"), "--rate takes PART=FACTOR"),
        (("--fresh", "head"), "start_from names no model"),
    ):
        assert sentence in run(*words, *wrong).err


def test_train_hands_its_flags_to_the_study(
    run: Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overrides and seed are in the recipe that the study gets; epochs are told as they end."""
    pytest.importorskip("lightning")
    seen: dict[str, Any] = {}

    def train(recipe: Any, rows: Any, output: Path, context: TrainingContext) -> Path:
        report, flags = cast(Any, context.report), asdict(replace(context, report=None))
        del flags["report"]
        seen.update(flags, seed=recipe.training.seed, epochs=recipe.training.epochs, rows=len(rows))
        progress = SimpleNamespace(step=6, history=[{"epoch": 1.0, "val_dice": 0.5}], resumed=2)
        report(progress, {"loss": 0.5})
        progress.history.append({"epoch": 2.0, "val_dice": 0.75})
        report(progress, {"loss": 0.4})
        progress.history.append({"epoch": 3.0, "val_dice": 0.875})
        return output / "model"

    train_as(monkeypatch, train)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ("-t", table, "-o", tmp_path / "run", "--resume", "--seed", "7", "--device", "cpu")
    result = run("train", "brain-extraction", *words, "--set", "training.epochs=2")
    assert result.code == 0, result.err
    assert seen == {
        "resume": True,
        "device": "cpu",
        "devices": 1,
        "workers": 2,
        "jobs": Workers(),
        "threads": None,
        "seed": 7,
        "epochs": 2,
        "rows": 3,
    }
    assert result.err.splitlines() == [
        "resumed at epoch 2",
        "epoch 2  val_dice 0.75",
        "epoch 3  val_dice 0.875",
    ]
    where = tmp_path / "run"
    assert result.out == f"model: {where / 'model'}\nreport: {where / 'report.html'}\n"


def test_train_names_the_network_of_each_epoch(
    run: Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run with several networks every epoch is told once, with the place that it is of."""
    pytest.importorskip("lightning")

    def train(_recipe: Any, _rows: Any, output: Path, context: TrainingContext) -> Path:
        report = cast(Any, context.report)
        for step, place in enumerate(("fold 1 of 2", "final")):
            history: list[dict[str, float]] = []
            report(SimpleNamespace(step=step, history=history, place=place, resumed=0), {})
            history.append({"epoch": 1.0, "val_loss": 0.5 + step})
        return output / "model"

    train_as(monkeypatch, train)
    result = run("train", "brain-extraction", "-t", table, "-o", tmp_path / "run")
    assert result.code == 0, result.err
    lines = [line for line in result.err.splitlines() if "val_loss" in line]
    assert lines == ["fold 1 of 2  epoch 1  val_loss 0.5", "final  epoch 1  val_loss 1.5"]


def test_train_refuses_a_faulty_table(run: Run, table: Path, tmp_path: Path) -> None:
    """The table is checked before the run's folder is made."""
    (tmp_path / "b.nii").unlink()
    result = run("train", "brain-extraction", "-t", table, "-o", tmp_path / "run", "--dry-run")
    assert result.code == 1
    assert "row 3" in result.err
    assert not (tmp_path / "run").exists()


def test_evaluate_prints_what_the_study_found(
    run: Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study scores; the command prints its words or JSON, and exits 1 for a failure."""

    words = ["one"]
    study = plain_study(scorable=lambda *_: WordLengths(*words))
    model = SimpleNamespace(study=study, name="any")
    monkeypatch.setattr("encephalon.api.load_model", lambda *_, **__: model)
    asked = ("evaluate", "any", "-t", table, "-o", tmp_path / "scores", "--overwrite")
    assert json.loads(run(*asked, "--json").out) == {
        "folder": str(tmp_path / "scores"),
        "rows": [{"id": "one", "length": 3}],
        "mean": 3,
        "failures": [],
    }
    assert run(*asked).out == f"mean length: 3\nwritten to {tmp_path / 'scores'}\n"
    words.append("2")
    assert run(*asked).code == 1


def test_demo_masks_a_scan_and_says_where(
    run: Run, stand_in: Asked, scan: Path, tmp_path: Path
) -> None:
    """The user's scan stands in the phantom's place; nothing is fetched."""
    out = tmp_path / "demo"
    result = run("demo", "-o", out, "--image", scan)
    assert result.code == 0, result.err
    assert f"mask: {out / 'scan_mask.nii.gz'}" in result.out
    assert f"sidecar: {out / 'scan_mask.json'}" in result.out
    assert stand_in[0]["offline"] is True


def test_demo_draws_a_phantom(
    run: Run, stand_in: Asked, head: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a scan the demo makes one, and takes the one of the last time."""

    def draw(path: Path, *, overwrite: bool) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_image(head.data, path, head, overwrite)

    monkeypatch.setattr(demo_module, "write_phantom", draw)
    out = tmp_path / "demo"
    assert run("demo", "-o", out).code == 0
    assert (out / "phantom_mask.nii.gz").is_file()
    again = run("demo", "-o", out)
    assert again.code == 0, again.err
    assert "1 sample: 1 skipped" in again.out
    assert run("demo", "-o", out, "--overwrite").code == 0


def test_bench_measures_whole_processes(
    run: Run, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each repetition is a process with a time and a peak of memory."""
    monkeypatch.setattr(demo_module, "PREDICT", ["-c", "x = bytearray(2**24)"])
    result = run("bench", "any", "--image", scan, "--repeat", "2", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert len(found["runs"]) == 2
    assert found["peak_mib"] > 16
    assert found["median_seconds"] > 0


def test_bench_of_a_failing_prediction_is_an_error(
    run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time of something that failed would be a lie."""
    monkeypatch.setenv("ENCEPHALON_HOME", str(tmp_path))
    result = run("bench", "no-such-model", "--image", scan, "--repeat", "1")
    assert result.code == 1
    assert "no-such-model" in result.err
