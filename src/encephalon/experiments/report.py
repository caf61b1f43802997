# SPDX-License-Identifier: Apache-2.0
"""What a cross-validation found, and its page: what was learnt, and how far to trust it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.evaluation.comparison import beats, is_whole
from encephalon.evaluation.report import (
    METRICS,
    assessment_cards,
    assessment_sections,
    comparison_table,
)
from encephalon.explanation.report import HEAT_KEY, LEGEND, importance_block, location_block
from encephalon.recipes.schema import class_names
from encephalon.reports.blocks import facts, figure, gallery, grid, note, paragraph, table
from encephalon.reports.charts import DotGroup, dot_chart
from encephalon.reports.format import (
    Html,
    capitalised,
    format_difference,
    format_interval,
    format_number,
    join,
    tag,
)
from encephalon.reports.page import Page, curve_charts

if TYPE_CHECKING:
    from encephalon.evaluation.assessment import Assessment
    from encephalon.evaluation.operating_point import OperatingPoint
    from encephalon.experiments.attribution import Example
    from encephalon.experiments.folds import Splits
    from encephalon.explanation.location import Location
    from encephalon.recipes.schema import Classification, Recipe
    from encephalon.statistics.intervals import Interval

__all__ = ["CrossValidationResult", "write_training_report"]

History = Sequence[Mapping[str, float]]

_CURVES = {
    "val_loss": "validation loss",
    "train_loss": "training loss",
    "val_balanced_accuracy": "validation balanced accuracy",
    "val_roc_auc": "validation ROC AUC",
}

_BASELINES = {
    "texture": "texture features and logistic regression",
    "covariates": "covariates alone",
    "shuffled": "the label-permutation control (the same network taught shuffled labels)",
}

_MODEL = "this model"
_HOLM = "after Holm's correction for all comparisons"


@dataclass(frozen=True, eq=False)
class CrossValidationResult:
    """What a finished run knows of its model.

    splits       which rows trained, validated and tested, with the audit of that
    histories    rows of history.csv by the name of their network: "fold 0" ..., "final"
    assessment   of the test predictions of all folds together, or of the test part
    point        fitted on all validation predictions: the calibration and thresholds that ship
    baselines    assessments on the same rows, by name: "texture", "covariates", "shuffled"
    comparisons  what `comparison.compare(model, baseline)` returned, by the baseline's name
    held_out     of the rows that no fold knew, by the final model
    examples     the most certain images, and the least certain ones, with their maps
    location     how much of the maps lies in known boxes
    importance   growth of the log loss when a covariate is permuted
    """

    recipe: Recipe
    settings: Classification
    splits: Splits
    histories: Mapping[str, History]
    assessment: Assessment
    point: OperatingPoint
    baselines: Mapping[str, Assessment] = field(default_factory=dict)
    comparisons: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    held_out: Assessment | None = None
    examples: tuple[Sequence[Example], Sequence[Example]] = ((), ())
    location: Location | None = None
    importance: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def tested(self) -> bool:
        """Whether there were test rows; without any the validation rows are assessed."""
        return any(len(fold.test) for fold in self.splits.folds)

    def summary(self) -> dict[str, Any]:
        """Nested data for summary.json."""
        return {
            "assessed": "test" if self.tested else "validation",
            "model": self.assessment.summary(),
            "held_out": self.held_out and self.held_out.summary(),
            "location": self.location,
            "importance": dict(self.importance),
            "baselines": {name: each.summary() for name, each in self.baselines.items()},
            "comparisons": dict(self.comparisons),
            "score": self.point.score,
            "calibration": self.point.calibration,
            "thresholds": self.point.rule and self.point.rule.thresholds,
            "audit": self.splits.audit.sentences(),
        }


def write_training_report(
    path: Path,
    result: CrossValidationResult,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of a finished run to `path` and return that.

    about  further facts of the run: name and value
    """
    page = Page(
        title=result.recipe.title or result.recipe.name,
        kicker="Encephalon · training of an image classifier",
        lead=_lead(result),
        legend=[LEGEND] if any(result.examples) else [],
    )
    splits = result.splits
    if not splits.audit.clean:
        words = "This split leaks, so every figure on this page flatters the model."
        page.add(*(note(each, "fail") for each in (words, *splits.audit.sentences())))
    page.add(assessment_cards(result.assessment))
    if result.baselines:
        page.section("Beside the baselines", *_beside(result))
    assessment_sections(page, result.assessment)
    if result.held_out is not None:
        page.section("Held-out rows, scored once", assessment_cards(result.held_out))
        assessment_sections(page, result.held_out, "Held out: ")
    page.section("Thresholds and calibration that ship", *_operating_point(result.point))
    if any(result.examples):
        page.section("The most and the least certain images", *_examples(*result.examples))
    if result.location is not None:
        page.section("Do the maps lie where the answer is?", *location_block(result.location))
    if result.importance:
        page.section("What the covariates decide", *importance_block(result.importance))
    page.section("Learning curves", *_curves(result.histories))
    page.section("Data", *_data(result))
    audit = "info" if splits.audit.clean else "fail"
    page.section("Audit of the split", *(note(each, audit) for each in splits.audit.sentences()))
    page.section("Run", facts(_run_facts(result) | dict(about or {})))
    return page.write(path, overwrite=True)


def _lead(result: CrossValidationResult) -> str:
    assessment, splits = result.assessment, result.splits
    folds = f", {len(splits.folds)} folds, each tested once" if splits.cross_validated else ""
    classes = ", ".join(class_names(result.recipe))
    groups = f" in {assessment.units} values of “{assessment.group}”" if assessment.group else ""
    kind = "test images" if result.tested else "validation images, which flatter the model"
    return f"{classes}: {assessment.n} {kind}{groups}{folds}. Mode: {result.recipe.mode}."


def _beside(result: CrossValidationResult) -> list[Html]:
    assessment, named = result.assessment, {_MODEL: result.assessment, **result.baselines}
    groups = [DotGroup(name, [], each.figures["balanced_accuracy"]) for name, each in named.items()]
    rows = [
        {
            "name": name,
            "what": _BASELINES.get(name, "the network of this run"),
            "n": each.n,
            **{key: figure.value for key, figure in each.figures.items()},
            "interval": format_interval(each.figures["balanced_accuracy"]),
        }
        for name, each in named.items()
    ]
    columns = {
        "name": "Model",
        "what": "What it is",
        "n": "Images",
        "balanced_accuracy": METRICS["balanced_accuracy"],
        "interval": "95 % interval",
        "roc_auc": METRICS["roc_auc"],
        "log_loss": METRICS["log_loss"],
    }
    chance = 1 / len(assessment.classes)
    caption = f"Balanced accuracy on test images; guessing has {format_number(chance, 3)}."
    blocks = [
        figure(dot_chart(groups, METRICS["balanced_accuracy"]), caption),
        table(columns, rows, digits=3),
    ]
    shown = {name: one for name, one in result.comparisons.items() if name in result.baselines}
    if not shown:
        return blocks
    return [*_verdict(shown), *blocks, *comparison_table(shown, assessment.group)]


def _verdict(comparisons: Mapping[str, Mapping[str, Any]]) -> list[Html]:
    """What the intervals of the differences allow to say of the model."""
    won = [name for name, each in comparisons.items() if beats(each)]
    part = [name for name, each in comparisons.items() if not is_whole(each)]
    lost = [name for name in comparisons if name not in {*won, *part}]
    found = []
    if won:
        worst = max(float(comparisons[name]["p_corrected"]) for name in won)
        whom = "every baseline" if len(won) == len(comparisons) else _named(won)
        folds = comparisons[won[0]]["all_folds"]
        where = f"all {folds} folds" if folds > 1 else "all test images"
        p_value = format_number(worst, 2)
        words = f"The model is better than {whom}: on {where}, p ≤ {p_value} {_HOLM}."
        found.append(note(words))
    if lost:
        words = f"As far as these images can tell, the model does not beat {_named(lost)}"
        found.append(note(f"{words} (p ≥ 0.05 {_HOLM}, or an interval that reaches 0).", "check"))
    for name in part:
        each = comparisons[name]
        first, second = (format_number(each[key], 3) for key in ("first", "second"))
        words = (
            f"Nothing is concluded from {_named([name])}, which ran on {each['folds']} of "
            f"{each['all_folds']} folds and {each['n']} of {each['n'] + each['left_out']} images, "
            f"in {each['units']} units: balanced accuracy {second}, where the model has {first}."
        )
        found.append(note(words))
    return found


def _named(names: Sequence[str]) -> str:
    return " and ".join(_BASELINES.get(name, name) for name in names)


def _examples(most: Sequence[Example], least: Sequence[Example]) -> list[Html]:
    hint = (
        "The lighter the colour, the more a place speaks for the predicted class; each map has a "
    )
    blocks = [tag("p", f"{hint}scale of its own.", class_="soft"), HEAT_KEY]
    for title, shown in (("Most certain", most), ("Least certain", least)):
        figures = []
        for example in shown:
            words = f"{example.predicted}, {example.probability:.3f}"
            if example.truth is not None and example.truth != example.predicted:
                words += f"; true: {example.truth}"
            figures.append(figure(example.picture, join(tag("strong", example.id), words)))
        if figures:
            blocks += [tag("h3", title), gallery(*figures, wide=True)]
    return blocks


def _curves(histories: Mapping[str, History]) -> list[Html]:
    charts = curve_charts(list(histories.items()), _CURVES)
    return [grid(*charts)] if charts else [paragraph("No epoch was recorded.")]


def _run_facts(result: CrossValidationResult) -> dict[str, Any]:
    recipe, inputs, training = result.recipe, result.settings.inputs, result.recipe.training
    return {
        "Recipe": recipe.name,
        "Mode": recipe.mode,
        "Network": recipe.network.name,
        "Sees": {"both": "image and covariates"}.get(inputs, inputs),
        "Epochs at most": training.epochs,
        "Batch": training.batch_size,
        "Optimiser": f"{training.optimiser}, {training.learning_rate:g}",
        "Seed": training.seed,
        "Citation": recipe.citation or None,
    }


def _data(result: CrossValidationResult) -> list[Html]:
    """How many images, groups and classes each part of the table has."""
    splits, used = result.splits, result.splits.table
    group, target = used.columns.group, str(used.columns.target)
    classes = used.texts(target)
    owners = used.texts(group) if group else used.ids
    if splits.cross_validated:
        parts = {f"tested in fold {fold.number}": fold.test for fold in splits.folds}
    else:
        fold = splits.folds[0]
        parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    parts |= {"held out": splits.held_out, "only scored": splits.others}
    rows = []
    for name, members in parts.items():
        if not len(members):
            continue
        counts = Counter(classes[row] for row in members)
        shown = {label: count for label, count in counts.items() if label}
        groups = len({owners[row] for row in members})
        rows.append({"part": name, "n": len(members), "groups": groups, **shown})
    found = [name for name in dict.fromkeys([*class_names(result.recipe), *classes]) if name]
    columns = {"part": "Part", "n": "Images"} | ({"groups": capitalised(group)} if group else {})
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


def _operating_point(point: OperatingPoint) -> list[Html]:
    """The calibration and the rule that were fitted on validation predictions."""
    calibration = point.calibration
    if calibration is None:
        fitted: Html = note(f"The probabilities are not calibrated (score: {point.score}).")
    else:
        biases = ", ".join(format_difference(value, 3) for value in calibration.bias)
        temperature = format_number(calibration.temperature, 3)
        words = (
            f"Temperature {temperature}, biases {biases}: fitted on the "
            "validation predictions. In its tests a fold uses what its own validation part gave. "
            "The network that ships has learnt more rows than those of the folds, and only rows "
            "that were held out can say whether its probabilities are as right."
        )
        fitted = paragraph(words)
    return [fitted, *(point.rule.blocks() if point.rule else ())]
