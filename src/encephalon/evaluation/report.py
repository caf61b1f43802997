# SPDX-License-Identifier: Apache-2.0
"""The page of an evaluation of a classifier, and its sections, which other pages have too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.batch import model_facts, model_name
from encephalon.reports.blocks import (
    ExamplesByConfidence,
    StatCard,
    confusion_table,
    figure,
    grid,
    note,
    stat_cards,
    table,
    thumbnail_figure,
    thumbnail_gallery,
)
from encephalon.reports.charts import DotGroup, Point, Series, dot_chart, line_chart, point_chart
from encephalon.reports.format import (
    Html,
    capitalised,
    format_estimate,
    format_interval,
    format_number,
    format_p_value,
    interval_method,
)
from encephalon.reports.page import Page

if TYPE_CHECKING:
    from encephalon.evaluation.assessment import Assessment

__all__ = [
    "METRICS",
    "EvaluationReport",
    "assessment_cards",
    "assessment_sections",
    "comparison_table",
]

METRICS = {
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
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "accuracy": "Accuracy",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "mcc": "Matthews correlation",
    "calibration_error": "Expected calibration error",
}
"""Names of the figures of `metrics.classification` and `metrics.regression`, as pages have them."""

#: Images that are pictured in each of the three galleries: our choice.
PICTURED = 24
logger = logging.getLogger(__name__)
Draw = Callable[[], NDArray[np.uint8] | None]


class EvaluationReport:
    """Collects images while they are scored, and makes the page at the end.

    `about` is the predictor's own description; `warning`, which the log has too, says on top of the
    page why the scores are not to be trusted. Few pictures are kept, however many there are.
    """

    def __init__(self, about: Mapping[str, Any], warning: str = "") -> None:
        self.about, self._warning = about, warning
        self._right, self._wrong = ExamplesByConfidence(PICTURED), ExamplesByConfidence(PICTURED)
        if warning:
            logger.warning(warning)

    def add(
        self, name: str, probabilities: NDArray[np.float64], truth: str | None, draw: Draw
    ) -> None:
        """Add one image: its probabilities (C), its class (None: not known), its thumbnail."""
        said = str(self.about["classes"][int(np.argmax(probabilities))])
        certainty = float(probabilities.max())
        wrong = truth is not None and truth != said
        words = f"{said} {certainty:.3f}"

        def drawn() -> Html | None:
            return thumbnail_figure(draw(), name, words, f"true: {truth}" if wrong else None)

        (self._wrong if wrong else self._right).offer(certainty, drawn)

    def page(
        self,
        found: Assessment,
        comparison: Mapping[str, Any] | None = None,
        failures: Sequence[Html] = (),
    ) -> Page:
        """The page; `failures` are notes on images that were not scored."""
        page = Page(
            title="Classes against the truth",
            kicker="Encephalon · evaluation",
            lead=f"{model_name(self.about)} on {found.n} images with a known class.",
        )
        if self._warning:
            page.add(note(self._warning, "fail"))
        page.add(assessment_cards(found))
        page.add(*failures)
        if comparison is not None:
            compared = comparison_table({"the other model": comparison}, found.group)
            page.section("Beside another model", *compared)
        assessment_sections(page, found)
        pictures = [
            *thumbnail_gallery("Wrong, the most certain first", self._wrong.falling()),
            *thumbnail_gallery("The most certain", self._right.most_confident()),
            *thumbnail_gallery("The least certain", self._right.hardest()),
        ]
        if pictures:
            page.section("Images", *pictures)
        return page.section("Model", model_facts(self.about))


def assessment_sections(page: Page, assessment: Assessment, prefix: str = "") -> Page:
    """Add to `page` all that an assessment says, each section's title after `prefix`."""
    page.section(f"{prefix}Scores", *_scores(assessment))
    details = assessment.details
    if details is not None:
        page.section(f"{prefix}Every threshold", *details.blocks())
    if assessment.rule is not None and assessment.decision is not None:
        page.section(f"{prefix}{assessment.rule.title}", *assessment.decision.blocks())
    page.section(f"{prefix}Calibration and certainty", *_calibration(assessment))
    if len(assessment.levels) > 1:
        dots = details.unit_blocks() if details is not None else []
        page.section(f"{prefix}Image level and group level", *_levels(assessment), *dots)
    if assessment.strata:
        page.section(f"{prefix}Subgroups", *_strata(assessment))
    if details is not None:
        page.section(f"{prefix}Wrong images", *details.wrong_blocks())
    return page


def assessment_cards(assessment: Assessment) -> Html:
    """The main figures of an assessment, large."""
    names = ["balanced_accuracy", "roc_auc", "sensitivity", "specificity", "log_loss"]
    shown = []
    for name in names:
        if (value := assessment.figures.get(name)) is not None:
            label = METRICS[name] if name == "roc_auc" else METRICS[name].lower()
            shown.append(StatCard(format_number(value.value, 3), label, format_interval(value)))
    units = f"{assessment.group}: {assessment.units}" if assessment.group else None
    return stat_cards([*shown, StatCard(assessment.n, "images scored", units)])


def _how_drawn(assessment: Assessment) -> str:
    """What the intervals are, in a sentence."""
    perfect = (
        "Where all draws agree, as those of a perfect figure do, or most have no value, the "
        "bootstrap knows no interval."
    )
    if assessment.group is None:
        return (
            "Intervals are 95 % intervals over images: Wilson's of the shares (sensitivity, "
            "specificity), otherwise a percentile bootstrap. They are too narrow if "
            f"several images show one animal, which the recipe can name as the group. {perfect}"
        )
    return (
        "Intervals are 95 % percentile bootstrap intervals that draw whole values of "
        f"“{assessment.group}”, {assessment.units} of them. {perfect} A share that is 0 or 1 "
        "(sensitivity, specificity) then has Wilson's bound, with whole values as trials."
    )


def _scores(assessment: Assessment) -> list[Html]:
    columns = {
        "figure": "Figure",
        "value": "Value",
        "interval": "95 % interval",
        "method": "Its method",
    }
    cells = [
        (label, value.value, format_interval(value, named=False), interval_method(value))
        for name, label in METRICS.items()
        if (value := assessment.figures.get(name)) is not None
    ]
    cells.append(("Expected calibration error", assessment.calibration_error, None, "none: biased"))
    rows = [dict(zip(columns, each, strict=True)) for each in cells]
    positive = (
        f"“{assessment.classes[1]}” is the positive class."
        if len(assessment.classes) == 2
        else "Figures of one class are means over the classes, each against the rest."
    )
    left = f" {assessment.unlabelled} images without a class are not in any figure."
    words = f"{positive}{left if assessment.unlabelled else ''} {_how_drawn(assessment)}"
    return [
        grid(
            table(columns, rows, digits=3),
            figure(
                confusion_table(assessment.classes, assessment.confusion),
                "Confusion matrix: images, and their share of the true class.",
            ),
        ),
        note(words),
    ]


def _calibration(assessment: Assessment) -> list[Html]:
    said = (
        f"probability of “{assessment.classes[1]}”"
        if len(assessment.classes) == 2
        else "probability of the predicted class"
    )
    bins = assessment.reliability
    points = [Point(each.mean_probability, each.observed, each.n) for each in bins]
    curve = assessment.coverage_risk
    error = curve.risk[-1] if curve.risk else float("nan")
    series = [
        Series("error rate of the answered", curve.coverage, curve.risk),
        Series("leaving out at random", (0.0, 1.0), (error, error)),
    ]
    return [
        grid(
            figure(
                point_chart(points, said, "observed frequency"),
                "Reliability: on the dashed line, probabilities are what they say. Larger dots are "
                f"of more images. Expected calibration error "
                f"{format_number(assessment.calibration_error, 3)}.",
            ),
            figure(
                line_chart(
                    series, "share of images answered, the most certain first", "error rate"
                ),
                f"Coverage and risk: mean risk {format_estimate(curve.area)}; certainty that knows "
                f"nothing has the error rate, {format_number(error, 3)}.",
            ),
        )
    ]


def _levels(assessment: Assessment) -> list[Html]:
    rows = [
        {
            **vars(level),
            "note": level.note or None,
            **{name: format_estimate(value) for name, value in level.figures.items()},
        }
        for level in assessment.levels
    ]
    columns = {"level": "Scored by", "n": "n", "images": "Images"}
    columns |= {name: METRICS[name] for name in ("balanced_accuracy", "roc_auc")}
    columns["note"] = "Note"
    words = (
        "The images of one unit are combined by the mean of their logits, which is the geometric "
        "mean of their odds."
    )
    return [table(columns, rows), note(words)]


def _strata(assessment: Assessment) -> list[Html]:
    rows = [
        {
            **vars(part),
            "classes": ", ".join(f"{count} {name}" for name, count in part.classes.items()),
            **{name: format_estimate(value) for name, value in part.figures.items()},
            "decision": part.decision and part.decision.cell(),
        }
        for part in assessment.strata
    ]
    columns = {"column": "By", "value": "Part", "n": "n"}
    if assessment.group:
        columns["units"] = capitalised(assessment.group)
    columns["classes"] = "Classes"
    names = dict.fromkeys(name for part in assessment.strata for name in part.figures)
    columns |= {name: METRICS[name] for name in names}
    if assessment.rule is not None:
        columns["decision"] = assessment.rule.heading
    main = "balanced_accuracy"
    groups = [
        DotGroup(f"{part.column} {part.value}", [], part.figures[main])
        for part in assessment.strata
        if main in part.figures
    ]
    chart = dot_chart([DotGroup("all", [], assessment.figures[main]), *groups], METRICS[main])
    words = "Each part with its interval; wide intervals say that there are few units, no more."
    return [table(columns, rows), figure(chart, words)]


def comparison_table(comparisons: Mapping[str, Mapping[str, Any]], group: str | None) -> list[Html]:
    """What `comparison.compare` says of this model and others on the same images, by their name."""
    rows = [
        {
            **each,
            "name": name,
            "difference": format_estimate(each["difference"]),
            "folds": f"{each['folds']} of {each['all_folds']}",
            "p": format_p_value(float(each["p_value"])),
            "p_corrected": format_p_value(float(each["p_corrected"])),
            "wins": f"{each['first_better']} / {each['ties']} / {each['second_better']}",
        }
        for name, each in comparisons.items()
    ]
    columns = {
        "name": "Beside",
        "folds": "Folds",
        "n": "Images",
        "units": capitalised(group or "image"),
        "first": "This model",
        "second": "The other",
        "difference": "Difference (95 % interval)",
        "wins": "Better / equal / worse",
        "p": "p",
        "p_corrected": "p, corrected",
    }
    if all(each["all_folds"] < 2 for each in comparisons.values()):
        del columns["folds"]
    if len(comparisons) < 2:
        del columns["p_corrected"]
    tests = sorted({str(each["test"]) for each in comparisons.values()})
    words = (
        "Balanced accuracy on the same images; the interval of the difference draws whole units. "
        f"p is two-sided ({' and '.join(tests)})"
    )
    words += (
        f", corrected by Holm for {len(comparisons)} comparisons." if len(comparisons) > 1 else "."
    )
    return [table(columns, rows, digits=3), note(words)]
