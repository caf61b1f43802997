# SPDX-License-Identifier: Apache-2.0
"""A whole cross-validation: its networks, their predictions beside the baselines, and its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from encephalon.evaluation.assessment import Assessment, assess, compare
from encephalon.evaluation.comparison import correct
from encephalon.evaluation.predictions import Predictions, prediction_rows
from encephalon.experiments.attribution import Attribution
from encephalon.experiments.baselines import run_baselines
from encephalon.experiments.classifiers import ClassNetwork, ClassValidation
from encephalon.experiments.out_of_fold import OutOfFold, RowPredictions, out_of_fold
from encephalon.experiments.report import CrossValidationResult, write_training_report
from encephalon.io.atomic import write_json
from encephalon.io.text import write_records

__all__ = ["cross_validate"]


def cross_validate(cv: ClassValidation) -> tuple[CrossValidationResult, ClassNetwork]:
    """Train the networks of `cv`, and write evaluation and page; the result, and what ships.

    What is finished in its folder is not done again.
    """
    folds = cv.train_folds()
    final = cv.train_final(folds)
    cv.run.finishing()
    found = out_of_fold(cv, folds, final)
    _write_predictions(cv, found)
    histories = {"network": final.history}
    if cv.splits.cross_validated:
        histories = {f"fold {number}": one.history for number, one in enumerate(folds)}
        histories["final"] = final.history
    part, held_out = found.assessed, found.held_out
    assessment = _assess(cv, part.predictions, part.decided)
    looked = Attribution(cv, cv.networks(), part)
    location, importance = looked.location(), looked.importance(found.point)
    baselines, group = run_baselines(cv), cv.recipe.table.group
    judged = _assess(cv, held_out.predictions, held_out.decided) if len(held_out.rows) else None
    compared = {name: compare(part.predictions, one, group) for name, one in baselines.items()}
    result = CrossValidationResult(
        recipe=cv.recipe,
        settings=cv.settings,
        splits=cv.splits,
        histories=histories,
        assessment=assessment,
        point=found.point,
        baselines={name: _assess(cv, one) for name, one in baselines.items()},
        comparisons=correct(compared),
        held_out=judged,
        examples=looked.examples(),
        location=location,
        importance=importance,
    )
    write_json(cv.run.evaluation / "summary.json", result.summary())
    write_training_report(cv.run.report, result, cv.about)
    return result, cv.shipped(folds)


def _assess(
    cv: ClassValidation, predictions: Predictions, decided: Sequence[str] = ()
) -> Assessment:
    columns = cv.recipe.table
    return assess(
        predictions,
        group=columns.group,
        levels=cv.settings.levels,
        strata=cv.settings.strata or tuple(columns.covariates),
        rule=cv.rule,
        decided=decided if any(decided) else None,
    )


def _write_predictions(cv: ClassValidation, found: OutOfFold) -> None:
    """predictions.csv has each row of the table once, validation.csv what the operating point was
    fitted on, thresholds.csv what each candidate of the rule did there, in each fold.
    """
    folder = cv.run.evaluation
    parts = {"test": found.tested, "held-out": found.held_out, "other": found.others}
    validated = _records(cv, "validation", found.validated)
    records = [row for name, part in parts.items() for row in _records(cv, name, part)]
    known = {row["id"] for row in records}
    records += [row for row in validated if row["id"] not in known]
    order = {name: place for place, name in enumerate(cv.dataset.table.ids)}
    write_records(sorted(records, key=lambda row: order[row["id"]]), folder / "predictions.csv")
    write_records(validated, folder / "validation.csv")
    trials = found.point.rule.trials if found.point.rule else ()
    tried = [{"fold": fold, **row} for fold, rows in enumerate(trials) for row in rows]
    if tried:
        write_records(tried, folder / "thresholds.csv")


def _records(cv: ClassValidation, name: str, part: RowPredictions) -> list[dict[str, Any]]:
    """The predictions of a part as rows, with the fold where one network of several spoke."""
    settings, columns = cv.settings, cv.recipe.table
    named = [*columns.covariates, *settings.strata, columns.group, *settings.levels, columns.target]
    told = [each for each in dict.fromkeys(named) if each]
    decided = {cv.rule.name: part.decided} if cv.rule and any(part.decided) else None
    rows = prediction_rows(part.predictions, decided, told)
    folds = part.predictions.fold.tolist()
    if name not in {"test", "validation"}:
        folds = [None] * len(rows)
    return [
        {"id": row["id"], "part": name, "fold": fold} | row
        for row, fold in zip(rows, folds, strict=True)
    ]
