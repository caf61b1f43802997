# SPDX-License-Identifier: Apache-2.0
"""The end of a run: its predictions and figures beside the baselines, its report, its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encephalon.evaluation.assessment import Assessment, assess, compare
from encephalon.evaluation.comparison import correct
from encephalon.evaluation.predictions import Scored, prediction_rows
from encephalon.experiments.attribution import Looking
from encephalon.experiments.crossval import Crossing, Outcome, Part, Pooled, pool
from encephalon.experiments.report import write_training_report
from encephalon.explanation.location import Location
from encephalon.io.atomic import write_json
from encephalon.io.text import write_records
from encephalon.statistics.intervals import Interval
from encephalon.studies.micrographs.finishing import write_model
from encephalon.studies.micrographs.settings import micrograph_settings

__all__ = ["finish"]


@dataclass(frozen=True, eq=False)
class _Shown:
    """What else is known of the model."""

    held_out: Assessment | None
    location: Location | None
    importance: Mapping[str, Interval]


@dataclass(frozen=True, eq=False)
class _Beside:
    """The baselines on the same rows: how good they are, and how much better the model is."""

    assessments: Mapping[str, Assessment]
    comparisons: Mapping[str, Mapping[str, Any]]


def finish(crossing: Crossing, outcomes: Sequence[Outcome], final: Outcome) -> Path:
    """Write evaluation, report and model of a run whose networks are trained; the model's path."""
    pooled = pool(crossing.recipe, crossing.plan, crossing.cohort, outcomes, final)
    _write_predictions(crossing, pooled)
    _write_pairs(crossing, pooled)
    assessment = _assess(crossing, pooled.assessed.scored, pooled.assessed.lights)
    looking = Looking(crossing, crossing.networks(), pooled.assessed)
    shown = _Shown(
        _held_out(crossing, pooled.held_out),
        looking.location(),
        looking.importance(pooled.decision),
    )
    beside = _baselines(crossing, pooled.assessed.scored)
    _write_summary(crossing, pooled, assessment, beside, shown)
    write_training_report(
        crossing.run.report,
        recipe=crossing.recipe,
        plan=crossing.plan,
        histories=_histories(crossing, outcomes, final),
        assessment=assessment,
        decision=pooled.decision,
        baselines=beside.assessments,
        comparisons=beside.comparisons,
        held_out=shown.held_out,
        examples=looking.examples(),
        location=shown.location,
        importance=shown.importance,
    )
    shipped = crossing.shipped(outcomes)
    return write_model(crossing, shipped, pooled.decision, assessment.figures)


def _assess(crossing: Crossing, scored: Scored, lights: list[str] | None = None) -> Assessment:
    settings, columns = micrograph_settings(crossing.recipe), crossing.recipe.table
    return assess(
        scored,
        group=columns.group,
        levels=settings.levels,
        strata=settings.strata or tuple(columns.covariates),
        lights=lights if lights and any(lights) else None,
    )


def _held_out(crossing: Crossing, part: Part) -> Assessment | None:
    return _assess(crossing, part.scored, part.lights) if len(part.rows) else None


def _baselines(crossing: Crossing, model: Scored) -> _Beside:
    wanted = micrograph_settings(crossing.recipe).baselines
    if not wanted:
        return _Beside({}, {})
    from encephalon.experiments.baselines import run_baselines

    found, group = run_baselines(crossing), crossing.recipe.table.group
    return _Beside(
        {name: _assess(crossing, scored) for name, scored in found.items()},
        correct({name: compare(model, scored, group) for name, scored in found.items()}),
    )


def _write_predictions(crossing: Crossing, pooled: Pooled) -> None:
    """predictions.csv has each row of the table once; validation.csv what shaped the decision."""
    folder = crossing.run.evaluation
    parts = {"test": pooled.tested, "held-out": pooled.held_out, "other": pooled.others}
    validated = _records(crossing, "validation", pooled.validated)
    records = [row for name, part in parts.items() for row in _records(crossing, name, part)]
    known = {row["id"] for row in records}
    records += [row for row in validated if row["id"] not in known]
    order = {name: place for place, name in enumerate(crossing.cohort.table.ids)}
    write_records(sorted(records, key=lambda row: order[row["id"]]), folder / "predictions.csv")
    write_records(validated, folder / "validation.csv")


def _records(crossing: Crossing, name: str, part: Part) -> list[dict[str, Any]]:
    """The predictions of a part as rows, with the fold where one network of several spoke."""
    settings, columns = micrograph_settings(crossing.recipe), crossing.recipe.table
    named = [*columns.covariates, *settings.strata, columns.group, *settings.levels, columns.target]
    told = [each for each in dict.fromkeys(named) if each]
    lights = part.lights if any(part.lights) else None
    rows = prediction_rows(part.scored, lights, told)
    folds = part.scored.fold.tolist() if name in {"test", "validation"} else [None] * len(rows)
    return [
        {"id": row["id"], "part": name, "fold": fold} | row
        for row, fold in zip(rows, folds, strict=True)
    ]


def _write_pairs(crossing: Crossing, pooled: Pooled) -> None:
    """What every pair of thresholds did on the validation rows of each fold."""
    scored = pooled.decision.scored
    records = [{"fold": fold, **row} for fold, rows in enumerate(scored) for row in rows]
    if records:
        write_records(records, crossing.run.evaluation / "thresholds.csv")


def _write_summary(
    crossing: Crossing,
    pooled: Pooled,
    assessment: Assessment,
    beside: _Beside,
    shown: _Shown,
) -> None:
    held_out, decision = shown.held_out, pooled.decision
    summary = {
        "assessed": "test" if pooled.assessed is pooled.tested else "validation",
        "model": assessment.summary(),
        "held_out": held_out and held_out.summary(),
        "location": shown.location,
        "importance": dict(shown.importance),
        "baselines": {name: each.summary() for name, each in beside.assessments.items()},
        "comparisons": dict(beside.comparisons),
        "score": decision.score,
        "calibration": decision.calibration,
        "thresholds": decision.pair,
        "audit": crossing.plan.audit.sentences(),
    }
    write_json(crossing.run.evaluation / "summary.json", summary)


def _histories(
    crossing: Crossing, outcomes: Sequence[Outcome], final: Outcome
) -> dict[str, Sequence[Mapping[str, float]]]:
    """The history of every network, by its name."""
    if not crossing.plan.crossed:
        return {"network": final.history}
    folds = {f"fold {number}": one.history for number, one in enumerate(outcomes)}
    return {**folds, "final": final.history}
