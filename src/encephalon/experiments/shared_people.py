# SPDX-License-Identifier: Apache-2.0
"""Several models on the very people whom all of them told something of, drawn together.

What such models have over each other is seen far better than by their own intervals, because the
people who are hard for one are hard for all. The predictions lie beside each model, in the folder
`evaluation` of its run: id, target, inputs, method, truth, predicted, and perhaps the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.experiments.results_table import ResultsTable
from encephalon.io.files import is_file
from encephalon.io.text import read_records
from encephalon.metrics.classification import decision_metrics
from encephalon.metrics.regression import regression_metrics
from encephalon.statistics.intervals import affordable_repeats, draw_weights
from encephalon.statistics.weighted_metric import WeightedMetric
from encephalon.tables.encoding import as_number

__all__ = ["FEWEST", "SharedPeople", "shared_people"]

Values = NDArray[np.float64]
#: The method of a row of the predictions that is the model's own.
MODEL = "model"
#: People whom all must have in common, at the least (our choice).
FEWEST = 20


@dataclass(frozen=True, eq=False)
class SharedPeople:
    """The main score of S rows of results, on the same people.

    people  whom all of them were scored on
    scores  (S,)
    draws   (R, S), with people, or their groups, drawn again
    unseen  (R, S), on those who were not drawn
    """

    people: int
    scores: Values = field(repr=False)
    draws: Values = field(repr=False)
    unseen: Values = field(repr=False)


def shared_people(results: ResultsTable, *, seed: int = 0) -> SharedPeople | None:
    """The rows of one target on the people whom all share; None where these are not known.

    That is so where a row has no predictions beside its model, or they share fewer than FEWEST.
    """
    frame, told = results.frame, list[Mapping[str, Mapping[str, str]]]()
    files = {model: predictions_file(model) for model in set(frame["model"])}
    known = {model: _read(path) for model, path in files.items() if path is not None}
    for row in frame.to_dict("records"):
        by_person = known.get(row["model"], {}).get((row["target"], row["inputs"]))
        if not by_person:
            return None
        told.append(by_person)
    ids = sorted(set(told[0]).intersection(*told[1:]))
    if len(ids) < FEWEST:
        return None
    metrics = [_metric([one[name] for name in ids], frame["kind"].iloc[0]) for one in told]
    groups = [told[0][name].get("group") or f"person {name}" for name in ids]
    repeats = affordable_repeats(len(ids))
    weights = draw_weights(len(ids), groups, repeats=repeats, seed=seed).astype(np.float64)
    return SharedPeople(
        len(ids),
        np.array([one.value for one in metrics]),
        np.stack([one.weigh(weights) for one in metrics], axis=1),
        np.stack([one.weigh((weights == 0).astype(np.float64)) for one in metrics], axis=1),
    )


def predictions_file(model: str) -> Path | None:
    """The predictions beside a model in its run; None where there are none."""
    path = Path(model).parent / "evaluation" / "predictions.csv"
    return path if model and is_file(path) else None


def _read(path: Path) -> dict[tuple[str, str], dict[str, dict[str, str]]]:
    """The rows of each target and set of inputs, by person."""
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in read_records(path)[1]:
        if row.get("method", MODEL) == MODEL and row["predicted"] and row["truth"]:
            found.setdefault((row["target"], row["inputs"]), {})[row["id"]] = row
    return found


def _metric(rows: Sequence[Mapping[str, str]], kind: str) -> WeightedMetric:
    """The main metric of what was said of these people."""
    truth, said = ([row[name] for row in rows] for name in ("truth", "predicted"))
    if kind == "regression":
        numbers = (np.array([as_number(cell) for cell in cells]) for cells in (truth, said))
        return regression_metrics(*numbers)["r2"]
    names, places = np.unique([*truth, *said], return_inverse=True)
    known, called = places[: len(rows)], places[len(rows) :]
    return decision_metrics(known, called, len(names))["macro_recall"]
