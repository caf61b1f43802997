# SPDX-License-Identifier: Apache-2.0
"""The results of many models in one tidy table: a row says how well one tells one target.

    target, domain, kind   what is told, of which domain, "classification" or "regression"
    inputs, has_NAME       what it is told from, "t1 + flair", and whether each input is among them
    METRIC, METRIC_low, METRIC_high
                           scores, and the ends of their intervals where there are any
    minutes                that training took
    seed, fold, model      of the training, and the folder of its model; "" where they are not known
    n                      people who were scored
    chance                 what the main metric is of who knows nothing: 0 of R², 1 / classes

The published table of 700 models is read as well, and written: see `experiments.published_table`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from encephalon.errors import TableError, either, quoted
from encephalon.experiments.published_table import from_published, is_published, to_published
from encephalon.io.files import expanded
from encephalon.tables.kinds import numbers_of
from encephalon.tables.reading import read_table, write_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "KINDS",
    "MAIN",
    "MARGIN",
    "METRICS",
    "InputSet",
    "ResultsTable",
    "read_results",
    "set_name",
]

InputSet = tuple[str, ...]
Row = Mapping[str, Any]

#: The metric that results are ranked by, of numbers and of classes, as published.
MAIN = {"regression": "r2", "classification": "balanced_accuracy"}
KINDS = tuple(MAIN)
#: What is too little to matter, of balanced accuracy and of R²: the published study counts what is
#: below 0.52 as no better than chance.
MARGIN = 0.02
METRICS = (
    *("r2", "pearson_r", "mae", "rmse"),
    *("balanced_accuracy", "macro_precision", "macro_recall", "macro_f1", "roc_auc", "micro_auc"),
    *("pr_auc", "mcc", "brier", "calibration_error", "log_loss", "accuracy", "loss"),
)
"""All that may be scored; "micro_auc" is the area of the published table, over both classes."""
#: The least and the largest that each number can be, by its definition; `loss` may be anything.
LIMITS = {
    **dict.fromkeys(METRICS[4:], (0.0, 1.0)),
    **dict.fromkeys(("r2", "chance"), (-inf, 1.0)),
    **dict.fromkeys(("pearson_r", "mcc"), (-1.0, 1.0)),
    **dict.fromkeys(("mae", "rmse", "log_loss", "minutes", "n"), (0.0, inf)),
    "brier": (0.0, 2.0),
    "loss": (-inf, inf),
}
SLACK = 1e-6
"""Of a score that was rounded, or added up, a little beyond its limit."""
WORDS = ("target", "domain", "kind", "inputs", "seed", "fold", "model")
NUMBERS = ("minutes", "n", "chance")
#: Words that a table of results must have.
NEEDED = ("target", "kind", "inputs")
TWO_CLASSES = 0.5
HAS, ENDS = "has_", ("", "_low", "_high")


@dataclass(frozen=True, eq=False)
class ResultsTable:
    """Results of models, a row a model and target; see the columns above.

    frame   the rows; of each metric that any of them has there are three columns
    source  where they come from, for messages
    """

    frame: pd.DataFrame = field(repr=False)
    source: str = "the results"

    @classmethod
    def of(cls, rows: Iterable[Row], source: str = "the results") -> Self:
        """The table of these rows, whose "inputs" are names in a sequence, or as `set_name` writes.

        What a row does not say is "" or NaN. Raises TableError, naming the row, for a kind that is
        none, for a number that cannot be, for the same model twice with one target, and for no rows
        at all.
        """
        import pandas as pd

        known = list(rows)
        if not known:
            raise TableError(f"{source} has no rows: there is nothing to analyse.")
        sets = [inputs_of(row["inputs"]) for row in known]
        # In the order of the largest set, which names most of them.
        names = dict.fromkeys(n for inputs in sorted(sets, key=len)[::-1] for n in inputs)
        columns: dict[str, Any] = {word: [_word(row.get(word)) for row in known] for word in WORDS}
        columns["inputs"] = [set_name(n for n in names if n in inputs) for inputs in sets]
        columns |= {f"{HAS}{name}": [name in inputs for inputs in sets] for name in names}
        scored = [name for name in METRICS if any(row.get(name) is not None for row in known)]
        for name in [*(f"{name}{end}" for name in scored for end in ENDS), *NUMBERS]:
            columns[name] = np.array([_number(row.get(name)) for row in known])
        frame = pd.DataFrame(columns)
        _check(frame, source)
        usual = (frame["kind"] == "classification") * TWO_CLASSES
        frame["chance"] = frame["chance"].fillna(usual)
        return cls(frame, source)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.frame)

    @cached_property
    def inputs(self) -> InputSet:
        """Every input that any row has."""
        return tuple(str(n)[len(HAS) :] for n in self.frame.columns if str(n).startswith(HAS))

    @property
    def targets(self) -> list[str]:
        """Every target, in the order of its first row."""
        return list(dict.fromkeys(self.frame["target"]))

    @property
    def domains(self) -> list[str]:
        """Every domain, in the order of its first row."""
        return list(dict.fromkeys(self.frame["domain"]))

    @property
    def metrics(self) -> list[str]:
        """The metrics that any row has."""
        return [name for name in METRICS if name in self.frame.columns]

    def score(self, end: str = "") -> pd.Series[float]:
        """The main metric of each row, or an end of its interval, "_low" or "_high"."""
        found = self.frame["minutes"] * np.nan
        for kind, main in MAIN.items():
            if f"{main}{end}" in self.frame.columns:
                found = found.mask(self.frame["kind"] == kind, self.frame[f"{main}{end}"])
        return found.rename(f"score{end}")

    def heatmap(self) -> pd.DataFrame:
        """The main metric, a mean over seeds and folds: a row a set of inputs, the smaller first.

        A column a target, in the order of their first rows; NaN where there is no such result.
        """
        frame = self.frame.assign(score=self.score())
        found = frame.pivot_table("score", "inputs", "target", sort=False, dropna=False)
        sizes = [len(inputs_of(name)) for name in found.index]
        order = np.argsort(sizes, kind="stable")
        return found.reindex(columns=self.targets).iloc[order]

    @property
    def trainings(self) -> pd.DataFrame:
        """A row a training: of a model that answers to several sets, that of its largest."""
        size = self.frame[[f"{HAS}{name}" for name in self.inputs]].sum(axis=1)
        largest = self.frame.loc[size.sort_values(ascending=False, kind="stable").index]
        again = largest["model"].ne("") & largest.duplicated("model")
        return largest[~again].sort_index()

    def overview(self) -> dict[str, Any]:
        """How much there is, how long it took, and how many classifications tell nothing."""
        classes = self.where(kind="classification")
        above = (classes.score() - classes.frame["chance"]).round(9)
        return {
            "rows": len(self),
            "targets": len(self.targets),
            "sets": int(self.frame["inputs"].nunique()),
            "trainings": len(self.trainings),
            "hours": float(self.trainings["minutes"].sum()) / 60,
            "classifications": len(classes),
            "classifications_near_chance": int((above < MARGIN).sum()),
            "classifications_at_chance": int((above == 0).sum()),
        }

    def where(self, **values: str) -> ResultsTable:
        """The rows that have these values: `where(target="age")`."""
        frame = self.frame
        for column, value in values.items():
            frame = frame[frame[column] == value]
        return ResultsTable(frame.reset_index(drop=True), self.source)

    def units(self) -> dict[str, str]:
        """What can be told apart: inputs that are used by some rows and not by others.

        Those that always are used together are one, "t1 + flair", by the first of them.
        """
        used = {name: tuple(self.frame[f"{HAS}{name}"]) for name in self.inputs}
        together: dict[tuple[bool, ...], list[str]] = {}
        for name, rows in used.items():
            if len(set(rows)) > 1:
                together.setdefault(rows, []).append(name)
        return {names[0]: set_name(names) for names in together.values()}

    def write(self, path: str | os.PathLike[str], *, published: bool = False) -> Path:
        """Write CSV, TSV or Parquet by the suffix of `path`, over what is there; returns it.

        published  in the columns of the published table

        Paths of models are written from the folder of the file. Raises OutputError where nothing
        can be written, TableError for another suffix, and MissingExtraError for Parquet without the
        extra `parquet`.
        """
        if published:
            return write_table(to_published(self.frame, self.inputs), path, overwrite=True)
        folder = expanded(path).parent
        models = [model and os.path.relpath(model, folder) for model in self.frame["model"]]
        return write_table(self.frame.assign(model=models), path, overwrite=True)


def read_results(path: str | os.PathLike[str]) -> ResultsTable:
    """The results in a file: those that `ResultsTable.write` wrote, or the published table.

    CSV, TSV, Parquet or Excel. Raises MissingFileError, and TableError for a file that lacks
    columns, for a cell that is not what it must be, which is named, and as `ResultsTable.of` does.
    """
    table = read_table(path)
    if is_published(table):
        return ResultsTable.of(from_published(table), table.source)
    lacking = [name for name in NEEDED if not table.has(name)]
    scored = [name for name in METRICS if table.has(name)]
    if lacking or not scored:
        wanted = quoted(lacking) if lacking else f"any score ({', '.join(MAIN.values())}, ...)"
        raise TableError(
            f"{table.source} is no table of results: it lacks {wanted}; it has "
            f"{quoted(table.frame.columns)}. Give one that  encephalon grid report  wrote, or the "
            "published one."
        )
    ends = [f"{name}{end}" for name in scored for end in ENDS]
    numbers = {name: numbers_of(table, name) for name in (*ends, *NUMBERS) if table.has(name)}
    words = {name: table.texts(name) for name in WORDS if table.has(name)}
    if "model" in words:
        paths = (cell and os.path.normpath(table.path(cell)) for cell in words["model"])
        words["model"] = list(paths)
    columns: dict[str, Any] = {**words, **numbers}
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return ResultsTable.of(rows, table.source)


def set_name(inputs: Iterable[str]) -> str:
    """A set of inputs as it is written, such as "t1 + flair"."""
    return " + ".join(inputs)


def inputs_of(words: str | Sequence[str]) -> InputSet:
    """The inputs of a set, or of how `set_name` writes it."""
    named = words.split("+") if isinstance(words, str) else words
    return tuple(name for each in named if (name := each.strip()))


def _check(frame: pd.DataFrame, source: str) -> None:
    for place, (kind, target) in enumerate(zip(frame["kind"], frame["target"], strict=True)):
        if kind not in MAIN or not target:
            what = f"kind is {kind!r}, not {either(KINDS)}" if target else "target is empty"
            raise TableError(f"{source}, result {place + 1}: {what}: correct it.")
    for name, (least, most) in LIMITS.items():
        for column in (f"{name}{end}" for end in ENDS if f"{name}{end}" in frame):
            wrong = (frame[column] < least - SLACK) | (frame[column] > most + SLACK)
            if wrong.any():
                place = int(wrong.to_numpy().argmax())
                raise TableError(
                    f"{source}, result {place + 1}: {column} is {frame[column].iloc[place]:g}, "
                    f"which is not between {least:g} and {most:g}: correct it, or leave it empty."
                )
    twice = frame.duplicated(["target", "inputs", "seed", "fold", "model"])
    if twice.any():
        row = frame[twice].iloc[0]
        raise TableError(
            f"{source}, result {int(twice.to_numpy().argmax()) + 1}: {row['target']!r} from "
            f"{row['inputs'] or 'nothing'} is there before, of the same seed, fold and model: "
            "leave one of them out, or tell their seeds apart."
        )


def _word(value: Any) -> str:
    return "" if value is None else str(value)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
