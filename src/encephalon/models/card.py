# SPDX-License-Identifier: Apache-2.0
"""The card of a model: what it is for, what it learnt from, how good it is, and where it fails.

One schema for models that ship, models of one's own and weights that were published elsewhere. It
is shown by `models info`, on pages of predictions, in the documentation, and as the README.md that
the Hugging Face Hub shows, whose first lines are the Hub's own fields.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from encephalon.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    from encephalon.models.description import ModelDescription

UNKNOWN = "unknown"

CARD_SECTIONS: Mapping[str, str] = {
    "description": "What it does",
    "intended_use": "Intended use",
    "inputs": "Inputs",
    "factors": "Factors that change its performance",
    "metrics": "Metrics",
    "evaluation_data": "Evaluation data",
    "training_data": "Training data",
    "ethics": "Ethical considerations",
    "caveats": "Known failures and caveats",
}
"""The prose of a card: key in the table `card`, and its heading."""

NEEDED = ("description", "intended_use", "inputs", "training_data", "evaluation_data", "caveats")
"""What no card should leave out; beside it, figures and a licence."""

# Entries of a list that a card repeats; of tables, none.
_LISTED = 40
_DETAILS = ("name", "version", "study", "task", "mode", "licence", "citation")
_TABLES = {
    "labels": "Labels in the output",
    "preprocessing": "Preprocessing",
    "training_data": "Training data, in figures",
    "scores": "Scores",
    "recipe": "Recipe",
    "versions": "Versions",
    "files": "Files and their sha256",
}
#: The Hub's words for our tasks: https://huggingface.co/tasks
_HUB_TASKS = {
    "segmentation": "image-segmentation",
    "classification": "image-classification",
    "reconstruction": "image-to-image",
    "representation": "image-feature-extraction",
    "regression": "tabular-regression",
}
#: Licences by their name on the Hub, which takes no others than those of its list.
_HUB_LICENCES = ("apache-2.0", "cc0-1.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0")
_HARD_TO_READ = re.compile(r"[_-]+")


@dataclass(frozen=True)
class Figure:
    """One figure of a model, with how sure it is.

    name       what was measured: "Dice", "axon F1"
    value      the figure itself
    statistic  what it is of several cases: "median", "mean"; "" for one figure over all
    low, high  where it lies between; None where nobody has said
    interval   what kind of interval that is: "95 %", "range", "sd"
    n          how many cases, 0 where nobody has said
    unit       "mm", "mL"; "" for a share
    """

    name: str
    value: float
    statistic: str = ""
    low: float | None = None
    high: float | None = None
    interval: str = ""
    n: int = 0
    unit: str = ""

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        numbers = [self.value, *(end for end in ends if end is not None)]
        if not all(_is_number(number) and math.isfinite(number) for number in numbers):
            raise ModelError(
                f"The figure {self.name!r} must be made of numbers, but got {numbers}."
            )
        if (self.low is None) != (self.high is None):
            raise ModelError(f"The figure {self.name!r} has one end of an interval: give both.")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ModelError(f"The figure {self.name!r} lies between {self.low} and {self.high}.")
        if not _is_number(self.n) or self.n < 0:
            raise ModelError(f"The figure {self.name!r} is of {self.n!r} cases.")

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        more = [self.statistic] if self.statistic else []
        if self.low is not None:
            more.append(f"{self.interval or 'interval'} {self.low:.4g} to {self.high:.4g}")
        if self.n:
            more.append(f"n = {self.n:,}")
        return f"{self.name} {self.value:.4g}{unit}" + (f" ({', '.join(more)})" if more else "")


def read_figures(values: Any) -> tuple[Figure, ...]:
    """The figures of a list of tables; raises ModelError for what is none."""
    known = list(Figure.__dataclass_fields__)
    if not isinstance(values, list | tuple):
        raise ModelError(f"'figures' must be a list of tables, but got {values!r}.")
    found = []
    for each in values:
        if not isinstance(each, Mapping) or not {"name", "value"} <= set(each):
            raise ModelError(f"A figure has a name and a value, but got {each!r}.")
        for key in each:
            if key not in known:
                meant = did_you_mean(key, known, "known keys:")
                raise ModelError(f"A figure has the unknown key {key!r}; {meant}")
        found.append(Figure(**each))
    return tuple(found)


def figures_of(scores: Mapping[str, Any]) -> tuple[Figure, ...]:
    """The figures that training and evaluation left under `scores`, in one form.

    A number is a figure. A table is a summary of cases (median or mean, with the interval of
    either, or from minimum to maximum), or a figure with `low` and `high`, a 95 % interval.
    What is not finite, such as a mean over an infinite distance, is left out. Figures that say how
    sure they are come first: plain numbers are mostly those that training chose by.
    """
    found: list[Figure] = []
    for name, value in scores.items():
        words = _HARD_TO_READ.sub(" ", name)
        if _is_number(value):
            found += [Figure(words, float(value))] if math.isfinite(value) else []
        elif isinstance(value, Mapping):
            found += _summary(words, value)
    return tuple(sorted(found, key=lambda figure: figure.low is None))


def _summary(name: str, values: Mapping[str, Any]) -> Iterator[Figure]:
    values = {key: float(each) if _is_number(each) else each for key, each in values.items()}
    n = int(values["n"]) if _finite(values.get("n")) else 0
    statistic = next((key for key in ("median", "mean") if _finite(values.get(key))), "")
    if not statistic:
        numbers = {key: each for key, each in values.items() if _finite(each)}
        ends = [numbers.pop(key, None) for key in ("low", "high")]
        numbers.pop("n", None)
        for place, (key, value) in enumerate(numbers.items()):
            sure = place == 0 and None not in ends  # the interval is that of the first
            low, high = ends if sure else (None, None)
            kind = "95 %" if sure else ""
            yield Figure(f"{name} {key}", value, low=low, high=high, interval=kind, n=n)
        return
    given = values.get(f"{statistic}_interval")
    interval = given if isinstance(given, Mapping) else {}
    ends, kind = [interval.get("low"), interval.get("high")], "95 %"
    if not all(map(_finite, ends)):
        ends, kind = [values.get("minimum"), values.get("maximum")], "range"
    low, high = ends if all(map(_finite, ends)) else (None, None)
    yield Figure(name, values[statistic], statistic, low, high, "" if low is None else kind, n)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)  # also NumPy's


def _finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def gaps(card: Mapping[str, str], figures: Sequence[Figure], licence: str) -> list[str]:
    """What a card leaves out of what it needs, in the words of its headings."""
    missing = [CARD_SECTIONS[key] for key in NEEDED if _is_gap(card.get(key, ""))]
    missing += [] if figures else ["Figures"]
    return missing + (["Licence"] if _is_gap(licence) else [])


def _is_gap(text: str) -> bool:
    return text.strip() in {"", UNKNOWN}


def render_card(description: ModelDescription) -> str:
    """Return the card of a model in Markdown, beginning with the fields of the Hugging Face Hub.

    Every section is there whether it was filled or not: a gap reads "unknown", so that nobody
    takes silence for good news.
    """
    title = description.title or description.name
    details = {key.title(): getattr(description, key) for key in _DETAILS}
    figures = figures_of(description.scores)
    parts = [f"{front_matter(description)}\n# {title}", _table(details)]
    for key, heading in CARD_SECTIONS.items():
        parts.append(f"## {heading}\n\n{description.card.get(key, '').strip() or UNKNOWN}")
        if key == "metrics":
            parts.append(f"## Figures\n\n{figures_table(figures)}")
    for key, heading in _TABLES.items():
        parts.append(f"## {heading}\n\n{_table(getattr(description, key))}")
    return "\n\n".join(parts) + "\n"


def figures_table(figures: Iterable[Figure]) -> str:
    """Figures as a table in Markdown; "unknown" where there are none."""
    rows = []
    for one in figures:
        between = "" if one.low is None else f"{one.low:.4g} to {one.high:.4g} ({one.interval})"
        value = f"{one.value:.4g} {one.unit}".strip()
        cells = (one.name, value, one.statistic, between, one.n or "")
        rows.append(f"| {' | '.join(_cell(cell) if cell else '' for cell in cells)} |")
    heads = ["| Figure | Value | Of the cases | Between | Cases |", "|---|---|---|---|---|"]
    return "\n".join([*heads, *rows]) if rows else UNKNOWN


def front_matter(description: ModelDescription) -> str:
    """The fields of a card that the Hugging Face Hub reads, between two lines of `---`.

    https://huggingface.co/docs/hub/model-cards; values are written as JSON, which YAML contains.
    """
    licence = description.licence.lower()
    tags = ["encephalon", description.study, description.task, description.mode]
    tags += [kind for kind in ("onnx", "safetensors") if any(kind in n for n in description.files)]
    fields: dict[str, Any] = {
        "license": licence if licence in _HUB_LICENCES else "other",
        "library_name": "encephalon",
        "tags": list(dict.fromkeys(tags)),
    }
    if fields["license"] == "other":
        fields["license_name"] = re.sub(r"[^a-z0-9.]+", "-", licence).strip("-") or UNKNOWN
    if description.task in _HUB_TASKS:
        fields["pipeline_tag"] = _HUB_TASKS[description.task]
    if figures := figures_of(description.scores):
        fields["model-index"] = [{"name": description.name, "results": [_result(fields, figures)]}]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---", ""])


def _result(fields: Mapping[str, Any], figures: Iterable[Figure]) -> dict[str, Any]:
    measured = []
    for one in figures:
        sure = {"low": one.low, "high": one.high, "interval": one.interval}
        more = {"args": sure} if one.low is not None else {}
        kind = "_".join(one.name.lower().split())
        measured.append({"type": kind, "name": one.name, "value": one.value, **more})
    return {
        "task": {"type": fields.get("pipeline_tag", "other")},
        "dataset": {"type": "other", "name": "the evaluation data that the card tells of"},
        "metrics": measured,
    }


def _table(values: Mapping[Any, Any]) -> str:
    rows = [f"| {_cell(key)} | {_cell(value)} |" for key, value in _flat(values)]
    return "\n".join(["| | |", "|---|---|", *rows]) if rows else UNKNOWN


def _flat(values: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            pairs += _flat(value, f"{name}.")
        else:
            pairs.append((name, value))
    return pairs


def _cell(value: Any) -> str:
    """Return the text of one table cell: a figure to four digits, nothing as "unknown"."""
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        if len(value) > _LISTED or any(isinstance(item, Mapping) for item in value):
            return f"{len(value)} entries, see model.toml"
        return ", ".join(_cell(item) for item in value)
    return " ".join(str(value).split()).replace("|", "\\|") or UNKNOWN
