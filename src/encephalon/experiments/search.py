# SPDX-License-Identifier: Apache-2.0
"""Search hyper-parameters inside a fold with Optuna; its test rows take no part in it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import RunError, require_extra
from encephalon.io.cache import read_checksummed, write_checksummed
from encephalon.recipes.schema import Search, Training

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["best_overrides"]

Attempt = Callable[[int, Mapping[str, str]], float]
"""Train with these overrides; the best value of what the recipe monitors."""

logger = logging.getLogger(__name__)


def best_overrides(
    search: Search, training: Training, attempt: Attempt, folder: Path
) -> dict[str, str]:
    """The overrides of a recipe, within `search.space`, that `attempt` found best.

    Tried are `search.trials` sets, drawn from the seed of `training`. The value of each is kept in
    `folder`, so that a search that was killed goes on where it was, with the same draws. A set with
    which training fails is passed over. Raises RunError when every one fails, MissingExtraError
    without Optuna.
    """
    require_extra("optuna", "search", "Searching hyper-parameters")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=training.seed)
    larger = training.monitor_mode == "max"
    study = optuna.create_study(sampler=sampler, direction="maximize" if larger else "minimize")
    ledger = folder / "trials.json"
    # The values that are known; none where the ledger is no longer as it was written.
    known: dict[str, float | None] = dict(read_checksummed(ledger) or {})
    for number in range(search.trials):
        trial = study.ask()
        overrides = {key: _draw(trial, key, space) for key, space in search.space.items()}
        if str(number) not in known:
            try:
                value: float | None = attempt(number, overrides)
            except RunError as error:
                logger.warning("trial %d failed: %s", number, error)
                value = None
            known[str(number)] = value if value is not None and math.isfinite(value) else None
            write_checksummed(ledger, known)
        value = known[str(number)]
        study.tell(trial, value, optuna.trial.TrialState.FAIL if value is None else None)
    if all(value is None for value in known.values()):
        raise RunError(
            f"{folder}: training failed with every one of the {search.trials} sets of "
            "hyper-parameters: narrow study.search.space."
        )
    best = study.best_trial
    logger.info("best of %d trials: %s", search.trials, best.params)
    return {key: _word(value) for key, value in best.params.items()}


def _draw(trial: Trial, key: str, space: Any) -> str:
    """One value of a choice, or of a range with `low`, `high` and perhaps `log`."""
    if isinstance(space, list):
        return _word(trial.suggest_categorical(key, space))
    low, high, log = space["low"], space["high"], bool(space.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return _word(trial.suggest_int(key, low, high, log=log))
    return _word(trial.suggest_float(key, low, high, log=log))


def _word(value: Any) -> str:
    """The value as TOML spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
