# SPDX-License-Identifier: Apache-2.0
"""How far an image can be trusted: is it like the training images, and how certain is the model.

What is measured on an image is compared with the training images; certainty puts it in a bin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from encephalon.explanation.explainable import CERTAIN, ConfidenceBins
from encephalon.inference.predictor import Quality

__all__ = ["PublishedBins", "check_quality", "confidence_bins"]

Range = tuple[float, float]

#: Facts that are compared as ratios, and the factor by which they may leave the training range:
#: our choice. Objects a third larger or smaller are another magnification.
_FACTORS = {"pixel_size_nm": 1.3, "rows": 1.5, "columns": 1.5}
#: How far the other facts may leave it, as a share of its width, and at least (our choice): the
#: range is that of 98 % of training images, so that a fiftieth of any set lies outside.
_SHARE, _LEAST = 0.5, 0.01

_WORDS = {
    "pixel_size_nm": "pixel size in nm",
    "rows": "number of rows",
    "columns": "number of columns",
    "saturated": "share of saturated pixels",
}

# Upper ends of the published bins, by the likelihood of the positive class (3BTRON).
_PUBLISHED = (
    (0.25, "certain_negative"),
    (0.5, "uncertain_negative"),
    (CERTAIN, "uncertain_positive"),
    (float("inf"), "certain_positive"),
)


def check_quality(facts: Mapping[str, float], ranges: Mapping[str, Range]) -> Quality | None:
    """Return "check" with the reasons in words where a fact lies outside its training range.

    None where nothing is known of the training images. A pixel size that is not known is a reason
    only if those of the training images were.
    """
    known = {name: pair for name, pair in ranges.items() if all(map(isfinite, pair))}
    if not known:
        return None
    reasons = (_reason(name, facts.get(name, float("nan")), *known[name]) for name in known)
    found = tuple(reason for reason in reasons if reason)
    return Quality("check" if found else "ok", found)


def _reason(name: str, value: float, low: float, high: float) -> str:
    words = _WORDS.get(name, name.replace("_", " "))
    span = f"{low:.4g} to {high:.4g}" if high > low else f"{low:.4g}"
    if not isfinite(value):
        return f"the {words} is not known, and was {span} in training" if name in _FACTORS else ""
    if name in _FACTORS:
        outside = value < low / _FACTORS[name] or value > high * _FACTORS[name]
    else:
        room = max(_SHARE * (high - low), _LEAST)
        outside = value < low - room or value > high + room
    return f"the {words} is {value:.4g}, and was {span} in training" if outside else ""


class PublishedBins(ConfidenceBins):
    """The four published bins, by the likelihood of the second of two classes."""

    @property
    def names(self) -> list[str]:
        """All four."""
        return [name for _, name in _PUBLISHED]

    def __call__(self, values: Mapping[str, Any]) -> str:
        """The bin of a prediction by its `likelihood`."""
        likelihood = float(values["likelihood"])
        return next(name for end, name in _PUBLISHED if likelihood <= end)


def confidence_bins(classes: Sequence[str], mode: str) -> ConfidenceBins:
    """The bins of a model of `classes` in a mode: "published" has those that were published."""
    published = mode == "published" and len(classes) == 2
    return PublishedBins(classes) if published else ConfidenceBins(classes)
