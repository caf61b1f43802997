# SPDX-License-Identifier: Apache-2.0
"""A result is replaced when its own input changed, and never by that of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encephalon.inference.batch import BatchResult
from encephalon.tables.samples import Sample
from tests.inference.conftest import predict_all
from tests.inference.test_running_again import Samples, layout, status, table


@pytest.mark.parametrize("outputs", [None, {}])
def test_another_folder_from_which_a_scan_is_named_is_another_scan(
    outputs: Any, bright: Any, scan: Callable[..., Path], tmp_path: Path, monkeypatch: Any
) -> None:
    """`cd subject` before each command gives all scans one name; a changed scan is done again."""
    more = {} if outputs is None else {"outputs": outputs}
    named = [Sample("x", {"image": Path("x.nii.gz")})]
    for folder, peak in (("a", 100.0), ("b", 80.0)):
        scan("x.nii.gz", peak, tmp_path / folder)
    monkeypatch.chdir(tmp_path / "a")
    predict_all(bright(**more), named, layout(tmp_path / "out"))
    before = table(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "b")
    result = predict_all(bright(**more), named, layout(tmp_path / "out"))
    assert "made from" in result.failures[0].message
    assert table(tmp_path / "out") == before
    (tmp_path / "a/x.nii.gz").unlink()
    scan("x.nii.gz", 60.0, tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    again = predict_all(bright(**more), named, layout(tmp_path / "out"))
    assert (status(again), again.exit_code) == (["done"], 0)


@pytest.mark.parametrize("option", ["series", "page"])
def test_another_series_of_one_folder_replaces_nothing(
    option: str, bright: Any, samples: Samples, tmp_path: Path, monkeypatch: Any
) -> None:
    """What is chosen by an option is another input, and no other way to look at the same."""
    plain = bright.describe

    batch = samples("a")

    def run(chosen: str) -> BatchResult:
        monkeypatch.setattr(bright, "describe", lambda self: {**plain(self), option: chosen})
        return predict_all(bright(), batch, layout(tmp_path / "out"))

    assert status(run("4")) == ["done"]
    before = table(tmp_path / "out")
    assert "of another folder, series or page" in run("5").failures[0].message
    assert table(tmp_path / "out") == before
    assert status(run("4")) == ["skipped"]


def test_a_dataset_that_moved_is_still_finished(
    bright: Any, scan: Callable[..., Path], tmp_path: Path
) -> None:
    """The place of a scan is no part of what its result depends on."""
    batch = [Sample("x", {"image": scan("x.nii.gz", 100.0, tmp_path / "a")})]
    predict_all(bright(), batch, layout(tmp_path / "out"))
    (tmp_path / "a").rename(tmp_path / "b")
    moved = [Sample("x", {"image": tmp_path / "b/x.nii.gz"})]
    assert status(predict_all(bright(), moved, layout(tmp_path / "out"))) == ["skipped"]


def test_images_of_two_options_are_no_finished_sample(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """As after a kill between the images of one sample, when its options had changed."""
    batch, out, other = samples("a"), tmp_path / "out", tmp_path / "other"
    predict_all(bright(), batch, layout(out))
    predict_all(bright(threshold=40.0), batch, layout(other))
    whole = {path.name: path.read_bytes() for path in out.glob("*.nii.gz")}
    for name in ("a_brain.nii.gz", "a_brain.json"):
        (other / name).replace(out / name)
    assert status(predict_all(bright(), batch, layout(out))) == ["done"]
    assert {path.name: path.read_bytes() for path in out.glob("*.nii.gz")} == whole
