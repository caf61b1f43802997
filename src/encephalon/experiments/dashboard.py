# SPDX-License-Identifier: Apache-2.0
"""What the dashboard of a grid shows, as JSON holds it.

targets  each with its domain, kind, and what the statistics say of its best inputs
units    inputs that are told apart, those that always go together as one
sets     sets of inputs, by the places of their units
cells    a column a key, a place in it for each target and set: the mean over seeds and folds
models   folders and pages, as links from the page, and the losses of their training
details  curves of the answers, by the place of the cell
effects, costs, graph
         see `input_effects`, `costs` and `target_graph`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import isfinite
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from encephalon.evaluation.report import METRICS as TITLES
from encephalon.experiments.analyses import Analyses
from encephalon.experiments.costs import costs
from encephalon.experiments.curves import best_first, losses_of
from encephalon.experiments.grid_folder import GridStatus
from encephalon.experiments.results_table import ENDS, MAIN, ResultsTable, inputs_of, set_name
from encephalon.io.atomic import json_text
from encephalon.io.files import is_file

__all__ = ["dashboard_data", "with_status"]

#: Metrics whose best value is the smallest one.
LOWER = {"mae", "rmse", "brier", "calibration_error", "log_loss", "loss"}
#: The ends of the scale of colours of a metric: what tells nothing, or chance, and what is perfect.
SCALES = {
    **dict.fromkeys(("balanced_accuracy", "macro_recall"), ("chance", 1)),
    **dict.fromkeys(("roc_auc", "micro_auc"), (0.5, 1)),
    **dict.fromkeys(("r2", "pearson_r", "macro_precision", "macro_f1", "pr_auc", "mcc"), (0, 1)),
}
NAMES = {**TITLES, "micro_auc": "ROC AUC over both classes", "loss": "Loss"}
METHODS = {
    "published": "Mixed model, as published",
    "crossed": "Mixed model, crossed",
    "paired": "Pairs of models",
    "people": "People, in each target",
}
DIGITS = 5


def dashboard_data(
    found: Analyses, folder: Path, status: GridStatus | None = None, *, live: float | None = None
) -> dict[str, Any]:
    """What the page in `folder` shows of these analyses.

    status  of the grid that they are of
    live    seconds after which a page that is served asks for news
    """
    results = found.results
    units = results.units()
    among = _sets(results, units)
    cells, models = _cells(results, list(among))
    best = {each.target: each for each in found.best}
    places = {name: place for place, name in enumerate(among)}
    targets = [_target(results, name, best.get(name), places) for name in results.targets]
    about = results.overview()
    kinds = {kind: MAIN[kind] for kind in MAIN if (results.frame["kind"] == kind).any()}
    data = {
        "title": (status.title or status.grid) if status else Path(results.source).stem,
        "lead": _lead(about),
        "cards": _cards(about),
        "about": about,
        "main": kinds,
        "domains": results.domains,
        "units": [{"name": name} for name in units.values()],
        "sets": [{"name": name, "units": held} for name, held in among.items()],
        "targets": targets,
        "metrics": {name: _metric(name) for name in results.metrics},
        "metrics_of": {kind: _metrics_of(results, kind) for kind in kinds},
        "cells": cells,
        "models": _models(results, models, folder),
        "details": _details(found, cells, list(among)),
        "effects": [each.record() for each in found.effects],
        "methods": METHODS,
        "costs": _costs(found),
        "cost_titles": {"measured": "What is measured", "all": "Every input"},
        "others": "what is known without measuring",
        "graph": found.graph.record() if found.graph else None,
        "no_graph": found.no_graph,
        "status": _status(status),
        "live": live,
    }
    return _versioned(_plain(data))


def with_status(data: Mapping[str, Any], status: GridStatus) -> dict[str, Any]:
    """The same of a grid that is elsewhere meanwhile."""
    return _versioned({**data, "status": _plain(_status(status))})


def _versioned(data: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in data.items() if key != "version"}
    return {**rest, "version": f'"{sha256(json_text(rest).encode()).hexdigest()[:16]}"'}


def _lead(about: Mapping[str, Any]) -> str:
    return (
        f"{about['rows']} results: {about['targets']} targets from {about['sets']} sets of inputs."
    )


def _cards(about: Mapping[str, Any]) -> dict[str, Any]:
    cards = {"models": about["trainings"], "targets": about["targets"]}
    cards |= {"sets of inputs": about["sets"], "hours of training": about["hours"]}
    if about["classifications"]:
        cards["classifications near chance"] = (
            f"{about['classifications_near_chance']} of {about['classifications']}"
        )
    return cards


def _sets(results: ResultsTable, units: Mapping[str, str]) -> dict[str, list[int]]:
    """Of each set of inputs the places of its units."""
    found = {}
    for name in dict.fromkeys(results.frame["inputs"]):
        held = inputs_of(name)
        found[name] = [place for place, first in enumerate(units) if first in held]
    return found


def _cells(results: ResultsTable, sets: Sequence[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """The columns of all targets and sets, and the paths of the models they are of."""
    models = [path for path in dict.fromkeys(results.frame["model"]) if path]
    places = {path: place for place, path in enumerate(models)}
    metrics = [f"{name}{end}" for name in results.metrics for end in ENDS]
    shown = [name for name in (*metrics, "minutes", "n") if results.frame[name].notna().any()]
    groups = results.frame.groupby(["target", "inputs"], sort=False)
    means = groups[shown].mean()
    targets = {name: place for place, name in enumerate(results.targets)}
    columns: dict[str, list[Any]] = {
        "target": [targets[target] for target, _ in means.index],
        "set": [sets.index(inputs) for _, inputs in means.index],
        "models": [[places[path] for path in paths if path] for _, paths in groups["model"]],
        **{name: list(means[name]) for name in shown},
    }
    return columns, models


def _details(
    found: Analyses, cells: Mapping[str, Sequence[int]], sets: Sequence[str]
) -> dict[str, Any]:
    names = found.results.targets
    keys = [(names[t], sets[s]) for t, s in zip(cells["target"], cells["set"], strict=True)]
    known = found.answers.details
    return {str(place): known[key] for place, key in enumerate(keys) if key in known}


def _target(
    results: ResultsTable, name: str, best: Any, places: Mapping[str, int]
) -> dict[str, Any]:
    row = results.where(target=name).frame.iloc[0]
    about: dict[str, Any] = {"name": name, "best": None}
    about |= {key: row[key] for key in ("domain", "kind", "chance")}
    if best is not None:
        about["best"] = best.record() | {
            "set": places[best.inputs],
            "equal": [places[each] for each in best.equal],
        }
    return about


def _metric(name: str) -> dict[str, Any]:
    return {"title": NAMES[name], "lower": name in LOWER, "range": SCALES.get(name)}


def _metrics_of(results: ResultsTable, kind: str) -> list[str]:
    """The metrics of a kind of target, its main one first."""
    here = results.frame[results.frame["kind"] == kind]
    known = [name for name in results.metrics if here[name].notna().any()]
    return sorted(known, key=lambda name: name != MAIN[kind])


def _models(results: ResultsTable, models: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """What is known of each model: links as far as they lead somewhere, and its losses."""
    best = [path for path in dict.fromkeys(best_first(results)["model"]) if path]
    losses = losses_of(Path(path).parent for path in best)
    return [
        _links(Path(path), folder) | {"history": losses.get(Path(path).parent, [])}
        for path in models
    ]


def _links(path: Path, folder: Path) -> dict[str, Any]:
    run = path.parent
    there = {
        "card": path / "README.md",
        "training": run / "report.html",
        "evaluation": run.parent / "evaluation" / "report.html",
    }
    links = {name: _link(each, folder) for name, each in there.items() if is_file(each)}
    return {"name": run.parent.name, "model": f"{_link(path, folder)}/", **links}


def _link(path: Path, folder: Path) -> str:
    return quote(Path(relpath(path, folder)).as_posix())


def _costs(found: Analyses) -> dict[str, list[dict[str, Any]]]:
    """By what is measured, blocks of what else is known aside, and by every input."""
    results = found.results
    measured = [name for name in results.inputs if name not in results.domains]
    told = {"measured": (costs(results, measured), measured)} if measured else {}
    told["all"] = (list(found.costs), list(results.inputs))
    if measured and len(told["measured"][0]) == len(found.costs):
        del told["measured"]
    trainings = results.trainings.dropna(subset="minutes")
    shown = {}
    for key, (rows, among) in told.items():
        names = [set_name(n for n in inputs_of(s) if n in among) for s in trainings["inputs"]]
        minutes = trainings["minutes"].groupby(np.array(names, dtype=object)).apply(list)
        shown[key] = [row.record() | {"points": minutes[row.inputs]} for row in rows]
    return shown


def _status(status: GridStatus | None) -> dict[str, Any] | None:
    if status is None:
        return None
    counts = {name: len(status.of(name)) for name in ("done", "failed", "left")}
    failures = [{"name": each.name, "message": each.message} for each in status.of("failed")]
    time = {"seconds": status.seconds, "seconds_left": status.seconds_left}
    return {"cells": len(status.cells), **counts, **time, "failures": failures}


def _plain(value: Any) -> Any:
    """The same with None for what is no number, and no more digits than are read."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
