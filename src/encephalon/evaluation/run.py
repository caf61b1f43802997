# SPDX-License-Identifier: Apache-2.0
"""Score a loaded model on a table with known answers: one order of work for every study.

Case after case is predicted and scored; one that fails is listed while the others go on, and what
takes long is kept on disk, so that an evaluation that was broken off goes on. Then all scores are
summarised, and the tables, summary.json and report.html are written.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from encephalon.errors import EncephalonError, MissingFileError, TableError
from encephalon.inference.one_sample import failure_sentence
from encephalon.io.atomic import prove_writable, refuse_existing, write_json, write_text
from encephalon.io.cache import fingerprint
from encephalon.io.files import expanded, is_file
from encephalon.io.text import read_json, write_records
from encephalon.reports.blocks import note, table
from encephalon.reports.format import Html, format_number
from encephalon.reports.page import Page

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress
    from encephalon.tables.samples import Sample

__all__ = [
    "STOPS",
    "CaseResult",
    "EvaluationResult",
    "Named",
    "ResultCache",
    "Scorable",
    "evaluate",
    "read_summary",
]

Row = dict[str, Any]

#: What stops one case, or one method of it, and not the evaluation.
STOPS = (EncephalonError, OSError, MemoryError)
#: Bytes of a summary, which has some kilobytes.
LARGEST = 64 << 20


class Named(Protocol):
    """One case: what it is called, also as a file, and the sample that it is made from."""

    @property
    def name(self) -> str:
        """The name of the case; no other one of the evaluation has it."""
        ...

    @property
    def sample(self) -> Sample:
        """The sample that is predicted."""
        ...


CaseT = TypeVar("CaseT", bound=Named)
SummaryT = TypeVar("SummaryT")


@dataclass(frozen=True)
class CaseResult:
    """What came of one case: its rows of the scores, what failed of it, and its pictures."""

    rows: list[Row]
    failures: tuple[str, ...] = ()
    pictures: tuple[Html, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class EvaluationResult(Generic[SummaryT]):
    """The outcome: the rows of the scores, what they say together, and what was not scored.

    `failures` are ids and sentences, `lines` the main metrics as text, and `told` the summary as
    plain data for programs.
    """

    folder: Path
    rows: list[Row]
    summary: SummaryT
    failures: list[dict[str, str]]
    lines: tuple[str, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """The main metrics as a few lines of text."""
        failed = (f"failed: {each['id']}: {each['message']}" for each in self.failures)
        return "\n".join([*self.lines, *failed, f"written to {self.folder}"])

    def as_dict(self) -> dict[str, Any]:
        """What the command line prints for programs."""
        return {"folder": self.folder, "rows": self.rows, **self.told, "failures": self.failures}


class Scorable(ABC, Generic[CaseT, SummaryT]):
    """One evaluation of a model on a table: what a study says of each case and of all together.

    It is made from a loaded model and the path of a table, and raises TableError for a table that
    cannot be used, and UsageError for a model that cannot be scored.
    """

    #: The tables that are written beside summary.json and report.html.
    tables: tuple[str, ...] = ("scores.csv",)
    #: The settings that results depend on, where they take so long that they are kept on disk.
    kept_with: Any = None

    @abstractmethod
    def cases(self) -> Sequence[CaseT]:
        """All cases, in the order of their rows."""

    @abstractmethod
    def score(self, case: CaseT) -> CaseResult:
        """Predict one case and score it against its truth; an error fails this case alone."""

    @abstractmethod
    def summarise(self, rows: list[Row]) -> SummaryT | None:
        """What all scores say together; None where nothing was scored."""

    def lines(self, summary: SummaryT) -> Iterable[str]:
        """The main metrics as lines of text: here each number of what is told."""
        told = self.told(summary).items()
        return [f"{name} {format_number(each)}" for name, each in told if isinstance(each, float)]

    def told(self, summary: SummaryT) -> Mapping[str, Any]:
        """The summary as plain data for programs: here its fields, or the mapping that it is."""
        plain = cast(Any, summary)
        return asdict(plain) if is_dataclass(summary) else dict(plain)

    def record(self, result: EvaluationResult[SummaryT]) -> Mapping[str, Any]:
        """What summary.json says."""
        return result.told

    def page(self, result: EvaluationResult[SummaryT], failures: Sequence[Html]) -> Page:
        """What report.html shows; `failures` are notes to stand below its main metrics."""
        page = Page("Evaluation", ", ".join(result.lines))
        return page.add(*failures, table(list(result.rows[0]), result.rows))

    def take(self, result: CaseResult) -> list[Row]:
        """The rows of a case, new or kept, as the table has them; keeps what the page will show."""
        return result.rows

    def files(self, case: CaseT) -> list[Path]:
        """The files that a result depends on."""
        return list(case.sample.inputs.values())

    def rows(self, result: EvaluationResult[SummaryT]) -> Mapping[str, Sequence[Row]]:
        """The rows of each of the `tables`."""
        return {self.tables[0]: result.rows}


def evaluate(
    study: Scorable[CaseT, SummaryT],
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EvaluationResult[SummaryT]:
    """Score every case, and write the tables, summary.json and report.html in `output`.

    Results that are kept are used again for the same model, options and files; `overwrite` begins
    anew. Raises OutputExistsError and OutputError before any work, and TableError where nothing
    could be scored.
    """
    folder = Path(output)
    for name in (*study.tables, "summary.json", "report.html"):
        refuse_existing(folder / name, overwrite)
    prove_writable(folder)
    rows, failures = _scored(study, ResultCache(folder / "cells", forget=overwrite), progress)
    summary = study.summarise(rows)
    if summary is None:
        first = failures[0]["message"] if failures else "there is no case."
        count = len({case.sample.id for case in study.cases()})
        raise TableError(f"None of the {count} rows could be scored; first: {first}")
    lines, told = tuple(study.lines(summary)), study.told(summary)
    result = EvaluationResult(folder, rows, summary, failures, lines, told)
    for name, content in study.rows(result).items():
        write_records(content, folder / name)
    write_json(folder / "summary.json", study.record(result))
    notes = [note(f"{each['id']}: {each['message']}", "fail") for each in failures]
    study.page(result, notes).write(folder / "report.html", overwrite)
    return result


def read_summary(folder: Path) -> Any:
    """What summary.json in the folder of an evaluation says; MissingFileError for none."""
    path = expanded(folder) / "summary.json"
    if not is_file(path):
        raise MissingFileError(
            f"{folder}: there is no summary.json: give folders that  encephalon evaluate  wrote."
        )
    return read_json(path, LARGEST)


def _scored(
    study: Scorable[CaseT, SummaryT], cache: ResultCache, progress: Progress | None
) -> tuple[list[Row], list[dict[str, str]]]:
    """The rows of all cases, and what failed: once where many cases of a sample fail alike."""
    rows: list[Row] = []
    failures: list[dict[str, str]] = []
    cases = study.cases()
    for done, case in enumerate(cases, start=1):
        key = None if study.kept_with is None else fingerprint(study.kept_with, study.files(case))
        found = cache.load(case.name, key) if key else None
        if found is None:
            try:
                found = study.score(case)
            except STOPS as error:
                found = CaseResult([], (failure_sentence(case.sample, error),))
            if key and not found.failures:
                cache.save(case.name, key, found)
        rows += study.take(found)
        for message in found.failures:
            entry = {"id": case.sample.id, "message": message}
            if entry not in failures:
                failures.append(entry)
        if progress is not None:
            progress(done, len(cases), case.name)
    return rows, failures


class ResultCache:
    """The folder of finished cases; those made from something else count as not done."""

    def __init__(self, folder: Path, *, forget: bool = False) -> None:
        self._folder, self._forget = folder, forget

    def load(self, name: str, key: str) -> CaseResult | None:
        """The case of that name if its `fingerprint` is `key`; None where it must be made."""
        path = self._folder / f"{name}.json"
        if self._forget or not path.is_file():
            return None
        try:
            found: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
            if found["made_from"] != key:
                return None
            return CaseResult(list(found["rows"]), pictures=tuple(map(Html, found["pictures"])))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def save(self, name: str, key: str, result: CaseResult) -> None:
        """Keep a finished case, whole or not at all; raises OutputError."""
        content = {"made_from": key, "rows": result.rows, "pictures": result.pictures}
        # Not json_text: Python alone reads these files, and NaN must come back as NaN.
        write_text(self._folder / f"{name}.json", json.dumps(content, ensure_ascii=False) + "\n")
