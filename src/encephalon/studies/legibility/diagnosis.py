# SPDX-License-Identifier: Apache-2.0
"""Whether a run can be believed, what more people would bring, and what is the most to be had.

Data with a known answer show that the path from tables to scores is sound (`study.diagnostic`), the
scores of shares of the people who train how they grow (`study.learning_curve`), and repeated
measurements of a target how much of it nobody can tell.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, inf, isinf
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from encephalon.errors import TableError, listed
from encephalon.experiments.cross_validation import FoldResult
from encephalon.experiments.folds import Fold, Rows
from encephalon.io.atomic import atomic_path
from encephalon.recipes.schema import Search
from encephalon.reports.blocks import badge, figure, note, paragraph, table
from encephalon.reports.charts import Series, line_chart
from encephalon.reports.format import Html, format_estimate
from encephalon.statistics.intervals import LEVEL, Interval
from encephalon.statistics.learning_curve import LearningCurve, learning_curve
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.evaluation import MAIN, Evaluation, Record, metrics_of
from encephalon.studies.legibility.folds import Validation, fold_answers
from encephalon.studies.legibility.predictions import (
    MODEL,
    WHATEVER,
    groups_of,
    model_predictions,
)

__all__ = [
    "ceiling_blocks",
    "curve_blocks",
    "curve_folds",
    "curve_records",
    "diagnostic_blocks",
    "learning_curves",
    "recoded",
    "verdicts",
    "whole_scores",
]

Diagnostic = Literal["learnable", "shuffled"]
logger = logging.getLogger(__name__)

#: Stream numbers that keep what is dealt out and who learns apart for every seed.
RECODED, NESTED = 30, 31
#: R2 from which on what can be learnt without error counts as learnt (our choice); decisions must
#: all be right.
LEARNT_R2 = 0.95
#: The mean correlation of the highest code; of all pairs alike it may be anything from 0 to 1.
HIGHEST = 0.8
SCORE = "Score (95 % interval)"
#: Multiples of the people who train that a learning curve is told for.
AHEAD = (2, 4, 10)


def recoded(people: People, how: Diagnostic, side: int, cache: Path, seed: int) -> People:
    """People of whom it is known how well they can be told: whoever has what stays the same.

    learnable  everybody has a code, as many as the most classes; all of their inputs and targets
               are that code, and nothing else
    shuffled   each target is dealt out anew among those of whom it is known
    """
    rng = np.random.default_rng([seed, RECODED])
    if how == "shuffled":
        truth = {name: values.copy() for name, values in people.truth.items()}
        for values in truth.values():
            rows = np.flatnonzero(np.isfinite(values))
            values[rows] = values[rng.permutation(rows)]
        return replace(people, truth=truth)
    codes = max(2, *(target.count for target in people.cohort.targets.values()))
    code = rng.permutation(np.arange(len(people)) % codes).astype(np.float64)
    share = code / (codes - 1)
    truth = {}
    for name, target in people.cohort.targets.items():
        known = people.truth[name]
        least, most = np.nanmin(known), np.nanmax(known)
        number, place = least + share * (most - least), np.floor(code * target.count / codes)
        told = number if target.kind == "continuous" else place
        truth[name] = np.where(np.isfinite(known), told, np.nan)
    files = [cache / "diagnostic" / f"{place}-of-{codes}.npy" for place in range(codes)]
    if people.images:
        for which, file in enumerate(files):
            with atomic_path(file) as temporary:
                np.save(temporary, np.full([side] * 3, 2 * which / (codes - 1) - 1, np.float16))
    return replace(
        people,
        truth=truth,
        images={
            name: [path and files[int(one)] for path, one in zip(paths, code, strict=True)]
            for name, paths in people.images.items()
        },
        connectivity={
            name: np.where(np.isfinite(flat), HIGHEST * share[:, None], np.nan).astype(np.float32)
            for name, flat in people.connectivity.items()
        },
        values={
            name: np.where(np.isfinite(values), share[:, None], np.nan)
            for name, values in people.values.items()
        },
    )


def whole_scores(evaluation: Evaluation) -> list[Record]:
    """Of each target the scores of everybody, told by the model from whatever they have."""
    wanted = (WHATEVER, MODEL)
    rows = (row for row in evaluation.scores if (row["inputs"], row["method"]) == wanted)
    return [row for row in rows if row["n"]]


def verdicts(evaluation: Evaluation, how: Diagnostic) -> list[Record]:
    """Whether each target came out as it must, told from whatever everybody has.

    What can be learnt must have a balanced accuracy of 1, or an R2 of LEARNT_R2; of targets that
    were dealt out anew, the interval must reach down to chance. It is wider for several targets, of
    which one is beyond chance by chance more often (Bonferroni, by the normal distribution).
    """
    targets, found = evaluation.people.cohort.targets, list[Record]()
    rows = whole_scores(evaluation)
    tail, normal = (1 - LEVEL) / 2, NormalDist()
    wider = normal.inv_cdf(tail / max(len(rows), 1)) / normal.inv_cdf(tail)
    for row in rows:
        metric, target = str(row["main"]), targets[str(row["target"])]
        score, number = Interval.of_cells(row, metric), target.kind == "continuous"
        if how == "learnable":
            wanted = LEARNT_R2 if number else 1.0
            passed = score.value >= wanted
        else:
            wanted = 0.0 if number else 1 / target.count
            passed = score.value - wider * np.nan_to_num(score.value - score.low) <= wanted
        about = {"target": row["target"], "metric": metric, "wanted": wanted}
        found.append({**about, "passed": bool(passed), **score.cells("score")})
        if not passed:
            logger.warning(
                "the diagnostic %r failed: %s of %s is %.3f, and %.3f was to be expected.",
                *(how, metric, row["target"], score.value, wanted),
            )
    return found


def curve_folds(people: People, fold: Fold, shares: Sequence[float], seed: int) -> list[Fold]:
    """The fold with ever larger parts of those who train: each has all of the one before.

    Whole groups are taken. Raises TableError, naming the share, where a part knows nothing, or one
    thing only, of a target.
    """
    owners = np.array(groups_of(people) or people.table.ids)[fold.train]
    units = np.random.default_rng([seed, NESTED]).permutation(np.unique(owners))
    found = []
    for share in sorted(shares):
        rows = fold.train[np.isin(owners, units[: ceil(share * len(units))])]
        for name, values in people.truth.items():
            if len(np.unique(values[rows][np.isfinite(values[rows])])) < 2:
                raise TableError(
                    f"{people.table.source}: of the target {name!r} the share {share:g} of those "
                    f"who train, {len(rows)} people, knows no two different values: leave the "
                    "share out of study.learning_curve, or give more people."
                )
        found.append(replace(fold, number=0, train=rows))
    return found


def learning_curves(
    cv: Validation, parts: Sequence[Fold], whole: FoldResult
) -> dict[str, LearningCurve]:
    """By target, the scores of the first fold's test people after learning from each part of it.

    Everybody is told from whatever they have, as the model is read. `whole` is what its network
    that learnt from all of them answers.
    """
    folds = cv.splits.folds
    again = replace(
        cv,
        recipe=cv.recipe_of(folds[0]),
        settings=cv.settings.model_copy(update={"search": Search()}),
    )
    sizes = [len(part.train) for part in parts]
    runs = [
        again.alone(part, f"learning-curve/{size}", networks, f"{size} people")
        for networks, (part, size) in enumerate(zip(parts, sizes, strict=True), len(folds) + 1)
    ]
    results = [run.train_folds()[0] for run in runs] + [whole]
    runs.append(replace(cv, splits=replace(cv.splits, folds=folds[:1])))
    scored: dict[str, list[Any]] = {name: [] for name in cv.dataset.truth}
    rows: dict[str, Rows] = {}
    for run, result in zip(runs, results, strict=True):
        answers = fold_answers(run, [result])
        for one in model_predictions(cv.dataset, run.splits.folds, answers, cv.settings):
            if (one.inputs, one.method) == (WHATEVER, MODEL) and one.scored.any():
                truth = cv.dataset.truth[one.target][one.scored]
                target = cv.dataset.cohort.targets[one.target]
                main = MAIN[target.kind == "continuous"]
                metric = metrics_of(one.answered.values[one.scored], truth)[main]
                scored[one.target].append(metric)
                rows[one.target] = np.flatnonzero(one.scored)
    owners, most = groups_of(cv.dataset), len(folds[0].train)
    return {
        name: learning_curve(
            [*sizes, most],
            metrics,
            [most * times for times in AHEAD],
            owners and [owners[row] for row in rows[name]],
        )
        for name, metrics in scored.items()
        if metrics
    }


def curve_records(curves: Mapping[str, LearningCurve]) -> list[Record]:
    """A row for each target and size: measured, expected by the power law, or without end."""
    found = list[Record]()
    for target, curve in curves.items():
        said = [("measured", float(size), one) for size, one in curve.scores.items()]
        said += [("expected", float(size), one) for size, one in curve.expected.items()]
        said += [("expected", inf, curve.top)] if curve.top else []
        for kind, people, one in said:
            row = {"target": target, "kind": kind, "people": people}
            found.append({**row, **one.cells("score")})
    return found


def diagnostic_blocks(found: Sequence[Record], how: Diagnostic) -> list[Html]:
    """What came of data with a known answer, for the page of the run."""
    failed = [str(row["target"]) for row in found if not row["passed"]]
    said = {
        "learnable": "Inputs and targets were replaced by codes that give each other away",
        "shuffled": "Targets were dealt out anew, so that no input knows of them",
    }[how]
    came = f", but not so for {listed(failed)}" if failed else ", and so it came out"
    must = {"learnable": "all must be told", "shuffled": "nothing may be told"}[how]
    rows = [{**row, "passed": badge("ok" if row["passed"] else "fail")} for row in found]
    columns = {"target": "Target", "metric": "Metric", "score": SCORE, "wanted": "Wanted"}
    words = f"{said}: {must}{came}. No other score on this page says anything of these people."
    return [note(words, "check" if failed else "info"), _table(columns | {"passed": ""}, rows)]


def curve_blocks(curves: Mapping[str, LearningCurve]) -> list[Html]:
    """How scores grow with the people who train, for the page of the run."""
    series = [
        Series(target, [float(size) for size in curve.scores], [s.value for s in said])
        for target, curve in curves.items()
        for said in [curve.scores.values()]
    ]
    words = (
        "Each point is a network that learnt from so many people, told from whatever there is and "
        "tested on the same people of the first fold. What is expected of more people follows from "
        "a power law; its interval is that of the test, not of another training."
    )
    rows = [
        {**row, "people": "without end" if isinf(row["people"]) else int(row["people"])}
        for row in curve_records(curves)
    ]
    columns = {"target": "Target", "kind": "", "people": "People", "score": SCORE}
    chart = line_chart(series, "people who train", "score", whole=True)
    return [paragraph(words), figure(chart), _table(columns, rows)]


def ceiling_blocks(rows: Sequence[Record]) -> list[Html]:
    """The most that can be told of each target, for the page of the run."""
    words = (
        "People who are measured again do not quite agree with themselves, and so far nobody can "
        "tell what was measured."
    )
    columns = {"target": "Target", "metric": "Metric", "score": "At most (95 % interval)"}
    columns |= {"source": "Known from", "people": "People with two sessions"}
    return [paragraph(words), _table(columns, rows)]


def _table(columns: Mapping[str, str], rows: Sequence[Record]) -> Html:
    """The rows, each score with its interval."""
    scores = ({"score": format_estimate(Interval.of_cells(row, "score"))} for row in rows)
    return table(columns, [row | score for row, score in zip(rows, scores, strict=True)], digits=3)
