# SPDX-License-Identifier: Apache-2.0
"""Probabilities that mean what they say: fitting them, checking them, and answering by them.

Fitted by temperature scaling after Guo et al. 2017 (doi:10.48550/arXiv.1706.04599), with one bias a
class. Selective prediction: how often a model is wrong when it may keep silent about the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import ModelError, UsageError
from encephalon.statistics.intervals import Interval
from encephalon.statistics.weighted_metric import (
    WeightedMetric,
    ratio,
    risk_area_metric,
    share_interval,
)

__all__ = [
    "Calibration",
    "CoverageRisk",
    "ReliabilityBin",
    "calibration_error_metric",
    "checked_probabilities",
    "coverage_risk",
    "expected_calibration_error",
    "fit_calibration",
    "fit_line",
    "reliability",
]

Values = NDArray[np.float64]

#: A straight line is not worth its two parameters with fewer samples (ours).
FEWEST_FOR_A_LINE = 20

# Standard deviations of the prior: temperature within a factor of e, a bias within half a logit.
# Our choice: with ten groups or fewer they hold the fit near the identity.
_LOG_TEMPERATURE_SD, _BIAS_SD = 1.0, 0.5
# Fewer samples than this are not worth three parameters (ours).
_FEWEST = 10
# A temperature outside would be a sign of a broken network (ours).
_LOG_TEMPERATURE_LIMIT = 3.0


@dataclass(frozen=True)
class Calibration:
    """Probabilities are softmax(logits / temperature + bias), one bias a class."""

    temperature: float
    bias: tuple[float, ...]

    @classmethod
    def identity(cls, classes: int) -> Calibration:
        """The calibration that leaves the softmax as it is."""
        return cls(1.0, (0.0,) * classes)

    def apply(self, logits: ArrayLike) -> Values:
        """Turn logits (N, C) into probabilities (N, C), float64.

        Raises ModelError when the number of classes differs.
        """
        raw = np.asarray(logits, dtype=np.float64)
        if raw.ndim != 2 or raw.shape[1] != len(self.bias):
            raise ModelError(
                f"The calibration is of {len(self.bias)} classes, but the logits have the shape "
                f"{raw.shape}: calibration and network belong to different models."
            )
        return np.exp(_log_softmax(raw / self.temperature + np.asarray(self.bias)))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for model.toml."""
        return {"temperature": self.temperature, "bias": list(self.bias)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what `as_dict` gave; raises ModelError for anything else."""
        try:
            read = cls(float(values["temperature"]), tuple(float(each) for each in values["bias"]))
        except (KeyError, TypeError, ValueError):
            read = cls(0.0, ())
        finite = bool(np.isfinite([read.temperature, *read.bias]).all())
        if not (finite and read.temperature > 0 and read.bias):
            raise ModelError(
                "A calibration needs a temperature above 0 and a finite bias for each class, but "
                f"the model says {dict(values)}."
            )
        return read


def fit_line(predicted: Values, truth: Values) -> tuple[float, float]:
    """Intercept and slope of true over predicted numbers (N,), where that pays; else 0 and 1.

    It pays where the errors of samples that the line does not know are smaller by more than their
    standard error: predictions that are drawn to the mean, say.
    """
    spread = np.var(predicted) if predicted.size else 0.0
    if predicted.size < FEWEST_FOR_A_LINE or spread <= 1e-12 * np.mean(predicted**2):
        return 0.0, 1.0
    slope, intercept = np.polyfit(predicted, truth, 1)
    # The error of each sample by the line of all others.
    leverage = 1 / predicted.size + (predicted - predicted.mean()) ** 2 / (predicted.size * spread)
    left_out = (truth - intercept - slope * predicted) / (1 - leverage)
    gain = (truth - predicted) ** 2 - left_out**2
    pays = slope > 0 and gain.mean() > gain.std() / np.sqrt(gain.size)
    return (float(intercept), float(slope)) if pays else (0.0, 1.0)


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples whose probability lies in [low, high): what was said and what came true."""

    low: float
    high: float
    mean_probability: float
    observed: Interval
    n: int


def fit_calibration(
    logits: ArrayLike,
    truth: ArrayLike,
    groups: Sequence[Any] | None = None,
    *,
    shift: bool = True,
) -> Calibration:
    """Fit temperature and biases to logits (N, C) and true classes (N,) by least log loss.

    Normal priors pull the logarithm of the temperature (SD 1) and the biases (SD 0.5) to zero.
    Samples of one group are not independent, so the data weigh as much as there are `groups`.
    The biases of classes that do not occur stay 0, and all do without `shift`: a network that was
    taught with balanced classes then keeps judging them alike. With fewer than ten samples or two
    classes the identity is returned, and the fitted log loss never exceeds that of the identity.
    """
    raw, known = np.asarray(logits, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    count = raw.shape[1]
    if groups is not None and len(groups) != known.size:
        raise UsageError(
            f"There are {len(groups)} groups for {known.size} samples: give one per sample."
        )
    present = np.bincount(known, minlength=count) > 0
    if known.size < _FEWEST or present.sum() < 2 or not np.isfinite(raw).all():
        return Calibration.identity(count)
    from scipy.optimize import minimize

    units = known.size if groups is None else len(set(groups))
    limit = (-_LOG_TEMPERATURE_LIMIT, _LOG_TEMPERATURE_LIMIT)
    result = minimize(
        _objective,
        np.zeros(1 + count),
        args=(raw, known, units),
        jac=True,
        method="L-BFGS-B",
        bounds=[limit, *((None, None) if shift and there else (0.0, 0.0) for there in present)],
    )
    fitted = Calibration(float(np.exp(result.x[0])), tuple(float(each) for each in result.x[1:]))
    start = Calibration.identity(count)
    return fitted if _mean_loss(fitted, raw, known) <= _mean_loss(start, raw, known) else start


def reliability(
    probabilities: ArrayLike,
    hits: ArrayLike,
    bins: int = 10,
    groups: Sequence[Any] | None = None,
    *,
    repeats: int = 2000,
    seed: int = 0,
) -> list[ReliabilityBin]:
    """Compare probabilities (N,) with what came true, `hits` (N,), in equally wide bins.

    Empty bins are left out; the last one holds 1. Intervals are those of `share_interval`.
    Raises UsageError for different lengths.
    """
    said, came = _pairs(probabilities, hits)
    place = _places(said, bins)
    found = []
    for each in np.unique(place):
        inside = place == each
        observed = share_interval(came, inside, groups, repeats=repeats, seed=seed)
        low, high, mean = float(each / bins), float((each + 1) / bins), float(said[inside].mean())
        found.append(ReliabilityBin(low, high, mean, observed, int(inside.sum())))
    return found


def checked_probabilities(
    probabilities: Values, truth: NDArray[np.int64]
) -> tuple[Values, NDArray[np.bool_]]:
    """Of probabilities (N, C) those that calibration is read from, (N,), and which came true (N,).

    They are of the second of two classes, and of the likeliest one of more.
    """
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], truth == 1
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == truth


def expected_calibration_error(probabilities: ArrayLike, hits: ArrayLike, bins: int = 10) -> float:
    """Mean over samples of |observed share - mean probability| of their bin, from 0 to 1."""
    return calibration_error_metric(probabilities, hits, bins).value


def calibration_error_metric(
    probabilities: ArrayLike, hits: ArrayLike, bins: int = 10
) -> WeightedMetric:
    """The same error, ready for its interval; of few samples it is too large, as in every draw.

    Raises UsageError for different lengths.
    """
    said, came = _pairs(probabilities, hits)
    excess = np.zeros((said.size, bins))
    excess[np.arange(said.size), _places(said, bins)] = came - said
    return WeightedMetric(
        said.size,
        lambda weights: ratio(np.abs(weights @ excess).sum(axis=1), weights.sum(axis=1)),
    )


def _objective(
    parameters: Values, raw: Values, known: NDArray[np.int64], units: int
) -> tuple[float, Values]:
    """Penalised negative log likelihood of `units` independent samples, and its gradient."""
    scale, bias = np.exp(-parameters[0]), parameters[1:]
    logs = _log_softmax(raw * scale + bias)
    error = np.exp(logs)
    error[np.arange(known.size), known] -= 1.0
    loss = -logs[np.arange(known.size), known].mean()
    slope = np.concatenate([[-scale * (error * raw).sum()], error.sum(axis=0)]) / known.size
    spread = np.concatenate([[_LOG_TEMPERATURE_SD], np.full(bias.size, _BIAS_SD)])
    penalty = 0.5 * float(((parameters / spread) ** 2).sum())
    return units * float(loss) + penalty, units * slope + parameters / spread**2


def _mean_loss(calibration: Calibration, raw: Values, known: NDArray[np.int64]) -> float:
    logs = _log_softmax(raw / calibration.temperature + np.asarray(calibration.bias))
    return float(-logs[np.arange(known.size), known].mean())


def _log_softmax(logits: Values) -> Values:
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _pairs(probabilities: ArrayLike, hits: ArrayLike) -> tuple[Values, NDArray[np.bool_]]:
    said, came = np.asarray(probabilities, dtype=np.float64), np.asarray(hits, dtype=bool)
    if said.shape != came.shape or said.ndim != 1:
        raise UsageError(
            "Calibration needs one probability for each sample, but the shapes are "
            f"{said.shape} and {came.shape}."
        )
    return said, came


def _places(said: Values, bins: int) -> NDArray[np.int64]:
    return np.clip((said * bins).astype(np.int64), 0, bins - 1)


@dataclass(frozen=True)
class CoverageRisk:
    """The curve of error against share answered, most confident answers first.

    confidence (T)  falling thresholds: samples at least as confident are answered
    coverage   (T)  share of the samples that are answered, rising to 1
    risk       (T)  share of the answers that are wrong; the last is the plain error rate
    area            mean risk over all coverages, with its interval; a confidence that knows nothing
                    has the plain error rate as area (Geifman and El-Yaniv 2017, arXiv:1705.08500)
    """

    confidence: tuple[float, ...]
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: Interval


def coverage_risk(
    confidence: ArrayLike,
    correct: ArrayLike,
    groups: Sequence[Any] | None = None,
    *,
    repeats: int = 2000,
    seed: int = 0,
) -> CoverageRisk:
    """Return the curve of confidences (N,) and right answers (N,); equal confidences are one point.

    Raises UsageError for different lengths.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if sure.shape != right.shape or sure.ndim != 1:
        raise UsageError(
            "A coverage-risk curve needs one confidence for each answer, but the shapes are "
            f"{sure.shape} and {right.shape}."
        )
    thresholds, place, counts = np.unique(-sure, return_inverse=True, return_counts=True)
    wrong = np.cumsum(np.bincount(place, weights=~right, minlength=thresholds.size))
    kept = np.cumsum(counts)
    area = risk_area_metric(right, sure)
    return CoverageRisk(
        confidence=tuple((-thresholds).tolist()),
        coverage=tuple((kept / max(1, sure.size)).tolist()),
        risk=tuple((wrong / kept).tolist()),
        area=area.interval(groups, repeats=repeats, seed=seed),
    )
