# SPDX-License-Identifier: Apache-2.0
"""How far an image can be trusted: is it like the training images, and how certain is the model.

What is measured on an image is compared with the training images; certainty puts it in a bin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from encephalon.inference.predictor import Quality

__all__ = ["ConfidenceBins", "check_quality"]

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

#: A probability above this is certain where the model has no thresholds (3BTRON, spec section 6).
CERTAIN = 0.75
# Upper ends of the published bins, by the likelihood of the positive class (spec section 6).
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


@dataclass(frozen=True)
class ConfidenceBins:
    """Images by how certain a model of `classes` is of them; a bin names a folder.

    mode  "published" has the four published bins, by the likelihood of the second class. Otherwise
          they are "certain_<class>" and "uncertain_<class>" of the predicted class: uncertain is
          what the traffic light calls Amber or, without thresholds, a probability up to 0.75. An
          image unlike those of the training, which has an empty light, is never certain.
    """

    classes: Sequence[str]
    mode: str

    @property
    def names(self) -> list[str]:
        """All bins that there may be."""
        if self._published:
            return [name for _, name in _PUBLISHED]
        return [_named(word, name) for name in self.classes for word in ("certain", "uncertain")]

    def __call__(self, values: Mapping[str, Any]) -> str:
        """The bin of a prediction.

        `values` are those of predictions.csv: `predicted`, `p_<class>`, and for two classes
        `likelihood` and `light`.
        """
        if self._published:
            likelihood = float(values["likelihood"])
            return next(name for end, name in _PUBLISHED if likelihood <= end)
        said, light = str(values["predicted"]), values.get("light")
        certain = (
            light in {"Green", "Red"} if light is not None else float(values[f"p_{said}"]) > CERTAIN
        )
        return _named("certain" if certain else "uncertain", said)

    @property
    def _published(self) -> bool:
        return self.mode == "published" and len(self.classes) == 2


def _named(word: str, name: str) -> str:
    return f"{word}_{re.sub(r'[^0-9A-Za-z._+-]+', '-', name)}"
