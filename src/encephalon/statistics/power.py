# SPDX-License-Identifier: Apache-2.0
"""How large an effect an input would need to be found in so many people: planted, and looked for.

Where a cohort shows nothing of a target, this says whether it could have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError

__all__ = ["SHARES", "PlantedPower", "liability_auc", "planted_power"]

Values = NDArray[np.float64]

#: Shares of a target's variance that are planted; the power that is asked for, and the chance of
#: finding what is not there, are the usual ones (Cohen 1992, doi:10.1037/0033-2909.112.1.155).
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
POWER, ALPHA = 0.8, 0.05
#: Penalties that ridge regression chooses from in each fold, of standardised columns: our choice.
PENALTIES = tuple(np.logspace(-1, 6, 15))


@dataclass(frozen=True)
class PlantedPower:
    """What came of effects that were planted into one input.

    people  who have it
    found   by the share that was planted: how often a ridge regression found it
    r2      by the share: what it explained of people whom it had not seen, on average
    needed  the smallest share from which on at least POWER of them were found; NaN for none
    """

    input: str
    people: int
    found: Mapping[float, float]
    r2: Mapping[float, float]

    @property
    def needed(self) -> float:
        """The smallest share that is found well enough, as is every larger one."""
        missed = max((s for s, power in self.found.items() if power < POWER), default=0.0)
        return min((share for share in self.found if share > missed), default=float("nan"))


def planted_power(
    inputs: Mapping[str, ArrayLike],
    groups: Sequence[str] | None = None,
    *,
    classes: Sequence[float] = (),
    shares: Sequence[float] = SHARES,
    repeats: int = 20,
    folds: int = 5,
    seed: int = 0,
) -> list[PlantedPower]:
    """How large an effect each input needs to be found in these people.

    inputs   columns of each (N, F), NaN where unknown; who has nothing of one is left out of it
    groups   what never straddles a fold, (N,): families
    classes  how frequent each class of the target is: what is planted lies behind them, and who has
             more of it is of a higher class; none for numbers
    shares   of the variance of a target that are planted, each `repeats` times: a target is a
             direction that all columns have a part in, and chance
    folds    an effect is found where what ridge regression tells of people whom it has not seen
             goes with the truth, one-sided p < ALPHA

    The cost is that of a ridge regression in each fold, which grows with N F min(N, F). Raises
    UsageError for fewer people, or groups of them, who have an input than folds, and for an input
    that is the same for everybody.
    """
    return [
        _planted(
            *(name, np.asarray(columns, np.float64), groups, classes),
            *(shares, repeats, folds, seed + place),
        )
        for place, (name, columns) in enumerate(inputs.items())
    ]


def liability_auc(share: float, frequency: float) -> float:
    """The area under the ROC curve of who knows a share of the variance of what is behind a class.

    frequency  of the class, between 0 and 1

    From Wray et al. 2010, doi:10.1371/journal.pgen.1000864.
    """
    from scipy.stats import norm

    threshold = norm.isf(frequency)
    ill = norm.pdf(threshold) / frequency
    well = -ill * frequency / (1 - frequency)
    spread = sum(1 - share * mean * (mean - threshold) for mean in (ill, well))
    return float(norm.cdf((ill - well) * share / np.sqrt(share * spread))) if share > 0 else 0.5


def _planted(
    name: str,
    columns: Values,
    groups: Sequence[str] | None,
    classes: Sequence[float],
    shares: Sequence[float],
    repeats: int,
    folds: int,
    seed: int,
) -> PlantedPower:
    from scipy.stats import t as student
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold, cross_val_predict

    has = np.isfinite(columns).any(axis=1)
    whose = np.arange(len(columns)) if groups is None else np.asarray(groups)
    members = np.unique(whose, return_inverse=True)[1]
    if (count := len(np.unique(members[has]))) < folds:
        raise UsageError(
            f"{name!r}: effects are looked for in {folds} folds of people, but {count} of them, or "
            "of groups of them, have it: ask for fewer folds, or gather more people."
        )
    features, rng = _standardised(columns[has]), np.random.default_rng(seed)
    if not features.shape[1]:
        raise UsageError(f"{name!r} is the same for everybody: leave it out.")
    planted = np.repeat(np.asarray(shares, np.float64), repeats)
    direction = features @ rng.standard_normal((features.shape[1], len(planted)))
    chance = rng.standard_normal(direction.shape)
    truth = np.sqrt(planted) * _standardised(direction) + np.sqrt(1 - planted) * chance
    if len(classes):
        below = np.cumsum(classes)[:-1] / np.sum(classes)
        truth = sum(truth > np.quantile(truth, share, axis=0) for share in below).astype(np.float64)
    ridge = RidgeCV(PENALTIES, alpha_per_target=True)
    told = cross_val_predict(ridge, features, truth, groups=members[has], cv=GroupKFold(folds))
    together = _correlations(told, truth)
    freedom = len(features) - 2
    score = together * np.sqrt(freedom / np.maximum(1 - together**2, 1e-12))
    found = student.sf(score, freedom) < ALPHA
    r2 = 1 - ((truth - told) ** 2).mean(axis=0) / truth.var(axis=0)
    by_share = {share: planted == share for share in shares}
    return PlantedPower(
        name,
        len(features),
        {share: float(found[one].mean()) for share, one in by_share.items()},
        {share: float(r2[one].mean()) for share, one in by_share.items()},
    )


def _correlations(told: Values, truth: Values) -> Values:
    """Of each column with that of the truth; 0 where the same is told of everybody."""
    told, truth = told - told.mean(axis=0), truth - truth.mean(axis=0)
    size = np.sqrt((told**2).sum(axis=0) * (truth**2).sum(axis=0))
    found: Values = (told * truth).sum(axis=0) / np.maximum(size, 1e-300)
    return found


def _standardised(columns: Values) -> Values:
    """Each column with mean 0 and deviation 1, 0 where it is unknown; those that say nothing go."""
    known = columns[:, np.isfinite(columns).any(axis=0)]
    deviations = np.nanstd(known, axis=0)
    told = known[:, deviations > 0]
    scaled: Values = (told - np.nanmean(told, axis=0)) / deviations[deviations > 0]
    scaled[np.isnan(scaled)] = 0
    return scaled
