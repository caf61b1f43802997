# SPDX-License-Identifier: Apache-2.0
"""A batch whose samples are done by several processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from encephalon.inference.batch import BatchResult, run_batch
from encephalon.inference.one_sample import OnPrediction
from encephalon.inference.outputs import OutputLayout, Work
from encephalon.inference.predictions_table import read_rows
from encephalon.inference.predictor import Predictor
from encephalon.inference.workers import HERE, Workers
from encephalon.io.atomic import sha256
from encephalon.tables.samples import Sample
from tests.inference.conftest import BrightVoxels


def again() -> tuple[Predictor, OnPrediction | None]:
    """The predictor of another process, which fails on one file."""
    return BrightVoxels(fail_on="c.nii"), None


def run(samples: list[Sample], folder: Path, workers: Workers) -> BatchResult:
    """What becomes of them."""
    predictor, _ = again()
    layout = OutputLayout(folder, table=folder / "predictions.csv")
    work = Work(layout, layout.plan(samples, predictor.outputs))
    return run_batch(predictor, work, workers=workers, again=again)


def test_several_processes_write_what_one_writes_and_do_what_is_left(
    samples: Callable[..., list[Sample]], tmp_path: Path
) -> None:
    """One that fails is named, and the others are done; what is done is not done again."""
    given = samples(*"abcde")
    here = run(given, tmp_path / "here", HERE)
    there = run(given, tmp_path / "there", Workers(jobs=2))
    told = partial(map, lambda row: {k: v for k, v in row.items() if k != "seconds"})
    assert [*told(there.rows)] == [*told(here.rows)]
    assert [row["id"] for row in read_rows(tmp_path / "there" / "predictions.csv")] == [*"abcde"]
    assert [one.id for one in there.failures] == [one.id for one in here.failures] == ["c"]
    assert isinstance(there.failures[0].error, ZeroDivisionError)
    images = sorted(path.name for path in (tmp_path / "here").glob("*.nii.gz"))
    assert images
    for name in images:
        assert sha256(tmp_path / "there" / name) == sha256(tmp_path / "here" / name)
    more = run(given, tmp_path / "there", Workers(jobs=2))
    wanted = {"a": "skipped", "b": "skipped", "c": "failed", "d": "skipped", "e": "skipped"}
    assert {row["id"]: row["status"] for row in more.rows} == wanted
