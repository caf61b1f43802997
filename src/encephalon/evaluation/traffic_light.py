# SPDX-License-Identifier: Apache-2.0
"""The traffic light of a two-class model: its rule, the search for its thresholds, its counts.

Green is confidently negative, red confidently positive, amber is undecided, as published by
3BTRON. A model of more than two classes has no light, and neither has an image unlike those that
the model was trained on: however sure it is, it was never seen to be right about such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError
from encephalon.metrics.classification import confusion
from encephalon.reports.blocks import badge, note, paragraph, table
from encephalon.reports.format import Html, format_estimate, format_share, join, tag
from encephalon.statistics.intervals import Interval
from encephalon.statistics.weighted_metric import share_interval

if TYPE_CHECKING:
    from encephalon.evaluation.predictions import Predictions

__all__ = [
    "LIGHTS",
    "METRICS",
    "NO_LIGHT",
    "RATIOS",
    "BestPair",
    "FittedLight",
    "LightMetrics",
    "TrafficLight",
    "best_pair",
    "breakdown",
    "colours",
    "light_badge",
    "score_pairs",
    "threshold_grid",
]

LIGHTS = ("Green", "Amber", "Red")
NO_LIGHT = ""
"""The light of an image that is unlike those of the training."""
#: What a chosen pair reports over the folds, as for 3BTRON.
METRICS = ("sensitivity", "specificity", "precision", "f1", "youden")
RATIOS = ("green_ratio", "amber_ratio", "red_ratio")
# Shapes beside the colours, as badges have them.
_BADGES = {"Green": ("ok", "●"), "Amber": ("check", "▲"), "Red": ("fail", "■")}

Amber = Literal["negative", "excluded"]
Row = dict[str, float]


@dataclass(frozen=True)
class BestPair:
    """The chosen thresholds; mean and SD (n - 1; NaN of one fold) over the folds that have it."""

    green: float
    amber: float
    folds: int
    mean: dict[str, float]
    sd: dict[str, float]


@dataclass(frozen=True)
class LightMetrics:
    """How often each light was shown, and how right green and red were; amber is not scored.

    `decided` is the share of green and red among all samples, `n` their number; `unlike` samples
    had no light.
    """

    counts: dict[str, int]
    n: int
    decided: Interval
    sensitivity: Interval
    specificity: Interval
    unlike: int = 0

    def blocks(self) -> list[Html]:
        """Show all of it as a table, with what it means."""
        total = max(1, sum(self.counts.values()) + self.unlike)
        row: dict[str, Any] = {
            name: f"{count} ({format_share(count / total)})" for name, count in self.counts.items()
        }
        columns = dict(zip(LIGHTS, LIGHTS, strict=True))
        if self.unlike:
            row["unlike"], columns["unlike"] = self.unlike, "No light: unlike the training"
        columns |= {
            "decided": "Decided",
            "sensitivity": "Sensitivity of the decided",
            "specificity": "Specificity of the decided",
        }
        figures = ("decided", "sensitivity", "specificity")
        row |= {name: format_estimate(getattr(self, name)) for name in figures}
        words = (
            "Green and red are decided, amber is left to a person and in neither sensitivity nor "
            "specificity: read them together with the share that was decided."
        )
        return [table(columns, [row]), note(words)]

    def line(self) -> str:
        """The lights with their shares, and how right those were that decided."""
        total = max(1, sum(self.counts.values()) + self.unlike)
        shares = (f"{n} {name} ({n / total:.4f})" for name, n in self.counts.items())
        figures = (
            f"{name} {getattr(self, name).value:.4f}" for name in ("sensitivity", "specificity")
        )
        return f"{', '.join(shares)}; of green and red {', '.join(figures)}"

    def cell(self) -> str:
        """The counts of the three lights."""
        return " / ".join(str(self.counts[name]) for name in LIGHTS)


@dataclass(frozen=True)
class TrafficLight:
    """The rule as an evaluation asks for it; see `encephalon.evaluation.operating_point`.

    step, amber, widest  as in `settings.Thresholds`
    """

    name: ClassVar[str] = "light"
    title: ClassVar[str] = "Traffic light"
    heading: ClassVar[str] = "Green / amber / red"
    step: float = 0.05
    amber: Amber = "negative"
    widest: float = 0.5

    def fit(self, folds: Sequence[Predictions]) -> FittedLight:
        """Choose the pair with the highest mean Youden J over the folds, as 3BTRON did.

        There is none for more than two classes, or where no pair leaves both.
        """
        classes = len(folds[0].classes)
        if classes != 2:
            return FittedLight(self, classes)
        trials = tuple(
            score_pairs(fold.y_prob[:, 1], fold.y_true, self.amber, self.step) for fold in folds
        )
        return FittedLight(self, classes, best_pair(trials, self.widest), trials)

    def measure(
        self,
        decided: Sequence[str],
        y_true: ArrayLike,
        groups: Sequence[Any] | None = None,
        *,
        repeats: int = 2000,
        seed: int = 0,
    ) -> LightMetrics:
        """How often each light (N) was shown, and how right green and red were.

        Truth (N,) is 1 for positive, 0 for negative. Intervals are those of
        `statistics.weighted_metric.share_interval`; `groups` are drawn whole.
        """
        shown, positive = np.asarray(decided), np.asarray(y_true) == 1
        red, sure = shown == "Red", (shown == "Red") | (shown == "Green")

        def share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Interval:
            return share_interval(hits, among, groups, repeats=repeats, seed=seed)

        return LightMetrics(
            counts={light: int((shown == light).sum()) for light in LIGHTS},
            n=int(sure.sum()),
            decided=share(sure, np.ones_like(sure)),
            sensitivity=share(red, positive & sure),
            specificity=share(~red, ~positive & sure),
            unlike=int((shown == NO_LIGHT).sum()),
        )


@dataclass(frozen=True)
class FittedLight:
    """The thresholds of a light.

    thresholds  the chosen pair; None where there is no light
    trials      what every pair did, of each fold
    """

    rule: TrafficLight
    classes: int
    thresholds: BestPair | None = None
    trials: tuple[list[Row], ...] = ()

    def apply(self, y_prob: NDArray[np.float64]) -> list[str]:
        """The light of each of the probabilities (N, 2), NO_LIGHT where there is none."""
        pair = self.thresholds
        return colours(y_prob[:, 1], pair.green, pair.amber) if pair else [NO_LIGHT] * len(y_prob)

    def blocks(self) -> list[Html]:
        """Show the symmetric pairs with the chosen one among them, or say why there is none."""
        pair = self.thresholds
        if pair is None:
            why = "there are more than two classes" if self.classes > 2 else "no pair scores"
            return [note(f"There is no traffic light: {why}.")]
        names = (*METRICS, *RATIOS)
        shown: list[dict[str, Any]] = []
        for key, found in _symmetric_pairs(self.trials).items():
            words: Html | str = f"{key[0]:.2f} / {key[1]:.2f}"
            if key == (pair.green, pair.amber):
                words = join(tag("strong", words), " ", badge("chosen"))
            mean = {name: sum(row[name] for row in found) / len(found) for name in names}
            shown.append({"pair": words, "folds": len(found), **mean})
        spread = {name: pair.sd[name] for name in names}
        shown.append({"pair": "SD of the chosen", "folds": pair.folds, **spread})
        labels = {name: name.replace("_", " ").replace("youden", "Youden J") for name in names}
        columns = {"pair": "Green / amber", "folds": "Folds"}
        columns |= {name: label[0].upper() + label[1:] for name, label in labels.items()}
        amber = "left out" if self.rule.amber == "excluded" else "counted as negative"
        words = (
            f"Green up to {pair.green:g}, red above {pair.amber:g}: the symmetric pair, at most "
            f"{self.rule.widest:g} apart, with the highest mean Youden J over the validation "
            f"folds, amber {amber}. Means over the folds that have both classes; all pairs are in "
            "thresholds.csv."
        )
        return [paragraph(words), table(columns, shown, digits=3)]


def colours(likelihood: ArrayLike, green: float, amber: float) -> list[str]:
    """The light of each likelihood (N,): p <= green is Green, green < p <= amber Amber, else Red.

    Raises UsageError for a likelihood outside [0, 1] or thresholds in the wrong order.
    """
    values = np.atleast_1d(np.asarray(likelihood, dtype=np.float64))
    if not 0 <= green <= amber <= 1:
        raise UsageError(f"Thresholds need 0 <= green <= amber <= 1, but are {green} and {amber}.")
    if not ((values >= 0) & (values <= 1)).all():
        wrong = values[~((values >= 0) & (values <= 1))][0]
        raise UsageError(f"A likelihood must lie between 0 and 1, but one is {wrong}.")
    return [LIGHTS[int(p > green) + int(p > amber)] for p in values]


def threshold_grid(step: float = 0.05) -> list[tuple[float, float]]:
    """All pairs (green, amber) with green rising to 0.5, amber falling to 0.5, green < amber.

    A step of 0.05 gives the 99 published pairs, in their order.
    """
    count = int(0.5 / step + 1e-9)
    greens = [round(place * step, 10) for place in range(1, count + 1)]
    ambers = [round(1.0 - green, 10) for green in greens]
    return [(green, amber) for green, amber in product(greens, ambers) if green < amber]


def score_pairs(
    likelihood: ArrayLike,
    truth: ArrayLike,
    amber: Amber = "negative",
    step: float = 0.05,
) -> list[Row]:
    """Score every pair of the grid on likelihoods (N,) and truth (N,), 1 positive, 0 negative.

    A row holds green, amber (the thresholds), sensitivity, specificity, precision, f1, youden,
    n, tp, fn, tn, fp of what is scored, and count and ratio of each colour in all samples. Red is
    predicted positive; amber counts as negative or is left out. Pairs that leave one class are
    skipped, as by 3BTRON.
    """
    values, positive = np.asarray(likelihood, dtype=np.float64), np.asarray(truth) == 1
    rows = []
    for low, high in threshold_grid(step):
        undecided = (values > low) & (values <= high)
        scored = ~undecided if amber == "excluded" else np.ones_like(undecided)
        if np.unique(positive[scored]).size < 2:
            continue
        found = confusion(positive[scored], values[scored] > high)
        row: Row = {"green": low, "amber": high}
        row |= {name: getattr(found, name) for name in METRICS}
        row |= {"n": found.n, **asdict(found)}
        counted = Counter(colours(values, low, high))
        for light in LIGHTS:
            row[f"{light.lower()}_count"] = counted[light]
            row[f"{light.lower()}_ratio"] = counted[light] / len(values)
        rows.append(row)
    return rows


def best_pair(folds: Sequence[Sequence[Row]], widest: float = 0.5) -> BestPair | None:
    """Choose the pair with the highest mean Youden J over the folds; None where there is none.

    Only symmetric pairs (green = 1 - amber) no further apart than `widest` are looked at, as
    3BTRON did, and of them those that more than half of the folds could score, lest one lucky
    fold decides. Of equals the first in the order of the grid wins, the most cautious.
    """
    common = {
        (green, amber): rows
        for (green, amber), rows in _symmetric_pairs(folds).items()
        if amber - green <= widest + 1e-9 and 2 * len(rows) > len(folds)
    }
    if not common:
        return None
    pair = max(
        common, key=lambda each: round(float(np.mean([row["youden"] for row in common[each]])), 12)
    )
    rows = common[pair]
    figures = {name: [row[name] for row in rows] for name in (*METRICS, *RATIOS)}
    mean = {name: float(np.mean(each)) for name, each in figures.items()}
    sd = {
        name: float(np.std(each, ddof=1)) if len(rows) > 1 else float("nan")
        for name, each in figures.items()
    }
    return BestPair(*pair, len(rows), mean, sd)


def breakdown(
    lights: Sequence[str], rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Count the lights in each combination of the columns' values, such as sex and region.

    Each result has the columns' values, the counts Green, Amber and Red, that of rows without a
    light (None) where there are any, and their sum n; only combinations that occur are there,
    sorted. Raises UsageError for different lengths or a light
    that is none.
    """
    unknown = set(lights) - {*LIGHTS, NO_LIGHT}
    shown = (*LIGHTS, *((NO_LIGHT,) if NO_LIGHT in lights else ()))
    if unknown or len(lights) != len(rows):
        raise UsageError(
            f"A breakdown needs one of {', '.join(LIGHTS)} for each of {len(rows)} rows, but there "
            f"are {len(lights)} lights{f' and one is {min(unknown)!r}' if unknown else ''}."
        )
    parts: dict[tuple[str, ...], Counter[str]] = {}
    for row, light in zip(rows, lights, strict=True):
        key = tuple(str(row.get(name, "")) for name in columns)
        parts.setdefault(key, Counter())[light] += 1
    return [
        dict(zip(columns, key, strict=True))
        | {light or "None": counts[light] for light in shown}
        | {"n": counts.total()}
        for key, counts in sorted(parts.items())
    ]


def _symmetric_pairs(folds: Sequence[Sequence[Row]]) -> dict[tuple[float, float], list[Row]]:
    """The rows of each pair (green, 1 - green), of all folds, in the order of the grid."""
    found: dict[tuple[float, float], list[Row]] = {}
    for row in (row for rows in folds for row in rows):
        if abs(row["green"] + row["amber"] - 1) < 1e-9:
            found.setdefault((row["green"], row["amber"]), []).append(row)
    return dict(sorted(found.items()))


def light_badge(light: str, classes: Sequence[str] = ()) -> Html:
    """Show a light as a word with its colour and a shape; other words plainly.

    classes  the negative and the positive one: then it is also said which one a light stands for
    """
    if light not in _BADGES:
        return badge(light)
    status, shape = _BADGES[light]
    words = light
    if classes:
        meanings = {"Green": classes[0], "Amber": "undecided", "Red": classes[1]}
        words = f"{light}: {meanings[light]}"
    return tag(
        "span", tag("span", shape, aria_hidden="true"), words, class_=f"badge badge-{status}"
    )
