# SPDX-License-Identifier: Apache-2.0
"""The report of a batch, as the model's study draws it: one page, brought up to date by each run.

The pictures of each sample are kept in the folder `report` beside the page as soon as there are
any, so that the page shows what earlier runs and other processes did, and memory does not grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import EncephalonError, OutputError
from encephalon.inference.one_sample import Failure
from encephalon.inference.predictions_table import MARK, STATUS, read_rows, typed
from encephalon.inference.resume import exists_already
from encephalon.io.atomic import make_folder, sweep, write_json
from encephalon.io.text import read_json
from encephalon.models.card import CARD_SECTIONS, UNKNOWN
from encephalon.models.catalogue import info_of
from encephalon.reports.drawn import Drawn
from encephalon.reports.format import Html
from encephalon.reports.model_card import model_card
from encephalon.reports.page import batch_of

if TYPE_CHECKING:
    from encephalon.inference.batch import BatchResult
    from encephalon.inference.outputs import OutputLayout
    from encephalon.inference.predictor import Prediction, Predictor
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile
    from encephalon.studies.base import Study
    from encephalon.tables.samples import Sample

REPORT = "report.html"
Row = Mapping[str, Any]

_LARGEST = 1 << 28  # bytes of the pictures of one sample


class ReportPage:
    """Keeps what the study's report shows while a batch runs; a study may have none."""

    def __init__(
        self,
        study: Study,
        predictor: Predictor,
        layout: OutputLayout,
        files: ModelFolder | PublishedFile | None = None,
    ) -> None:
        """Keep what `predictor` shows; the card on the page is that of `files`."""
        self._files = files
        make, about = study.page, predictor.describe()
        self._make = partial(make, about) if make is not None and layout.file is None else None
        self._page = self._make() if self._make else None
        self._layout, self._model = layout, predictor.name
        self._pictures = layout.folder / Path(REPORT).stem

    def add(self, sample: Sample, row: dict[str, Any], prediction: Prediction) -> None:
        """Keep the pictures of one prediction, before anything of it is written."""
        del sample
        if self._page is None:
            return
        if not self._pictures.is_dir():
            make_folder(self._pictures)
        drawn = self._page.draw(row, prediction.pictures, self._pictures)
        if drawn.pictures:
            kept = {"Id": row["id"], MARK: row.get(MARK), "Pictures": list(drawn.pictures)}
            write_json(self._place(row), kept | {"Thumbnail": drawn.thumbnail})

    def write(self, result: BatchResult, overwrite: bool) -> Path | None:
        """The page's path, or None: one that cannot be written is one more failure of `result`."""
        if self._make is None:
            return None
        try:
            with self._layout.alone():
                sweep(self._pictures)
                return self._write(result, overwrite)
        except OutputError as error:
            failure = Failure(REPORT, str(error), error.with_traceback(None), of_sample=False)
            result.failures.append(failure)
            return None

    def _write(self, result: BatchResult, overwrite: bool) -> Path:
        earlier = read_rows(self._layout.table) if self._layout.table else []
        path = self._free({str(row["model"]) for row in earlier}, overwrite)
        report, failed = self._make(), dict[str, str]()  # type: ignore[misc]
        # The rows of the table, with what became of each in this run, and those it does not have.
        rows: dict[str, Row] = {
            str(row["id"]): typed(row) for row in earlier if row["model"] == self._model
        }
        for row in result.rows:
            kept = rows.get(str(row["id"]))
            # What was tried in vain leaves the result that is there.
            if kept is None or kept.get("error") or row.get(STATUS) != "failed":
                rows[str(row["id"])] = row
        for name, shown in rows.items():
            if shown.get("error") and shown.get("quality") != "fail":
                failed[name] = str(shown["error"])
            else:
                report.add(shown, partial(self._load, shown))
        drawn = {row["id"] for row in result.rows if row.get("quality") == "fail"}
        told = {one.id: one.message for one in result.failures if one.of_sample}
        failed |= {name: message for name, message in told.items() if name not in drawn}
        page = report.page(list(failed.items()), self._pictures)
        if self._files is not None and (card := _card(self._files)) is not None:
            page.section("Card of the model", card)
        return page.write(path, overwrite=True)

    def _place(self, row: Row) -> Path:
        # Ids may be longer than the name of a file, and differ in what a file system does not see.
        name = sha256(f"{self._model}\n{row['id']}".encode("utf-8", "surrogateescape"))
        return self._pictures / f"{name.hexdigest()[:16]}.json"

    def _load(self, row: Row) -> Drawn:
        """The pictures of a row, if they are of that very result."""
        try:
            kept = read_json(self._place(row), _LARGEST)
            if kept[MARK] != (row.get(MARK) or None):
                return Drawn()
            small = kept.get("Thumbnail")
            return Drawn([Html(each) for each in kept["Pictures"]], Html(small) if small else None)
        except (EncephalonError, LookupError, TypeError, AttributeError):
            return Drawn()

    def _free(self, models: set[str], overwrite: bool) -> Path:
        """Where the page goes: beside that of another model whose results are still there.

        Raises OutputExistsError for a page that is none of a batch, unless `overwrite`.
        """
        path = self._layout.folder / REPORT
        owner = batch_of(path)
        if owner in models - {self._model}:
            path = path.with_stem(f"{path.stem}-{self._model}")
            owner = batch_of(path)
        if owner is None and not overwrite:
            raise exists_already(path, "exists already and is no report of predictions")
        return path


def _card(files: ModelFolder | PublishedFile) -> Html | None:
    """The card of a model; None for weights that nobody has said anything of."""
    about = info_of(files)
    if "card" not in about:
        return None
    told = {CARD_SECTIONS[key]: text for key, text in about["card"].items() if text != UNKNOWN}
    told["Licence"] = about["licence"]
    return model_card(told, about["figures"], about["missing"])
