# SPDX-License-Identifier: Apache-2.0
"""The report of a batch, as the model's study draws it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import OutputError
from encephalon.inference.batch import Failure

if TYPE_CHECKING:
    from types import ModuleType

    from encephalon.inference.batch import BatchResult, OnResult
    from encephalon.inference.outputs import OutputLayout
    from encephalon.inference.predictor import Prediction
    from encephalon.tables import Sample

REPORT = "report.html"


class ReportPage:
    """Collects what the study's report shows while a batch runs; a study may have none."""

    def __init__(
        self,
        study: ModuleType,
        about: dict[str, Any],
        layout: OutputLayout,
        on_result: OnResult | None,
    ) -> None:
        make = getattr(study, "make_report", None)
        self._page: Any = make(about) if make is not None and layout.file is None else None
        self._folder, self._on_result = layout.folder, on_result
        self._shown: set[str] = set()

    def add(self, sample: Sample, row: dict[str, Any], prediction: Prediction | None) -> None:
        if self._on_result is not None:
            self._on_result(sample, row, prediction)
        if self._page is not None and prediction is not None:
            self._page.add(row, prediction.pictures)
            self._shown.add(sample.id)

    def write(self, result: BatchResult, overwrite: bool) -> Path | None:
        """The page's path, or None: one that cannot be written is one more failure of `result`."""
        if self._page is None:
            return None
        failures = [(one.id, one.message) for one in result.failures if one.id not in self._shown]
        path = _free(self._folder / REPORT, overwrite)
        try:
            self._page.write(path, failures, overwrite=overwrite)
        except OutputError as error:
            result.failures.append(Failure(REPORT, str(error), error.with_traceback(None)))
            return None
        return path


def _free(path: Path, overwrite: bool) -> Path:
    """`path`, or the first of report-2.html, report-3.html ... where earlier ones must stay."""
    number, free = 1, path
    while free.exists() and not overwrite:
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
