# SPDX-License-Identifier: Apache-2.0
"""The traffic light of a two-class model: its rule, the search for its thresholds, its counts.

Green is confidently negative, red confidently positive, amber is undecided (3BTRON spec, section
5). A model of more than two classes has no light, and neither has an image unlike those that the
model was trained on: however sure it is, it was never seen to be right about such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError
from encephalon.metrics.classification import confusion
from encephalon.reports.blocks import badge
from encephalon.reports.markup import Html, tag
from encephalon.statistics.intervals import Interval
from encephalon.statistics.weighted_metric import share_interval

__all__ = [
    "FIGURES",
    "LIGHTS",
    "NO_LIGHT",
    "RATIOS",
    "BestPair",
    "LightFigures",
    "assess_lights",
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
#: What a chosen pair reports over the folds (spec, section 5).
FIGURES = ("sensitivity", "specificity", "precision", "f1", "youden")
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
class LightFigures:
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
    skipped (spec, section 5).
    """
    values, positive = np.asarray(likelihood, dtype=np.float64), np.asarray(truth) == 1
    rows = (_score(values, positive, *pair, amber) for pair in threshold_grid(step))
    return [row for row in rows if row]


def best_pair(folds: Sequence[Sequence[Row]], widest: float = 0.5) -> BestPair | None:
    """Choose the pair with the highest mean Youden J over the folds; None where there is none.

    Only symmetric pairs (green = 1 - amber) no further apart than `widest` are looked at (spec,
    section 5), and of them those that more than half of the folds could score, lest one lucky
    fold decides. Of equals the first in the order of the grid wins, the most cautious.
    """
    found: dict[tuple[float, float], list[Row]] = {}
    for row in (row for rows in folds for row in rows):
        if abs(row["green"] + row["amber"] - 1) < 1e-9 and _width(row) <= widest + 1e-9:
            found.setdefault((row["green"], row["amber"]), []).append(row)
    common = {pair: rows for pair, rows in sorted(found.items()) if 2 * len(rows) > len(folds)}
    if not common:
        return None
    pair = max(common, key=lambda each: round(_mean(common[each], "youden"), 12))
    rows, names = common[pair], (*FIGURES, *RATIOS)
    mean = {name: _mean(rows, name) for name in names}
    return BestPair(*pair, len(rows), mean, {name: _sd(rows, name) for name in names})


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
    keys = [tuple(str(row.get(name, "")) for name in columns) for row in rows]
    counts = Counter(zip(keys, lights, strict=True))
    parts = []
    for key in sorted(set(keys)):
        of_key = {light or "None": counts[key, light] for light in shown}
        names = dict(zip(columns, key, strict=True))
        parts.append({**names, **of_key, "n": sum(of_key.values())})
    return parts


def assess_lights(
    lights: Sequence[str],
    truth: ArrayLike,
    groups: Sequence[Any] | None = None,
    *,
    repeats: int = 2000,
    seed: int = 0,
) -> LightFigures:
    """Score the lights (N) against truth (N,), 1 positive, 0 negative; only green and red are.

    Intervals are those of `evaluation.figure.share_interval`; `groups` are drawn whole.
    """
    shown, positive = np.asarray(lights), np.asarray(truth) == 1
    red, decided = shown == "Red", (shown == "Red") | (shown == "Green")

    def share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Interval:
        return share_interval(hits, among, groups, repeats=repeats, seed=seed)

    return LightFigures(
        counts={light: int((shown == light).sum()) for light in LIGHTS},
        n=int(decided.sum()),
        decided=share(decided, np.ones_like(decided)),
        sensitivity=share(red, positive & decided),
        specificity=share(~red, ~positive & decided),
        unlike=int((shown == NO_LIGHT).sum()),
    )


def _score(
    values: NDArray[np.float64],
    positive: NDArray[np.bool_],
    green: float,
    amber: float,
    mode: Amber,
) -> Row | None:
    undecided = (values > green) & (values <= amber)
    scored = ~undecided if mode == "excluded" else np.ones_like(undecided)
    if np.unique(positive[scored]).size < 2:
        return None
    table = confusion(positive[scored], values[scored] > amber)
    row: Row = {"green": green, "amber": amber}
    row |= {name: getattr(table, name) for name in FIGURES}
    row |= {"n": table.n, **asdict(table)}
    counted = Counter(colours(values, green, amber))
    for light in LIGHTS:
        row[f"{light.lower()}_count"] = counted[light]
        row[f"{light.lower()}_ratio"] = counted[light] / len(values)
    return row


def _width(row: Row) -> float:
    return abs(row["amber"] - row["green"])


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _sd(rows: Sequence[Row], name: str) -> float:
    return float(np.std([row[name] for row in rows], ddof=1)) if len(rows) > 1 else float("nan")


def light_badge(light: str) -> Html:
    """Show a light as a word with its colour and a shape; other words plainly."""
    if light not in _BADGES:
        return badge(light)
    status, shape = _BADGES[light]
    return tag(
        "span", tag("span", shape, aria_hidden="true"), light, class_=f"badge badge-{status}"
    )
