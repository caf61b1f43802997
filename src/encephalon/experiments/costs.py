# SPDX-License-Identifier: Apache-2.0
"""How long trainings took, by their sets of inputs, and how long others will take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from encephalon.errors import TableError
from encephalon.experiments.grid import traits_of
from encephalon.experiments.results_table import ResultsTable, inputs_of, set_name
from encephalon.statistics.forecast import Forecast, forecast_total
from encephalon.statistics.intervals import bootstrap_weighted, mean_of

__all__ = ["CostOfSet", "costs", "forecast_minutes"]


@dataclass(frozen=True)
class CostOfSet:
    """How long trainings on a set of inputs took.

    minutes, low, high  the mean of one, with its 95 % interval over trainings
    """

    inputs: str
    trainings: int
    minutes: float
    low: float
    high: float
    median: float
    shortest: float
    longest: float
    hours: float

    def record(self) -> dict[str, Any]:
        """A row of a table."""
        return asdict(self)


def costs(results: ResultsTable, among: Collection[str] | None = None) -> list[CostOfSet]:
    """What each set of inputs cost, the dearest together first; those without minutes are left out.

    among  the inputs that sets are told apart by; all of them if None. What has none of them is ""
    """
    known = results.trainings.dropna(subset="minutes")
    names = [
        set_name(name for name in inputs_of(inputs) if among is None or name in among)
        for inputs in known["inputs"]
    ]
    found = []
    for name, took in known["minutes"].groupby(np.array(names, dtype=object)):
        mean = bootstrap_weighted(took.to_numpy(), mean_of)
        ends = (float(took.median()), float(took.min()), float(took.max()), float(took.sum()) / 60)
        found.append(CostOfSet(str(name), len(took), mean.value, mean.low, mean.high, *ends))
    return sorted(found, key=lambda each: -each.hours)


def forecast_minutes(results: ResultsTable, wanted: Sequence[Mapping[str, Any]]) -> Forecast:
    """What trainings with these traits, see `traits_of`, will take together, by those measured.

    Raises TableError where the results have no minutes.
    """
    known = results.trainings.dropna(subset="minutes")
    if known.empty:
        raise TableError(f"{results.source}: no result has minutes: there is nothing to go by.")
    about = zip(known["target"], known["inputs"], strict=True)
    traits = [
        traits_of({"inputs": inputs_of(inputs), "target": target}) for target, inputs in about
    ]
    return forecast_total(traits, known["minutes"], wanted)
