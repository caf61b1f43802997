# SPDX-License-Identifier: Apache-2.0
"""What training leaves in `model.toml` beside the weights, under `preprocessing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError
from encephalon.metrics.calibration import Calibration
from encephalon.recipes.loading import EARLIER
from encephalon.recipes.schema import Score

LAST_STAGE = "encoder.layer4"
"""The layer that maps are taken from where nothing else is said."""

Range = tuple[float, float]


@dataclass(frozen=True)
class FittedState:
    """What a trained classifier needs to know beside its weights and its recipe.

    classes      names in the order of the logits; of two, the second is "positive"
    covariates   columns of the table in the order that they were encoded in
    scaling      mean and standard deviation of each number among them
    calibration  of the probabilities, or None
    thresholds   of the traffic light (green, amber), or None
    score        how logits become probabilities, see `score_logits`
    layer        dotted path of the layer that maps are taken from
    ranges       1st and 99th percentile of each fact of the training images
    key          of the preprocessing that the training images went through
    """

    classes: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    scaling: Mapping[str, Range] = field(default_factory=dict)
    calibration: Calibration | None = None
    thresholds: Range | None = None
    score: Score = "softmax"
    layer: str = LAST_STAGE
    ranges: Mapping[str, Range] = field(default_factory=dict)
    key: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `model.toml`; what is None is left out."""
        record: dict[str, Any] = {
            "classes": list(self.classes),
            "covariates": list(self.covariates),
            "scaling": {name: list(pair) for name, pair in self.scaling.items()},
            "score": self.score,
            "layer": self.layer,
            "ranges": {name: list(pair) for name, pair in self.ranges.items()},
            "key": self.key,
        }
        if self.calibration is not None:
            record["calibration"] = self.calibration.as_dict()
        if self.thresholds is not None:
            record["thresholds"] = dict(zip(("green", "amber"), self.thresholds, strict=True))
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], source: str) -> FittedState:
        """Read what `as_dict` gave; raises ModelError, naming `source`, for anything else."""
        try:
            calibration, light = record.get("calibration"), record.get("thresholds")
            # An earlier version may have named the mode of the preprocessing.
            mode, space, settings = str(record.get("key", "")).partition(" ")
            score = record.get("score", "softmax")
            if score not in ("softmax", "sigmoid_logit1"):
                raise ValueError(f"the score is {score!r}")
            return cls(
                classes=tuple(str(name) for name in record["classes"]),
                covariates=tuple(str(name) for name in record.get("covariates", ())),
                scaling=_ranges(record.get("scaling", {})),
                calibration=Calibration.from_dict(calibration) if calibration else None,
                thresholds=(float(light["green"]), float(light["amber"])) if light else None,
                score=score,
                layer=str(record.get("layer", LAST_STAGE)),
                ranges=_ranges(record.get("ranges", {})),
                key=f"{EARLIER['mode'].get(mode, mode)}{space}{settings}",
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"{source}: its [preprocessing] is not that of a classifier "
                f"({type(error).__name__}: {error}): train or get the model again."
            ) from error


def score_logits(
    logits: NDArray[Any], score: str, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """Turn logits (N, C) into probabilities (N, C), float64.

    "softmax" applies the calibration where there is one. "sigmoid_logit1" is what the published
    notebooks call calibrated: the sigmoid of logit 1 alone, and one minus it for class 0, which
    logit 0 has no part in (3BTRON).
    """
    raw = np.asarray(logits, dtype=np.float64)
    if score == "sigmoid_logit1":
        from scipy.special import expit

        positive = expit(raw[:, 1])
        return np.stack([1.0 - positive, positive], axis=1)
    return (calibration or Calibration.identity(raw.shape[1])).apply(raw)


def _ranges(pairs: Mapping[str, Any]) -> dict[str, Range]:
    return {str(name): (float(low), float(high)) for name, (low, high) in pairs.items()}
