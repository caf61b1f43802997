# SPDX-License-Identifier: Apache-2.0
"""The sections of a training run's page that say what it learnt from, and what it decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from encephalon.reports import Html, badge, note, paragraph, table, tag
from encephalon.reports.markup import join, number
from encephalon.studies.micrographs.recipe import class_names, micrograph_settings
from encephalon.studies.micrographs.traffic_light import FIGURES, RATIOS

if TYPE_CHECKING:
    from encephalon.recipes.schema import Recipe
    from encephalon.studies.micrographs.decision import Decision
    from encephalon.studies.micrographs.parting import Plan

__all__ = ["audit_blocks", "data_blocks", "decision_blocks"]


def data_blocks(recipe: Recipe, plan: Plan) -> list[Html]:
    """How many images, groups and classes each part of the table has."""
    used = plan.table
    group, target = used.columns.group, str(used.columns.target)
    classes = used.texts(target)
    owners = used.texts(group) if group else used.ids
    parts = _parts(plan)
    rows = [
        _part_row(name, [classes[row] for row in members], [owners[row] for row in members])
        for name, members in parts.items()
    ]
    found = [name for name in dict.fromkeys([*class_names(recipe), *classes]) if name]
    columns = {"part": "Part", "n": "Images"} | ({"groups": group.capitalize()} if group else {})
    columns |= {name: name for name in found}
    blocks = [table(columns, rows, caption="Images of each class in each part.")]
    covariates = [
        {"column": name, "value": value or "–", "n": count}
        for name in used.columns.covariates
        if used.has(name) and used.columns.covariates[name] != "number"
        for value, count in sorted(Counter(used.texts(name)).items())
    ]
    if covariates:
        blocks.append(table({"column": "Covariate", "value": "Value", "n": "Images"}, covariates))
    return blocks


def _parts(plan: Plan) -> dict[str, list[int]]:
    """Rows of the table by what they were used for."""
    if plan.crossed:
        parts = {f"tested in fold {fold.number}": fold.test for fold in plan.folds}
    else:
        fold = plan.folds[0]
        parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    parts |= {"held out": plan.held_out, "only scored": plan.others}
    return {name: [int(row) for row in rows] for name, rows in parts.items() if len(rows)}


def _part_row(name: str, classes: Sequence[str], owners: Sequence[str]) -> dict[str, Any]:
    counts = {label: count for label, count in Counter(classes).items() if label}
    return {"part": name, "n": len(classes), "groups": len(set(owners)), **counts}


def audit_blocks(plan: Plan) -> list[Html]:
    """What the parts of the split know of each other."""
    kind = "info" if plan.audit.clean else "fail"
    return [note(each, kind) for each in plan.audit.sentences()]


def decision_blocks(decision: Decision, recipe: Recipe) -> list[Html]:
    """The calibration and the thresholds that were fitted on validation predictions."""
    blocks: list[Html] = []
    calibration = decision.calibration
    if calibration is None:
        blocks.append(note(f"The probabilities are not calibrated (score: {decision.score})."))
    else:
        biases = ", ".join(f"{value:+.3f}".replace("-", "−") for value in calibration.bias)
        words = (
            f"Temperature {number(calibration.temperature, 3)}, biases {biases}: fitted on the "
            "validation predictions. In its tests a fold uses what its own validation part gave. "
            "The network that ships has learnt more rows than those of the folds, and only rows "
            "that were held out can say whether its probabilities are as right."
        )
        blocks.append(paragraph(words))
    if decision.pair is None:
        why = (
            "there are more than two classes" if len(class_names(recipe)) > 2 else "no pair scores"
        )
        return [*blocks, note(f"There is no traffic light: {why}.")]
    return [*blocks, *_thresholds(decision, recipe)]


def _thresholds(decision: Decision, recipe: Recipe) -> list[Html]:
    pair, wishes = decision.pair, micrograph_settings(recipe).thresholds
    if pair is None:
        return []
    means: dict[tuple[float, float], list[Mapping[str, float]]] = {}
    for row in (row for rows in decision.scored for row in rows):
        if abs(row["green"] + row["amber"] - 1) < 1e-9:
            means.setdefault((row["green"], row["amber"]), []).append(row)
    names = (*FIGURES, *RATIOS)
    rows = [
        {
            "pair": _pair_name(key, key == (pair.green, pair.amber)),
            "folds": len(found),
            **{name: sum(row[name] for row in found) / len(found) for name in names},
        }
        for key, found in sorted(means.items())
    ]
    rows.append(
        {
            "pair": "SD of the chosen",
            "folds": pair.folds,
            **{name: pair.sd[name] for name in names},
        }
    )
    columns = {"pair": "Green / amber", "folds": "Folds"}
    columns |= {name: name.replace("_", " ").replace("youden", "Youden J") for name in names}
    columns = {key: label[0].upper() + label[1:] for key, label in columns.items()}
    amber = "left out" if wishes.amber == "excluded" else "counted as negative"
    words = (
        f"Green up to {pair.green:g}, red above {pair.amber:g}: the symmetric pair, at most "
        f"{wishes.widest:g} apart, with the highest mean Youden J over the validation folds, amber "
        f"{amber}. Means over the folds that have both classes; all pairs are in thresholds.csv."
    )
    return [paragraph(words), table(columns, rows, digits=3)]


def _pair_name(pair: tuple[float, float], chosen: bool) -> Html | str:
    words = f"{pair[0]:.2f} / {pair[1]:.2f}"
    return join(tag("strong", words), " ", badge("chosen")) if chosen else words
