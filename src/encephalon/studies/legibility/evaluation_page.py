# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, as files and as a page: what is told from what, and how well.

And the page of a grid: what each of its models tells, side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encephalon.evaluation.report import METRICS
from encephalon.experiments.grid import axis_words
from encephalon.experiments.grid_folder import CellState
from encephalon.io.atomic import make_folder, write_json
from encephalon.io.text import write_records
from encephalon.metrics.calibration import checked_probabilities, reliability
from encephalon.metrics.classification import confusion_matrix
from encephalon.models.folder import open_model
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
    capitalised,
    format_estimate,
    format_number,
    format_p_value,
    tag,
)
from encephalon.reports.page import Page, curve_charts
from encephalon.statistics.intervals import Interval
from encephalon.statistics.weighted_metric import roc_curve
from encephalon.studies.legibility.evaluation import Evaluation, Record
from encephalon.studies.legibility.predictions import (
    ATTENTION,
    MODEL,
    WHATEVER,
    Predicted,
    groups_of,
)
from encephalon.studies.legibility.settings import Cohort

__all__ = ["compare_people", "evaluation_page", "summary_of", "target_blocks", "write_tables"]

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

#: The axis of a grid that is told by the inputs themselves.
INPUTS = "study.inputs"
HONEST = (
    "Each score is of people whom the network that was asked had not learnt from, told from "
    "whatever they have of the inputs, with its 95 % interval over people or their groups. What "
    "tells nothing has an R² of 0, or the balanced accuracy of 1 divided by the number of classes."
)


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
            "best": _best([row for row in model if row["inputs"] != WHATEVER]),
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
    people, folds = len(found.people), len({*found.fold.tolist()} - {-1})
    lead = f"{people} people, {len(found.people.cohort.targets)} targets, {folds} folds."
    page = Page(title, "Encephalon · what can be read of a person", lead)
    if not found.honest:
        words = "Nobody was left for a test: these are validation people, whose scores flatter."
        page.add(note(words, "fail"))
    page.add(_overview(found))
    for target in found.people.cohort.targets:
        page.section(capitalised(target), *target_blocks(found, target))
    if charts := curve_charts(list(histories.items()), _curves(histories)):
        page.section("Learning curves", grid(*charts))
    words = (
        "A set is scored on the people who have all of it. Intervals are 95 % percentile bootstrap "
        "intervals of people, or of whole groups where the cohort names any; p is two-sided, from "
        "the same draws, corrected by Holm for all comparisons of a kind. All that is fitted after "
        "a network is fitted on the validation people of its fold."
    )
    return page.section("How this was scored", note(words))


def compare_people(cells: Sequence[CellState], output: Path) -> Path:
    """Write comparison.csv and comparison.html of finished cells; returns the page.

    A row for each cell and target: its main metric with the ends of its interval, as the model
    itself says it. The models of a cross-validation have all been taught everybody in the end, so
    that their evaluation on the same table would flatter them.
    """
    rows = [row for number, cell in enumerate(cells, start=1) for row in _told(number, cell)]
    write_records(rows, output / "comparison.csv")
    kicker = "Encephalon · legibility"
    page = Page("Comparison", kicker, f"{len(cells)} models.", dated=False)
    models = list({row["model"]: row for row in rows}.values())
    page.add(table({"model": "Model", "trained": "Trained with", "inputs": "Inputs"}, models))
    of_target: dict[str, list[Record]] = {}
    for row in rows:
        of_target.setdefault(row["target"], []).append(row)
    columns = {"target": "Target", "metric": "Metric"} | {
        row["model"]: row["model"] for row in models
    }
    told = [
        {"target": name, "metric": METRICS[some[0]["metric"]]}
        | {row["model"]: format_estimate(Interval.of_cells(row, "score")) for row in some}
        for name, some in of_target.items()
    ]
    page.add(table(columns, told), note(HONEST))
    for name, some in of_target.items():
        groups = [DotGroup(row["model"], (), Interval.of_cells(row, "score")) for row in some]
        page.section(name, figure(dot_chart(groups, METRICS[some[0]["metric"]])))
    return page.write(output / "comparison.html", overwrite=True)


def _overview(found: Evaluation) -> Html:
    rows = []
    for target, about in summary_of(found)["targets"].items():
        everybody, best, baseline = about["everybody"], about["best"], about["baseline"]
        worse = len({row["inputs"] for row in about["worse_than_a_subset"]})
        supersets = about["supersets"]
        rival = baseline and f"{_called(baseline['method'])} {_estimate(baseline, everybody)}"
        rows.append(
            {
                "Target": target,
                "Metric": METRICS[everybody["main"]],
                "Everybody, from what they have": _estimate(everybody),
                "Best baseline for them": rival,
                "Best set": best and best["inputs"],
                "Its score": best and _estimate(best),
                "Sets no worse than their best subset": f"{supersets - worse} of {supersets}",
            }
        )
    return table(list(rows[0]), rows)


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
    main, of = rows[0]["main"], {(row["inputs"], row["method"]): row for row in rows}
    methods = dict.fromkeys(row["method"] for row in rows)
    sets = sorted(
        (row for row in rows if row["method"] == MODEL),
        key=lambda row: (row["inputs"] != WHATEVER, -_main(row)),
    )
    more = [name for name in METRICS if name in sets[0] and name != main]
    shown = []
    for row in sets:
        best = _best_baseline(rows, row["inputs"])
        cells: Record = {name: row[name] for name in ("inputs", "n", *more)}
        for method in methods:
            if one := of.get((row["inputs"], method)):
                words = _estimate(one, row)
                cells[method] = tag("strong", words) if one is best else words
        shown.append(cells)
    columns = {"inputs": "Inputs", "n": "People"}
    columns |= {name: f"{_called(name, title=True)}: {METRICS[main]}" for name in methods}
    charts = [
        DotGroup(row["inputs"], [], Interval.of_cells(row, main))
        for row in sets[:SHOWN]
        if np.isfinite(row[main])
    ]
    wide = {"inputs": "Inputs", **{name: METRICS[name] for name in more}}
    bold = "The best baseline of each row is in bold." if len(methods) > 1 else None
    blocks = [table(columns, shown[:SHOWN], caption=bold)]
    if charts:
        blocks.append(figure(dot_chart(charts, METRICS[main]), "The model, with 95 % intervals."))
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
    known = truth.astype(np.int64)
    cells = confusion_matrix(known, values.argmax(axis=1), about.count).tolist()
    bins = reliability(*checked_probabilities(values, known))
    points = [Point(each.mean_probability, each.observed, each.n) for each in bins]
    curves = [
        Series(name, *map(np.ndarray.tolist, roc_curve(known == place, values[:, place])))
        for place, name in enumerate(about.classes)
        if (place or about.count > 2) and 0 < np.mean(known == place) < 1
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


def _compared(rows: Sequence[Record]) -> list[Html]:
    blocks = []
    titles = {
        "subset": "Is more worse? Each set beside the best of its subsets",
        "baseline": "Beside the baselines",
        "method": "Beside the network without weighing parts",
    }
    for kind, title in titles.items():
        of_kind = [row for row in rows if row["kind"] == kind]
        shown = [
            {
                "Inputs": row["inputs"],
                "Beside": _called(row["beside"]),
                "Metric": METRICS[row["metric"]],
                "People": row["n"],
                "Model": row["first"],
                "The other": row["second"],
                "Gain (95 % interval)": format_estimate(Interval.of_cells(row, "gain")),
                "p, corrected": format_p_value(row["p_corrected"]),
            }
            for row in of_kind
        ]
        if shown:
            worse = sum(row["gain_high"] < 0 for row in of_kind)
            better = sum(row["gain_low"] > 0 for row in of_kind)
            words = f"{title}: better in {better}, worse in {worse} of {len(shown)}"
            blocks.append(details(words, table(list(shown[0]), shown, digits=3)))
    return blocks


def _parts(covered: Sequence[Record], parts: Sequence[Record]) -> list[Html]:
    """Coverage of everybody and of subgroups, with their scores."""
    if not covered:
        return []
    promised = format_number(100 * covered[0]["promised"], 3)
    rows = [
        {
            "People": f"{row['column']} {row['value']}".strip() or "everybody",
            "n": row["n"],
            METRICS[part["metric"]]: format_estimate(Interval.of_cells(part, "score")),
            f"Truth held ({promised} % promised)": format_estimate(
                Interval.of_cells(row, "coverage"), percent=True
            ),
            "Mean width, or classes": row["mean_size"],
            "Without an end": row["unbounded"] or None,
        }
        for row, part in zip(covered, parts, strict=True)
    ]
    caption = "Intervals and sets of everybody, from what they have, and the parts of the people."
    return [table(list(rows[0]), rows, digits=3, caption=caption)]


def _predictions(found: Evaluation) -> Any:
    ids, fold, groups = found.people.table.ids, found.fold.tolist(), groups_of(found.people)
    for one in found.predicted:
        about, truth = found.people.cohort.targets[one.target], found.people.truth[one.target]
        said = one.answered
        for row in np.flatnonzero(one.scored).tolist():
            cells: Record = {"id": ids[row], "target": one.target, "inputs": one.inputs}
            cells |= {"method": one.method, "fold": fold[row]}
            cells |= {"group": groups[row]} if groups else {}
            if about.kind == "continuous":
                cells |= {"truth": truth[row], "predicted": said.values[row, 0]}
                yield cells | {"low": said.low[row], "high": said.high[row]}
                continue
            names, called = about.classes, said.values[row].argmax()
            cells |= {"truth": names[int(truth[row])], "predicted": names[called]}
            cells |= {f"p_{n}": p for n, p in zip(names, said.values[row].tolist(), strict=True)}
            held = [n for n, inside in zip(names, said.may_be[row], strict=True) if inside]
            yield cells | {"may_be": " | ".join(held)}


def _best_baseline(rows: Sequence[Record], inputs: str) -> Record | None:
    own = {MODEL, ATTENTION}
    return _best([r for r in rows if r["inputs"] == inputs and r["method"] not in own])


def _best(rows: Sequence[Record]) -> Record | None:
    """The row whose main metric is the largest; None where none has one."""
    return max((row for row in rows if np.isfinite(_main(row))), key=_main, default=None)


def _main(row: Record) -> float:
    """The main metric of a row, minus infinity for none."""
    return float(np.nan_to_num(row.get(row["main"], np.nan), nan=-np.inf))


def _estimate(row: Record, beside: Record | None = None) -> str:
    """The main metric with its interval, and how many people it is of if unlike those `beside`."""
    words = format_estimate(Interval.of_cells(row, row["main"]))
    return words if beside is None or row["n"] == beside["n"] else f"{words}, n = {row['n']}"


def _called(method: str, *, title: bool = False) -> str:
    """A method in words; other programs, and sets of inputs, are called as they are."""
    words = METHODS.get(method)
    return method if words is None else capitalised(words) if title else words


def _curves(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, str]:
    columns = dict.fromkeys(key for rows in histories.values() for row in rows for key in row)
    return {name: name.replace("_", " ") for name in columns if name.endswith("loss")}


def _told(number: int, cell: CellState) -> Iterator[Record]:
    about = open_model(cell.folder / "run" / "model").description
    inputs = ", ".join(Cohort.model_validate(about.recipe["study"]["cohort"]).inputs)
    trained = {axis: value for axis, value in cell.values.items() if axis != INPUTS}
    model = {"model": f"Model {number}", "trained": ", ".join(axis_words(trained))}
    for target, scores in about.scores.items():
        main = next(name for name in METRICS if name in scores)
        score = Interval.of_cells(scores, main).cells("score")
        yield {**model, "inputs": inputs, "target": target, "metric": main, **score}
