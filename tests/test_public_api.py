# SPDX-License-Identifier: Apache-2.0
"""The public surface: small, sorted, complete, lazy."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import encephalon
from encephalon import api, errors
from encephalon.errors import ContentError, MissingFileError, OutputError, UsageError
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.reports.drawn import Drawn
from encephalon.reports.format import Html
from encephalon.reports.page import Page
from encephalon.tables.samples import Sample
from tests.cli.conftest import Threshold
from tests.studies.calls import plain_study


def test_names_are_sorted_unique_and_few() -> None:
    """One can read the list in a minute."""
    assert encephalon.__all__ == sorted(set(encephalon.__all__))
    assert len(encephalon.__all__) <= 60


@pytest.mark.parametrize("name", encephalon.__all__)
def test_every_name_resolves_and_explains_itself(name: str) -> None:
    """A name in `__all__` is there, and has a docstring."""
    value = getattr(encephalon, name)
    if callable(value):
        assert inspect.getdoc(value)


def test_every_error_and_every_verb_is_public() -> None:
    """What a caller may have to catch, and each verb, need no deep import."""
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert classes <= set(encephalon.__all__)
    verbs = {"predict", "train", "evaluate", "load_model", "load_recipe"}
    assert verbs <= set(encephalon.__all__)


def test_dir_lists_what_was_not_loaded_yet() -> None:
    """Completion in a notebook knows the lazy names."""
    assert set(encephalon.__all__) <= set(dir(encephalon))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A slip is answered at once."""
    with pytest.raises(AttributeError, match="no attribute 'predicct'"):
        encephalon.predicct  # noqa: B018


def test_import_costs_nothing_heavy() -> None:
    """`import encephalon` starts no numerical package, and never torch."""
    code = "import encephalon, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "pandas", "scipy", "pydantic", "typer", "onnxruntime"}
    assert not set(done.stdout.split()) & heavy


def test_prediction_needs_no_torch(tmp_path: Path, head: Image) -> None:
    """Everything a prediction imports, from the scan to the report, works where torch cannot."""
    write_image(head.data, tmp_path / "scan.nii.gz", head)
    code = """
import sys
sys.modules["torch"] = None  # an import of it would fail
from encephalon import api
from encephalon.tables.schema import Columns
from tests.cli.conftest import Threshold
from tests.studies.calls import plain_study
model = api.Model(Threshold(), plain_study(), Columns())
assert model.predict_batch(["scan.nii.gz"], "masks").exit_code == 0
import encephalon.studies.extraction.predictor, encephalon.studies.extraction.report
"""
    root = str(Path(__file__).resolve().parents[1])
    path = f"import sys; sys.path.insert(0, {root!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", path + code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _model(**parts: Any) -> api.Model:
    from encephalon.tables.schema import Columns

    return api.Model(Threshold(), plain_study(**parts), Columns())


def test_a_model_predicts_from_arrays_files_and_images(tmp_path: Path, head: Image) -> None:
    """The same scan gives the same mask, however it is handed over."""
    path = write_image(head.data, tmp_path / "scan.nii.gz", head)
    masks = [_model().predict(given).images["mask"].data for given in (path, head, head.data)]
    assert masks[0].any()
    assert all((mask == masks[0]).all() for mask in masks)


def test_what_is_no_scan_is_said(head: Image) -> None:
    """Wrong kinds and roles are errors of ours, not of Python."""
    for given in ([1, 2], 5, b"scan.nii"):
        with pytest.raises(ContentError, match=f"but got {type(given).__name__}"):
            _model().predict(given)
    with pytest.raises(UsageError, match="takes image, and got nothing"):
        _model().predict()
    with pytest.raises(UsageError, match="takes no 't1'; it takes image"):
        _model().predict(t1=head)
    with pytest.raises(UsageError, match="nothing to predict on"):
        _model().predict_batch([], "out")
    with pytest.raises(UsageError, match="takes paths, and got ndarray"):
        _model().predict_batch([head.data], "out")  # type: ignore[list-item]


def test_what_python_prints_of_a_model_and_its_results_is_a_line(head: Image) -> None:
    """In a notebook, without an array or a setting."""
    model = _model()
    prediction = model.predict(head)
    assert repr(model) == "Model('stand-in', study plain, version 1.0.0)"
    assert repr(prediction) == "Prediction(mask; volume_ml 12.5; quality 'ok')"
    assert repr(prediction.mask) == "OutputImage('brain_mask', 24x28x20 uint8)"


def test_a_batch_hands_back_rows_and_failures(tmp_path: Path, head: Image) -> None:
    """Python callers get what the command line prints."""
    good = write_image(head.data, tmp_path / "good.nii.gz", head)
    told: list[str] = []
    result = _model().predict_batch(
        [good, tmp_path / "absent.nii.gz"],
        tmp_path / "out",
        progress=lambda done, total, name: told.append(f"{done}/{total} {name}"),
    )
    assert [row["id"] for row in result.rows] == ["good", "absent"]
    assert [failure.id for failure in result.failures] == ["absent"]
    assert told == ["1/2 good", "2/2 absent"]
    assert result.exit_code == 1


def test_a_single_absent_input_is_an_error(tmp_path: Path) -> None:
    """With nothing else to do, a path to nothing stops everything, before any output."""
    with pytest.raises(MissingFileError, match=r"absent\.nii"):
        _model().predict_batch([tmp_path / "absent.nii"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unreadable_voxels_are_a_content_error(head: Image) -> None:
    """`Model.predict` raises instead of collecting failures."""
    with pytest.raises(ContentError):
        _model().predict(head.data * 0)


class _FakePage:
    """A report that remembers."""

    def __init__(self, about: dict[str, object]) -> None:
        self.about, self.shown = about, []  # type: ignore[var-annotated]

    def draw(self, row: dict[str, object], pictures: object, folder: Path) -> Drawn:
        assert folder.is_dir()
        return Drawn([Html(f"<b>{row['id']} {row['volume_ml']}</b>")])

    def add(self, row: dict[str, object], drawn: Callable[[], Drawn]) -> None:
        self.shown.append(f"{row['id']} {row.get('status')} {''.join(drawn().pictures)}")

    def page(self, failures: list[tuple[str, str]], folder: Path) -> Page:
        assert folder.is_dir()
        text = f"{self.shown} {[name for name, _ in failures]}"
        return Page("Fake", lead=text, batch_of=str(self.about["name"]))


def _said(path: Path | None) -> str:
    """The lead of a page."""
    assert path is not None
    return unescape(path.read_text().partition('class="lead">')[2].partition("</p>")[0])


def test_one_report_shows_what_was_done_and_what_failed(tmp_path: Path, head: Image) -> None:
    """A second run brings it up to date, with the pictures of the first; one file gets none."""
    good = write_image(head.data, tmp_path / "good.nii.gz", head)
    model = _model(page=_FakePage)
    out = tmp_path / "out"
    result = model.predict_batch([good, tmp_path / "absent.nii.gz"], out)
    volume = result.rows[0]["volume_ml"]
    assert result.report == out / "report.html"
    assert _said(result.report) == f"['good done <b>good {volume}</b>'] ['absent']"
    more = write_image(head.data * 2, tmp_path / "more.nii.gz", head)
    again = model.predict_batch([good, more], out)
    assert again.report == out / "report.html"
    shown = [f"'{one} <b>{one.split()[0]} {volume}</b>'" for one in ("good skipped", "more done")]
    assert _said(again.report) == f"[{', '.join(shown)}] ['absent']"
    assert model.predict_batch([good], out, overwrite=True, report=False).report is None
    assert model.predict_batch([good], tmp_path / "mask.nii.gz").report is None
    assert sorted(path.name for path in out.glob("*.html")) == ["report.html"]


def test_processes_that_share_a_folder_end_with_one_page_of_all(
    tmp_path: Path, head: Image
) -> None:
    """Each ends with what the table has, whoever wrote it, and with the pictures of all."""
    out, model = tmp_path / "out", _model(page=_FakePage)
    names = ("one", "two", "three")
    scans = [write_image(head.data, tmp_path / f"{name}.nii.gz", head) for name in names]

    def meanwhile(sample: Sample, row: dict[str, object], prediction: object) -> None:
        del row, prediction
        place = names.index(sample.id) + 1
        if place < len(names):  # another process begins, and ends before this one
            model.predict_batch([scans[place]], out, on_result=meanwhile)

    result = model.predict_batch([scans[0]], out, on_result=meanwhile)
    shown = _said(result.report)
    assert all(f"{name} " in shown and f"<b>{name} " in shown for name in names)
    assert sorted(path.name for path in out.glob("*.html")) == ["report.html"]


def test_a_report_that_we_did_not_make_stays(tmp_path: Path, head: Image) -> None:
    """It is said, the results are there, and --overwrite replaces it."""
    good = write_image(head.data, tmp_path / "good.nii.gz", head)
    model = _model(page=_FakePage)
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("<!doctype html><title>Mine</title>")
    result = model.predict_batch([good], out)
    (failure,) = result.failures
    assert "report.html exists already and is no report of predictions" in failure.message
    assert not failure.of_sample
    assert "Mine" in (out / "report.html").read_text()
    assert model.predict_batch([good], out, overwrite=True).report == out / "report.html"


def test_another_model_has_a_page_beside_the_first(tmp_path: Path, head: Image) -> None:
    """Both stay up to date as long as both have results in the folder."""
    good = write_image(head.data, tmp_path / "good.nii.gz", head)
    first, second = _model(page=_FakePage), _model(page=_FakePage)
    second.predictor.__dict__.update(name="other", outputs={})
    out = tmp_path / "out"
    assert first.predict_batch([good], out).report == out / "report.html"
    assert second.predict_batch([good], out).report == out / "report-other.html"
    assert first.predict_batch([good], out).report == out / "report.html"
    assert second.predict_batch([good], out).report == out / "report-other.html"


def test_a_report_that_cannot_be_written_costs_no_results(
    tmp_path: Path, head: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full at the end is one more failure, named beside the others."""

    def full(*_: object, **__: object) -> None:
        raise OutputError("report.html could not be written: the disk is full.")

    good = write_image(head.data, tmp_path / "good.nii.gz", head)
    model = _model(page=_FakePage)
    monkeypatch.setattr(_FakePage, "page", full)
    result = model.predict_batch([good, tmp_path / "absent.nii.gz"], tmp_path / "out")
    assert [row["id"] for row in result.rows] == ["good", "absent"]
    assert [failure.id for failure in result.failures] == ["absent", "report.html"]
    assert result.report is None


def test_an_unknown_device_is_a_usage_error() -> None:
    """The class says what kind of mistake it was, and it is also a ValueError."""
    from encephalon.inference.runtimes import check_device

    with pytest.raises(UsageError):
        check_device("tpu")
    with pytest.raises(UsageError, match="Unknown device 0: expected one of auto"):
        check_device(0)  # type: ignore[arg-type]
    assert issubclass(UsageError, ValueError)
