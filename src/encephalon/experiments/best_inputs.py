# SPDX-License-Identifier: Apache-2.0
"""From what each target is told best, corrected for choice, and what is as good.

The best of many sets flatters itself. Where the predictions lie beside the models, people are drawn
again ("people"). Where they do not, sets are taken to have independent errors ("errors"), as large
as the smaller of two bounds: what asking so many people, or their interval, leaves open; and by how
much scores differ from what their inputs add up to, which is not luck alone. As all were scored on
the same people, that is more than the truth, and so is the correction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from encephalon.experiments.results_table import HAS, MAIN, MARGIN, ResultsTable
from encephalon.experiments.shared_people import SharedPeople, shared_people
from encephalon.statistics.intervals import LEVEL
from encephalon.statistics.selection import choose_again, noisy_draws, select_best

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BestInputs", "best_inputs", "sampling_error"]

Values = NDArray[np.float64]
Verdict = Literal["told", "not told", "open"]


@dataclass(frozen=True)
class BestInputs:
    """The best set of inputs of one target.

    inputs, score  the set and its main score, the mean of its seeds and folds; `model` has most
    corrected, low, high
                   what may be expected of a set that is chosen so, with its interval
    sets           that were compared
    equal          those that cannot be told from the best, itself first: with 95 % the truly best
                   is one of them
    method         "people" or "errors", see above; "" where nothing is known of the errors
    people         who were scored; NaN where that is not known
    verdict        "not told" where it surely is above chance by less than the margin, so that
                   these models cannot tell it from these inputs; "told" where it surely beats
                   chance, once corrected; else "open". Each is right with 95 %
    """

    target: str
    domain: str
    metric: str
    inputs: str
    score: float
    corrected: float
    low: float
    high: float
    chance: float
    verdict: Verdict
    sets: int
    equal: tuple[str, ...]
    method: str
    people: float
    model: str

    def record(self) -> dict[str, Any]:
        """A row of a table; the path of the model is left to the results."""
        row = asdict(self) | {"equal": " | ".join(self.equal), "equals": len(self.equal)}
        return {name: value for name, value in row.items() if name != "model"}


def best_inputs(
    results: ResultsTable,
    shared: Mapping[str, SharedPeople] | None = None,
    *,
    people: int | None = None,
    margin: float = MARGIN,
) -> list[BestInputs]:
    """The best set of each target that has a score.

    shared  what `shared_people` says of the results, which is asked for if None
    people  who were scored, where the results do not say it
    margin  how far from chance a score must be to matter
    """
    known = shared_people(results) if shared is None else shared
    found: list[BestInputs] = []
    for name in results.targets:
        found += _best(results.where(target=name), known.get(name), people, margin)
    return found


def sampling_error(metric: str, scores: Values, people: Values) -> Values:
    """The standard error of scores of so many people.

    Of balanced accuracy it is that of a share, and so of classes of equal size; of R² that of Cohen
    et al. 2003 (Applied Multiple Regression, section 3.6), with that of an R² of 0 beside.
    """
    if metric == "r2":
        known = np.clip(scores, 0.0, 1.0)
        return np.asarray(np.sqrt(4 * known * (1 - known) ** 2 / people + 2 / people**2))
    return np.asarray(np.sqrt(np.maximum(scores * (1 - scores), 0.0) / people))


def _best(
    part: ResultsTable, shared: SharedPeople | None, people: int | None, margin: float
) -> Iterator[BestInputs]:
    from scipy.stats import norm

    scored = part.score().notna().to_numpy()
    frame = part.frame.assign(score=part.score())[scored].reset_index(drop=True)
    if frame.empty:
        return
    part, metric = ResultsTable(frame, part.source), MAIN[frame["kind"].iloc[0]]
    names = list(dict.fromkeys(frame["inputs"]))
    members = (frame["inputs"].to_numpy() == np.array(names)[:, None]).astype(np.float64)
    members /= members.sum(axis=1, keepdims=True)
    scores, number = members @ frame["score"].to_numpy(), frame["n"].fillna(people or np.nan)
    errors, method = members @ _errors(frame, metric, number, part.units()), "errors"
    if shared is not None:
        scores, method = members @ shared.scores[scored], "people"
        draws = shared.draws[:, scored] @ members.T
        later = choose_again(draws, shared.unseen[:, scored] @ members.T)
        errors = np.nanstd(draws, axis=0)
    elif np.isfinite(errors).all():
        draws, later = noisy_draws(scores, errors)
    else:
        draws, later, method = scores[None], np.array([np.nan]), ""
    found = select_best(scores, draws, later)
    best = frame[frame["inputs"] == names[found.place]].sort_values("score").iloc[-1]
    chance, reach = float(best["chance"]), float(norm.ppf(LEVEL) * errors[found.place])
    verdict: Verdict = "open"
    if found.score + reach < chance + margin:
        verdict = "not told"
    elif found.corrected - reach > chance:
        verdict = "told"
    equal = sorted(found.equal, key=lambda place: -scores[place]) if method else ()
    yield BestInputs(
        target=best["target"],
        domain=best["domain"],
        metric=metric,
        inputs=names[found.place],
        score=found.score,
        corrected=found.corrected,
        low=found.low,
        high=min(found.high, 1.0),  # which neither R2 nor balanced accuracy exceeds
        chance=chance,
        verdict=verdict,
        sets=len(names),
        equal=tuple(names[place] for place in equal),
        method=method,
        people=float(number.min()) if shared is None else float(shared.people),
        model=best["model"],
    )


def _errors(
    frame: pd.DataFrame, metric: str, people: pd.Series[float], units: dict[str, str]
) -> Values:
    """The standard error of each score: of the bounds that are known the smaller one."""
    from scipy.stats import norm

    scores = frame["score"].to_numpy()
    width = (frame[f"{metric}_high"] - frame[f"{metric}_low"]).to_numpy()
    sampling = width / (2 * norm.ppf((1 + LEVEL) / 2))
    plain = sampling_error(metric, scores, np.asarray(people, np.float64))
    sampling = np.where(np.isfinite(sampling), sampling, plain)
    design = np.column_stack([np.ones(len(frame)), *(frame[f"{HAS}{name}"] for name in units)])
    rest = scores - design @ np.linalg.lstsq(design, scores, rcond=None)[0]
    freedom = len(frame) - np.linalg.matrix_rank(design)
    residual = np.sqrt((rest**2).sum() / freedom) if freedom > 0 else np.nan
    return np.asarray(np.fmin(sampling, residual))
