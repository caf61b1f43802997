# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, as files and as a page: what is told from what, and how well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.io.atomic import make_folder, write_json
from encephalon.io.text import write_records
from encephalon.metrics.calibration import reliability
from encephalon.metrics.classification import confusion_matrix
from encephalon.reports.blocks import confusion_table, details, figure, grid, note, table
from encephalon.reports.charts import (
    DotGroup,
    Point,
    Series,
    dot_chart,
    line_chart,
    point_chart,
    scatter_chart,
)
from encephalon.reports.format import (
    Html,
    format_estimate,
    format_number,
    format_p_value,
    tag,
)
from encephalon.reports.page import Page, curve_charts
from encephalon.statistics.intervals import Interval
from encephalon.studies.legibility.evaluation import LOWER, Evaluation, Record
from encephalon.studies.legibility.predictions import ATTENTION, MODEL, WHATEVER, Predicted

__all__ = ["NAMES", "evaluation_page", "summary_of", "target_blocks", "write_tables"]

NAMES = {
    "r2": "R²",
    "pearson_r": "Correlation",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "balanced_accuracy": "Balanced accuracy",
    "macro_precision": "Macro precision",
    "macro_recall": "Macro recall",
    "macro_f1": "Macro F1",
    "roc_auc": "ROC AUC",
    "pr_auc": "Average precision",
    "mcc": "Matthews correlation",
    "brier": "Brier score",
    "calibration_error": "Expected calibration error",
    "log_loss": "Log loss",
    "accuracy": "Accuracy",
}
METHODS = {
    MODEL: "model",
    ATTENTION: "network alone",
    "mean": "mean or frequencies",
    "linear": "linear",
    "trees": "boosted trees",
    "confounds": "confounds alone",
}
#: Sets whose rows are shown before the others are folded away (our choice).
SHOWN = 16
#: Points of the curve of a receiver operating characteristic at the most (ours).
POINTS = 200


def write_tables(folder: Path, found: Evaluation) -> None:
    """Write predictions, scores, comparisons, coverage and subgroups as CSV, and summary.json."""
    make_folder(folder)
    write_records(list(_predictions(found)), folder / "predictions.csv")
    for name in ("scores", "comparisons", "coverage", "subgroups"):
        if rows := getattr(found, name):
            write_records(rows, folder / f"{name}.csv")
    write_json(folder / "summary.json", summary_of(found))


def summary_of(found: Evaluation) -> dict[str, Any]:
    """Of each target the best set, everybody's answers, the best baseline and the promise."""
    targets = {}
    for target in found.people.cohort.targets:
        rows = [row for row in found.scores if row["target"] == target]
        model = [row for row in rows if row["method"] == MODEL]
        main = {row["main"] for row in rows}
        promise = [r for r in found.promise() if r["target"] == target and r["metric"] in main]
        targets[target] = {
            "best": max(_sets(model), key=_main, default=None),
            "everybody": next((row for row in model if row["inputs"] == WHATEVER), None),
            "baseline": _best_baseline(rows, WHATEVER),
            "collapsed": [row["inputs"] for row in model if row["collapsed"]],
            "supersets": len({row["inputs"] for row in promise}),
            "worse_than_a_subset": [row for row in promise if row["gain_high"] < 0],
        }
    return {"honest": found.honest, "people": len(found.people), "targets": targets}


def evaluation_page(
    found: Evaluation,
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    title: str = "Legibility",
) -> Page:
    """The page: of each target its sets beside baselines, and what the answers are like.

    histories  rows of history.csv by the name of their network, such as "fold 0"
    """
    people, folds = len(found.people), len(found.folds)
    lead = f"{people} people, {len(found.people.cohort.targets)} targets, {folds} folds."
    page = Page(title, "Encephalon · what can be read of a person", lead)
    if not found.honest:
        words = "Nobody was left for a test: these are validation people, whose scores flatter."
        page.add(note(words, "fail"))
    page.add(_overview(found))
    for target in found.people.cohort.targets:
        page.section(target.capitalize(), *target_blocks(found, target))
    if charts := curve_charts(list(histories.items()), _curves(histories)):
        page.section("Learning curves", grid(*charts))
    words = (
        "A set is scored on the people who have all of it. Intervals are 95 % percentile bootstrap "
        "intervals of people, or of whole groups where the cohort names any; p is two-sided, from "
        "the same draws, corrected by Holm for all comparisons of a kind. All that is fitted after "
        "a network is fitted on the validation people of its fold."
    )
    return page.section("How this was scored", note(words))


def _overview(found: Evaluation) -> Html:
    rows = []
    for target, about in summary_of(found)["targets"].items():
        everybody, best, baseline = about["everybody"], about["best"], about["baseline"]
        worse = len({row["inputs"] for row in about["worse_than_a_subset"]})
        rival = baseline and f"{_called(baseline['method'])} {_estimate(baseline, everybody)}"
        rows.append(
            {
                "target": target,
                "metric": NAMES[everybody["main"]],
                "everybody": _estimate(everybody),
                "baseline": rival,
                "inputs": best and best["inputs"],
                "best": best and _estimate(best),
                "promise": f"{about['supersets'] - worse} of {about['supersets']}",
            }
        )
    columns = {
        "target": "Target",
        "metric": "Metric",
        "everybody": "Everybody, from what they have",
        "baseline": "Best baseline for them",
        "inputs": "Best set",
        "best": "Its score",
        "promise": "Sets no worse than their best subset",
    }
    return table(columns, rows)


def target_blocks(found: Evaluation, target: str) -> list[Html]:
    """A target's sets of inputs by their scores, and what everybody was answered."""
    rows = [row for row in found.scores if row["target"] == target and row["n"]]
    if not rows:
        return [note("Nobody who was tested has a known answer.", "check")]
    blocks = [
        note(f"The model says the same of everybody from {row['inputs']}.", "check")
        for row in rows
        if row["collapsed"] and row["method"] == MODEL
    ]
    blocks += _ranked(rows)
    whole = next(
        one
        for one in found.predicted
        if (one.target, one.inputs, one.method) == (target, WHATEVER, MODEL)
    )
    if whole.scored.any():
        blocks.append(grid(*_pictures(found, whole)))
    blocks += _compared([row for row in found.comparisons if row["target"] == target])
    covered = [r for r in found.coverage if (r["target"], r["inputs"]) == (target, WHATEVER)]
    parts = [r for r in found.subgroups if (r["target"], r["inputs"]) == (target, WHATEVER)]
    return [*blocks, *_parts(covered, parts)]


def _ranked(rows: Sequence[Record]) -> list[Html]:
    """The sets by the model's score, each beside the baselines, the best of those in bold."""
    main = rows[0]["main"]
    methods = dict.fromkeys(row["method"] for row in rows)
    sets = sorted(
        (row for row in rows if row["method"] == MODEL),
        key=lambda row: (row["inputs"] != WHATEVER, -_main(row)),
    )
    more = [name for name in NAMES if name in sets[0] and name != main]
    shown = []
    for row in sets:
        beside = {one["method"]: one for one in rows if one["inputs"] == row["inputs"]}
        best = _best_baseline(rows, row["inputs"])
        cells: Record = {"inputs": row["inputs"], "n": row["n"]}
        for method in methods:
            if method in beside:
                words = _estimate(beside[method], row)
                marked = best is not None and method == best["method"]
                cells[method] = tag("strong", words) if marked else words
        shown.append(cells | {name: row[name] for name in more})
    columns = {"inputs": "Inputs", "n": "People"}
    columns |= {name: f"{_called(name, title=True)}: {NAMES[main]}" for name in methods}
    charts = [
        DotGroup(row["inputs"], [], Interval.of_cells(row, main))
        for row in sets[:SHOWN]
        if np.isfinite(row[main])
    ]
    wide = {"inputs": "Inputs", **{name: NAMES[name] for name in more}}
    bold = "The best baseline of each row is in bold." if len(methods) > 1 else None
    blocks = [table(columns, shown[:SHOWN], caption=bold)]
    if charts:
        blocks.append(figure(dot_chart(charts, NAMES[main]), "The model, with 95 % intervals."))
    blocks.append(details("All metrics of the model", table(wide, shown, digits=3)))
    if len(shown) > SHOWN:
        blocks.append(details("All sets of inputs", table(columns, shown)))
    return blocks


def _pictures(found: Evaluation, one: Predicted) -> list[Html]:
    """What everybody was answered beside the truth."""
    truth = found.people.truth[one.target][one.scored]
    values = one.answered.values[one.scored]
    about = found.people.cohort.targets[one.target]
    if about.kind == "continuous":
        unit = f", {about.unit}" if about.unit else ""
        chart = scatter_chart(truth.tolist(), values[:, 0].tolist(), f"true{unit}", "predicted")
        return [figure(chart, "Everybody, from what they have; on the line, answers are right.")]
    known, called = truth.astype(np.int64), values.argmax(axis=1)
    cells = confusion_matrix(known, called, about.count).tolist()
    binary = about.count == 2
    said = values[:, 1] if binary else values.max(axis=1)
    came = known == 1 if binary else known == called
    points = [Point(b.mean_probability, b.observed, b.n) for b in reliability(said, came)]
    curves = [
        Series(name, *_roc(known == place, values[:, place]))
        for place, name in enumerate(about.classes)
        if not (binary and place == 0) and 0 < np.mean(known == place) < 1
    ]
    blocks = [
        figure(confusion_table(about.classes, cells), "Everybody, from what they have."),
        figure(point_chart(points, "probability", "observed frequency"), "Calibration."),
    ]
    if curves:
        chance = Series("guessing", (0.0, 1.0), (0.0, 1.0))
        chart = line_chart([*curves, chance], "1 - specificity", "sensitivity")
        blocks.append(figure(chart, "Sensitivity over 1 - specificity (ROC)."))
    return blocks


def _roc(positive: Any, scores: Any) -> tuple[list[float], list[float]]:
    """False and true positive rates as the threshold falls, at the end of ties."""
    order = np.argsort(-scores, kind="stable")
    hits, ranked = positive[order], scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    keep = ends[np.unique(np.linspace(0, len(ends) - 1, POINTS).astype(int))]
    rates = [np.cumsum(each)[keep] / each.sum() for each in (~hits, hits)]
    return [0.0, *rates[0].tolist()], [0.0, *rates[1].tolist()]


def _compared(rows: Sequence[Record]) -> list[Html]:
    blocks = []
    titles = {
        "subset": "Is more worse? Each set beside the best of its subsets",
        "baseline": "Beside the baselines",
        "method": "Beside the network without weighing parts",
    }
    columns = {
        "inputs": "Inputs",
        "beside": "Beside",
        "metric": "Metric",
        "n": "People",
        "first": "Model",
        "second": "The other",
        "gain": "Gain (95 % interval)",
        "p": "p, corrected",
    }
    for kind, title in titles.items():
        shown = [
            {
                **row,
                "beside": _called(row["beside"]),
                "metric": NAMES[row["metric"]],
                "gain": format_estimate(Interval.of_cells(row, "gain")),
                "p": format_p_value(row["p_corrected"]) if row["p_corrected"] >= 0 else None,
            }
            for row in rows
            if row["kind"] == kind
        ]
        if shown:
            worse = sum(row["kind"] == kind and row["gain_high"] < 0 for row in rows)
            better = sum(row["kind"] == kind and row["gain_low"] > 0 for row in rows)
            words = f"{title}: better in {better}, worse in {worse} of {len(shown)}"
            blocks.append(details(words, table(columns, shown, digits=3)))
    return blocks


def _parts(covered: Sequence[Record], parts: Sequence[Record]) -> list[Html]:
    """Coverage of everybody and of subgroups, with their scores."""
    scores = {(row["column"], row["value"]): row for row in parts}
    rows = []
    for row in covered:
        part = scores.get((row["column"], row["value"]), {})
        rows.append(
            {
                "part": f"{row['column']} {row['value']}".strip() or "everybody",
                "n": row["n"],
                "score": format_estimate(Interval.of_cells(part, "score"))
                if "score" in part
                else None,
                "coverage": format_estimate(Interval.of_cells(row, "coverage"), percent=True),
                "size": row["mean_size"],
                "unbounded": row["unbounded"] or None,
            }
        )
    if not rows:
        return []
    columns = {
        "part": "People",
        "n": "n",
        "score": NAMES[parts[0]["metric"]] if parts else "Score",
        "coverage": f"Truth held ({format_number(100 * covered[0]['promised'], 3)} % promised)",
        "size": "Mean width, or classes",
        "unbounded": "Without an end",
    }
    caption = "Intervals and sets of everybody, from what they have, and the parts of the people."
    return [table(columns, rows, digits=3, caption=caption)]


def _predictions(found: Evaluation) -> Any:
    fold = {int(row): one.number for one in found.folds for row in (*one.validation, *one.test)}
    fold |= {int(row): one.number for one in found.folds for row in one.test}
    ids = found.people.table.ids
    for one in found.predicted:
        about, truth = found.people.cohort.targets[one.target], found.people.truth[one.target]
        said = one.answered
        for row in np.flatnonzero(one.scored).tolist():
            cells: Record = {"id": ids[row], "target": one.target, "inputs": one.inputs}
            cells |= {"method": one.method, "fold": fold.get(row)}
            if about.kind == "continuous":
                cells |= {"truth": truth[row], "predicted": said.values[row, 0]}
                yield cells | {"low": said.low[row], "high": said.high[row]}
                continue
            names = about.classes
            cells |= {
                "truth": names[int(truth[row])],
                "predicted": names[said.values[row].argmax()],
            }
            cells |= {f"p_{n}": p for n, p in zip(names, said.values[row].tolist(), strict=True)}
            held = [n for n, inside in zip(names, said.may_be[row], strict=True) if inside]
            yield cells | {"may_be": " | ".join(held)}


def _sets(rows: Sequence[Record]) -> list[Record]:
    return [row for row in rows if row["inputs"] != WHATEVER and np.isfinite(_main(row))]


def _best_baseline(rows: Sequence[Record], inputs: str) -> Record | None:
    others = [r for r in rows if r["inputs"] == inputs and r["method"] not in {MODEL, ATTENTION}]
    return max((row for row in others if np.isfinite(_main(row))), key=_main, default=None)


def _main(row: Record) -> float:
    """The main metric of a row, more being better; minus infinity for none."""
    value = float(row.get(row["main"], np.nan))
    sign = -1.0 if row["main"] in LOWER else 1.0
    return -np.inf if np.isnan(value) else sign * value


def _estimate(row: Record, beside: Record | None = None) -> str:
    """The main metric with its interval, and how many people it is of if unlike those `beside`."""
    words = format_estimate(Interval.of_cells(row, row["main"]))
    return words if beside is None or row["n"] == beside["n"] else f"{words}, n = {row['n']}"


def _called(method: str, *, title: bool = False) -> str:
    """A method in words; other programs, and sets of inputs, are called as they are."""
    words = METHODS.get(method)
    return method if words is None else words.capitalize() if title else words


def _curves(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, str]:
    columns = dict.fromkeys(key for rows in histories.values() for row in rows for key in row)
    return {name: name.replace("_", " ") for name in columns if name.endswith("loss")}
