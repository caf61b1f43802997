# SPDX-License-Identifier: Apache-2.0
"""Into which folder an explained image goes: by how certain the model is of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["certainty_folder", "certainty_folders"]

#: A probability above this is certain where the model has no thresholds (3BTRON, spec section 6).
CERTAIN = 0.75
# Upper ends of the published folders, by the likelihood of the positive class (spec section 6).
_PUBLISHED = (
    (0.25, "certain_negative"),
    (0.5, "uncertain_negative"),
    (CERTAIN, "uncertain_positive"),
    (float("inf"), "certain_positive"),
)


def certainty_folder(values: Mapping[str, Any], classes: Sequence[str], mode: str) -> str:
    """Return the name of the folder for a prediction.

    values  of predictions.csv: `predicted`, `p_<class>`, and for two classes `likelihood`, `light`
    mode    "legacy" gives the four published folders, by the likelihood of the second class.
            Otherwise it is "certain_<class>" or "uncertain_<class>" of the predicted class:
            uncertain is what the traffic light calls Amber or, without thresholds, a probability
            up to 0.75. An image unlike those of the training, which has an empty light, is
            never certain.
    """
    if mode == "legacy" and len(classes) == 2:
        likelihood = float(values["likelihood"])
        return next(name for end, name in _PUBLISHED if likelihood <= end)
    said = str(values["predicted"])
    light = values.get("light")
    certain = (
        light in {"Green", "Red"} if light is not None else float(values[f"p_{said}"]) > CERTAIN
    )
    return _named("certain" if certain else "uncertain", said)


def certainty_folders(classes: Sequence[str], mode: str) -> list[str]:
    """Return the names of all folders that there may be."""
    if mode == "legacy" and len(classes) == 2:
        return [name for _, name in _PUBLISHED]
    return [_named(word, name) for name in classes for word in ("certain", "uncertain")]


def _named(word: str, name: str) -> str:
    return f"{word}_{re.sub(r'[^0-9A-Za-z._+-]+', '-', name)}"
