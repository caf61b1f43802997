# SPDX-License-Identifier: Apache-2.0
"""Made-up results of a grid: 5 targets from every set of three inputs, with a known truth."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.experiments.results_table import ResultsTable, set_name
from encephalon.io.text import write_records

INPUTS = ("brain", "blood", "words")
#: What each adds to R², and to how long a training takes, as a factor.
ADDS = {"brain": 0.2, "blood": -0.05, "words": 0.0}
LONGER = {"brain": 8.0, "blood": 1.0, "words": 2.0}
SETS = [
    tuple(name for name, used in zip(INPUTS, choice, strict=True) if used)
    for choice in product((True, False), repeat=3)
]


def made_results(rng: np.random.Generator, spread: float = 0.01, **more: Any) -> ResultsTable:
    """Targets that differ much, sets that differ as above, and luck of this size."""
    rows: list[Mapping[str, Any]] = []
    for target in range(5):
        usual = 0.3 + 0.1 * rng.normal()
        for inputs in SETS:
            rows.append(
                {
                    "target": f"target {target}",
                    "domain": "made up",
                    "kind": "regression",
                    "inputs": inputs,
                    "r2": usual + sum(ADDS[name] for name in inputs) + spread * rng.normal(),
                    "minutes": 10 * float(np.prod([LONGER[name] for name in inputs])),
                    **more,
                }
            )
    return ResultsTable.of(rows)


def results_with_people(folder: Path, rng: np.random.Generator, people: int = 150) -> ResultsTable:
    """One model that tells two targets of the same people from each set, as it did.

    The brain tells much of the number, and nothing else does; of the class nothing tells anything.
    """
    truth, rows, told = rng.normal(size=people), list[Any](), list[Any]()
    hard = rng.normal(size=people)
    classes = rng.integers(2, size=people)
    for inputs in SETS:
        noise = 0.7 * hard + 0.05 * rng.normal(size=people)
        said = (0.9 if "brain" in inputs else 0.1) * truth + noise
        guess = rng.integers(2, size=people)
        about = {"inputs": set_name(inputs), "method": "model"}
        for place in range(people):
            head = {"id": f"p{place}", "group": f"family {place // 2}", **about}
            told.append({**head, "target": "size", "truth": truth[place], "predicted": said[place]})
            words = {"truth": "ab"[classes[place]], "predicted": "ab"[guess[place]]}
            told.append({**head, "target": "kind", **words})
        model = {"inputs": inputs, "domain": "all", "model": folder / "run" / "model", "minutes": 5}
        score = 1 - np.mean((said - truth) ** 2) / np.var(truth)
        rows.append({"target": "size", "kind": "regression", "r2": score, **model})
        right = np.mean([(guess == k)[classes == k].mean() for k in (0, 1)])
        rows.append({"target": "kind", "kind": "classification", "balanced_accuracy": right})
        rows[-1] |= model
    evaluation = folder / "run" / "evaluation"
    evaluation.mkdir(parents=True)
    write_records(told, evaluation / "predictions.csv")
    return ResultsTable.of(rows)
