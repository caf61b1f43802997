# SPDX-License-Identifier: Apache-2.0
"""Curves of single models, small enough that those of a whole grid fit on one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError
from encephalon.experiments.results_table import ResultsTable
from encephalon.experiments.shared_people import predictions_file, told_of_people
from encephalon.io.files import is_file
from encephalon.io.text import read_records
from encephalon.metrics.classification import confusion_matrix
from encephalon.statistics.weighted_metric import roc_curve
from encephalon.tables.encoding import as_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Answers", "answers_of", "best_first", "losses_of"]

Key = tuple[str, str]
K = TypeVar("K")
V = TypeVar("V")
#: Points of a ROC curve, people of a scatter, and epochs of a curve, at the most.
POINTS, PEOPLE, EPOCHS = 40, 120, 20
#: Characters of all answers, and of all losses: a page of 700 cells stays below 6 MB with its
#: libraries, which have 5.1 of them.
ROOM = 250_000
LOSSES = {"train": "train_loss", "val": "val_loss"}


@dataclass(frozen=True)
class Answers:
    """What the models of a grid told of people, each model read once.

    details  curves by target and set of inputs, of the best model of these
    truth    (P,) what is true of the people of each target, NaN where that is not known
    """

    details: Mapping[tuple[str, str], Mapping[str, Any]]
    truth: Mapping[str, NDArray[np.float64]]


def best_first(results: ResultsTable) -> pd.DataFrame:
    """The rows: the best of each target, then the second of each, and so on."""
    ranks = results.score().groupby(results.frame["target"]).rank(ascending=False, method="first")
    return results.frame.loc[ranks.sort_values(kind="stable").index]


def answers_of(results: ResultsTable) -> Answers:
    """The answers that lie beside the models of these results; none where there are none."""
    rows = best_first(results)
    best = rows.drop_duplicates(["target", "inputs"])
    kinds = dict(zip(best["target"], best["kind"], strict=True))
    details, truth = dict[tuple[str, str], dict[str, Any]](), dict[str, dict[str, str]]()
    for model in filter(None, dict.fromkeys(rows["model"])):
        told, own = _told(model), best[best["model"] == model]
        for key in zip(own["target"], own["inputs"], strict=True):
            if people := list(told.get(key, {}).values()):
                draw = _scatter if kinds[key[0]] == "regression" else _classes
                details[key] = draw(people)
        for (target, _), by_person in told.items():
            known = truth.setdefault(target, {})
            known.update({name: row["truth"] for name, row in by_person.items()})
    order = list(zip(best["target"], best["inputs"], strict=True))
    return Answers(_within(details, order), _values(truth, kinds))


def _told(model: str) -> dict[Key, dict[str, dict[str, str]]]:
    """What was told by target and set of inputs, and by person; nothing where it cannot be read."""
    found: dict[Key, dict[str, dict[str, str]]] = {}
    try:
        for row in told_of_people(predictions_file(model)):
            found.setdefault((row["target"], row["inputs"]), {})[row["id"]] = row
    except (EncephalonError, KeyError):  # which the statistics have logged
        return {}
    return found


def _within(details: Mapping[K, V], order: Sequence[K]) -> dict[K, V]:
    """Those that there is room for, in this order."""
    found, used = dict[K, V](), 0
    for key in order:
        if key in details:
            used += len(json.dumps(details[key]))
            if used > ROOM:
                break
            found[key] = details[key]
    return found


def _values(
    truth: Mapping[str, Mapping[str, str]], kinds: Mapping[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Numbers, and 0 and 1 of two classes, of the same people; more classes have no values."""
    names = sorted({name for by_person in truth.values() for name in by_person})
    found = {}
    for target, by_person in truth.items():
        cells = [by_person.get(name, "") for name in names]
        classes = sorted({cell for cell in cells if cell})
        if kinds.get(target) == "regression":
            found[target] = np.array([as_number(cell) for cell in cells])
        elif target in kinds and len(classes) == 2:
            numbers = {classes[0]: 0.0, classes[1]: 1.0}
            found[target] = np.array([numbers.get(cell, np.nan) for cell in cells])
    return found


def losses_of(runs: Iterable[Path]) -> dict[Path, list[dict[str, Any]]]:
    """The losses of every training in the folders of runs, by epoch, as far as there is room.

    runs  the most wanted first
    """
    known = {run: _trainings(run) for run in runs}
    return _within(known, list(known))


def _trainings(run: Path) -> list[dict[str, Any]]:
    files = [run / "history.csv", run / "final" / "history.csv"]
    files += sorted((run / "folds").glob("*/history.csv"))
    return [each for path in files if is_file(path) and (each := _losses(path, run))]


def _losses(path: Path, run: Path) -> dict[str, Any] | None:
    try:
        _, rows = read_records(path)
    except EncephalonError:
        return None
    if not rows:
        return None
    kept = [rows[place] for place in np.unique(np.linspace(0, len(rows) - 1, EPOCHS).astype(int))]
    name = " ".join(path.parent.relative_to(run).parts).replace("folds", "fold") or "run"
    found: dict[str, Any] = {"name": name, "epoch": [as_number(r["epoch"]) for r in kept]}
    for part, column in LOSSES.items():
        if kept[0].get(column):
            found[part] = [_short(as_number(row[column])) for row in kept]
    return found


def _scatter(people: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    chosen = people[:: max(1, -(-len(people) // PEOPLE))]
    truth, told = ([_short(row[name]) for row in chosen] for name in ("truth", "predicted"))
    return {"scatter": {"truth": truth, "told": told, "of": len(people)}}


def _classes(people: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    names = sorted({row[name] for row in people for name in ("truth", "predicted")})
    true, told = ([names.index(row[name]) for row in people] for name in ("truth", "predicted"))
    counts = confusion_matrix(true, told, len(names))
    found: dict[str, Any] = {"confusion": {"names": names, "counts": counts.tolist()}}
    column = f"p_{names[-1]}"
    if len(names) == 2 and all(row.get(column) for row in people):
        positive = np.array([row["truth"] == names[-1] for row in people])
        chances = np.array([as_number(row[column]) for row in people])
        x, y = roc_curve(positive, chances, POINTS)
        curve = {"x": [_short(each) for each in x], "y": [_short(each) for each in y]}
        found["roc"] = {"positive": names[-1], **curve}
    return found


def _short(value: str | float) -> float:
    return float(f"{float(value):.4g}")
