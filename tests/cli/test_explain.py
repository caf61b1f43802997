# SPDX-License-Identifier: Apache-2.0
"""`encephalon explain` hands on what was asked, says what came of it, and exits 1 for a failure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from encephalon import api
from encephalon.explanation import run as run_module
from encephalon.explanation.report import Explanations
from encephalon.inference.one_sample import Failure
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Columns
from tests.cli.conftest import Run, Threshold
from tests.studies.calls import plain_study


class Explainer:
    """Explains, and remembers what it was asked."""

    failures: tuple[Failure, ...] = ()

    def explain(
        self, model: object, samples: Sequence[Sample], output: Path, **asked: Any
    ) -> Explanations:
        assert model == "explainable"
        self.samples, self.output, self.asked = samples, output, asked
        rows = [{"id": sample.id, "class": "Aged"} for sample in samples]
        return Explanations(rows, list(self.failures), output)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Explainer:
    """Replace `load_model` by a stand-in whose study is this one."""
    made: Any = Explainer()

    def load(model: str, **arguments: Any) -> api.Model:
        made.loading = {"model": model, **arguments}
        study = plain_study(kind="picture", explainable=lambda _: "explainable")
        return api.Model(Threshold(outputs={}), study, Columns())

    monkeypatch.setattr(api, "load_model", load)
    monkeypatch.setattr(run_module, "explain", made.explain)
    return made


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small micrograph."""
    path = tmp_path / "S3V1.tif"
    tifffile.imwrite(path, np.arange(64, dtype=np.uint8).reshape(8, 8))
    return path


def test_the_flags_reach_the_study(run: Run, study: Any, image: Path, tmp_path: Path) -> None:
    """Class, layer, device, threads, options: each by its own name."""
    out = tmp_path / "maps"
    flags = ["--class", "Aged", "--layer", "encoder.layer3", "--threads", "2", "--overwrite"]
    result = run("explain", "mine", image, "-o", out, *flags, "--option", "score=softmax")
    assert (result.code, result.err) == (0, "")
    assert "1 explained" in result.out
    assert study.loading["score"] == "softmax"
    asked = {name: study.asked[name] for name in ("target_class", "layer", "threads", "overwrite")}
    assert asked == {
        "target_class": "Aged",
        "layer": "encoder.layer3",
        "threads": 2,
        "overwrite": True,
    }
    assert [sample.id for sample in study.samples] == ["S3V1"]
    assert study.output == out


def test_json_is_one_document(run: Run, study: Any, image: Path, tmp_path: Path) -> None:
    """Rows, failures, checks and places, and nothing else on standard output."""
    result = run("explain", "mine", image, "-o", tmp_path / "maps", "--json")
    said = json.loads(result.out)
    assert said["rows"] == [{"id": "S3V1", "class": "Aged"}]
    assert said["table"].endswith("explanations.csv")


def test_failures_are_named_and_the_exit_code_is_1(
    run: Run, study: Any, image: Path, tmp_path: Path
) -> None:
    """Each in one sentence on standard error, after the work."""
    study.failures = (Failure("S1", "S1.tif: expected a picture, but it is cut short."),)
    result = run("explain", "mine", image, "-o", tmp_path / "maps")
    assert result.code == 1
    assert result.err == "error: S1.tif: expected a picture, but it is cut short.\n"
    assert "1 explained, 1 failed" in result.out


def test_a_model_without_classes_has_nothing_to_explain(
    run: Run, study: Any, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking a segmentation model is a wrong argument, not a crash."""
    plain = api.Model(Threshold(outputs={}), plain_study(kind="picture"), Columns())
    monkeypatch.setattr(api, "load_model", lambda *_, **__: plain)
    result = run("explain", "mine", image, "-o", tmp_path / "maps")
    assert result.code == 2
    assert "'stand-in' has nothing to explain" in result.err
