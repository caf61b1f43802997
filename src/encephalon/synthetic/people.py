# SPDX-License-Identifier: Apache-2.0
"""People whose targets are told by known shares: what each input can say, and all of them at most.

Each input holds signals of each target that nothing else holds. A number is the sum of its signals
and of a rest that no input shows, so the best R2 from a set of inputs is the sum of their shares.
A class moves the signals of an input apart by that input's strength, and the squares of strengths
sum in the same way. What can be told of classes at best follows from the sum alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert
from scipy.stats import norm

__all__ = [
    "BLOCKS",
    "IMAGES",
    "NUISANCES",
    "SITES",
    "TARGETS",
    "People",
    "Planted",
    "ceiling",
    "draw_people",
]

Values = NDArray[np.float64]
Kind = Literal["binary", "multiclass", "continuous", "ordinal"]

IMAGES = ("t1", "flair", "dwi")
BLOCKS = ("constitutional", "serology", "psychology", "disease")
SITES = ("north", "south", "west")
#: Share of the rest, and of how images look, that members of a family have in common.
FAMILY = 0.5
#: Fields of the brain, and of connectivity, in which people differ whatever they are like.
NUISANCES = 4


@dataclass(frozen=True)
class Planted:
    """A target, and what the inputs say of it.

    kind, domain, classes, unit  as a cohort declares them
    shares  of the variance of a number, by input; of classes the squared strength, which is half
            the squared distance between two classes in deviations of the signals
    mean, sd  of a continuous target, in its unit
    """

    kind: Kind
    domain: str
    shares: Mapping[str, float]
    classes: tuple[str, ...] = ()
    unit: str = ""
    mean: float = 0.0
    sd: float = 1.0

    @property
    def nominal(self) -> bool:
        """Whether it has classes in no order."""
        return self.kind in ("binary", "multiclass")

    @property
    def signals(self) -> int:
        """Signals that an input holds of it: between K classes there are K - 1 directions."""
        return len(self.classes) - 1 if self.nominal else 1


#: Our choice: of every kind, from every domain, some told best by images and some by tables, and
#: one by nothing. Of its own domain a target has no share.
TARGETS: Mapping[str, Planted] = {
    "age": Planted(
        "continuous", "constitutional", unit="years", mean=55, sd=12,
        shares={"t1": 0.30, "flair": 0.12, "dwi": 0.12, "connectivity": 0.15, "serology": 0.08,
                "disease": 0.05},
    ),
    "sex": Planted(
        "binary", "constitutional", classes=("F", "M"),
        shares={"t1": 1.4, "flair": 0.3, "dwi": 0.8, "connectivity": 0.8, "serology": 0.8},
    ),
    "handedness": Planted("binary", "constitutional", classes=("right", "left"), shares={}),
    "haemoglobin": Planted(
        "continuous", "serology", unit="g/dL", mean=14, sd=1.3,
        shares={"constitutional": 0.30, "dwi": 0.12, "psychology": 0.06, "disease": 0.12},
    ),
    "reaction_time": Planted(
        "continuous", "psychology", unit="ms", mean=560, sd=110,
        shares={"dwi": 0.15, "connectivity": 0.25, "constitutional": 0.15},
    ),
    "smoking": Planted(
        "ordinal", "disease", classes=("never", "former", "current"),
        shares={"flair": 0.12, "connectivity": 0.06, "constitutional": 0.10, "serology": 0.25,
                "psychology": 0.12},
    ),
    "diagnosis": Planted(
        "multiclass", "disease", classes=("control", "atrophy", "vascular"),
        shares={"t1": 0.9, "flair": 0.9, "connectivity": 0.4, "constitutional": 0.2,
                "serology": 0.5, "psychology": 0.9},
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class People:
    """Families of people, and what there is to be seen of them.

    truth    by target: a number in its unit, or the place of a class, (N,)
    signals  by input and target: (N, signals)
    looks    by input: how people differ whatever they are like, (N, NUISANCES)
    family, site  numbers, (N,)
    """

    truth: Mapping[str, Values]
    signals: Mapping[str, Mapping[str, Values]]
    looks: Mapping[str, Values]
    family: NDArray[np.int64]
    site: NDArray[np.int64]
    ids: list[str] = field(default_factory=list)

    def of(self, source: str) -> Values:
        """The signals of an input, those of one target beside those of the next: (N, S)."""
        held = list(self.signals[source].values())
        return np.concatenate(held, axis=1) if held else np.zeros((len(self.family), 0))


def draw_people(count: int, seed: int) -> People:
    """The same people for the same seed."""
    rng = np.random.default_rng([seed, 0])
    family = np.repeat(np.arange(count), rng.choice([1, 2, 3], count, p=[0.6, 0.3, 0.1]))[:count]
    truth: dict[str, Values] = {}
    signals: dict[str, dict[str, Values]] = {
        name: {} for name in (*IMAGES, "connectivity", *BLOCKS)
    }
    for name, target in TARGETS.items():
        held = {source: rng.standard_normal((count, target.signals)) for source in target.shares}
        if target.nominal:
            truth[name] = rng.integers(len(target.classes), size=count).astype(float)
            apart = helmert(len(target.classes))[:, truth[name].astype(int)].T
            for source, share in target.shares.items():
                held[source] += np.sqrt(share) * apart
        else:
            told = sum(np.sqrt(share) * held[s][:, 0] for s, share in target.shares.items())
            rest = np.sqrt(1 - sum(target.shares.values())) * _shared(rng, family, 1)[:, 0]
            truth[name] = _measured(target, told + rest)
        for source, values in held.items():
            signals[source][name] = values
    return People(
        truth,
        signals,
        {name: _shared(rng, family, NUISANCES) for name in (*IMAGES, "connectivity")},
        family,
        rng.integers(len(SITES), size=count),
        [f"sub-{number:0{len(str(count))}d}" for number in range(1, count + 1)],
    )


def _shared(rng: np.random.Generator, family: NDArray[np.int64], width: int) -> Values:
    """Standard normal numbers (N, width), alike in a family."""
    common = rng.standard_normal((len(family), width))[family]
    own = rng.standard_normal((len(family), width))
    mixed: Values = np.sqrt(FAMILY) * common + np.sqrt(1 - FAMILY) * own
    return mixed


def _measured(target: Planted, standard: Values) -> Values:
    """A standard normal number in the unit of the target, or the place of its class."""
    if target.kind == "continuous":
        return target.mean + target.sd * standard
    return np.digitize(standard, _thresholds(len(target.classes))).astype(float)


def _thresholds(classes: int) -> Values:
    """Where classes of equal size meet."""
    met: Values = norm.ppf(np.arange(1, classes) / classes)
    return met


def ceiling(target: str, inputs: Iterable[str]) -> dict[str, float]:
    """What the best prediction of a target from these inputs scores, if all their cells are known.

    Of numbers r2 and mae, in the unit of the target; of classes balanced_accuracy, and roc_auc
    where there are two.
    """
    planted = TARGETS[target]
    share = sum(planted.shares.get(name, 0.0) for name in inputs)
    if planted.kind == "continuous":
        # The mean of |x| for a normal x is sqrt(2 / pi) deviations.
        return {"r2": share, "mae": planted.sd * float(np.sqrt(2 / np.pi * (1 - share)))}
    if planted.kind == "ordinal":
        return {"balanced_accuracy": _of_order(share, len(planted.classes))}
    found = {"balanced_accuracy": _of_classes(float(np.sqrt(share)), len(planted.classes))}
    if planted.kind == "binary":
        found["roc_auc"] = float(norm.cdf(np.sqrt(share)))
    return found


#: Points at which integrals over a standard normal number are summed.
_GRID = np.linspace(-8, 8, 4001)


def _of_classes(strength: float, classes: int) -> float:
    """How often the largest of K numbers is the one that is larger by `strength` on average.

    Signals of K classes that lie equally far apart are told at best as often as K orthogonal
    signals (Proakis & Salehi, Digital Communications, 5th ed., section 4.4-1).
    """
    right = norm.pdf(_GRID, strength) * norm.cdf(_GRID) ** (classes - 1)
    return float(np.trapezoid(right, _GRID))


def _of_order(share: float, classes: int) -> float:
    """How often the likeliest of K equal parts of a number is right, of which `share` is known."""
    edges = np.concatenate([[-np.inf], _thresholds(classes), [np.inf]])
    below = norm.cdf((edges[:, None] - np.sqrt(share) * _GRID) / np.sqrt(1 - share))
    return float(np.trapezoid(norm.pdf(_GRID) * np.diff(below, axis=0).max(axis=0), _GRID))
