# SPDX-License-Identifier: Apache-2.0
"""Linear mixed models: what each column adds to a score, beside random intercepts of groups.

Intercepts of one grouping are those of the published analysis. Those of several that cross, such as
targets and sets of inputs, say that scores which share either are not independent, so that fewer
things were seen than there are scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encephalon.errors import UsageError, require_extra
from encephalon.statistics.intervals import LEVEL

__all__ = ["Coefficient", "MixedModel", "coefficient", "fit_mixed"]

Values = NDArray[np.float64]
RESIDUAL = "residual"


@dataclass(frozen=True)
class Coefficient:
    """What something adds to a score, with its 95 % interval and two-sided p value against 0.

    freedom  degrees of freedom of the t distribution; infinite for the normal one
    """

    name: str
    estimate: float
    standard_error: float
    low: float
    high: float
    p_value: float
    freedom: float = inf

    def p_equivalent(self, margin: float) -> float:
        """How surprising the estimate were if it lay outside ±margin: two one-sided tests.

        A small one says that the effect is too small to matter, which a large `p_value` does not
        (Schuirmann 1987, doi:10.1007/BF01068419).
        """
        from scipy.stats import t as student

        distance = margin - abs(self.estimate)
        if self.standard_error == 0:
            return float(distance <= 0)
        return float(student.sf(distance / self.standard_error, self.freedom))


@dataclass(frozen=True)
class MixedModel:
    """A fitted model of n scores.

    coefficients  of the columns, in order
    deviations    standard deviation of the intercepts of each grouping, and "residual"
    """

    coefficients: tuple[Coefficient, ...]
    deviations: Mapping[str, float]
    n: int


def coefficient(name: str, estimate: float, error: float, freedom: float = inf) -> Coefficient:
    """An estimate and its standard error, with interval and p value; both NaN without freedom."""
    from scipy.stats import t as student

    if not freedom > 0:
        return Coefficient(name, estimate, error, nan, nan, nan, freedom)
    half = float(student.ppf((1 + LEVEL) / 2, freedom)) * error
    if error > 0:
        p_value = 2 * float(student.sf(abs(estimate) / error, freedom))
    else:
        p_value = float(estimate == 0)
    return Coefficient(name, estimate, error, estimate - half, estimate + half, p_value, freedom)


def fit_mixed(
    scores: ArrayLike,
    columns: Mapping[str, ArrayLike],
    groups: Mapping[str, Sequence[Any]],
    *,
    freedom: float = inf,
) -> MixedModel:
    """Fit scores (N,) by an intercept, columns (N,) each, and random intercepts of each grouping.

    groups   the group of each score, (N,), in one grouping or several that cross
    freedom  degrees of freedom of the coefficients: infinite as published (Wald's z)

    By restricted maximum likelihood (REML). Raises UsageError where the columns cannot be told
    apart by so few scores, or a grouping has a single group, and MissingExtraError without the
    extra `grid`.
    """
    require_extra("statsmodels", "grid", "A mixed model")
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    truth = np.asarray(scores, np.float64)
    parts = [np.asarray(each, np.float64) for each in columns.values()]
    design = np.column_stack([np.ones(len(truth)), *parts])
    few = UsageError(
        f"A mixed model of {len(truth)} scores cannot tell apart what {', '.join(columns)} "
        "add: leave one out, or add results of other sets."
    )
    if np.linalg.matrix_rank(design) < design.shape[1] or len(truth) <= design.shape[1]:
        raise few
    indicators = {name: _indicators(members) for name, members in groups.items()}
    for name, each in indicators.items():
        if each.shape[1] < 2:
            raise UsageError(f"A mixed model needs two groups or more, but {name!r} has one.")
        if np.linalg.matrix_rank(np.column_stack([design, each])) == design.shape[1]:
            raise few  # the columns say of each group all there is to say of it
    # In units of their deviation: the search ends by the size of the likelihood's slope.
    unit = float(np.std(truth)) or 1.0
    labels = [[list(map(str, range(each.shape[1])))] for each in indicators.values()]
    spec = VCSpec(list(indicators), labels, [[each] for each in indicators.values()])
    with warnings.catch_warnings():
        # Of a variance that is 0, which it may well be.
        warnings.simplefilter("ignore")
        model = MixedLM(truth / unit, design, groups=np.zeros(len(truth)), exog_vc=spec)
        start = _start(truth / unit, design, indicators.values())
        try:
            found = model.fit(reml=True, start_params=start)
        except np.linalg.LinAlgError as error:
            raise few from error
    estimates, errors = found.fe_params[1:] * unit, found.bse_fe[1:] * unit
    variances = dict(zip(indicators, found.vcomp, strict=True)) | {RESIDUAL: found.scale}
    return MixedModel(
        tuple(
            coefficient(name, float(each), float(error), freedom)
            for name, each, error in zip(columns, estimates, errors, strict=True)
        ),
        {name: float(np.sqrt(max(each, 0.0))) * unit for name, each in variances.items()},
        len(truth),
    )


def _start(truth: Values, design: Values, indicators: Iterable[Values]) -> Any:
    """Where the search begins: variances of the groups' means, in units of that of the rest.

    From where statsmodels begins it may end far from the best where groups differ much.
    """
    from statsmodels.regression.mixed_linear_model import MixedLMParams

    fitted = np.linalg.lstsq(design, truth, rcond=None)[0]
    rest, variances = truth - design @ fitted, []
    for each in indicators:
        means = each.T @ rest / each.sum(axis=0)
        variances.append(float(np.var(means)))
        rest = rest - each @ means
    unit = max(float(np.var(rest)), 1e-12)
    return MixedLMParams.from_components(fitted, vcomp=np.array(variances) / unit)


def _indicators(members: Sequence[Any]) -> Values:
    """Which group each is in, (N, G)."""
    _, numbers = np.unique(np.asarray(members, dtype=str), return_inverse=True)
    return np.eye(int(numbers.max()) + 1)[numbers]
