# SPDX-License-Identifier: Apache-2.0
"""The batch: everything that can be done is done, and nothing that exists is harmed."""

from __future__ import annotations

import csv
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from encephalon.errors import InputError, OutputError, OutputExistsError
from encephalon.inference.batch import prefetch
from encephalon.inference.one_sample import without_traceback
from encephalon.inference.outputs import OutputLayout
from encephalon.inference.predictor import Prediction, Predictor
from encephalon.tables.samples import Sample
from tests.inference.conftest import predict_all

Samples = Callable[..., list[Sample]]


def layout(folder: Path) -> OutputLayout:
    return OutputLayout(folder, table=folder / "predictions.csv")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".part" in path.name]


def test_each_sample_gets_images_sidecars_and_a_row(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """A batch of two writes two masks, two brains, four sidecars and two rows."""
    predictor = bright()
    assert isinstance(predictor, Predictor)
    out = tmp_path / "out"
    result = predict_all(predictor, samples("a", "b"), layout(out))
    assert result.exit_code == 0
    for name in ("a", "b"):
        mask = nibabel.load(out / f"{name}_mask.nii.gz")
        assert mask.get_data_dtype() == np.uint8
        assert int(np.asarray(mask.dataobj).sum()) == 64
        np.testing.assert_allclose(mask.header.get_zooms(), (1.0, 2.0, 1.5))
        assert (out / f"{name}_brain.nii.gz").exists()
        assert (out / f"{name}_brain.json").exists()
    rows = table(out)
    assert [row["id"] for row in rows] == ["a", "b"]
    assert rows[0]["mask"] == "a_mask.nii.gz"
    assert float(rows[0]["volume_ml"]) == pytest.approx(64 * 3 / 1000)
    assert rows[0]["quality"] == "ok"
    assert float(rows[0]["seconds"]) > 0
    assert rows[0]["error"] == ""
    assert leftovers(out) == []


def test_the_sidecar_names_source_model_versions_quality_and_values(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """Whoever finds a mask can tell where it came from."""
    (sample,) = samples("a")
    predict_all(bright(status="check"), [sample], layout(tmp_path / "out"))
    record = json.loads((tmp_path / "out" / "a_mask.json").read_text("utf-8"))
    assert record["Id"] == "a"
    assert record["Sources"] == [sample.inputs["image"].as_posix()]
    assert record["Description"] == "Bright voxels."
    assert record["Type"] == "Brain"
    assert record["Model"]["sha256"] == "ab" * 32
    assert record["Settings"] == {"device": "cpu", "threshold": 50.0}
    assert record["Quality"] == {"Status": "check", "Reasons": ["looks odd"]}
    assert record["Values"]["volume_ml"] > 0
    assert record["Seconds"] > 0
    assert record["GeneratedBy"][0]["Name"] == "Encephalon"


def test_a_bad_file_is_listed_and_the_rest_is_done(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """Empty, missing and textual files become failures with one sentence that names the file."""
    batch = samples("a", "empty", "gone", "text", "z")
    batch[1].inputs["image"].write_bytes(b"")
    batch[2].inputs["image"].unlink()
    batch[3].inputs["image"].write_text("hello, this is no image\n" * 20)
    result = predict_all(bright(), batch, layout(tmp_path / "out"))
    assert result.exit_code == 1
    assert [failure.id for failure in result.failures] == ["empty", "gone", "text"]
    for failure in result.failures:
        assert f"{failure.id}.nii.gz" in failure.message
    rows = {row["id"]: row for row in table(tmp_path / "out")}
    assert rows["gone"]["error"]
    assert rows["gone"]["mask"] == ""
    assert rows["z"]["mask"] == "z_mask.nii.gz"


def test_an_unexpected_error_is_a_failure_of_its_sample_only(
    bright: Any, samples: Samples, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug met by one file costs that file, and the traceback is kept for -vv."""
    caplog.set_level(logging.DEBUG)
    result = predict_all(bright(fail_on="a.nii"), samples("a", "b"), layout(tmp_path / "out"))
    (failure,) = result.failures
    assert "a.nii.gz" in failure.message
    assert "ZeroDivisionError" in failure.message
    assert "planted" in caplog.text
    assert failure.error is not None
    assert failure.error.__traceback__ is None
    assert (tmp_path / "out" / "b_mask.nii.gz").exists()


def test_a_file_that_is_not_ours_is_kept_and_the_rest_is_done(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """Without overwrite a mask that somebody else made stays; with it, it is replaced."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_mask.nii.gz").write_bytes(b"mine")
    batch = samples("a", "b")
    result = predict_all(bright(), batch, layout(out))
    (failure,) = result.failures
    assert isinstance(failure.error, OutputExistsError)
    assert "a_mask.nii.gz exists already" in failure.message
    assert "--overwrite" in failure.message
    assert (out / "a_mask.nii.gz").read_bytes() == b"mine"
    assert not (out / "a_mask.json").exists()
    assert [row["id"] for row in table(out)] == ["b"]
    result = predict_all(bright(), batch, layout(out), overwrite=True)
    assert result.exit_code == 0
    assert [row["id"] for row in table(out)] == ["a", "b"]


def test_the_row_of_a_quicker_process_stays(bright: Any, samples: Samples, tmp_path: Path) -> None:
    """Whoever finds its output there only when it writes leaves it to the other, and says so."""
    out = tmp_path / "out"
    batch = samples("a")
    slow, quick = bright(), bright()
    predict = slow.predict

    def overtaken(loaded: Any) -> Prediction:
        predict_all(quick, batch, layout(out))
        prediction: Prediction = predict(loaded)
        return prediction

    slow.predict = overtaken
    result = predict_all(slow, batch, layout(out))
    assert result.exit_code == 0
    assert [row["status"] for row in result.rows] == ["skipped"]
    (row,) = table(out)
    assert row["mask"] == "a_mask.nii.gz"
    assert row["error"] == ""
    assert leftovers(out) == []


def test_an_empty_mask_is_a_failure_and_is_not_written(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """Nothing found means no file, exit code 1 and a sentence that names the scan."""
    told: list[Prediction | None] = []
    result = predict_all(
        bright(threshold=1e6),
        samples("dark"),
        layout(tmp_path / "out"),
        on_result=lambda _sample, _row, prediction: told.append(prediction),
    )
    assert result.exit_code == 1
    assert "dark.nii.gz" in result.failures[0].message
    assert "empty" in result.failures[0].message
    assert list((tmp_path / "out").glob("*.nii.gz")) == []
    assert table(tmp_path / "out")[0]["quality"] == "fail"
    assert told[0] is not None


def test_a_failed_quality_check_is_written_flagged_and_counts_as_failure(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """The mask is there to be looked at, and the exit code says that it must be."""
    result = predict_all(bright(status="fail"), samples("odd"), layout(tmp_path / "out"))
    assert result.exit_code == 1
    assert "looks odd" in result.failures[0].message
    assert (tmp_path / "out" / "odd_mask.nii.gz").exists()
    (row,) = table(tmp_path / "out")
    assert (row["quality"], row["reasons"]) == ("fail", "looks odd")


def test_reading_runs_ahead_in_one_thread_and_holds_two_samples_at_most(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """Memory is bounded: while one sample is computed exactly one more may be in memory."""
    predictor = bright()
    predict_all(predictor, samples(*"abcdef"), layout(tmp_path / "out"))
    assert len(predictor.threads["read"]) == 1
    assert predictor.threads["read"].isdisjoint(predictor.threads["predict"])
    assert predictor.most_alive == 2


def test_more_readers_hold_one_sample_each_and_keep_the_order(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """With three readers at most four samples are in memory, however many there are."""
    predictor = bright()
    predictor.readers = 3
    batch = samples(*"abcdefghij")
    batch[4].inputs["image"].unlink()
    result = predict_all(predictor, batch, layout(tmp_path / "out"))
    assert [row["id"] for row in result.rows] == list("abcdefghij")
    assert [failure.id for failure in result.failures] == ["e"]
    assert len(predictor.threads["read"]) <= 3
    assert predictor.most_alive <= 4


def test_readers_work_at_the_same_time() -> None:
    """Two readers meet at a barrier that one alone would never pass."""
    barrier = threading.Barrier(2, timeout=200)

    def read(item: int) -> int:
        barrier.wait()
        return item * item

    ahead = prefetch(read, range(4), lambda _: False, readers=2)
    assert [reading.result().content for _, reading in ahead if reading] == [0, 1, 4, 9]


def test_what_forbids_a_whole_batch_is_raised_before_any_of_it(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """A predictor that checks all samples can refuse them in one sentence."""
    predictor = bright()
    seen: list[int] = []

    def refuse(batch: list[Sample]) -> None:
        seen.append(len(batch))
        raise InputError("give a table.")

    predictor.check = refuse
    with pytest.raises(InputError, match="give a table"):
        predict_all(predictor, samples("a", "b"), layout(tmp_path / "out"))
    assert seen == [2]
    assert not (tmp_path / "out").exists()


def test_progress_and_results_are_told_in_order(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """Each sample is reported once, in the order given, bad ones too."""
    batch = samples("a", "b", "c")
    batch[1].inputs["image"].unlink()
    steps: list[tuple[int, int, str]] = []
    told: list[tuple[str, bool]] = []
    predict_all(
        bright(),
        batch,
        layout(tmp_path / "out"),
        progress=lambda *step: steps.append(step),
        on_result=lambda sample, _row, made: told.append((sample.id, made is not None)),
    )
    assert steps == [(1, 3, "a"), (2, 3, "b"), (3, 3, "c")]
    assert told == [("a", True), ("b", False), ("c", True)]


def test_a_report_that_fails_costs_no_result(
    bright: Any, samples: Samples, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in the report's callback, or in that of who is told, is a warning."""

    def broken(*_: object) -> None:
        raise KeyError("no picture")

    out, batch = layout(tmp_path / "out"), samples("a", "b")
    assert predict_all(bright(), batch[:1], out, on_prediction=broken).exit_code == 0
    assert "a is missing from the report" in caplog.text
    assert predict_all(bright(), batch[1:], out, on_result=broken).exit_code == 0
    assert "b was done, but on_result failed" in caplog.text


def test_values_must_not_take_the_name_of_a_column(
    bright: Any, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value called `error` would hide whether the sample failed."""
    predictor = bright(outputs={})
    monkeypatch.setattr(predictor, "predict", lambda _: Prediction(values={"error": 1.0}))
    result = predict_all(predictor, samples("a"), layout(tmp_path / "out"))
    assert "must not be named ['error']" in result.failures[0].message


def test_a_folder_that_cannot_be_made_stops_before_any_work(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """Writing is tried out first, so that no hour of work ends in a refusal."""
    (tmp_path / "file").write_text("in the way")
    predictor = bright()
    with pytest.raises(OutputError, match="file"):
        predict_all(predictor, samples("a"), layout(tmp_path / "file" / "out"))
    assert predictor.threads["read"] == set()


def test_a_batch_of_nothing_writes_nothing(bright: Any, tmp_path: Path) -> None:
    """No samples, no rows, no failure."""
    result = predict_all(bright(), [], layout(tmp_path / "out"))
    assert (result.rows, result.failures, result.exit_code) == ([], [], 0)


def test_an_error_that_is_its_own_cause_has_an_end() -> None:
    error = InputError("scan.nii: broken.")
    error.__cause__ = error
    assert without_traceback(error) is error
