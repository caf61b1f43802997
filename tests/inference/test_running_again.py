# SPDX-License-Identifier: Apache-2.0
"""Running the same command again is normal: what is finished stays, and the rest is done."""

from __future__ import annotations

import csv
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encephalon.inference.batch import BatchResult
from encephalon.inference.fingerprint import Fingerprints
from encephalon.inference.outputs import OutputLayout
from encephalon.tables.samples import Sample
from tests.inference.conftest import predict_all

Samples = Callable[..., list[Sample]]


def layout(folder: Path) -> OutputLayout:
    return OutputLayout(folder, table=folder / "predictions.csv")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def status(result: BatchResult) -> list[str]:
    return [row["status"] for row in result.rows]


@pytest.mark.parametrize("kind", ["new", "changed"])
def test_a_batch_killed_anywhere_is_completed_by_the_same_command(
    kind: str, samples: Samples, tmp_path: Path
) -> None:
    """At each link, rename and removal, before and after: all images, all rows, nothing else."""
    samples("a", "b")
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.inference.kill_points", "in", "out", kind],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path.cwd())])},
        capture_output=True,
        text=True,
        check=True,
    )
    points = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(points) >= 2 * 12  # four files and a table of either sample, before and after
    assert any(len(one["left"]) % 4 > 0 for one in points)
    for one in points:
        assert one["failures"] == [], one
        assert one["same"], one
        assert one["parts"] == [], one
    assert {name for one in points for name in one["status"]} == {"done", "skipped"}


def test_a_finished_sample_is_skipped(bright: Any, samples: Samples, tmp_path: Path) -> None:
    """Nothing of it is computed or written, its row says what it said, and the exit code is 0."""
    out, batch = tmp_path / "out", samples("a", "b")
    first = predict_all(bright(), batch, layout(out))
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name[0] != "."}
    again = bright()
    result = predict_all(again, batch, layout(out))
    assert (status(result), result.exit_code) == (["skipped", "skipped"], 0)
    assert again.threads == {"read": set(), "predict": set()}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for old, new in zip(first.rows, result.rows, strict=True):
        assert new == old | {"status": "skipped"}


def test_rows_alone_are_skipped_too(bright: Any, samples: Samples, tmp_path: Path) -> None:
    """Where no images are written the row is the record, and numbers come back as numbers."""
    out, batch = tmp_path / "out", samples("a", "b")
    first = predict_all(bright(outputs={}), batch[:1], layout(out))
    result = predict_all(bright(outputs={}), batch, layout(out))
    assert (status(result), result.exit_code) == (["skipped", "done"], 0)
    assert result.rows[0]["volume_ml"] == pytest.approx(first.rows[0]["volume_ml"])
    assert [row["id"] for row in table(out)] == ["a", "b"]
    assert (
        status(predict_all(bright(outputs={}), batch, layout(out), overwrite=True)) == ["done"] * 2
    )


@pytest.mark.parametrize("outputs", [None, {}])
def test_what_changed_is_done_again_and_said(
    outputs: Any, bright: Any, samples: Samples, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another input, model or option; the folder, the time and the device are none of them."""
    more = {} if outputs is None else {"outputs": outputs}
    out, (sample,) = tmp_path / "out", samples("a")
    scan = sample.inputs["image"]

    def again(**options: Any) -> str:
        caplog.clear()
        model = bright(**more, **options)
        about = model.describe()
        model.describe = lambda: {**about, "device": "cuda", "runtime": "other"}
        (row,) = predict_all(model, [sample], layout(out)).rows
        said = f"1 sample was done again: {row.get('again')} changed." in caplog.text
        assert said == (row["status"] == "done" and "again" in row)
        return f"{row['status']} {row.get('again', '')}"

    assert again() == "done "
    os.utime(scan, (0, 0))
    shutil.copy(scan, tmp_path / "copy.nii.gz")
    sample.inputs["image"] = tmp_path / "copy.nii.gz"  # of the same bytes
    assert again() == "skipped "
    sample.inputs["image"] = scan
    assert again(threshold=40.0) == "done the options"
    assert again(threshold=40.0) == "skipped "
    assert again() == "done the options"
    content = scan.stat()
    other = samples("b")[0].inputs["image"]
    other.rename(scan)
    assert again() == "skipped "  # of the same bytes
    scan.write_bytes(bytes(scan_of(scan, 99.0)))
    os.utime(scan, ns=(content.st_atime_ns, content.st_mtime_ns))
    assert again() == "done the input"


def scan_of(like: Path, peak: float) -> bytes:
    """The bytes of the scan with another brightness."""
    from encephalon.io.reading import read_image, write_image

    image = read_image(like)
    path = write_image(image.data * (peak / 100), like.with_name("other.nii.gz"), image)
    content = path.read_bytes()
    path.unlink()
    return content


def test_what_is_read_beside_an_input_counts(bright: Any, samples: Samples, tmp_path: Path) -> None:
    """A sidecar that the predictor names: new, changed and gone again."""
    out, batch = tmp_path / "out", samples("a")
    beside = tmp_path / "in" / "a.json"

    def again() -> list[str]:
        model = bright()
        model.also_reads = lambda _: [beside]
        return status(predict_all(model, batch, layout(out)))

    assert [again(), again()] == [["done"], ["skipped"]]
    for text in ("1", "2"):
        beside.write_text(text)
        assert [again(), again()] == [["done"], ["skipped"]]
    beside.unlink()
    assert again() == ["done"]


def test_a_dicom_series_is_all_of_its_slices(bright: Any, tmp_path: Path) -> None:
    """By folder or by one of its files; results that are written beside them are none."""
    series = tmp_path / "series"
    series.mkdir()
    for number in range(3):
        (series / f"{number}.dcm").write_bytes(bytes(128) + b"DICM" + bytes([number]))
    marks = Fingerprints(bright())
    wanted = [Sample("s", {"image": place}) for place in (series, series / "1.dcm")]
    before = [marks.of(one) for one in wanted]
    assert None not in before
    for name in ("s_mask.nii.gz", "s_mask.json", "predictions.csv", "report.html", ".hidden"):
        (series / name).write_text("x")
    assert [marks.of(one) for one in wanted] == before
    (series / "2.dcm").write_bytes(bytes(128) + b"DICM" + bytes([7]))
    assert not {*before} & {marks.of(one) for one in wanted}


def test_another_model_is_done_again(bright: Any, samples: Samples, tmp_path: Path) -> None:
    """By its sha256; the row of a model whose images were replaced goes with them."""
    out, batch = tmp_path / "out", samples("a")
    predict_all(bright(), batch, layout(out))
    newer, other = bright(), bright(name="other")
    about = newer.describe()
    newer.describe = lambda: {**about, "model": {**about["model"], "sha256": "cd" * 32}}
    (row,) = predict_all(newer, batch, layout(out)).rows
    assert row["again"] == "the model"
    other.describe = lambda: {**about, "model": {"name": "other", "sha256": "ef" * 32}}
    (row,) = predict_all(other, batch, layout(out)).rows
    assert (row["status"], row["again"]) == ("done", "the model")
    assert [(each["id"], each["model"]) for each in table(out)] == [("a", "other")]


def test_a_missing_row_or_file_is_made_again(bright: Any, samples: Samples, tmp_path: Path) -> None:
    """A row comes back from the sidecars, and a sample without one of its files is done again."""
    out, batch = tmp_path / "out", samples("a", "b")
    predict_all(bright(), batch, layout(out))
    whole = (out / "predictions.csv").read_bytes()
    (out / "predictions.csv").unlink()
    assert status(predict_all(bright(), batch, layout(out))) == ["skipped"] * 2
    assert (out / "predictions.csv").read_bytes() == whole
    for name in ("a_mask.nii.gz", "a_mask.json", "b_brain.nii.gz", "b_brain.json"):
        (out / name).unlink()
        result = predict_all(bright(), batch, layout(out))
        assert (sorted(status(result)), result.exit_code) == (["done", "skipped"], 0)
        assert (out / name).exists()


def test_an_image_without_its_sidecar_is_ours_by_its_bytes_alone(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """One that was corrected by hand stays, and one of which no row knows is not even compared."""
    out, batch = tmp_path / "out", samples("a")
    predict_all(bright(), batch, layout(out))
    for path in out.glob("*.json"):
        path.unlink()
    (out / "a_brain.nii.gz").write_bytes(b"corrected")
    (failure,) = predict_all(bright(), batch, layout(out)).failures
    assert "a_brain.nii.gz exists already" in failure.message
    assert (out / "a_brain.nii.gz").read_bytes() == b"corrected"
    assert not list(out.glob("*.json"))
    (out / "a_brain.nii.gz").unlink()
    (out / "predictions.csv").unlink()
    unread = bright()
    assert predict_all(unread, batch, layout(out)).exit_code == 1
    assert unread.threads["read"] == set()


def test_a_mask_that_was_corrected_by_hand_is_never_lost(
    bright: Any, samples: Samples, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is kept with a warning, and other options need --overwrite to replace it."""
    out, batch = tmp_path / "out", samples("a")
    predict_all(bright(status="fail"), batch, layout(out))
    mask = out / "a_mask.nii.gz"
    mask.write_bytes(b"corrected")
    result = predict_all(bright(status="fail"), batch, layout(out))
    assert (status(result), result.exit_code) == (["skipped"], 0)
    assert "a_mask.nii.gz: changed after it was written, by hand perhaps" in caplog.text
    result = predict_all(bright(threshold=1.0), batch, layout(out))
    assert "a_mask.nii.gz was changed after it was written" in result.failures[0].message
    assert mask.read_bytes() == b"corrected"
    assert predict_all(bright(threshold=1.0), batch, layout(out), overwrite=True).exit_code == 0


def test_another_scan_of_the_same_name_replaces_nothing(
    bright: Any, samples: Samples, scan: Callable[..., Path], tmp_path: Path
) -> None:
    """x.nii.gz of another folder is another scan, and no changed one."""
    out, batch = tmp_path / "out", samples("x")
    elsewhere = [Sample("x", {"image": scan("x.nii.gz", 80.0, tmp_path / "elsewhere")})]
    for outputs in (None, {}):
        more = {} if outputs is None else {"outputs": outputs}
        predict_all(bright(**more), batch, layout(out / str(outputs)))
        result = predict_all(bright(**more), elsewhere, layout(out / str(outputs)))
        assert "made from" in result.failures[0].message
        assert batch[0].inputs["image"].as_posix() in result.failures[0].message
        assert status(predict_all(bright(**more), batch, layout(out / str(outputs)))) == ["skipped"]


def test_a_failed_sample_is_tried_again(bright: Any, samples: Samples, tmp_path: Path) -> None:
    """One that could not be read, and one whose quality check failed: neither is finished."""
    out, batch = tmp_path / "out", samples("a", "b")
    whole = batch[0].inputs["image"].read_bytes()
    batch[0].inputs["image"].write_bytes(whole[:40])
    assert predict_all(bright(status="fail"), batch, layout(out)).exit_code == 1
    batch[0].inputs["image"].write_bytes(whole)
    result = predict_all(bright(status="fail"), batch, layout(out))
    assert (status(result), len(result.failures)) == (["failed", "failed"], 2)
    assert [row["quality"] for row in table(out)] == ["fail", "fail"]


@pytest.mark.parametrize("outputs", [None, {}])
def test_an_input_that_is_lost_costs_no_result(
    outputs: Any, bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """The sample fails, since nobody can tell whether it changed; row and mask stay."""
    more = {} if outputs is None else {"outputs": outputs}
    out, batch = tmp_path / "out", samples("a")
    predict_all(bright(**more), batch, layout(out))
    before = table(out)
    batch[0].inputs["image"].unlink()
    assert predict_all(bright(**more), batch, layout(out)).exit_code == 1
    assert table(out) == before


def test_results_of_an_earlier_version_are_not_taken_for_finished(
    bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """Its sidecars do not say what they were made from: --overwrite says what to do."""
    out, batch = tmp_path / "out", samples("a")
    predict_all(bright(), batch, layout(out))
    for path in out.glob("*.json"):
        record = json.loads(path.read_text("utf-8"))
        del record["Fingerprint"]
        path.write_text(json.dumps(record), "utf-8")
    assert "--overwrite" in predict_all(bright(), batch, layout(out)).failures[0].message


@pytest.mark.parametrize("sidecar", [b"{", b"[" * 5000, b'{"GeneratedBy": 3}', b"\xff", b""])
def test_a_strange_sidecar_is_nobodys(
    sidecar: bytes, bright: Any, samples: Samples, tmp_path: Path
) -> None:
    """Whatever stands in the place of a record, its sample fails alone and it stays."""
    out, batch = tmp_path / "out", samples("a", "b")
    out.mkdir()
    (out / "a_mask.json").write_bytes(sidecar)
    result = predict_all(bright(), batch, layout(out))
    assert [one.id for one in result.failures] == ["a"]
    assert (out / "a_mask.json").read_bytes() == sidecar
    assert status(result) == ["done"]


def test_a_full_disk_is_made_good_by_the_same_command(samples: Samples, tmp_path: Path) -> None:
    """Files of at most 300 bytes may be written: some fail, and with room again all are there."""
    samples("a", "b")
    code = (
        "import sys; from pathlib import Path; from tests.inference.kill_points import batch\n"
        "print([one.id for one in batch(Path('in'), Path('out')).failures])"
    )

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    def run(limit: Callable[[], None] | None) -> str:
        environment = {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path.cwd())])}
        done = subprocess.run(
            [sys.executable, "-B", "-c", code],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=limit,
        )
        return done.stdout.strip()

    assert run(small) == "['a', 'b', 'predictions.csv']"
    assert run(None) == "[]"
    assert [row["id"] for row in table(tmp_path / "out")] == ["a", "b"]
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 4


def test_one_bad_name_never_stops_a_batch(
    bright: Any, samples: Samples, scan: Callable[..., Path], tmp_path: Path
) -> None:
    """Ids of 300 letters, NUL bytes and names that the disk refuses fail alone."""
    out, good = tmp_path / "out", samples("a", "z")
    long = Sample("m" * 300, {"image": good[0].inputs["image"]})
    nul = Sample("n", {"image": Path("in/\0.nii.gz")})
    byte = Sample("a\0b", {"image": good[0].inputs["image"]})
    slash = Sample("a/b", {"image": good[0].inputs["image"]})
    result = predict_all(bright(), [good[0], long, nul, byte, slash, good[1]], layout(out))
    assert [one.id for one in result.failures] == [long.id, nul.id, byte.id, slash.id]
    assert "its name is too long" in result.failures[0].message
    assert [row["id"] for row in table(out) if not row["error"]] == ["a", "z"]


def test_errors_of_a_sample_have_a_traceback_for_who_asks(
    bright: Any, samples: Samples, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log record has it; the console prints it with -vv."""
    caplog.set_level(logging.DEBUG)
    predict_all(bright(fail_on="a.nii"), samples("a"), layout(tmp_path / "out"))
    (record,) = [each for each in caplog.records if each.exc_info]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
