# SPDX-License-Identifier: Apache-2.0
"""Several models on the very people whom all of them told something of, drawn together.

What such models have over each other is seen far better than by their own intervals, because the
people who are hard for one are hard for all. The predictions lie beside each model, in the folder
`evaluation` of its run: id, target, inputs, method, truth, predicted, and perhaps the group.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError
from encephalon.experiments.results_table import ResultsTable
from encephalon.io.files import is_file
from encephalon.io.text import read_records
from encephalon.metrics.classification import decision_metrics
from encephalon.metrics.regression import regression_metrics
from encephalon.statistics.intervals import affordable_repeats, draw_weights
from encephalon.statistics.weighted_metric import WeightedMetric
from encephalon.tables.encoding import as_number

__all__ = ["FEWEST", "SharedPeople", "predictions_file", "shared_people", "told_of_people"]

Values = NDArray[np.float64]
#: Of each person the truth, what was predicted, and the group, as text.
Answers = dict[str, tuple[str, str, str]]
logger = logging.getLogger(__name__)
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


def shared_people(results: ResultsTable, *, seed: int = 0) -> dict[str, SharedPeople]:
    """Of each target its rows on the people whom all share; without the targets of which none are.

    That is so where a row has no predictions beside its model, or they share fewer than FEWEST.
    Predictions that cannot be read are logged.
    """
    try:
        parts = {name: _shared(results.where(target=name), seed) for name in results.targets}
    finally:
        _read.cache_clear()
    return {name: part for name, part in parts.items() if part is not None}


def _shared(part: ResultsTable, seed: int) -> SharedPeople | None:
    told = list[Answers]()
    for row in part.frame.to_dict("records"):
        known = _read(predictions_file(row["model"])) if row["model"] else {}
        if not (answers := known.get((row["target"], row["inputs"]))):
            return None
        told.append(answers)
    ids = sorted(set(told[0]).intersection(*told[1:]))
    if len(ids) < FEWEST:
        return None
    metrics = [_metric([one[name] for name in ids], part.frame["kind"].iloc[0]) for one in told]
    groups = [told[0][name][2] or f"person {name}" for name in ids]
    repeats = affordable_repeats(len(ids))
    weights = draw_weights(len(ids), groups, repeats=repeats, seed=seed).astype(np.float64)
    return SharedPeople(
        len(ids),
        np.array([one.value for one in metrics]),
        np.stack([one.weigh(weights) for one in metrics], axis=1),
        np.stack([one.weigh((weights == 0).astype(np.float64)) for one in metrics], axis=1),
    )


def predictions_file(model: str) -> Path:
    """Where the predictions beside a model in its run lie, if there are any."""
    return Path(model).parent / "evaluation" / "predictions.csv"


def told_of_people(path: Path) -> Iterator[dict[str, str]]:
    """The rows of predictions that are the model's own and can be scored; none without a file.

    Raises the errors of `read_records`, and KeyError for a file of something else.
    """
    for row in read_records(path)[1] if is_file(path) else ():
        if row.get("method", MODEL) == MODEL and row["predicted"] and row["truth"]:
            yield row


@lru_cache(maxsize=8)  # of models that answer to many targets and sets there are few
def _read(path: Path) -> dict[tuple[str, str], Answers]:
    """What a model says, by target and set of inputs; nothing where that cannot be read."""
    found: dict[tuple[str, str], Answers] = {}
    try:
        for row in told_of_people(path):
            cells = row["truth"], row["predicted"], row.get("group", "")
            found.setdefault((row["target"], row["inputs"]), {})[row["id"]] = cells
    except (EncephalonError, KeyError) as error:
        logger.warning("%s: its people are not drawn: %s", path, error)
        return {}
    return found


def _metric(rows: Sequence[tuple[str, str, str]], kind: str) -> WeightedMetric:
    """The main metric of what was said of these people."""
    truth, said, _ = zip(*rows, strict=True)
    if kind == "regression":
        numbers = (np.array([as_number(cell) for cell in cells]) for cells in (truth, said))
        return regression_metrics(*numbers)["r2"]
    names, places = np.unique([*truth, *said], return_inverse=True)
    known, called = places[: len(rows)], places[len(rows) :]
    return decision_metrics(known, called, len(names))["macro_recall"]
