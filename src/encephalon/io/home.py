# SPDX-License-Identifier: Apache-2.0
"""What this machine keeps for its user, and whether the network may be used."""

from __future__ import annotations

import os
from pathlib import Path

from encephalon.errors import ModelError
from encephalon.io.files import expanded

__all__ = ["HOME_VARIABLE", "OFFLINE_VARIABLE", "encephalon_home", "offline_by_environment"]

HOME_VARIABLE = "ENCEPHALON_HOME"
OFFLINE_VARIABLE = "ENCEPHALON_OFFLINE"


def encephalon_home() -> Path:
    """Return `$ENCEPHALON_HOME`, or the platform's cache folder for Encephalon.

    Raises ModelError where neither is known: no HOME, and a user without an entry of its own, as in
    some containers. What only looks for something should find nothing then.
    """
    given = os.environ.get(HOME_VARIABLE, "").strip()
    if given:
        return expanded(given).absolute()
    from platformdirs import user_cache_path

    try:
        return user_cache_path("encephalon", appauthor=False)
    except (RuntimeError, LookupError) as error:
        raise ModelError(
            f"There is no home folder to keep models in: set {HOME_VARIABLE} to a folder of yours."
        ) from error


def offline_by_environment() -> bool:
    """Whether `$ENCEPHALON_OFFLINE` is set to anything but 0: then the network is not touched."""
    return os.environ.get(OFFLINE_VARIABLE, "0").strip() not in {"", "0"}
